package main

import (
	"context"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/server"
	"mailsrv/server/config"
)

// listenFailed says on standard error why a service cannot listen, who is in
// its way, and what to do about it: the finding that doctor makes of it, too.
func (a *app) listenFailed(err *server.ListenError) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	network := config.Listener{Addr: err.Addr}.Network()
	found := []diag.Finding{doctor.JudgeListen(doctor.GatherListen(ctx, err.Service, network, err.Addr, err.Err, nil))}
	if lerr := diag.Localize(found, a.lang); lerr != nil {
		return &exitError{exitFailed, err}
	}
	p := a.printer()
	p.W, p.Color = a.stderr, p.Color && a.colorFlag == "always"
	p.Finding(found[0])
	return &exitError{exitFailed, nil}
}
