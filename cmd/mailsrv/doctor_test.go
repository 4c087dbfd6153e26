package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/pop3/pop3test"
)

func init() {
	scriptCommands["popserver"] = popServer
	scriptCommands["portheld"] = portHeld
	scriptCommands["age"] = age
	scriptCommands["nomail"] = noMail
}

// popServer runs a scripted POP3 server until the script ends: "popserver POP
// script.txt" sets POP to its address. See probes/pop3/pop3test for the text.
func popServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: popserver VAR FILE")
	}
	srv, err := pop3test.Start(ts.ReadFile(args[1]), nil)
	ts.Check(err)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Addr)
}

// portHeld holds a port of 127.0.0.1 until the script ends: "portheld PORT PID"
// sets PORT, and PID to this process.
func portHeld(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: portheld VAR VAR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Setenv(args[1], strconv.Itoa(os.Getpid()))
}

// age makes files look as old as that: "age 1h FILE...".
func age(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: age DURATION FILE...")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	when := time.Now().Add(-d)
	for _, f := range args[1:] {
		ts.Check(os.Chtimes(ts.MkAbs(f), when, when))
	}
}

// noMail holds that a data directory has neither mail nor temporary accounts:
// "nomail DIR".
func noMail(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nomail DIR")
	}
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasPrefix(d.Name(), "loop-") || strings.Contains(filepath.ToSlash(path), "/Maildir/new/")) {
			ts.Fatalf("left behind: %s", path)
		}
		return err
	}))
}
