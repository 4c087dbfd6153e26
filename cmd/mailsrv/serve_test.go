package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
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

// TestKilledServerLosesNothing kills the real server again and again under
// load. Every message that it said 250 to must be in the mailbox exactly once;
// one that it did not say 250 to may be there once. And nothing that a killed
// server leaves behind may keep the next one, or a POP3 login, out.
func TestKilledServerLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and kills it many times")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "mailsrv")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cfg := filepath.Join(dir, "mailsrv.toml")
	smtpAddr, popAddr := freeAddr(t), freeAddr(t)
	text := fmt.Sprintf("hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = %q\npop3 = %q\n", smtpAddr, popAddr)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery"
	for _, user := range []string{"taro", "hanako"} {
		add := exec.Command(bin, "user", "add", user, "--password-stdin", "--config", cfg)
		add.Stdin = strings.NewReader(password + "\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("user add: %v\n%s", err, out)
		}
	}

	var mu sync.Mutex
	acked := map[string]bool{}
	const rounds, clients = 12, 4
	for round := range rounds {
		server := serveJSON(t, bin, cfg)
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("m%d-%d-%d", round, client, n)
					// Two mailboxes for every second message.
					to := []string{"taro@example.com", "hanako@example.com"}[:1+n%2]
					body := "Subject: " + id + "\r\n\r\n" + strings.Repeat("x", rand.IntN(8000)) + "\r\n"
					if err := send(smtpAddr, nil, "a@example.net", to, body); err != nil {
						return // killed
					}
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond) // the moment is meant to be any
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait()
		wg.Wait()
	}

	server := serveJSON(t, bin, cfg)
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	count := map[string]map[string]int{}
	for _, user := range []string{"taro", "hanako"} {
		messages, err := popAll(popAddr, user, password)
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		count[user] = map[string]int{}
		for _, m := range messages {
			_, rest, _ := strings.Cut(m, "\r\nSubject: ")
			id, body, _ := strings.Cut(rest, "\r\n\r\n")
			count[user][id]++
			if strings.Trim(body, "x") != "\r\n" {
				t.Errorf("%s: message %s is damaged", user, id)
			}
		}
		for id, n := range count[user] {
			if n != 1 {
				t.Errorf("%s has message %s %d times", user, id, n)
			}
		}
	}
	for id := range acked {
		var round, client, n int
		if _, err := fmt.Sscanf(id, "m%d-%d-%d", &round, &client, &n); err != nil {
			t.Fatal(err)
		}
		if count["taro"][id] != 1 || n%2 == 1 && count["hanako"][id] != 1 {
			t.Errorf("message %s was acknowledged, but is lost", id)
		}
	}
	if len(acked) < rounds {
		t.Errorf("only %d messages in %d rounds: no load", len(acked), rounds)
	}
	t.Logf("%d messages acknowledged, %d kept", len(acked), len(count["taro"]))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
