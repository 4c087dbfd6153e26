package smtp

import (
	"bufio"
	"bytes"
	"context"
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
	if login == "slow" {
		return account.Account{}, &account.ThrottledError{Wait: time.Minute}
	}
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
