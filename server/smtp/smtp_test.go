package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/conn"
	"mailsrv/server/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeBackend takes mail for example.com into memory.
type fakeBackend struct {
	mu       sync.Mutex
	messages []fakeMessage
	dataFail *Reply // what Data answers instead of taking the message
	commit   Reply  // what Commit answers, when set
	panicAt  string // recipient that makes the backend panic
}

type fakeMessage struct {
	from, to, text string
	client         Client
	sender         Sender
	rcpts          []Recipient
}

type fakeTransaction struct {
	b      *fakeBackend
	client Client
	from   address.Address
	sender Sender
	rcpts  []Recipient
	to     []string
}

type fakeData struct {
	bytes.Buffer
	t    *fakeTransaction
	done bool
}

func (b *fakeBackend) Begin(_ string, c Client) Transaction { return &fakeTransaction{b: b, client: c} }

func (t *fakeTransaction) Mail(from Sender) (address.Address, Reply) {
	if from.Address.Domain == "spam.example" {
		return from.Address, Reply{550, "5.7.1", "Not you"}
	}
	t.sender, t.from = from, from.Address
	return from.Address, Reply{250, "2.1.0", "Sender ok"}
}

func (t *fakeTransaction) Rcpt(rcpt Recipient) (address.Address, Reply) {
	to := rcpt.Address
	t.rcpts = append(t.rcpts, rcpt)
	if to.Local == t.b.panicAt {
		panic("test panic for " + to.String())
	}
	if to.Domain != "example.com" {
		return to, Reply{550, "5.7.1", "User not local. Authentication required for relay"}
	}
	t.to = append(t.to, to.String())
	return to, Reply{250, "2.1.5", "Recipient ok"}
}

func (t *fakeTransaction) Data() (Message, Reply) {
	if t.b.dataFail != nil {
		return nil, *t.b.dataFail
	}
	return &fakeData{t: t}, Reply{}
}

func (d *fakeData) Abort() { d.done = true }

func (d *fakeData) Commit() Reply {
	d.done = true
	b := d.t.b
	if b.commit.Code != 0 {
		return b.commit
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, fakeMessage{d.t.from.String(), strings.Join(d.t.to, " "), d.String(), d.t.client, d.t.sender, d.t.rcpts})
	return Reply{250, "2.0.0", "Ok"}
}

func (b *fakeBackend) taken() []fakeMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.messages
}

// rig is a server on a real socket.
type rig struct {
	*Server
	backend *fakeBackend
	group   *conn.Group
	addr    string
}

const password = "correct horse battery"

var accounts = sync.OnceValue(func() func(t testing.TB) account.Directory {
	verifier := account.NewVerifier(password)
	return func(testing.TB) account.Directory { return oneAccount{verifier} }
})

// oneAccount is a directory with taro@example.com, without files.
type oneAccount struct{ v account.Verifier }

var taro = account.Account{Name: "taro", Domain: "example.com"}

func (o oneAccount) Lookup(string, string) (account.Account, error) { return taro, nil }
func (o oneAccount) Resolve(string, string) (account.Route, error) {
	return account.Route{Boxes: []account.Account{taro}}, nil
}

func (o oneAccount) Domains() []string { return []string{"example.com"} }
func (o oneAccount) Authenticate(login, pw string) (account.Account, error) {
	if login != "taro" || pw != password {
		return account.Account{}, account.ErrCredentials
	}
	return taro, nil
}
func (o oneAccount) Verifier(string) (account.Verifier, account.Account, error) {
	return o.v, taro, nil
}

func newRig(t *testing.T, change func(*rig)) *rig {
	t.Helper()
	b := &fakeBackend{}
	r := &rig{backend: b, Server: &Server{
		Service: "smtp", Hostname: "mail.example.com", RequireTLS: true,
		Mechanisms: []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}, Accounts: accounts()(t), Backend: b,
		Limits: Limits{MessageSize: 10_000, Recipients: 3, AuthFailures: 3, Idle: 30 * time.Second},
		Log:    slog.New(slog.DiscardHandler),
		Delay:  time.Nanosecond,
		Now:    func() time.Time { return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC) },
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
	r.group.Serve("smtp", ln, r.Server)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.group.Stop(ctx)
	})
	return r
}

