package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/dns/dnstest"
)

func init() {
	scriptCommands["dnsserver"] = dnsServer
}

// dnsServer runs a scripted name server until the script ends: "dnsserver DNS
// zone.txt" sets DNS to its address. See probes/dns/dnstest for the text.
func dnsServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dnsserver VAR FILE")
	}
	text := ts.ReadFile(args[1])
	srv, err := dnstest.Start(os.Expand(text, ts.Getenv))
	ts.Check(err)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Addr)
}
