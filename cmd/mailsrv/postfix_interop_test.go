//go:build interop && linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInteropPostfix has Debian's Postfix send to a real server: pipelined,
// over STARTTLS, 8-bit, with DSN parameters, and a big message.
func TestInteropPostfix(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("Postfix starts as root only")
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		t.Skip("Postfix is not installed")
	}
	dir, err := os.MkdirTemp("", "postfix") // where its own users may look
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "mailsrv")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cfg, smtpAddr, popAddr := filepath.Join(dir, "mailsrv.toml"), freeAddr(t), freeAddr(t)
	text := fmt.Sprintf("hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = %q\npop3 = %q\n[log]\nfile = \"log\"\n", smtpAddr, popAddr)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	add := exec.Command(bin, "user", "add", "taro", "--password-stdin", "--config", cfg)
	add.Stdin = strings.NewReader("correct horse battery\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v\n%s", err, out)
	}
	server := serveJSON(t, bin, cfg)
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()

	run := func(stdin, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args, err, out)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc", "queue", "postfix"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(smtpAddr, ":")
	etc := filepath.Join(dir, "etc")
	main := fmt.Sprintf(`compatibility_level = 3.6
myhostname = sender.example.net
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
queue_directory = %[1]s/queue
data_directory = %[1]s/postfix
maillog_file = /var/log/mailsrv-interop-postfix.log
relayhost = [%[2]s]:%[3]s
smtp_tls_security_level = encrypt
alias_maps =
`, dir, host, port)
	if err := os.WriteFile(filepath.Join(etc, "main.cf"), []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	master, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		t.Skip(err)
	}
	var lines []string
	for line := range strings.Lines(string(master)) {
		f := strings.Fields(line)
		if len(f) > 4 && f[4] == "y" && line[0] != '#' {
			line = strings.Replace(line, " y ", " n ", 1) // no chroot below a temporary folder
		}
		if strings.HasPrefix(line, "smtp      inet") {
			continue // it only sends
		}
		lines = append(lines, line)
	}
	if err := os.WriteFile(filepath.Join(etc, "master.cf"), []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	run("", "chown", "postfix", filepath.Join(dir, "postfix"))
	run("", "postfix", "-c", etc, "start")
	defer run("", "postfix", "-c", etc, "stop")
	sent := []string{
		"Subject: plain\n\n.\n..\n.dots\nend\n",
		"Subject: 8-bit\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n日本語\n",
		"Subject: big\n\n" + strings.Repeat(strings.Repeat("x", 76)+"\n", 20_000),
	}
	for _, m := range sent {
		run(m, "sendmail", "-i", "-C", etc, "-f", "someone@example.net", "-N", "failure,delay", "-V", "order1", "taro@example.com")
	}
	var got []string
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if got, err = popAll(popAddr, "taro", "correct horse battery"); err != nil {
			t.Fatal(err)
		}
		if len(got) == len(sent) {
			break
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("%d of %d messages; the log of mailsrv:\n%s", len(got), len(sent), log)
		}
	}
	for _, m := range sent {
		subject, body, _ := strings.Cut(m, "\n\n")
		body = "\r\n\r\n" + strings.ReplaceAll(body, "\n", "\r\n")
		found := false
		for _, g := range got {
			if strings.Contains(g, strings.Split(subject, "\n")[0]+"\r\n") {
				found = strings.HasSuffix(g, body) && strings.Contains(g, "with ESMTPS id ") && strings.HasPrefix(g, "Return-Path: <someone@example.net>\r\nReceived: from sender.example.net ([127.0.0.1])\r\n\t(using TLS 1.3 ")
			}
		}
		if !found {
			t.Errorf("%s: not there, or changed", subject)
		}
	}
}
