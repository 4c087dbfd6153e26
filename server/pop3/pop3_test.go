package pop3

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
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/keys"
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

func TestDialogues(t *testing.T) {
	messages := []string{"Subject: 1\r\n\r\none\r\n", "Subject: 2\r\n\r\n.two\r\n..\r\nlast\r\n"}
	for name, dialogue := range map[string]string{
		"before the login": `
			C: CAPA
			S: +OK Capability list follows
			S: TOP
			S: UIDL
			S: RESP-CODES
			S: AUTH-RESP-CODE
			S: PIPELINING
			S: UTF8 USER
			S: EXPIRE NEVER
			S: USER
			S: SASL PLAIN LOGIN
			S: IMPLEMENTATION mailsrv
			S: .
			C: STAT
			S: -ERR Log in first
			C: NOOP
			S: -ERR Log in first
			C: PASS x
			S: -ERR Send USER first
			C: USER
			S: -ERR USER wants a name
			C: APOP taro c4c9334bac560ecc979e58001b3e22fb
			S: -ERR APOP is not available: passwords are kept in a form that it cannot use; log in with USER or AUTH over TLS
			C: STLS
			S: -ERR TLS is not available here
			C: XYZZY
			S: -ERR Unknown command
			C: USER broken
			S: +OK Password please
			C: PASS x
			S: -ERR [SYS/TEMP] Login cannot be checked at present; try again later
			C: QUIT
			S: +OK Bye
			S: EOF`,
		"logins": `
			C: USER nobody
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: AUTH
			S: +OK Mechanisms follow
			S: PLAIN
			S: LOGIN
			S: .
			C: AUTH CRAM-MD5
			S: -ERR Mechanism is not offered; these are: PLAIN LOGIN
			C: AUTH PLAIN
			S: +
			C: *
			S: -ERR Login cancelled
			C: AUTH PLAIN !
			S: -ERR Initial response is no base64
			C: AUTH LOGIN
			S: + VXNlcm5hbWU6
			C: dGFybw==
			S: + UGFzc3dvcmQ6
			C: d3Jvbmc=
			S: -ERR [AUTH] User name or password is wrong
			C: AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
			S: +OK Mailbox has 2 messages (49 octets)
			C: USER taro
			S: -ERR You are logged in already`,
		"too many failed logins": `
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong; too many failed logins
			S: EOF`,
		"a mailbox": `
			C: USER taro
			S: +OK Password please
			C: PASS correct horse battery
			S: +OK Mailbox has 2 messages (49 octets)
			C: stat
			S: +OK 2 49
			C: LIST
			S: +OK 2 messages (49 octets)
			S: 1 19
			S: 2 30
			S: .
			C: LIST 2
			S: +OK 2 30
			C: LIST 3
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST 0
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST -1
			S: -ERR The message number is no number
			C: LIST +1
			S: -ERR The message number is no number
			C: LIST 99999999999999999999
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST one
			S: -ERR The message number is no number
			C: RETR
			S: -ERR The command wants a message number
			C: RETR 2
			S: +OK 30 octets
			S: Subject: 2
			S:
			S: ..two
			S: ...
			S: last
			S: .
			C: TOP 2 1
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: ..two
			S: .
			C: TOP 2 0
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: .
			C: TOP 2 100
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: ..two
			S: ...
			S: last
			S: .
			C: TOP 1 99999999999999999999
			S: +OK Top of message follows
			S: Subject: 1
			S:
			S: one
			S: .
			C: TOP 1 +1
			S: -ERR The number of lines is no number
			C: TOP 2
			S: -ERR TOP wants a message number and a number of lines
			C: TOP 2 -1
			S: -ERR The number of lines is no number
			C: DELE 1
			S: +OK Message 1 will be deleted at QUIT
			C: DELE 1
			S: -ERR Message 1 is deleted
			C: RETR 1
			S: -ERR Message 1 is deleted
			C: STAT
			S: +OK 1 30
			C: LIST
			S: +OK 1 messages (30 octets)
			S: 2 30
			S: .
			C: RSET
			S: +OK Mailbox has 2 messages (49 octets)
			C: NOOP
			S: +OK Nothing done
			C: XTND XMIT
			S: -ERR Unknown command
			C: QUIT
			S: +OK Bye
			S: EOF`,
	} {
		t.Run(name, func(t *testing.T) { newRig(t, nil, messages...).dial(t).talk(dialogue) })
	}
}

