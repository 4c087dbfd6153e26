package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/config"
	"mailsrv/server/store"
)

// client is a plain connection to a server.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, addr string) *client {
	c := dial(t, addr)
	t.Cleanup(func() { c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

// do sends a command, if there is one, and returns the last line of the answer.
func (c *client) do(command string) string {
	c.t.Helper()
	if command != "" {
		if _, err := io.WriteString(c, command+"\r\n"); err != nil {
			c.t.Fatal(err)
		}
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v", command, err)
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimSuffix(line, "\r\n")
		}
	}
}

// A reload changes what new sessions see, opens and closes listeners, and lets
// sessions under way be.
func TestReload(t *testing.T) {
	c := testConfig(t, false)
	r := start(t, c, nil)
	under := connect(t, r.addr(config.SMTP))
	under.do("")
	under.do("EHLO c")
	under.do("MAIL FROM:<a@example.net>")
	started := r.Addrs()

	next := *c
	next.Hostname = "new.example.com"
	next.Domains = []string{"localhost", "example.org"}
	next.Limits.ConnectionsPerIP = 1
	next.DataDir = filepath.Join(t.TempDir(), "other")
	next.Listen = []config.Listener{c.Listen[0], c.Listen[1], {Service: config.SMTP, Addr: "127.0.0.1:0", Line: 9}}
	// The addresses that were really taken, as a file would name them.
	for i := range 2 {
		next.Listen[i].Addr = started[i].Addr
		r.bound[i].Addr = started[i].Addr
	}
	restart, err := r.Reload(t.Context(), &next)
	if err != nil || cmp.Diff([]string{"data_dir"}, restart) != "" {
		t.Fatalf("Reload: %v, %v", restart, err)
	}
	now := r.Addrs()
	if len(now) != 3 || now[0] != started[0] || now[1] != started[1] || now[2].Service != config.SMTP {
		t.Errorf("listening on %v", now)
	}
	if c, err := net.Dial("tcp", started[2].Addr); err == nil {
		c.Close()
		t.Error("POP3 still listens")
	}
	if run, running, err := store.ReadRun(r.dataDir); err != nil || !running || cmp.Diff(now, run.Listen) != "" || len(run.Starts) != 1 {
		t.Errorf("run file: %+v, %v, %v", run, running, err)
	}
	if got := under.do("RCPT TO:<postmaster@localhost>"); got != "250 2.1.5 Recipient ok" {
		t.Errorf("session under way: %s", got)
	}
	// Its address has its one connection.
	if got := connect(t, started[0].Addr).do(""); !strings.HasPrefix(got, "421 4.7.0 new.example.com too many connections from your address, at most 1 ") {
		t.Errorf("beyond the limit: %s", got)
	}
	under.do("DATA")
	if got := under.do("x\r\n."); !strings.HasPrefix(got, "250 ") {
		t.Errorf("session under way: %s", got)
	}
	if got := under.do("QUIT"); got != "221 2.0.0 localhost Bye" {
		t.Errorf("session under way: %s", got)
	}
	if _, err := under.r.ReadByte(); err != io.EOF {
		t.Errorf("after QUIT: %v", err)
	}
	under.Close()
	for _, addr := range []string{started[0].Addr, now[2].Addr} {
		for end := time.Now().Add(limit); r.sessions() > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // until the server has noticed that the other is gone
		}
		fresh := connect(t, addr)
		if got := fresh.do(""); got != "220 new.example.com ESMTP mailsrv" {
			t.Fatal(got)
		}
		fresh.do("EHLO c")
		fresh.do("MAIL FROM:<a@example.net>")
		if got := fresh.do("RCPT TO:<postmaster@example.org>"); got != "250 2.1.5 Recipient ok" && !strings.HasPrefix(got, "550 5.1.1 ") {
			t.Errorf("the new domain: %s", got)
		}
		fresh.do("QUIT")
		fresh.Close()
	}
}

