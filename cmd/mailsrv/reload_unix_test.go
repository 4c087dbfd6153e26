//go:build !windows

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReloadOnSIGHUP edits the configuration of a real server: a mistake is
// told with its line and changes nothing, what is right is taken over, and a
// rotated log file is opened anew.
func TestReloadOnSIGHUP(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "mailsrv")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cfg, logFile := filepath.Join(dir, "mailsrv.toml"), filepath.Join(dir, "mailsrv.log")
	smtpAddr, webAddr := freeAddr(t), freeAddr(t)
	write := func(hostname, more string) {
		t.Helper()
		text := fmt.Sprintf("hostname = %q\ndomains = [\"example.com\"]\n%s[listen]\nsmtp = %q\nweb = %q\n[log]\nfile = %q\n", hostname, more, smtpAddr, webAddr, logFile)
		if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old.example.com", "")
	server := serveJSON(t, bin, cfg)
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	// reload sends the signal and returns the line that answers it.
	reload := func(want string) string {
		t.Helper()
		if err := server.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			text, err := os.ReadFile(logFile)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if strings.Contains(line, want) {
					return strings.TrimSpace(line)
				}
			}
			if time.Now().After(end) {
				t.Fatalf("no %q in the log:\n%s", want, text)
			}
		}
	}
	greeting := func() string {
		t.Helper()
		c, err := dialSoon(smtpAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	write("new.example.com", "")
	if err := os.Rename(logFile, logFile+".1"); err != nil {
		t.Fatal(err)
	}
	reload(`msg="configuration reloaded" file=` + cfg)
	if got := greeting(); got != "220 new.example.com ESMTP mailsrv" {
		t.Error(got)
	}
	write("newest.example.com", "hostnme = 5\n")
	if line := reload("not reloaded"); !strings.Contains(line, `msg="configuration not reloaded, the old one stays"`) || !strings.Contains(line, "mailsrv.toml:3") || !strings.Contains(line, "hostnme") {
		t.Error(line)
	}
	if got := greeting(); got != "220 new.example.com ESMTP mailsrv" {
		t.Error(got)
	}
	resp, err := http.Get("http://" + webAddr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok\n" {
		t.Errorf("healthz: %q, %v", body, err)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	write("last.example.com", "")
	impatient(t, serveJSON(t, bin, cfg), smtpAddr)
}

// impatient stops a server twice while a client is in the middle of a message:
// the first signal waits for it, the second does not.
func impatient(t *testing.T, server *exec.Cmd, smtpAddr string) {
	c, err := dialSoon(smtpAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	idle, err := dialSoon(smtpAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	r := bufio.NewReader(c)
	for _, command := range []string{"", "HELO c\r\n", "MAIL FROM:<a@example.net>\r\n"} {
		if _, err := io.WriteString(c, command); err != nil {
			t.Fatal(err)
		}
		if line, err := r.ReadString('\n'); err != nil || line[0] != '2' {
			t.Fatalf("%q: %q, %v", command, line, err)
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(idle); err != nil || !strings.Contains(string(said), "421 4.3.2") {
		t.Errorf("a client between messages heard %q, %v", said, err)
	}
	if _, err := io.WriteString(c, "NOOP\r\n"); err != nil {
		t.Error(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "250 2.0.0 Ok\r\n" {
		t.Errorf("a client within a message heard %q, %v", line, err)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = server.Wait()
	if status, ok := server.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("after the second SIGTERM: %v", err)
	}
}
