//go:build interop

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestInterop runs Debian's mail programs against a real server: swaks, curl, msmtp,
// fetchmail and Python's own libraries. .ci/run installs them.
func TestInterop(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/interop",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MAILSRV_LANG", "en")
			return nil
		},
		Cmds: scriptCommands,
	})
}