func TestDeletedAtQuitOnly(t *testing.T) {
	r := newRig(t, nil, "one\r\n", "two\r\n", "three\r\n")
	uidl := func() []string {
		p := r.dial(t)
		p.login()
		list := strings.Split(p.raw("UIDL"), "\r\n")
		p.do("QUIT")
		return list[:len(list)-1]
	}
	before := uidl()
	p := r.dial(t)
	p.login()
	p.do("DELE 2")
	p.Close() // no QUIT: nothing is deleted, and the lock is gone with the connection
	waitUnlocked(t, r)
	if got := uidl(); strings.Join(got, " ") != strings.Join(before, " ") {
		t.Errorf("after a lost connection %v, want %v", got, before)
	}
	p = r.dial(t)
	p.login()
	p.send("DELE 2\r\nQUIT\r\n")
	p.line()
	if got := p.line(); got != "+OK Bye" {
		t.Fatal(got)
	}
	after := uidl()
	want := []string{before[0], "2 " + strings.TrimPrefix(before[2], "3 ")}
	if strings.Join(after, " ") != strings.Join(want, " ") {
		t.Errorf("after QUIT %v, want %v", after, want)
	}
}

// sticky is a store whose messages cannot be deleted.
type sticky struct{ store.Store }

type stickyMailbox struct{ store.Mailbox }

func (s sticky) Open(b store.Box, by store.By) (store.Mailbox, error) {
	m, err := s.Store.Open(b, by)
	return stickyMailbox{m}, err
}

func (stickyMailbox) Delete([]int) error { return errors.New("message 1: stuck") }

// What could not be deleted is neither said nor logged to be.
func TestFailedDelete(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(r *rig) {
		r.Store = sticky{r.Store}
		r.Log = slog.New(slog.NewTextHandler(&log, nil))
	}, "one\r\n", "two\r\n")
	p := r.dial(t)
	p.login()
	p.do("DELE 1")
	if got := p.do("QUIT"); got != "-ERR [SYS/TEMP] Some deleted messages could not be removed" {
		t.Error(got)
	}
	if got := p.line(); got != "EOF" {
		t.Error(got)
	}
	r.group.Stop(t.Context())
	if got := log.String(); !strings.Contains(got, "stuck") || strings.Contains(got, "message deleted") || strings.Contains(got, "deleted=1") {
		t.Errorf("log:\n%s", got)
	}
}

// waitUnlocked returns when the mailbox can be opened.
func waitUnlocked(t *testing.T, r *rig) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m, err := r.Store.Open(box, store.By{Client: "test"}); err == nil {
			m.Close()
			return
		}
	}
	t.Fatal("the mailbox stays locked")
}

func TestInUse(t *testing.T) {
	r := newRig(t, nil, "one\r\n")
	first := r.dial(t)
	first.login()
	second := r.dial(t)
	second.do("USER taro")
	got := second.do("PASS " + password)
	if !regexp.MustCompile(`^-ERR \[IN-USE\] Mailbox is open in another session, from 127\.0\.0\.1 since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d`).MatchString(got) {
		t.Errorf("second login: %q", got)
	}
	if got := first.do("QUIT"); got != "+OK Bye" {
		t.Fatal(got)
	}
	second.login() // in the same connection
}

// Go's decoder skips CR; a line of the login holds base64 and nothing else.
func TestCRInLogin(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.do("AUTH LOGIN")
	if got := p.do("dGFy\rbw=="); got != "-ERR Response is no base64" {
		t.Error(got)
	}
}

func TestTooManyLongLines(t *testing.T) {
	p := newRig(t, nil).dial(t)
	for range maxErrors {
		if got := p.do(strings.Repeat("x", maxCommand)); got != "-ERR Line too long" {
			t.Fatal(got)
		}
	}
	if got := p.line(); got != "-ERR Too many errors" {
		t.Error(got)
	}
}

// What comes out is what went in, and as long as LIST says.
func TestOctetsAreExact(t *testing.T) {
	messages := []string{
		".\r\n..\r\n.a\r\n", "\r\n", "\x00\xff\r\n", strings.Repeat("x", 70_000) + "\r\n", strings.Repeat(".", 70_000) + "\r\n",
		strings.Repeat("y", 32<<10-1) + "\r\n.z\r\n",
	}
	r := newRig(t, nil, messages...)
	p := r.dial(t)
	p.login()
	for i, want := range messages {
		raw := p.raw(fmt.Sprint("RETR ", i+1))
		var got strings.Builder
		for _, line := range strings.SplitAfter(raw, "\r\n") {
			got.WriteString(strings.TrimPrefix(line, "."))
		}
		if got.String() != want {
			t.Errorf("message %d: %.100q, want %.100q", i+1, got.String(), want)
		}
		if list := p.do(fmt.Sprint("LIST ", i+1)); list != fmt.Sprintf("+OK %d %d", i+1, len(want)) {
			t.Errorf("message %d has %d octets: %s", i+1, len(want), list)
		}
	}
}