// peer is a client that says exactly what it is told to.
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
	return &peer{t, c, bufio.NewReader(c)}
}

// reply reads one reply, continuation lines joined by "|"; "EOF" at the end.
func (p *peer) reply() string {
	p.t.Helper()
	var lines []string
	for {
		line, err := p.r.ReadString('\n')
		if err == io.EOF && line == "" && lines == nil {
			return "EOF"
		}
		if err != nil {
			p.t.Fatalf("reading a reply after %q: %v", lines, err)
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok {
			p.t.Fatalf("reply %q does not end with CRLF", line)
		}
		lines = append(lines, text)
		if len(text) < 4 || text[3] != '-' {
			return strings.Join(lines, "|")
		}
	}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatal(err)
	}
}

// do sends one command and returns its reply.
func (p *peer) do(command string) string {
	p.t.Helper()
	p.send(command + "\r\n")
	return p.reply()
}

var transactionID = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{10}\b`)

// talk plays a dialogue: lines "C: what the client says" and "S: what must come
// back", where ID stands for a transaction's id.
func (p *peer) talk(dialogue string) {
	p.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(dialogue), "\n") {
		line = strings.TrimSpace(line)
		who, text, _ := strings.Cut(line, ":")
		text = strings.TrimPrefix(text, " ")
		switch who {
		case "C":
			p.send(text + "\r\n")
		case "S":
			if got := transactionID.ReplaceAllString(p.reply(), "ID"); strings.TrimRight(got, " ") != text {
				p.t.Errorf("server said %q\nwant        %q", got, text)
			}
		default:
			p.t.Fatalf("dialogue line %q", line)
		}
	}
}

func TestDialogues(t *testing.T) {
	for name, dialogue := range map[string]string{
		"a message": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO client.example
			S: 250 mail.example.com
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA
			S: 354 End data with <CR><LF>.<CR><LF>
			C: hello
			C: .
			S: 250 2.0.0 Ok: queued as ID
			C: QUIT
			S: 221 2.0.0 mail.example.com Bye
			S: EOF`,
		"extensions": `
			S: 220 mail.example.com ESMTP mailsrv
			C: ehlo [192.0.2.1]
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: MAIL FROM:<a@example.net> SIZE=10000 BODY=8BITMIME AUTH=<>
			S: 250 2.1.0 Sender ok`,
		"out of order": `
			S: 220 mail.example.com ESMTP mailsrv
			C: MAIL FROM:<a@example.net>
			S: 503 5.5.1 Send HELO or EHLO first
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first
			C: DATA
			S: 503 5.5.1 Send MAIL FROM first
			C: AUTH PLAIN
			S: 503 5.5.1 Send EHLO first
			C: HELO client.example
			S: 250 mail.example.com
			C: AUTH PLAIN
			S: 503 5.5.1 Send EHLO first
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: MAIL FROM:<b@example.net>
			S: 503 5.5.1 A message is under way already; RSET gives it up
			C: DATA
			S: 503 5.5.1 Send RCPT TO first
			C: RCPT TO:<victim@example.org>
			S: 550 5.7.1 User not local. Authentication required for relay
			C: DATA
			S: 554 5.5.1 No recipient was accepted
			C: RSET
			S: 250 2.0.0 Ok
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first
			C: MAIL FROM:<spammer@spam.example>
			S: 550 5.7.1 Not you
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: EHLO again.example
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first`,
		"arguments": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO
			S: 501 5.5.4 Syntax: HELO hostname
			C: EHLO bad name
			S: 501 5.5.4 Syntax: EHLO hostname
			C: EHLO client.example
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: MAIL
			S: 501 5.5.4 Syntax: MAIL FROM:<address>
			C: MAIL TO:<a@example.net>
			S: 501 5.5.4 Syntax: MAIL FROM:<address>
			C: MAIL FROM:a@example.net
			S: 501 5.1.7 Syntax: MAIL FROM:<user@example.com>
			C: MAIL FROM:<a@example.net>SIZE=1
			S: 501 5.5.4 A blank is missing after the address
			C: MAIL FROM:<a@example.net> SIZE=abc
			S: 501 5.5.4 SIZE wants a number of octets
			C: MAIL FROM:<a@example.net> SIZE
			S: 501 5.5.4 SIZE wants a number of octets
			C: MAIL FROM:<a@example.net> SIZE=1 SIZE=2
			S: 501 5.5.4 Parameter SIZE stands twice
			C: MAIL FROM:<a@example.net> SIZE=10001
			S: 552 5.3.4 Message is too big; at most 10000 octets are accepted
			C: MAIL FROM:<a@example.net> SIZE=99999999999999999999
			S: 552 5.3.4 Message is too big; at most 10000 octets are accepted
			C: MAIL FROM:<a@example.net> BODY=BINARYMIME
			S: 501 5.5.4 BODY must be 7BIT or 8BITMIME
			C: MAIL FROM:<a@example.net> SMTPUTF8=1
			S: 501 5.5.4 SMTPUTF8 takes no value
			C: MAIL FROM:<a@example.net> XYZZY=1
			S: 555 5.5.4 MAIL parameter XYZZY is not known here
			C: MAIL FROM:<a@example.net> RET=ALL
			S: 501 5.5.4 RET must be FULL or HDRS
			C: MAIL FROM:<a@example.net> ENVID=a+0Db
			S: 501 5.5.4 ENVID must be xtext of at most 100 characters (RFC 3461 4)
			C: MAIL FROM:<a@example.net> AUTH=a+
			S: 501 5.5.4 AUTH wants a mailbox in xtext, or <>
			C: MAIL FROM:<a@example.net> =
			S: 501 5.5.4 Parameters have the form NAME=VALUE
			C: MAIL FROM:<太郎@example.net>
			S: 553 5.6.7 Address has characters beyond ASCII: MAIL FROM needs the parameter SMTPUTF8
			C: MAIL FROM: <a@example.net>
			S: 250 2.1.0 Sender ok`,
		"more arguments": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: RCPT
			S: 501 5.5.4 Syntax: RCPT TO:<address>
			C: RCPT TO:<>
			S: 501 5.1.3 Syntax: RCPT TO:<user@example.com>
			C: RCPT TO:<a@b@example.com>
			S: 501 5.1.3 Syntax: RCPT TO:<user@example.com>
			C: RCPT TO:<taro@example.com> XYZZY
			S: 555 5.5.4 RCPT parameter XYZZY is not known here
			C: RCPT TO:<taro@example.com> NOTIFY=NEVER,DELAY
			S: 501 5.5.4 NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY
			C: RCPT TO:<taro@example.com> NOTIFY=DELAY,DELAY
			S: 501 5.5.4 NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY
			C: RCPT TO:<taro@example.com> ORCPT=taro@example.com
			S: 501 5.5.4 ORCPT has the form rfc822;user@example.com in xtext (RFC 3461 4.2)
			C: RCPT TO:<taro@example.com> ORCPT=utf-8;太郎@example.com
			S: 501 5.5.4 ORCPT has the form rfc822;user@example.com in xtext (RFC 3461 4.2)
			C: RCPT TO:<太郎@example.com>
			S: 553 5.6.7 Address has characters beyond ASCII: MAIL FROM needs the parameter SMTPUTF8
			C: RCPT TO:<@relay.example:taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA now
			S: 501 5.5.4 DATA takes no argument
			C: RSET now
			S: 501 5.5.4 RSET takes no argument
			C: QUIT now
			S: 501 5.5.4 QUIT takes no argument`,
		"small commands": `
			S: 220 mail.example.com ESMTP mailsrv
			C: NOOP anything
			S: 250 2.0.0 Ok
			C: HELP
			S: 214 2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT
			C: VRFY taro
			S: 252 2.5.0 Not told here; RCPT TO says whether mail is accepted
			C: VRFY
			S: 501 5.5.4 Syntax: VRFY address
			C: EXPN list
			S: 502 5.5.1 Command not implemented
			C: TURN
			S: 502 5.5.1 Command not implemented
			C: STARTTLS
			S: 502 5.5.1 TLS is not available here
			C: XYZZY
			S: 500 5.5.2 Command not recognized
			C:
			S: 500 5.5.2 Command not recognized`,
		"too many recipients": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<a@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<b@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<c@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<d@example.com>
			S: 452 4.5.3 Too many recipients; at most 3 are taken at once`,
		"login": `
			S: 220 mail.example.com ESMTP mailsrv
			C: EHLO c
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: AUTH
			S: 501 5.5.4 Syntax: AUTH mechanism
			C: AUTH CRAM-MD5
			S: 504 5.5.4 Mechanism is not offered; these are: PLAIN LOGIN SCRAM-SHA-256
			C: AUTH PLAIN !!!
			S: 501 5.5.2 Initial response is no base64
			C: AUTH PLAIN =
			S: 501 5.5.2 Message of the login is malformed
			C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: *
			S: 501 5.7.0 Login cancelled
			C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: dGFybw
			S: 501 5.5.2 Response is no base64
			C: auth login dGFybw==
			S: 334 UGFzc3dvcmQ6
			C: d3Jvbmc=
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN
			S: 334
			C: AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
			S: 235 2.7.0 Authentication successful
			C: AUTH PLAIN
			S: 503 5.5.1 Logged in already`,
		"too many failed logins": `
			S: 220 mail.example.com ESMTP mailsrv
			C: EHLO c
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			S: 421 4.7.0 mail.example.com Too many failed logins
			S: EOF`,
		"a browser": `
			S: 220 mail.example.com ESMTP mailsrv
			C: POST / HTTP/1.1
			S: 421 4.7.0 mail.example.com This is SMTP, not HTTP
			S: EOF`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, nil).dial(t)
			p.talk(dialogue)
		})
	}
}

func TestTooManyErrors(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	for range maxErrors {
		if got := p.do("NONSENSE"); got != "500 5.5.2 Command not recognized" {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many errors" {
		t.Error(got)
	}
}

// Go's decoder skips CR; a line of the login holds base64 and nothing else.
func TestCRInLogin(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	p.do("EHLO c")
	p.do("AUTH LOGIN")
	if got := p.do("dGFy\rbw=="); got != "501 5.5.2 Response is no base64" {
		t.Error(got)
	}
}

func TestTooManyLongLines(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	for range maxErrors {
		if got := p.do(strings.Repeat("x", maxCommand)); got != "500 5.5.2 Line too long" {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many errors" {
		t.Error(got)
	}
}

// deliver sends octets as the content of a message, and what follows, all in
// one group, and returns the reply to the content.
func (p *peer) deliver(content string) string {
	p.t.Helper()
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	for range 3 {
		p.reply()
	}
	if got := p.reply(); !strings.HasPrefix(got, "354") {
		p.t.Fatal(got)
	}
	p.send(content)
	return transactionID.ReplaceAllString(p.reply(), "ID")
}

const header = "Received: from c ([127.0.0.1])\r\n\tby mail.example.com with ESMTP id ID\r\n\tfor <taro@example.com>;\r\n\tWed, 1 May 2024 12:00:00 +0000\r\n"

func TestContentIsKept(t *testing.T) {
	for name, tt := range map[string][2]string{
		"dots":              {"..\r\n...\r\n.x\r\n. \r\na.\r\n.\r\n", ".\r\n..\r\nx\r\n \r\na.\r\n"},
		"empty":             {".\r\n", ""},
		"blank lines":       {"\r\n\r\n.\r\n", "\r\n\r\n"},
		"octets":            {"\x00\xff\x80\x7f\r\n.\r\n", "\x00\xff\x80\x7f\r\n"},
		"lines of curl":     {"a\n\n.b\nc\r\n..d\r\n\n\r\n.\r\n", "a\r\n\r\n.b\r\nc\r\n.d\r\n\r\n\r\n"},
		"long line":         {strings.Repeat("x", 9000) + "\r\n.\r\n", strings.Repeat("x", 9000) + "\r\n"},
		"long line of dots": {strings.Repeat(".", 9000) + "\r\n.\r\n", strings.Repeat(".", 8999) + "\r\n"},
		"CRLF at a buffer's end": {strings.Repeat("x", 4095) + "\r\n" + strings.Repeat("y", 4094) + "\r\n..\r\n.\r\n",
			strings.Repeat("x", 4095) + "\r\n" + strings.Repeat("y", 4094) + "\r\n.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			if got := r.dial(t).deliver(tt[0]); got != "250 2.0.0 Ok: queued as ID" {
				t.Fatal(got)
			}
			got := transactionID.ReplaceAllString(r.backend.taken()[0].text, "ID")
			if got != header+tt[1] {
				t.Errorf("stored %.200q\nwant %.200q", got, header+tt[1])
			}
		})
	}
}

// A first line that begins with a blank would continue the trace field above it
// (RFC 5322 2.2.3), and say there what this server never said.
func TestTraceCannotBeContinued(t *testing.T) {
	for _, content := range []string{"\tfor <forged@example.com>\r\n\r\nbody\r\n", " \r\nx\r\n", ". x\r\n"} {
		r := newRig(t, nil)
		if got := r.dial(t).deliver(content + ".\r\n"); got != "250 2.0.0 Ok: queued as ID" {
			t.Fatal(got)
		}
		got := transactionID.ReplaceAllString(r.backend.taken()[0].text, "ID")
		if want := header + "\r\n" + strings.TrimPrefix(content, "."); got != want {
			t.Errorf("stored %q\nwant %q", got, want)
		}
	}
}

// Whatever another server might take for the end of a message must not smuggle
// a second one in.
func TestSmuggling(t *testing.T) {
	const second = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"
	const bareLF = "550 5.5.2 Message refused: it has LF alone in a line; lines end with CRLF (RFC 5321 2.3.8)"
	const bareCR = "550 5.5.2 Message refused: it has CR alone in a line; lines end with CRLF (RFC 5321 2.3.8)"
	for end, tt := range map[string]struct {
		reply  string
		closed bool
	}{
		"\n.\n":         {bareLF, true},
		"\n.\r\n":       {bareLF, true},
		"\r\n.\n":       {bareLF, true},
		"\r\n\n.\r\n":   {bareLF, true},
		"\r.\r":         {bareCR, false},
		"\r\n.\r":       {bareCR, false},
		"\r.\r\n":       {bareCR, false},
		"\n.\r":         {bareCR, false},
		"\n..\r\n":      {"250 2.0.0 Ok: queued as ID", false},
		"\r\r\n.\r\r\n": {bareCR, false},
		"\r\n\x00.\r\n": {"250 2.0.0 Ok: queued as ID", false},
		"\r\n.\x00\r\n": {"250 2.0.0 Ok: queued as ID", false},
	} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			r := newRig(t, nil)
			p := r.dial(t)
			if got := p.deliver("first" + end + second); got != tt.reply {
				t.Errorf("reply %q, want %q", got, tt.reply)
			}
			if tt.closed {
				if got := p.reply(); got != "EOF" {
					t.Errorf("after the refusal: %q, want the end of the session", got)
				}
			} else if got := p.do("QUIT"); !strings.HasPrefix(got, "221") {
				t.Errorf("after the message: %q", got)
			}
			for _, m := range r.backend.taken() {
				if m.from == "evil@example.net" {
					t.Errorf("smuggled: %+v", m)
				}
			}
			if n := len(r.backend.taken()); (n > 0) != strings.HasPrefix(tt.reply, "250") {
				t.Errorf("%d messages taken", n)
			}
		})
	}
}

func TestLinesOfCommands(t *testing.T) {
	t.Run("bare LF", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send("NOOP\nNOOP\r\n")
		if got := p.reply(); got != "500 5.5.2 Line ended by LF alone: commands end with CRLF (with netcat: nc -C)" {
			t.Error(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Error(got)
		}
	})
	t.Run("control characters", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, line := range []string{"NOOP\rNOOP", "NO\x00OP", "HELO x\x7f"} {
			if got := p.do(line); got != "500 5.5.2 Control character in a command" {
				t.Errorf("%q: %s", line, got)
			}
		}
	})
	t.Run("long", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, n := range []int{maxCommand - 1, 4096, 100_000} {
			if got := p.do(strings.Repeat("x", n)); got != "500 5.5.2 Line too long" {
				t.Errorf("%d octets: %s", n, got)
			}
		}
		if got := p.do("NOOP " + strings.Repeat("x", maxCommand-7)); got != "250 2.0.0 Ok" {
			t.Errorf("the longest line: %s", got)
		}
	})
	t.Run("endless", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send(strings.Repeat("x", 1<<20+8192))
		if got := p.reply(); got != "500 5.5.2 Line too long" {
			t.Error(got)
		}
	})
	t.Run("in pieces", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, c := range "NOOP\r\n" {
			p.send(string(c))
		}
		if got := p.reply(); got != "250 2.0.0 Ok" {
			t.Error(got)
		}
	})
}

func TestRefusedContent(t *testing.T) {
	for name, tt := range map[string]struct {
		content, reply string
		change         func(*rig)
	}{
		"too big":   {strings.Repeat("x\r\n", 4000) + ".\r\n", "552 5.3.4 Message is too big; at most 10000 octets are accepted", nil},
		"loop":      {strings.Repeat("received: x\r\n", maxHops+1) + "\r\n.\r\n", "554 5.4.6 Routing loop: more than 100 Received fields", nil},
		"no loop":   {strings.Repeat("Received: x\r\n", maxHops) + "\r\nReceived: in the body\r\n.\r\n", "250 2.0.0 Ok: queued as ID", nil},
		"disk full": {"x\r\n.\r\n", "452 4.3.1 Full", func(r *rig) { r.backend.commit = Reply{452, "4.3.1", "Full"} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.change)
			p := r.dial(t)
			if got := p.deliver(tt.content); got != tt.reply {
				t.Errorf("reply %q, want %q", got, tt.reply)
			}
			if got := p.do("NOOP"); got != "250 2.0.0 Ok" {
				t.Errorf("the session goes on: %q", got)
			}
			if n := len(r.backend.taken()); (n > 0) != strings.HasPrefix(tt.reply, "250") {
				t.Errorf("%d messages taken", n)
			}
		})
	}
	t.Run("before the content", func(t *testing.T) {
		p := newRig(t, func(r *rig) { r.backend.dataFail = &Reply{452, "4.3.1", "Full"} }).dial(t)
		p.talk(`S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA
			S: 452 4.3.1 Full
			C: DATA
			S: 503 5.5.1 Send MAIL FROM first`)
	})
}

// A connection lost in the middle leaves no message behind.
func TestLostInData(t *testing.T) {
	r := newRig(t, nil)
	p := r.dial(t)
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nhalf a message\r\n")
	p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r.group.Stop(ctx)
	if n := len(r.backend.taken()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

func TestPipelining(t *testing.T) {
	r := newRig(t, nil)
	p := r.dial(t)
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<x@example.org>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	p.send("one\r\n.\r\nMAIL FROM:<b@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n")
	var got []string
	for {
		reply := p.reply()
		got = append(got, reply[:3])
		if reply == "EOF" {
			break
		}
	}
	if want := "250 250 550 250 354 250 250 250 354 250 221 EOF"; strings.Join(got, " ") != want {
		t.Errorf("replies %v, want %s", got, want)
	}
	if n := len(r.backend.taken()); n != 2 {
		t.Errorf("%d messages taken, want 2", n)
	}
}

func withTLS(t *testing.T) func(*rig) {
	return func(r *rig) {
		cfg, err := keys.SelfSigned(t.TempDir(), "mail.example.com", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.TLS = cfg
	}
}

func (p *peer) handshake() {
	p.t.Helper()
	c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.Conn, p.r = c, bufio.NewReader(c)
}

func TestSTARTTLS(t *testing.T) {
	r := newRig(t, withTLS(t))
	p := r.dial(t)
	p.talk(`S: 220 mail.example.com ESMTP mailsrv
		C: EHLO c
		S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
		C: STARTTLS now
		S: 501 5.5.4 STARTTLS takes no argument`)
	// What is injected behind STARTTLS must never be acted on.
	p.send("STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n")
	if got := p.reply(); got != "220 2.0.0 Ready to start TLS" {
		t.Fatal(got)
	}
	p.handshake()
	p.talk(`C: MAIL FROM:<a@example.net>
		S: 503 5.5.1 Send HELO or EHLO first
		C: EHLO c
		S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
		C: STARTTLS
		S: 503 5.5.1 TLS is on already
		C: AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
		S: 235 2.7.0 Authentication successful
		C: MAIL FROM:<taro@example.com>
		S: 250 2.1.0 Sender ok
		C: RCPT TO:<taro@example.com>
		S: 250 2.1.5 Recipient ok
		C: DATA
		S: 354 End data with <CR><LF>.<CR><LF>
		C: .
		S: 250 2.0.0 Ok: queued as ID`)
	m := r.backend.taken()[0]
	want := "Received: from c ([127.0.0.1])\r\n\t(using TLS 1.3 with cipher TLS_AES_128_GCM_SHA256)\r\n\tby mail.example.com with ESMTPSA id ID\r\n\tfor <taro@example.com>;\r\n\tWed, 1 May 2024 12:00:00 +0000\r\n"
	if got := transactionID.ReplaceAllString(m.text, "ID"); got != want || m.client.User != "taro@example.com" {
		t.Errorf("stored %q by %s\nwant %q", got, m.client.User, want)
	}
}

func TestImplicitTLS(t *testing.T) {
	r := newRig(t, func(r *rig) { withTLS(t)(r); r.ImplicitTLS = true })
	p := r.dial(t)
	p.handshake()
	if got := p.reply(); got != "220 mail.example.com ESMTP mailsrv" {
		t.Error(got)
	}
	// A client that speaks plainly is cut off.
	plain := r.dial(t)
	plain.send("EHLO c\r\n")
	if b, err := io.ReadAll(plain.Conn); err == nil && bytes.HasPrefix(b, []byte("250")) {
		t.Errorf("answered in the clear: %q", b)
	}
}

// A session ends so that TLS clients can tell the end from a cut (RFC 8446 6.1),
// and that what came after QUIT does not take the last reply with it.
func TestOrderlyEnd(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		r := newRig(t, func(r *rig) { withTLS(t)(r); r.ImplicitTLS = true })
		p := r.dial(t)
		raw := &recorder{Conn: p.Conn}
		p.Conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		p.r.Reset(p.Conn)
		p.reply()
		if got := p.do("QUIT"); got != "221 2.0.0 mail.example.com Bye" {
			t.Fatal(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Errorf("after QUIT %q", got)
		}
		// The last record is an alert: close_notify.
		if last := raw.lastRecord(); last != 21 {
			t.Errorf("the last TLS record has type %d, want 21", last)
		}
	})
	t.Run("octets after QUIT", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send("QUIT\r\n" + strings.Repeat("NOOP\r\n", 10_000))
		if got := p.reply(); got != "221 2.0.0 mail.example.com Bye" {
			t.Error(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Error(got)
		}
	})
}

// recorder keeps what was read from a connection.
type recorder struct {
	net.Conn
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

// lastRecord is the type of the last TLS record (RFC 5246 6.2.1).
func (r *recorder) lastRecord() (kind byte) {
	for b := r.seen.Bytes(); len(b) >= 5; b = b[min(len(b), 5+int(b[3])<<8+int(b[4])):] {
		kind = b[0]
	}
	return kind
}

func TestTimeout(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Limits.Idle = 200 * time.Millisecond })
	for name, prelude := range map[string]string{
		"command": "EHL", // half a line does not help
		"data":    "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			p := r.dial(t)
			p.reply()
			p.send(prelude)
			last := ""
			for reply := p.reply(); reply != "EOF"; reply = p.reply() {
				last = reply
			}
			if last != "421 4.4.2 Timeout waiting for the client" {
				t.Errorf("last words %q", last)
			}
		})
	}
}

func TestStoppingServer(t *testing.T) {
	r := newRig(t, nil)
	idle, busy := r.dial(t), r.dial(t)
	idle.reply()
	idle.do("HELO c")
	busy.reply()
	busy.send("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	for range 4 {
		busy.reply()
	}
	stopped := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- r.group.Stop(ctx)
	}()
	if got := idle.reply(); got != "421 4.3.2 mail.example.com Server is stopping; try again later" {
		t.Errorf("idle session: %q", got)
	}
	idle.Close()
	busy.send("under way\r\n.\r\n")
	if got := busy.reply(); !strings.HasPrefix(got, "250 2.0.0 Ok: queued as") {
		t.Errorf("busy session: %q", got)
	}
	if got := busy.reply(); got != "421 4.3.2 mail.example.com Server is stopping; try again later" {
		t.Errorf("busy session afterwards: %q", got)
	}
	busy.Close()
	if cut := <-stopped; cut != 0 {
		t.Errorf("%d sessions cut off", cut)
	}
}

func TestCrashStaysInItsSession(t *testing.T) {
	var crashed string
	r := newRig(t, func(r *rig) { r.backend.panicAt = "boom" })
	r.group.Panic = func(_ *conn.Conn, v any, stack []byte) { crashed = fmt.Sprint(v) + string(stack) }
	p, other := r.dial(t), r.dial(t)
	p.reply()
	p.do("HELO c")
	p.do("MAIL FROM:<>")
	if got := transactionID.ReplaceAllString(p.do("RCPT TO:<boom@example.com>"), "ID"); got != "421 4.3.0 mail.example.com This session failed on our side and is recorded as ID; try again later" {
		t.Error(got)
	}
	if got := p.reply(); got != "EOF" {
		t.Error(got)
	}
	if !strings.HasPrefix(crashed, "test panic for boom@example.com") || !strings.Contains(crashed, "smtp_test.go") {
		t.Errorf("recorded %q", crashed)
	}
	if got := other.reply(); !strings.HasPrefix(got, "220") {
		t.Errorf("another session: %q", got)
	}
}

func TestTooManyConnections(t *testing.T) {
	r := newRig(t, nil)
	for range 5 {
		if got := r.dial(t).reply(); !strings.HasPrefix(got, "220") {
			t.Fatal(got)
		}
	}
	p := r.dial(t)
	if got := p.reply(); got != "421 4.7.0 mail.example.com too many connections from your address, at most 5 are served; try again later" {
		t.Error(got)
	}
}
