package main

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"mailsrv/server"
)

// winsockOf is the number under which Windows, and the catalogue, know why a
// listen failed; 0 for any other reason.
func winsockOf(err error) int {
	var n syscall.Errno
	if !errors.As(err, &n) {
		return 0
	}
	if runtime.GOOS == "windows" {
		return int(n)
	}
	switch n {
	case syscall.EADDRINUSE:
		return 10048
	case syscall.EACCES, syscall.EPERM:
		return 10013
	case syscall.EADDRNOTAVAIL:
		return 10049
	}
	return 0
}

// listenFailed says why a service cannot listen and what to do about it.
func (a *app) listenFailed(err *server.ListenError) error {
	number := ""
	if n := winsockOf(err.Err); n != 0 {
		number = fmt.Sprintf(" (Winsock %d); mailsrv explain %d says what to do", n, n)
	}
	return &exitError{exitFailed, fmt.Errorf("%w%s", err, number)}
}