func TestDamagedAndGone(t *testing.T) {
	r := newRig(t, nil, "first\r\n", "second\r\n", "third\r\n")
	p := r.dial(t)
	p.login()
	files, err := filepath.Glob(filepath.Join(r.dir, "mail", "*", "*", "Maildir", "new", "*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[1], 3); err != nil {
		t.Fatal(err)
	}
	p.talk(`C: RETR 1
		S: -ERR [SYS/TEMP] Message 1 is gone: another program has deleted its file; log in again to see what is there
		C: RETR 2
		S: +OK 8 octets
		S: sec
		S: .
		C: RETR 3
		S: +OK 7 octets
		S: third
		S: .`)
}

func TestTLS(t *testing.T) {
	withTLS := func(implicit bool) func(*rig) {
		return func(r *rig) {
			cfg, err := keys.SelfSigned(t.TempDir(), "mail.example.com", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r.TLS, r.ImplicitTLS = cfg, implicit
		}
	}
	handshake := func(p *peer) {
		c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		p.Conn, p.r = c, bufio.NewReader(c)
	}
	t.Run("STLS", func(t *testing.T) {
		p := newRig(t, withTLS(false), "one\r\n").dial(t)
		p.do("USER evil")
		p.send("STLS\r\nUSER taro\r\nPASS " + password + "\r\n") // injected: thrown away
		if got := p.line(); got != "+OK Begin TLS" {
			t.Fatal(got)
		}
		handshake(p)
		p.talk(`C: PASS correct horse battery
			S: -ERR Send USER first
			C: STLS
			S: -ERR TLS is on already`)
		p.login()
	})
	t.Run("from the start", func(t *testing.T) {
		p := newRig(t, withTLS(true), "one\r\n").dial(t)
		handshake(p)
		if got := p.line(); got != "+OK mail.example.com POP3 mailsrv" {
			t.Fatal(got)
		}
		p.login()
	})
}

func TestTimeoutAndStop(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Limits.Idle = 200 * time.Millisecond }, "one\r\n")
	p := r.dial(t)
	p.login()
	p.send("STA")
	if got := p.line(); got != "-ERR Timeout waiting for the client; nothing was deleted" {
		t.Error(got)
	}
	waitUnlocked(t, r)

	r = newRig(t, nil, "one\r\n")
	p, marked := r.dial(t), r.dial(t)
	marked.login()
	marked.do("DELE 1")
	stopped := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- r.group.Stop(ctx)
	}()
	if got := p.line(); got != "-ERR [SYS/TEMP] Server is stopping; nothing was deleted; try again later" {
		t.Error(got)
	}
	p.Close()
	// Who has marked messages may still say QUIT.
	if got := marked.do("QUIT"); got != "+OK Bye" {
		t.Error(got)
	}
	if cut := <-stopped; cut != 0 {
		t.Errorf("%d sessions cut off", cut)
	}
}

var replyLine = regexp.MustCompile(`^(\+OK|-ERR|\+) [ -~]*\r$|^[A-Z0-9 .-]+( mailsrv)?\r$`)

// FuzzSession throws octets at a session without a login.
func FuzzSession(f *testing.F) {
	for _, s := range []string{"CAPA\r\nUSER a\r\nPASS b\r\n", "AUTH PLAIN\r\nAHRhcm8AeA==\r\n", "STLS\r\n", "AUTH LOGIN =\n*\n", "\x00\xff\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		here, there := net.Pipe()
		s := &Server{Service: "pop3", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN", "LOGIN"}, Accounts: oneAccount{},
			Store: store.New(t.TempDir()), Limits: Limits{AuthFailures: 3, Idle: time.Second}, Log: slog.New(slog.DiscardHandler)}
		go func() {
			s.Serve(conn.New(there, time.Second))
			there.Close()
		}()
		go func() {
			here.SetWriteDeadline(time.Now().Add(time.Second))
			here.Write(in)
			here.Write([]byte("\r\nQUIT\r\nQUIT\r\n"))
		}()
		out, _ := io.ReadAll(here)
		here.Close()
		for _, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
			if !replyLine.Match(line) {
				t.Errorf("%q: answered %q", in, line)
			}
		}
	})
}

// FuzzStuff holds the sender of messages against its inverse.
func FuzzStuff(f *testing.F) {
	f.Add([]byte("a\r\n.b\r\n..\r\n"), -1)
	f.Add([]byte("a: b\r\n\r\nc\r\nd\r\n"), 1)
	f.Add([]byte("no end"), 0)
	f.Fuzz(func(t *testing.T, message []byte, lines int) {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if _, err := sendStuffed(w, bytes.NewReader(message), lines, func(int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		content, ok := bytes.CutSuffix(b.Bytes(), []byte(".\r\n"))
		if !ok {
			t.Fatalf("%q: no end in %q", message, b.Bytes())
		}
		var got []byte
		for _, line := range bytes.SplitAfter(content, []byte("\n")) {
			if string(line) == ".\r\n" {
				t.Errorf("%q: ends early in %q", message, content)
			}
			got = append(got, bytes.TrimPrefix(line, []byte("."))...)
		}
		if lines < 0 {
			if len(message) > 0 && message[len(message)-1] != '\n' {
				message = append(message, "\r\n"...)
			}
			if !bytes.Equal(got, message) {
				t.Errorf("sent %q, want %q", got, message)
			}
		} else if !bytes.HasPrefix(append(message, "\r\n"...), got) {
			t.Errorf("TOP %d of %q sent %q", lines, message, got)
		}
	})
}
