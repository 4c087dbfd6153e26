package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/port/porttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mailsrv": main,
	})
}

// TestScripts runs the command-level tests, one file per command and case. They
// are written to be read as documentation of the commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MAILSRV_LANG", "en")
			env.Setenv("MAILSRV_CONFIG", "")
			return nil
		},
		Cmds: scriptCommands,
	})
}

// scriptCommands are what scripts can use beside those of testscript; each
// command's tests add their own.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"freeports": freePorts,
}

// freePorts sets each variable to a TCP port of 127.0.0.1 that is free now:
// "freeports SMTP POP3".
func freePorts(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! freeports")
	}
	for _, name := range args {
		port, err := porttest.Free()
		ts.Check(err)
		ts.Setenv(name, port)
	}
}
