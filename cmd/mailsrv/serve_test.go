package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/port/porttest"
)

func init() {
	scriptCommands["listening"] = listening
	scriptCommands["submit"] = submit
	scriptCommands["fetch"] = fetch
	scriptCommands["expand"] = expand
}

// listening waits until something answers on the ports: "listening $SMTP".
func listening(ts *testscript.TestScript, _ bool, args []string) {
	for _, port := range args {
		c, err := dialSoon("127.0.0.1:" + port)
		ts.Check(err)
		ts.Check(c.Close())
	}
}

func dialSoon(addr string) (net.Conn, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil || time.Now().After(end) {
			return c, err
		}
	}
}

// submit sends a file to oneself: "submit PORT USER PASSWORD FILE".
func submit(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[3]), "\n", "\r\n")
	err := send("127.0.0.1:"+args[0], smtp.PlainAuth("", args[1], args[2], "127.0.0.1"), args[1], []string{args[1]}, text)
	if neg != (err != nil) {
		ts.Fatalf("submit: %v", err)
	}
}

// send is smtp.SendMail without TLS, whose self-signed certificate it would not
// take.
func send(addr string, auth smtp.Auth, from string, to []string, text string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if auth != nil {
		if err := c.Auth(auth); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := c.Rcpt(rcpt); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close() // reads the 250
}

// fetch gets the first message by POP3, without its trace fields and with LF
// line ends: "fetch PORT USER PASSWORD FILE".
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	messages, err := popAll("127.0.0.1:"+args[0], args[1], args[2])
	if neg != (err != nil) {
		ts.Fatalf("fetch: %v", err)
	}
	if err != nil {
		return
	}
	if len(messages) == 0 {
		ts.Fatalf("fetch: the mailbox is empty")
	}
	_, text, _ := strings.Cut(messages[0], "\r\nSubject:")
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(strings.ReplaceAll("Subject:"+text, "\r\n", "\n")), 0o600))
}

// popAll returns all messages of a mailbox.
func popAll(addr, user, password string) ([]string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	line := func() (string, error) {
		s, err := in.ReadString('\n')
		return strings.TrimSuffix(s, "\r\n"), err
	}
	do := func(command string) (string, error) {
		if command != "" {
			if _, err := io.WriteString(c, command+"\r\n"); err != nil {
				return "", err
			}
		}
		answer, err := line()
		if err == nil && !strings.HasPrefix(answer, "+OK") {
			err = errors.New(answer)
		}
		return answer, err
	}
	var stat string
	for _, command := range []string{"", "USER " + user, "PASS " + password, "STAT"} {
		if stat, err = do(command); err != nil {
			return nil, err
		}
	}
	var n, size int
	if _, err := fmt.Sscanf(stat, "+OK %d %d", &n, &size); err != nil {
		return nil, err
	}
	var out []string
	for i := range n {
		if _, err := do(fmt.Sprint("RETR ", i+1)); err != nil {
			return nil, err
		}
		var b strings.Builder
		for {
			l, err := line()
			if err != nil {
				return nil, err
			}
			if l == "." {
				break
			}
			b.WriteString(strings.TrimPrefix(l, ".") + "\r\n")
		}
		out = append(out, b.String())
	}
	_, err = do("QUIT")
	return out, err
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

// serveJSON starts the program and returns when it listens.
func serveJSON(t *testing.T, bin, cfg string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(bin, "serve", "--json", "--config", cfg)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		PID    int                              `json:"pid"`
		Listen []struct{ Service, Addr string } `json:"listen"`
	}
	if err := json.NewDecoder(out).Decode(&doc); err != nil || doc.PID != cmd.Process.Pid || len(doc.Listen) != 2 {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("serve --json: %+v, %v\n%s", doc, err, stderr.String())
	}
	return cmd
}