// A reload that cannot be done changes nothing.
func TestReloadFails(t *testing.T) {
	c := testConfig(t, true)
	r := start(t, c, nil)
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	before := r.Addrs()
	for name, change := range map[string]func(*config.Config){
		"port in use": func(c *config.Config) {
			c.Listen = []config.Listener{{Service: config.SMTP, Addr: "127.0.0.1:0"}, {Service: config.SMTP, Addr: held.Addr().String()}}
		},
		"no certificate": func(c *config.Config) { c.TLS.Cert, c.TLS.Key = "missing.pem", "missing.key" },
		"no password": func(c *config.Config) {
			c.Relay.SmartHost, c.Relay.Auth = "127.0.0.1:1", config.RelayAuth{Username: "x", PasswordFile: "missing"}
		},
	} {
		next := *c
		next.Hostname = "new.example.com"
		change(&next)
		_, err := r.Reload(t.Context(), &next)
		var listen *ListenError
		var cert *CertError
		var password *PasswordError
		if !errors.As(err, &listen) && !errors.As(err, &cert) && !errors.As(err, &password) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, r.Addrs()); diff != "" {
			t.Errorf("%s: listeners have changed: %s", name, diff)
		}
		if got := connect(t, r.addr(config.SMTP)).do(""); got != "220 localhost ESMTP mailsrv" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// /metrics and /healthz tell the truth.
func TestStatus(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("takes the right to write away")
	}
	c := testConfig(t, false)
	c.Web = []config.Listener{{Service: config.Web, Addr: "127.0.0.1:0"}}
	r := start(t, c, nil)
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + r.addr(config.Web) + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	value := func(metric string) string {
		t.Helper()
		_, body := get("/metrics")
		m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(metric) + ` (\S+)$`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no %s in %s", metric, body)
		}
		return m[1]
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %s", code, body)
	}
	if err := smtp.SendMail(r.addr(config.SMTP), nil, "a@example.net", []string{r.user}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := smtp.SendMail(r.addr(config.SMTP), nil, "a@example.net", []string{"b@example.org"}, []byte(text)); err == nil {
		t.Fatal("a stranger relayed")
	}
	bare := connect(t, r.addr(config.SMTP))
	for _, step := range [][2]string{{"", "220"}, {"HELO c", "250"}, {"MAIL FROM:<a@example.net>", "250"}, {"RCPT TO:<" + r.user + ">", "250"}, {"DATA", "354"}, {"a\n.", "550"}} {
		if got := bare.do(step[0]); !strings.HasPrefix(got, step[1]) {
			t.Fatalf("%q: %s", step[0], got)
		}
	}
	if got := r.pop(t, dial(t, r.addr(config.POP3)), "QUIT"); got[0] != "+OK Bye" {
		t.Fatal(got)
	}
	open := connect(t, r.addr(config.SMTP))
	open.do("")
	for metric, want := range map[string]string{
		`mailsrv_build_info{version="test"}`:     "1",
		`mailsrv_sessions{service="submission"}`: "0",
		`mailsrv_sessions_max`:                   strconv.Itoa(c.Limits.Connections),
		`mailsrv_queue_messages`:                 "0",
	} {
		if got := value(metric); got != want {
			t.Errorf("%s %s, want %s", metric, got, want)
		}
	}
	for _, metric := range []string{`mailsrv_connections_total{service="smtp"}`, `mailsrv_smtp_messages_total{service="smtp",result="accepted"}`, `mailsrv_smtp_recipients_total{service="smtp",result="accepted"}`,
		`mailsrv_smtp_refused_total{service="smtp",rule="relay.denied"}`, `mailsrv_smtp_refused_total{service="smtp",rule="message.line_end"}`,
		`mailsrv_smtp_messages_total{service="smtp",result="refused"}`, `mailsrv_pop3_logins_total{service="pop3",result="ok"}`} {
		if got := value(metric); got == "0" {
			t.Errorf("%s %s", metric, got)
		}
	}
	if code, _ := get("/"); code != 404 {
		t.Errorf("/: %d", code)
	}
	if err := os.RemoveAll(r.dataDir); err != nil {
		t.Fatal(err)
	}
	if code, body := get("/healthz"); code != 503 || !strings.HasPrefix(body, "data directory data cannot be written: ") {
		t.Errorf("healthz without a data directory: %d %s", code, body)
	}
}

// The log follows its configuration: level, file, and a file that was moved.
func TestLogConfigure(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "logs", "mailsrv.log")
	var stderr bytes.Buffer
	log, err := OpenLog(config.Log{Level: "warn"}, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not shown")
	log.Warn("to stderr")
	for i, move := range []bool{false, true, false} {
		if move && runtime.GOOS != "windows" {
			if err := os.Rename(file, file+".1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Configure(config.Log{Level: "info", File: file}); err != nil {
			t.Fatal(err)
		}
		log.Info(fmt.Sprint("line ", i))
	}
	if err := log.Configure(config.Log{Level: "info", File: filepath.Join(file, "x")}); err == nil {
		t.Error("a file below a file was opened")
	}
	log.Info("line 3")
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"line 1", "line 2", "line 3"}
	if runtime.GOOS == "windows" {
		want = append([]string{"line 0"}, want...)
	}
	if lines := regexp.MustCompile(`line \d`).FindAllString(string(got), -1); cmp.Diff(want, lines) != "" {
		t.Errorf("%s", got)
	}
	if s := stderr.String(); strings.Contains(s, "not shown") || !strings.Contains(s, "to stderr") {
		t.Errorf("stderr: %s", s)
	}
}
