package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/port/porttest"
	"mailsrv/server/config"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mailsrv": func() {
			tryOutOn(os.Getenv("TEST_TRYOUT_PORTS"))
			main()
		},
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

// tryOutOn has a server without a configuration file listen on other ports of
// 127.0.0.1, in the order of config.TryOut: "12001 12002 12003 12004".
func tryOutOn(ports string) {
	for i, port := range strings.Fields(ports) {
		config.TryOut[i].Addr = "127.0.0.1:" + port
	}
}
