package pop3

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "correct horse battery"

var verifier = account.NewVerifier(password)

// oneAccount is a directory with taro@example.com, without files.
type oneAccount struct{}

var taro = account.Account{Name: "taro", Domain: "example.com"}
var box = store.Box{Name: "taro", Domain: "example.com"}

func (oneAccount) Lookup(string, string) (account.Account, error) { return taro, nil }
func (oneAccount) Resolve(string, string) (account.Route, error)  { return account.Route{}, nil }
func (oneAccount) Domains() []string                              { return nil }
func (oneAccount) Authenticate(login, pw string) (account.Account, error) {
	switch {
	case login == "broken":
		return account.Account{}, &account.DamagedError{File: "x", Reason: "test"}
	case login == "slow":
		return account.Account{}, &account.ThrottledError{Wait: time.Minute}
	case login == "taro" && pw == password:
		return taro, nil
	}
	return account.Account{}, account.ErrCredentials
}
func (oneAccount) Verifier(string) (account.Verifier, account.Account, error) {
	return verifier, taro, nil
}

type rig struct {
	*Server
	dir, addr string
	group     *conn.Group
}

// newRig serves a mailbox with these messages on a real socket.
func newRig(t *testing.T, change func(*rig), messages ...string) *rig {
	t.Helper()
	dir := t.TempDir()
	s := store.New(dir)
	for i, text := range messages {
		m, err := s.Begin(fmt.Sprint("ID", i), []store.Box{box})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(m, text); err != nil {
			t.Fatal(err)
		}
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{dir: dir, Server: &Server{
		Service: "pop3", Hostname: "mail.example.com", RequireTLS: true, Mechanisms: []string{"PLAIN", "LOGIN"},
		Accounts: oneAccount{}, Store: s, Limits: Limits{AuthFailures: 3, Idle: 30 * time.Second}, Log: slog.New(slog.DiscardHandler),
	}}
	if change != nil {
		change(r)
	}
	r.group = &conn.Group{Log: r.Log, Limits: conn.Limits{Total: 10, PerIP: 5, Idle: r.Limits.Idle}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	r.group.Serve("pop3", ln, r.Server)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.group.Stop(ctx)
	})
	return r
}

type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (r *rig) dial(t *testing.T) *peer {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t, c, bufio.NewReader(c)}
	if !r.ImplicitTLS {
		if got := p.line(); got != "+OK mail.example.com POP3 mailsrv" {
			t.Fatalf("greeting %q", got)
		}
	}
	return p
}

func (p *peer) line() string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err == io.EOF && line == "" {
		return "EOF"
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if err != nil || !ok {
		p.t.Fatalf("read %q, %v", line, err)
	}
	return text
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) do(command string) string {
	p.t.Helper()
	p.send(command + "\r\n")
	return p.line()
}

// raw returns the octets of a multi-line answer as they come, the first line
// and the final dot left out.
func (p *peer) raw(command string) string {
	p.t.Helper()
	if first := p.do(command); !strings.HasPrefix(first, "+OK") {
		p.t.Fatalf("%s: %s", command, first)
	}
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatal(err)
		}
		if line == ".\r\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

func (p *peer) login() {
	p.t.Helper()
	p.do("USER taro")
	if got := p.do("PASS " + password); !strings.HasPrefix(got, "+OK") {
		p.t.Fatal(got)
	}
}

// talk plays lines "C: ..." and "S: ...".
func (p *peer) talk(dialogue string) {
	p.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(dialogue), "\n") {
		who, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if who == "C" {
			p.send(text + "\r\n")
		} else if got := p.line(); strings.TrimRight(got, " ") != strings.TrimPrefix(text, "S:") {
			p.t.Errorf("server said %q\nwant        %q", got, text)
		}
	}
}
