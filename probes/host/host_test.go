package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestProcessOfMyself(t *testing.T) {
	before := time.Now()
	p, ok := ProcessOf(os.Getpid())
	if !ok || p.PID != os.Getpid() || p.Program != filepath.Base(os.Args[0]) || p.Parent != os.Getppid() {
		t.Errorf("%+v %v", p, ok)
	}
	if !p.RunningSince(before) || p.RunningSince(p.Started.Add(-time.Hour)) {
		t.Errorf("started %v, now %v", p.Started, before)
	}
}

func TestProcessThatEnded(t *testing.T) {
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if p, ok := ProcessOf(cmd.Process.Pid); ok {
		t.Errorf("%+v lives", p)
	}
	for _, pid := range []int{0, -1, 1 << 30} {
		if _, ok := ProcessOf(pid); ok {
			t.Errorf("process %d lives", pid)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := Directory(dir); !a.Exists || !a.Writable || a.Err != nil {
		t.Errorf("%+v", a)
	}
	if a := Directory(filepath.Join(dir, "a", "b")); a.Exists || !a.Writable || a.Nearest != dir {
		t.Errorf("%+v", a)
	}
	for _, below := range []string{file, filepath.Join(file, "data")} {
		if a := Directory(below); a.Writable || a.Nearest != file || !errors.Is(a.Err, syscall.ENOTDIR) {
			t.Errorf("%s: %+v", below, a)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("looking left something behind: %v %v", left, err)
	}
	if os.Geteuid() > 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if a := Directory(dir); a.Writable || !errors.Is(a.Err, syscall.EACCES) {
			t.Errorf("%+v", a)
		}
		_ = os.Chmod(dir, 0o700)
	}
}

func TestVolumeOf(t *testing.T) {
	v, err := VolumeOf(filepath.Join(t.TempDir(), "not", "there"))
	if err != nil {
		t.Fatal(err)
	}
	if v.Free == 0 || v.Size < v.Free || v.ReadOnly {
		t.Errorf("%+v", v)
	}
}

func TestParseElapsed(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"00:05": 5 * time.Second, "01:02:03": time.Hour + 2*time.Minute + 3*time.Second, "2-00:00:01": 48*time.Hour + time.Second,
	} {
		if got, ok := parseElapsed(s); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "5", "x:1", "1:2:3:4", "-1-00:00", "00:-1"} {
		if d, ok := parseElapsed(s); ok {
			t.Errorf("%q: %v", s, d)
		}
	}
}

func TestFileLimit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such limit")
	}
	soft, hard, err := FileLimit(0)
	if err != nil || soft == 0 || hard < soft {
		t.Errorf("%d %d %v", soft, hard, err)
	}
}

func TestOpenFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("seen on Linux only")
	}
	path := filepath.Join(t.TempDir(), "server.lock")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := OpenFile(os.Getpid(), "server.lock"); got != path {
		t.Errorf("%q, want %q", got, path)
	}
	f.Close()
	if got := OpenFile(os.Getpid(), "server.lock"); got != "" {
		t.Errorf("%q after it was closed", got)
	}
}
