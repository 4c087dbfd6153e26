package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is the default configuration on ports of the system's choice, or,
// with file set, as if it came from a file.
func testConfig(t *testing.T, file bool) *config.Config {
	t.Helper()
	c := config.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	for i := range c.Listen {
		c.Listen[i].Addr = "127.0.0.1:0"
	}
	c.Web = nil
	if file {
		c.File = "mailsrv.toml"
		c.Listen = append(c.Listen, config.Listener{Service: config.Submissions, Addr: "127.0.0.1:0"}, config.Listener{Service: config.POP3S, Addr: "127.0.0.1:0"})
	}
	return c
}

// running is a server that has been started, with a first account.
type running struct {
	*Server
	user, password string
	stop           func() error // waits until it has ended
}

func start(t *testing.T, c *config.Config, change func(*Server)) *running {
	t.Helper()
	s, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	a, password, created, err := s.FirstAccount()
	if err != nil || !created {
		t.Fatalf("first account: %v, %v", created, err)
	}
	if change != nil {
		change(s)
	}
	r := runAgain(t, s)
	r.user, r.password = a.Address(), password
	return r
}

// runAgain runs a server until the test ends or stop is called.
func runAgain(t *testing.T, s *Server) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r := &running{Server: s}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) addr(service string) string {
	for _, a := range r.Addrs() {
		if a.Service == service {
			return a.Addr
		}
	}
	return ""
}

// pop runs POP3 commands and returns the first line of each answer, or the
// whole content for RETR.
func (r *running) pop(t *testing.T, conn net.Conn, commands ...string) []string {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	line := func() string {
		s, err := in.ReadString('\n')
		if err != nil {
			return "EOF"
		}
		return strings.TrimSuffix(s, "\r\n")
	}
	line()
	var out []string
	for _, c := range append([]string{"USER " + r.user, "PASS " + r.password}, commands...) {
		fmt.Fprintf(conn, "%s\r\n", c)
		answer := line()
		if strings.HasPrefix(c, "RETR") && strings.HasPrefix(answer, "+OK") {
			var b strings.Builder
			for l := line(); l != "."; l = line() {
				b.WriteString(strings.TrimPrefix(l, ".") + "\r\n")
			}
			answer = b.String()
		}
		out = append(out, answer)
	}
	return out[2:]
}

