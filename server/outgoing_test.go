package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/server/config"
	"mailsrv/server/deliver/sinktest"
	"mailsrv/server/queue"
	"mailsrv/server/store"
)

const limit = 20 * time.Second

// outConfig is a server of example.com, without TLS, that sends to host.
func outConfig(t *testing.T, host string) *config.Config {
	c := testConfig(t, false)
	c.Hostname, c.Domains = "mail.example.com", []string{"example.com"}
	c.Relay.Allow, c.Relay.SmartHost = true, host
	return c
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// mailbox waits until the user has n messages and returns them.
func (r *running) mailbox(t *testing.T, n int) []string {
	t.Helper()
	commands := []string{"STAT"}
	for i := range n {
		commands = append(commands, fmt.Sprint("RETR ", i+1))
	}
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		got := r.pop(t, dial(t, r.addr(config.POP3)), append(commands, "QUIT")...)
		if strings.HasPrefix(got[0], fmt.Sprintf("+OK %d ", n)) {
			return got[1 : n+1]
		}
		if time.Now().After(end) {
			t.Fatalf("mailbox: %s, want %d messages", got[0], n)
		}
	}
}

func (r *running) emptyQueue(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		l, err := queue.List(r.dataDir)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Messages) == 0 && r.queue.Stats().Messages == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still in the queue: %+v", l.Messages[0])
		}
	}
}

// One message to somebody here and somebody elsewhere: each gets the octets that
// were sent, and the log tells both under one id.
func TestSendsOutThroughSmartHost(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{Extensions: []string{"PIPELINING", "8BITMIME", "SIZE", "AUTH PLAIN LOGIN"}})
	c := outConfig(t, sink.Addr().String())
	c.Relay.Auth = config.RelayAuth{Username: "shop", PasswordFile: filepath.Join(t.TempDir(), "secret")}
	if err := os.WriteFile(c.Relay.Auth.PasswordFile, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	r := start(t, c, func(s *Server) { s.log = slog.New(slog.NewTextHandler(&log, nil)); s.queue.Configure(withLog(s)) })
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	to := []string{"hanako@example.net", r.user, "jiro@example.org", "hanako@example.net"}
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, to, []byte(text)); err != nil {
		t.Fatal(err)
	}
	m := sink.Wait(t, 1, limit)[0]
	if m.From != "<postmaster@example.com> SIZE="+fmt.Sprint(len(m.Text))+" BODY=8BITMIME" || strings.Join(m.To, " ") != "<hanako@example.net> <jiro@example.org>" {
		t.Errorf("from %s to %s", m.From, m.To)
	}
	if !strings.HasPrefix(m.Text, "Received: from localhost ([127.0.0.1])\r\n\tby mail.example.com with UTF8SMTPA id ") || !strings.HasSuffix(m.Text, "+0000\r\n"+text) {
		t.Errorf("sent on: %q", m.Text)
	}
	if !strings.Contains(strings.Join(sink.Dialogue(), "\n"), "AUTH PLAIN ") {
		t.Errorf("no login: %q", sink.Dialogue())
	}
	if here := r.mailbox(t, 1)[0]; !strings.HasPrefix(here, "Return-Path: <postmaster@example.com>\r\nReceived: ") || !strings.HasSuffix(here, "+0000\r\n"+text) {
		t.Errorf("kept here: %q", here)
	}
	r.emptyQueue(t)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(m.Text, "with UTF8SMTPA id ")
	id, _, _ := strings.Cut(rest, ";")
	for _, want := range []string{`"message accepted"`, `"message queued" id=` + id, `"message delivered" id=` + id + " to=hanako@example.net", `"message delivered" id=` + id + " to=jiro@example.org"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log.String())
		}
	}
	if n := strings.Count(log.String(), id); n < 5 {
		t.Errorf("%d lines with id %s:\n%s", n, id, log.String())
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the log has the password")
	}
}

// withLog is the queue's options with the log that a test has put in.
func withLog(s *Server) queue.Options {
	o := s.queueOptions(s.state.Load())
	o.Log = s.log
	return o
}

