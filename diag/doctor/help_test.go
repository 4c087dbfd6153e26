package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/mta"
	"mailsrv/probes/port/porttest"
	"mailsrv/server/store"
)

// The test binary is also the other programs of the tests: with DOCTOR_TEST_PORT
// it listens there, with DOCTOR_TEST_FILE it holds a file open for writing,
// until its standard input ends.
func TestMain(m *testing.M) {
	if addr := os.Getenv("DOCTOR_TEST_PORT"); addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, os.Getenv("DOCTOR_TEST_GREETING")+"\r\n")
				c.Close()
			}
		}()
		fmt.Println(l.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	if path := os.Getenv("DOCTOR_TEST_FILE"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		fmt.Println("ready", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		f.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// other starts this binary as another program, and returns its first line and
// process id.
func other(t *testing.T, env ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("other program: %q %v", line, err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

// freeAddr is an address of loopback that is free now.
func freeAddr(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + freePort(t)
}

// freePort is a port that is free on all addresses.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// settings is a configuration that has no fault; what a test is about is put in
// its place. TOP goes before the first table.
type files struct{ dir, config string }

// configured writes mailsrv.toml. The text stands after the data directory.
func configured(t *testing.T, text string) files {
	t.Helper()
	dir := t.TempDir()
	text = "data_dir = \"data\"\n" + text
	return files{dir, write(t, filepath.Join(dir, "mailsrv.toml"), text)}
}

func (f files) data() string { return filepath.Join(f.dir, "data") }

// plain is a whole configuration on one free loopback port.
func plain(t *testing.T) string {
	return "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"" + freeAddr(t) + "\"\n"
}

// examine runs doctor; every text of both languages must render.
func examine(t *testing.T, opt Options) *Report {
	t.Helper()
	if opt.Timeout == 0 {
		opt.Timeout = 2 * time.Second
	}
	if opt.Foreign == nil { // what is installed here is not the test's business
		opt.Foreign = func(context.Context) []mta.Server { return nil }
	}
	r, err := Run(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	renders(t, r.Findings)
	return r
}

func renders(t *testing.T, fs []diag.Finding) {
	t.Helper()
	for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
		if err := diag.Localize(fs, lang); err != nil {
			t.Error(err)
		}
		for _, f := range fs {
			text := fmt.Sprint(f.Title, f.Detail, f.Causes, f.Fixes)
			if strings.Contains(text, "<no value>") || strings.Contains(text, "%!") || f.Title == "" {
				t.Errorf("%s in %s: %s", f.ID, lang, text)
			}
		}
	}
}

// bad lists the ids of fail and warn, in the order of the report.
func bad(r *Report) []string { return idsOf(r.Findings, diag.Fail, diag.Warn) }

func idsOf(fs []diag.Finding, statuses ...diag.Status) []string {
	out := []string{}
	for _, f := range fs {
		if slices.Contains(statuses, f.Status) {
			out = append(out, f.ID)
		}
	}
	return out
}

// find returns the finding of that id, or fails.
func find(t *testing.T, fs []diag.Finding, id string) diag.Finding {
	t.Helper()
	for _, f := range fs {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no %s in %v", id, idsOf(fs, diag.OK, diag.Info, diag.Warn, diag.Fail, diag.Skip))
	return diag.Finding{}
}

func has(fs []diag.Finding, id string) bool {
	return slices.ContainsFunc(fs, func(f diag.Finding) bool { return f.ID == id })
}

// running pretends that this test is the server on a data directory, listening
// at the given addresses.
func running(t *testing.T, dataDir string, at ...store.RunAddr) {
	t.Helper()
	l, err := store.Acquire(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Release() })
	started := time.Now().Add(time.Hour) // after every file of the test was written
	if err := l.Announce(dataDir, store.Run{PID: os.Getpid(), Version: "test", Started: started, Listen: at}); err != nil {
		t.Fatal(err)
	}
}
