package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCommands["unpack"] = unpack
	scriptCommands["nosecret"] = noSecret
	scriptCommands["logins"] = logins
}

// unpack writes the files of an archive: "unpack FILE.zip DIR".
func unpack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unpack FILE.zip DIR")
	}
	z, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		ts.Check(err)
		data, err := io.ReadAll(r)
		ts.Check(err)
		ts.Check(r.Close())
		path := filepath.Join(ts.MkAbs(args[1]), filepath.FromSlash(f.Name))
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		ts.Check(os.WriteFile(path, data, 0o600))
	}
}

// noSecret holds that no file of a folder has any of the words: "nosecret DIR
// WORD...".
func noSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nosecret DIR WORD...")
	}
	files := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files++
		for _, word := range args[1:] {
			if i := bytes.Index(data, []byte(word)); i >= 0 {
				ts.Fatalf("%s has %q: %s", path, word, data[max(0, i-100):min(len(data), i+100)])
			}
		}
		return err
	}))
	if files == 0 {
		ts.Fatalf("no files in %s", args[0])
	}
}

// logins adds failed logins with a name to a log: "logins FILE NAME N".
func logins(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: logins FILE NAME N")
	}
	n := 0
	_, err := fmt.Sscan(args[2], &n)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	for range n {
		fmt.Fprintf(f, "time=%s level=WARN msg=\"login failed\" service=pop3 client=192.168.1.7 user=%s\n", time.Now().UTC().Format(time.RFC3339Nano), args[1])
	}
	ts.Check(f.Close())
}

// watched starts doctor --watch in this process and returns its lines, and what
// ends it and tells its exit.
func watched(t *testing.T, args ...string) (next func() string, end func() error) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	a := &app{stdin: strings.NewReader(""), stdout: w, stderr: io.Discard}
	root := a.root()
	root.SetArgs(args)
	done := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		w.Close()
		done <- err
	}()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	next = func() string {
		if !lines.Scan() {
			return ""
		}
		return lines.Text()
	}
	end = func() error {
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		return <-done
	}
	return next, end
}

// until reads lines until one begins with the words.
func until(t *testing.T, next func() string, words string) []string {
	t.Helper()
	var seen []string
	for i := 0; i < 200; i++ {
		line := next()
		seen = append(seen, line)
		if strings.HasPrefix(line, words) {
			return seen
		}
	}
	t.Fatalf("no %q in %q", words, seen)
	return nil
}

const watchedConfig = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n[limits]\nrecipients = "

// doctor --watch shows the first round whole, then only what is new or gone.
func TestDoctorWatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mailsrv.toml")
	configure := func(recipients string) {
		t.Helper()
		tmp := file + ".new"
		if err := os.WriteFile(tmp, []byte(watchedConfig+recipients+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, file); err != nil {
			t.Fatal(err)
		}
	}
	configure("50")
	next, end := watched(t, "--lang", "en", "--config", file, "doctor", "config", "--watch", "--every", "100ms")
	if seen := until(t, next, "Works, with warnings: 1 warning"); !strings.HasPrefix(seen[0], "stage internet, configuration ") {
		t.Errorf("%q", seen)
	}
	configure("500")
	until(t, next, "gone  ")
	until(t, next, "Healthy: ")
	configure("oops")
	seen := until(t, next, "Not working: 1 failure")
	if !strings.Contains(strings.Join(seen, "\n"), "FAIL  ") || strings.Contains(strings.Join(seen, "\n"), "stage internet") {
		t.Errorf("%q", seen)
	}
	if err := end(); err == nil || err.Error() != "exit 1" {
		t.Errorf("the exit code is not that of the last round: %v", err)
	}
}

// As JSON, each change is one document on a line of its own.
func TestDoctorWatchJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mailsrv.toml")
	if err := os.WriteFile(file, []byte(watchedConfig+"50\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, end := watched(t, "--config", file, "--json", "doctor", "config", "--watch", "--every", "100ms")
	var first, second struct{ Summary struct{ Warn, Fail int } }
	if err := json.Unmarshal([]byte(next()), &first); err != nil || first.Summary.Warn != 1 {
		t.Errorf("%v %+v", err, first)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(next()), &second); err != nil || second.Summary.Fail != 1 {
		t.Errorf("%v %+v", err, second)
	}
	if err := end(); err == nil || err.Error() != "exit 1" {
		t.Error(err)
	}
}