func TestSendsOutByMX(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	dns := sinktest.DNS{"example.net. MX": {"10 mx.example.net."}, "mx.example.net. A": {"127.0.0.1"}}
	c := outConfig(t, "")
	c.DNS.Servers = []netip.AddrPort{dns.Serve(t)}
	r := start(t, c, func(s *Server) { s.state.Load().client.Port = sink.Port() })
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, []string{"hanako@example.net"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if m := sink.Wait(t, 1, limit)[0]; strings.Join(m.To, " ") != "<hanako@example.net>" || !strings.HasSuffix(m.Text, text) {
		t.Errorf("%+v", m)
	}
	r.emptyQueue(t)
}

// A domain whose mail host is this very server is a loop, found at once.
func TestDoesNotSendToItself(t *testing.T) {
	dns := sinktest.DNS{"example.net. MX": {"10 mx.example.net."}, "mx.example.net. A": {"127.0.0.1"}}
	c := outConfig(t, "")
	c.DNS.Servers = []netip.AddrPort{dns.Serve(t)}
	r := start(t, c, func(s *Server) {
		s.state.Load().client.Port = netip.MustParseAddrPort((&running{Server: s}).addr(config.SMTP)).Port()
	})
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, []string{"hanako@example.net"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if bounce := r.mailbox(t, 1)[0]; !strings.HasPrefix(bounce, "Return-Path: <>\r\n") || !strings.Contains(bounce, "loops back to myself") {
		t.Errorf("bounce: %q", bounce)
	}
}

// What the smart host refuses comes back: to the sender, or, when the sender is
// nobody, to postmaster.
func TestBounces(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{Script: func(_ *sinktest.Session, verb, arg string) string {
		if verb == "RCPT" && strings.Contains(arg, "nobody@") {
			return "550 5.1.1 User unknown"
		}
		return ""
	}})
	c := outConfig(t, sink.Addr().String())
	c.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := start(t, c, nil)
	for _, from := range []string{r.user, "", "stranger@example.org"} {
		if err := smtp.SendMail(r.addr(config.SMTP), nil, from, []string{"nobody@example.net"}, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range r.mailbox(t, 2) {
		if !strings.HasPrefix(m, "Return-Path: <>\r\n") || !strings.Contains(m, "\r\nTo: <postmaster@example.com>\r\n") || !strings.Contains(m, "Diagnostic-Code: smtp; 550 5.1.1 User unknown") {
			t.Errorf("notice: %q", m)
		}
	}
	// The stranger's goes out as it came in: through the queue.
	if m := sink.Wait(t, 1, limit)[0]; !strings.HasPrefix(m.From, "<> ") || strings.Join(m.To, " ") != "<stranger@example.org>" || !strings.Contains(m.Text, "User unknown") {
		t.Errorf("notice for a sender elsewhere: %+v", m)
	}
	r.emptyQueue(t)
}

// The sender of a message has no account any more when it comes back.
func TestNoticeForNobody(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
		if verb == "RCPT" {
			return "550 5.1.1 User unknown"
		}
		return ""
	}})
	c := outConfig(t, sink.Addr().String())
	c.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := start(t, c, nil)
	if err := smtp.SendMail(r.addr(config.SMTP), nil, "gone@example.com", []string{"x@example.net"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	r.emptyQueue(t)
}

// Without a configuration nothing goes out: nobody could answer to @localhost.
func TestNothingGoesOutWithoutConfiguration(t *testing.T) {
	r := start(t, testConfig(t, false), nil)
	err := smtp.SendMail(r.addr(config.Submission), smtp.PlainAuth("", r.user, r.password, "127.0.0.1"), r.user, []string{"x@example.org"}, []byte(text))
	if replyOf(err) != "550 5.7.1 This server only receives mail (relay.allow is false)" {
		t.Error(err)
	}
}

// A message for here and for elsewhere is taken in both places or in none.
func TestBothOrNone(t *testing.T) {
	c := outConfig(t, "127.0.0.1:1")
	r := start(t, c, nil)
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	to := []string{r.user, "hanako@example.net"}
	if err := os.RemoveAll(queue.Dir(c.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, to, []byte(text)); replyOf(err) != "451 4.3.0 Message cannot be stored at present; try again later" {
		t.Errorf("without a queue folder: %v", err)
	}
	for _, dir := range []string{queue.Dir(c.DataDir), filepath.Join(queue.Dir(c.DataDir), "commands")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mail := filepath.Join(c.DataDir, "mail")
	if err := os.RemoveAll(mail); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, to, []byte(text)); replyOf(err) != "451 4.3.0 Message cannot be stored at present; try again later" {
		t.Errorf("without a mail folder: %v", err)
	}
	entries, err := os.ReadDir(queue.Dir(c.DataDir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the queue: %v, %v", entries, err)
	}
	if err := os.Remove(mail); err != nil { // or the journal could not be emptied
		t.Fatal(err)
	}
}

func TestDiskFullIs452(t *testing.T) {
	tx := &transaction{log: slog.New(slog.DiscardHandler)}
	for err, want := range map[error]int{
		&fs.PathError{Op: "write", Err: syscall.ENOSPC}: 452,
		store.ErrReadOnly:     452,
		queue.ErrLineEnds:     451,
		errors.New("strange"): 451,
	} {
		if got := tx.diskFailed(err); got.Code != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestPasswordFileMissing(t *testing.T) {
	c := outConfig(t, "127.0.0.1:1")
	c.Relay.Auth = config.RelayAuth{Username: "x", PasswordFile: filepath.Join(t.TempDir(), "none")}
	_, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	var p *PasswordError
	if !errors.As(err, &p) || !strings.Contains(err.Error(), c.Relay.Auth.PasswordFile) {
		t.Errorf("New: %v", err)
	}
}

// Stopping with mail in the queue and an attempt under way leaves the message
// for the next start, which delivers it once.
func TestStopAndStartAgain(t *testing.T) {
	var mu sync.Mutex
	hang := true
	reached := make(chan struct{}, 10)
	sink := sinktest.New(t, sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
		mu.Lock()
		defer mu.Unlock()
		if verb == "MAIL" {
			reached <- struct{}{}
			if hang {
				return sinktest.Hang
			}
		}
		return ""
	}})
	c := outConfig(t, sink.Addr().String())
	r := start(t, c, func(s *Server) {
		o := s.queueOptions(s.state.Load())
		o.Grace = 10 * time.Millisecond
		s.queue.Configure(o)
	})
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, []string{"hanako@example.net"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	hang = false
	mu.Unlock()
	again, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, created, err := again.FirstAccount(); created || err != nil {
		t.Fatalf("the account is gone: %v", err)
	}
	second := runAgain(t, again)
	if m := sink.Wait(t, 1, limit)[0]; !strings.HasSuffix(m.Text, text) {
		t.Errorf("%q", m.Text)
	}
	second.emptyQueue(t)
	if n := len(sink.Messages()); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// The language of a notice: that of the account, of the one behind an alias,
// else the configuration's, else the one the server was started with.
func TestLanguageOfNotices(t *testing.T) {
	c := outConfig(t, "127.0.0.1:1")
	r := start(t, c, nil)
	files := r.accounts()
	for _, err := range []error{
		func() error { _, err := files.Add("taro", "example.com", "correct horse battery"); return err }(),
		func() error { _, err := files.Add("hanako", "example.com", "correct horse battery"); return err }(),
		files.SetForward("sales", "example.com", []string{"hanako@example.com", "taro@example.com"}),
		files.SetForward("away", "example.com", []string{"x@example.net"}),
		files.SetLang("taro", "example.com", "ja"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want map[string]codes.Lang) {
		t.Helper()
		for to, lang := range want {
			if got := r.langOf(to); got != lang {
				t.Errorf("%s: %s, want %s", to, got, lang)
			}
		}
	}
	check(map[string]codes.Lang{"taro@example.com": "ja", "TARO@Example.com": "ja", "hanako@example.com": "en", "sales@example.com": "ja",
		"away@example.com": "en", "nobody@example.com": "en", "a@example.net": "en", "": "en"})
	changed := *c
	changed.Lang = "ja"
	if _, err := r.Reload(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	check(map[string]codes.Lang{"hanako@example.com": "ja", "a@example.net": "ja"})
	if err := files.SetLang("hanako", "example.com", "en"); err != nil {
		t.Fatal(err)
	}
	check(map[string]codes.Lang{"hanako@example.com": "en", "taro@example.com": "ja"})
}