// Mail for postmaster and abuse is taken in every domain, whoever was named for
// it, and goes to somebody who is there.
func TestRequiredAddresses(t *testing.T) {
	c := testConfig(t, false)
	c.Domains = []string{"example.com", "example.jp"}
	accounts := account.Open(c.DataDir, c.Domains)
	for _, a := range [][2]string{{"taro", "example.com"}, {"hanako", "example.jp"}} {
		if _, err := accounts.Add(a[0], a[1], "correct horse battery"); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	r := runAgain(t, s)
	session := connect(t, r.addr(config.SMTP))
	for _, step := range [][2]string{
		{"", "220 "}, {"HELO c", "250 "}, {"MAIL FROM:<>", "250 2.1.0 "},
		{"RCPT TO:<Postmaster>", "250 2.1.5 "}, {"RCPT TO:<POSTMASTER@example.jp>", "250 2.1.5 "}, {"RCPT TO:<abuse@example.JP>", "250 2.1.5 "},
		{"RCPT TO:<webmaster@example.com>", "550 5.1.1 "}, {"RCPT TO:<postmaster@example.org>", "550 5.7.1 "},
	} {
		if got := session.do(step[0]); !strings.HasPrefix(got, step[1]) {
			t.Errorf("%s: %s", step[0], got)
		}
	}
	for address, want := range map[[2]string]string{{"postmaster", "example.com"}: "taro@example.com", {"postmaster", "example.jp"}: "hanako@example.jp", {"abuse", "example.jp"}: "hanako@example.jp"} {
		if route, err := accounts.Resolve(address[0], address[1]); err != nil || len(route.Boxes) != 1 || route.Boxes[0].Address() != want {
			t.Errorf("%s: %+v, %v; want %s", address, route, err, want)
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const text = "Subject: hello\r\n\r\n.dot\r\n8-bit \xff\r\n"

func TestMailFlows(t *testing.T) {
	r := start(t, testConfig(t, false), nil)
	if err := smtp.SendMail(r.addr(config.SMTP), nil, "a@example.net", []string{r.user, "POSTMASTER@localhost"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, []string{r.user}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	got := r.pop(t, dial(t, r.addr(config.POP3)), "STAT", "RETR 1", "RETR 2", "QUIT")
	if !strings.HasPrefix(got[0], "+OK 2 ") {
		t.Errorf("STAT: %s (two recipients of one person are one copy)", got[0])
	}
	for i, from := range []string{"a@example.net", r.user} {
		m := got[i+1]
		if !strings.HasPrefix(m, "Return-Path: <"+from+">\r\nReceived: from localhost ([127.0.0.1])\r\n\tby localhost with UTF8SMTP") || !strings.HasSuffix(m, "+0000\r\n"+text) {
			t.Errorf("message %d: %q", i+1, m)
		}
	}
	for name, tt := range map[string]struct {
		service, from, to, want string
	}{
		"relay":       {config.SMTP, "a@example.net", "x@example.org", "550 5.7.1 User not local. Authentication required for relay"},
		"unknown":     {config.SMTP, "a@example.net", "nobody@localhost", "550 5.1.1 <nobody@localhost>: no such user here"},
		"no login":    {config.Submission, r.user, r.user, "530 5.7.0 Authentication required"},
		"percent":     {config.SMTP, "a@example.net", "x%example.org@localhost", "550 5.1.1 <x%example.org@localhost>: no such user here"},
		"null sender": {config.SMTP, "", "x@example.org", "550 5.7.1 User not local. Authentication required for relay"},
	} {
		if err := smtp.SendMail(r.addr(tt.service), nil, tt.from, []string{tt.to}, []byte(text)); replyOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func replyOf(err error) string {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(reply.Code, " ", reply.Msg)
}

func TestTLS(t *testing.T) {
	r := start(t, testConfig(t, true), nil)
	insecure := &tls.Config{InsecureSkipVerify: true}
	c, err := smtp.Dial(r.addr(config.Submission))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(insecure); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", r.user, r.password, "127.0.0.1")); err != nil {
		t.Error(err)
	}
	conn, err := tls.Dial("tcp", r.addr(config.POP3S), insecure)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.pop(t, conn, "STAT"); got[0] != "+OK 0 0" {
		t.Error(got)
	}
	if cert := conn.ConnectionState().PeerCertificates[0]; cert.VerifyHostname("localhost") != nil {
		t.Errorf("certificate for %v", cert.DNSNames)
	}
}

// Away from loopback a password needs TLS.
func TestRequireTLS(t *testing.T) {
	ip := ownAddress()
	if ip == nil {
		t.Skip("this machine has no address but loopback")
	}
	c := testConfig(t, true)
	for i := range c.Listen {
		c.Listen[i].Addr = net.JoinHostPort(ip.String(), "0")
	}
	r := start(t, c, nil)
	client, err := smtp.Dial(r.addr(config.Submission))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if ok, _ := client.Extension("AUTH"); ok {
		t.Error("AUTH is offered without TLS")
	}
	if id, err := client.Text.Cmd("AUTH PLAIN AHgAeQ=="); err != nil {
		t.Fatal(err)
	} else {
		client.Text.StartResponse(id)
		_, reply, err := client.Text.ReadResponse(538)
		client.Text.EndResponse(id)
		if err != nil || reply != "5.7.11 Encryption required: send STARTTLS first" {
			t.Errorf("AUTH without TLS: %q, %v", reply, err)
		}
	}
	if err := client.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if ok, _ := client.Extension("AUTH"); !ok {
		t.Error("AUTH is not offered with TLS")
	}
	got := r.pop(t, dial(t, r.addr(config.POP3)), "STAT")
	if got[0] != "-ERR Log in first" {
		t.Errorf("POP3 login without TLS, then STAT: %q", got)
	}
}

func ownAddress() net.IP {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP
		}
	}
	return nil
}

func TestListensEverywhereOrNowhere(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	c := testConfig(t, false)
	c.Listen[2].Addr = held.Addr().String()
	s, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Listen()
	var listen *ListenError
	if !errors.As(err, &listen) || listen.Service != config.POP3 || listen.Addr != held.Addr().String() {
		t.Fatalf("Listen: %v", err)
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		t.Errorf("no error number in %v", err)
	}
	if len(s.Addrs()) != 0 {
		t.Errorf("still listening on %v", s.Addrs())
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	c := testConfig(t, false)
	r := start(t, c, nil)
	_, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if diff := cmp.Diff(&store.LockedError{Dir: c.DataDir, PID: os.Getpid()}, err); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Once it answers, it has said where it listens.
	r.pop(t, dial(t, r.addr(config.POP3)))
	run, alive, err := store.ReadRun(c.DataDir)
	if err != nil || !alive || run.Version != "test" || !cmp.Equal(run.Listen, r.Addrs()) {
		t.Errorf("run file %+v, running %v, %v", run, alive, err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, alive, err = store.ReadRun(c.DataDir); alive || err != nil {
		t.Errorf("after the end: running %v, %v", alive, err)
	}
}

func TestFirstAccountOnlyOnce(t *testing.T) {
	r := start(t, testConfig(t, false), nil)
	if r.user != "postmaster@localhost" {
		t.Errorf("first account %s", r.user)
	}
	if _, _, created, err := r.FirstAccount(); created || err != nil {
		t.Errorf("a second first account: %v, %v", created, err)
	}
}

// Whoever makes an account before the first start is the postmaster.
func TestFirstAccountIsPostmaster(t *testing.T) {
	s, err := New(testConfig(t, false), "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.accounts().Add("taro", "localhost", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, created, err := s.FirstAccount(); created || err != nil {
			t.Errorf("created %v, %v", created, err)
		}
	}
	for _, role := range []string{"postmaster", "abuse"} {
		if a, err := s.accounts().Lookup(role, "localhost"); err != nil || len(a.Forward) != 1 || a.Forward[0] != "taro@localhost" {
			t.Errorf("%s: %+v, %v", role, a, err)
		}
	}
}

func TestBadCertificate(t *testing.T) {
	c := testConfig(t, true)
	c.TLS = config.TLS{Cert: filepath.Join(t.TempDir(), "missing.crt"), Key: "missing.key"}
	_, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	var cert *CertError
	if !errors.As(err, &cert) || !strings.Contains(err.Error(), c.TLS.Cert) {
		t.Errorf("New: %v", err)
	}
	if l, err := store.Acquire(c.DataDir); err != nil {
		t.Errorf("the lock stays: %v", err)
	} else {
		l.Release()
	}
}

// crashing is a store whose mailboxes cannot be opened without a crash.
type crashing struct{ store.Store }

func (crashing) Open(store.Box, store.By) (store.Mailbox, error) { panic("test crash") }

func TestCrashIsRecorded(t *testing.T) {
	c := testConfig(t, false)
	r := start(t, c, func(s *Server) { s.store = crashing{s.store} })
	other := dial(t, r.addr(config.SMTP))
	defer other.Close()
	conn := dial(t, r.addr(config.POP3))
	got := r.pop(t, conn, "STAT")
	if got[0] != "EOF" {
		t.Errorf("after the crash: %q", got)
	}
	files, err := filepath.Glob(filepath.Join(c.DataDir, "crash", "crash-*.txt"))
	if err != nil || len(files) != 1 {
		t.Fatalf("crash files %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil || !bytes.HasPrefix(data, []byte("panic: test crash\n")) || !bytes.Contains(data, []byte("server_test.go")) {
		t.Errorf("%v, crash file:\n%s", err, data)
	}
	if b := make([]byte, 4); true {
		_ = other.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(other, b); err != nil || string(b) != "220 " {
			t.Errorf("another session: %q, %v", b, err)
		}
	}
}

func TestTemporaryAccounts(t *testing.T) {
	c := testConfig(t, false)
	r := start(t, c, nil)
	// Made by another process, as doctor does.
	doctor := account.Open(c.DataDir, c.Domains)
	a, password, err := doctor.AddTemporary(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := smtp.SendMail(r.addr(config.Submission), smtp.PlainAuth("", a.Address(), password, "127.0.0.1"), a.Address(), []string{a.Address()}, []byte(text)); err != nil {
		t.Error(err)
	}
	over, _, err := doctor.AddTemporary(-time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := store.New(c.DataDir).Begin("X", []store.Box{boxOf(over)}); err != nil {
		t.Fatal(err)
	} else if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	r.sweepOnce()
	if _, err := os.Stat(doctor.File(over.Name, over.Domain)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("account whose time is over: %v", err)
	}
	if _, err := os.Stat(store.Dir(c.DataDir, boxOf(over))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its mailbox: %v", err)
	}
	if _, err := os.Stat(store.Dir(c.DataDir, boxOf(a))); err != nil {
		t.Errorf("mailbox of the other: %v", err)
	}
}
