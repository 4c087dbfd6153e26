package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Commands to copy begin with what starts this program from here.
func TestStartedAs(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", other)
	if runtime.GOOS == "windows" {
		return // links need rights there
	}
	for _, tt := range []struct{ arg0, want string }{
		{"./mailsrv", "./mailsrv"},
		{"/opt/my mail/mailsrv", "'/opt/my mail/mailsrv'"},
		{"mailsrv", exe}, // found by other means than PATH
	} {
		if got := startedAs(tt.arg0); got != tt.want {
			t.Errorf("%s: %s", tt.arg0, got)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "mailsrv"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := startedAs("./mailsrv"); got != "./mailsrv" {
		t.Errorf("another program of that name: %s", got)
	}
	if err := os.Remove(filepath.Join(other, "mailsrv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(other, "mailsrv")); err != nil {
		t.Fatal(err)
	}
	if got := startedAs("/somewhere/mailsrv"); got != "mailsrv" {
		t.Errorf("in PATH: %s", got)
	}
}

func TestCommandsNameTheConfiguration(t *testing.T) {
	p := (&app{configFile: "my conf.toml"}).printer()
	for line, want := range map[string]string{
		"mailsrv serve":             "mailsrv --config 'my conf.toml' serve",
		"sudo mailsrv doctor":       "sudo mailsrv --config 'my conf.toml' doctor",
		"postconf -n mailsrv":       "postconf -n mailsrv",
		"systemctl restart mailsrv": "systemctl restart mailsrv",
		"mkdir x && mailsrv serve":  "mkdir x && mailsrv --config 'my conf.toml' serve",
	} {
		if runtime.GOOS == "windows" {
			continue
		}
		if got := p.Command(line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}
