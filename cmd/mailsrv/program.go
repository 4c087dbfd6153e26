package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// program is how to start this program again from where the user sits.
var program = "mailsrv"

// program is the same with the configuration that was named on the command
// line, for commands to copy.
func (a *app) program() string {
	if a.configFile == "" {
		return program
	}
	return program + " --config " + shellWord(a.configFile)
}

// startedAs is the program's name where PATH leads to this very file, else the
// way it was started.
func startedAs(arg0 string) string {
	exe, err := os.Executable()
	if err != nil {
		return "mailsrv"
	}
	for _, name := range []string{"mailsrv", filepath.Base(arg0)} {
		if path, err := exec.LookPath(name); err == nil && sameFile(path, exe) {
			return name
		}
	}
	if strings.ContainsAny(arg0, `/\`) {
		return shellWord(arg0)
	}
	return shellWord(exe)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@%,"
	switch {
	case runtime.GOOS == "windows" && !strings.ContainsAny(s, " &|<>^()"):
		return s
	case runtime.GOOS == "windows":
		return `"` + s + `"`
	case s != "" && strings.Trim(s, plain) == "":
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
