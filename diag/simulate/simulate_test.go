package simulate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, sim *codes.Simulation, opt Options) *Server {
	t.Helper()
	if sim == nil {
		t.Fatal("there is no such simulation")
	}
	s, err := Start(sim, opt)
	if errors.Is(err, ErrCannotPlay) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// client says lines and reads what comes.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, s *Server) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads one line.
func (c *client) hear() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// talk plays a dialogue: "> said by us", "< beginning of the answer", "<*
// lines up to the dot".
func (c *client) talk(dialogue string) {
	c.t.Helper()
	for line := range strings.Lines(strings.TrimSpace(dialogue)) {
		line = strings.TrimSpace(line)
		words := strings.TrimSpace(line[min(len(line), 2):])
		switch line[:min(len(line), 2)] {
		case "> ":
			c.say(words)
		case "< ":
			if got := c.hear(); !strings.HasPrefix(got, words) {
				c.t.Fatalf("heard %q, want %q", got, words)
			}
		case "<*":
			for c.hear() != "." {
			}
		case "<!":
			if got, err := c.r.ReadString('\n'); !errors.Is(err, io.EOF) {
				c.t.Fatalf("heard %q, %v; want the end", got, err)
			}
		default:
			c.t.Fatalf("bad dialogue: %q", line)
		}
	}
}

// A server without a script is a healthy one, down to the order of commands.
func TestHealthyServers(t *testing.T) {
	for _, tt := range []struct{ protocol, dialogue string }{
		{"pop3", `
			< +OK
			> STAT
			< -ERR
			> PASS x
			< -ERR
			> USER taro
			< +OK
			> PASS x
			< +OK
			> USER taro
			< -ERR
			> STAT
			< +OK 2 2
			> LIST
			< +OK
			< 1
			< 2
			< .
			> UIDL 2
			< +OK 2 simulated-2
			> RETR 1
			< +OK
			<*
			> TOP 1 1
			<*
			> DELE 1
			< +OK
			> RETR 1
			< -ERR
			> STAT
			< +OK 1
			> RSET
			< +OK
			> STAT
			< +OK 2
			> STLS
			< -ERR
			> NONSENSE
			< -ERR
			> QUIT
			< +OK
			<!`},
		{"pop3", `
			< +OK
			> AUTH PLAIN
			< +
			> AHRhcm8AeA==
			< +OK
			> NOOP
			< +OK
			> QUIT
			< +OK`},
		{"smtp", `
			< 220
			> MAIL FROM:<a@example.org>
			< 503
			> EHLO
			< 501
			> HELO client.example.org
			< 250 mail.example.com
			> RCPT TO:<b@example.net>
			< 503
			> AUTH CRAM-MD5
			< 504
			> EHLO client.example.org
			< 250-mail.example.com
			< 250-PIPELINING
			< 250-SIZE 26214400
			< 250-AUTH PLAIN LOGIN
			< 250-ENHANCEDSTATUSCODES
			< 250 8BITMIME
			> AUTH LOGIN
			< 334 VXNlcm5hbWU6
			> dGFybw==
			< 334 UGFzc3dvcmQ6
			> eA==
			< 235
			> AUTH PLAIN AHRhcm8AeA==
			< 503
			> DATA
			< 503
			> MAIL FROM:<a@example.org> SIZE=30000000
			< 552 5.3.4
			> MAIL FROM:<a@example.org> SIZE=3000
			< 250
			> MAIL FROM:<a@example.org>
			< 503
			> DATA
			< 503
			> RCPT TO:<>
			< 501
			> RCPT TO:<b@example.net>
			< 250
			> DATA
			< 354
			> Subject: x
			> ..
			> .
			< 250 2.0.0 Ok: queued as SIM0001
			> DATA
			< 503
			> STARTTLS
			< 502
			> VRFY b
			< 252
			> EXPN b
			< 502
			> RSET
			< 250
			> QUIT
			< 221
			<!`},
		{"imap", `
			< * OK [CAPABILITY IMAP4rev1
			> a1
			< * BAD
			> a1 SELECT INBOX
			< a1 BAD
			> a2 LOGIN taro
			< a2 BAD
			> a3 LOGIN "ta\"ro" x
			< a3 OK
			> a4 LOGIN taro x
			< a4 BAD
			> a5 LIST "" *
			< * LIST
			< a5 OK
			> a6 SELECT Other
			< a6 NO [NONEXISTENT]
			> a7 FETCH 1 BODY[]
			< a7 BAD
			> a8 EXAMINE inbox
			< * 2 EXISTS
			< * FLAGS
			< * OK [UIDVALIDITY
			< a8 OK
			> a9 FETCH 3 BODY[]
			< a9 BAD
			> b1 FETCH 1 (BODY.PEEK[])
			< * 1 FETCH (BODY[] {
			< From:`},
		{"imap", `
			< * OK
			> a1 AUTHENTICATE PLAIN
			< +
			> AHRhcm8AeA==
			< a1 OK
			> a2 NOOP
			< a2 OK
			> a3 ID NIL
			< * ID
			< a3 OK
			> a4 STARTTLS
			< a4 BAD
			> a5 LOGOUT
			< * BYE
			< a5 OK
			<!`},
	} {
		t.Run(tt.protocol, func(t *testing.T) {
			s := start(t, &codes.Simulation{ID: "healthy", Protocol: tt.protocol}, Options{})
			connect(t, s).talk(tt.dialogue)
		})
	}
}

// What a script refuses is refused in its place in the dialogue; before and
// after it the server is as others are.
func TestWholeDialogues(t *testing.T) {
	for id, dialogue := range map[string]string{
		"pop3-lock-busy": `
			< +OK QPOP (version 2.53)
			> PASS early
			< -ERR No user name
			> USER taro
			< +OK Password required for taro.
			> PASS x
			< -ERR [IN-USE] /var/spool/mail/.taro.pop lock busy!
			> STAT
			< -ERR Log in first
			> QUIT
			< +OK Pop server
			<!`,
		"pop3-message-gone": `
			< +OK
			> USER taro
			< +OK
			> PASS x
			< +OK
			> LIST 1
			< +OK 1
			> RETR 9
			< -ERR No such message
			> RETR 1
			< -ERR Can't open the message file - it's gone!
			> NOOP
			< +OK`,
		"pop3-tls-required": `
			< +OK
			> AUTH PLAIN AHRhcm8AeA==
			< -ERR [AUTH] Plaintext
			> USER taro
			< -ERR [AUTH] Plaintext
			> PASS x
			< -ERR No user name given`,
		"smtp-blocklisted": `
			< 554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org
			> EHLO x
			< 503
			> QUIT
			< 221
			<!`,
		"smtp-too-many": "< 421 4.7.0\n<!",
		"smtp-4xx-storm": `
			< 220
			> EHLO x
			< 451
			> RSET
			< 451
			> QUIT
			< 421
			<!`,
		"smtp-auth-required": `
			< 220
			> HELO x
			< 250
			> MAIL FROM:<a@example.org>
			< 530 5.7.0
			> EHLO x
			< 250-
			< 250-
			< 250-
			< 250-AUTH
			< 250-
			< 250
			> AUTH PLAIN AHRhcm8AeA==
			< 235
			> MAIL FROM:<a@example.org>
			< 250`,
		"smtp-too-large": `
			< 220
			> EHLO x
			< 250-mail.example.com
			< 250-PIPELINING
			< 250-SIZE 10
			< 250-AUTH
			< 250-ENHANCED
			< 250 8BITMIME
			> MAIL FROM:<a@example.org> SIZE=11
			< 552 5.3.4
			> MAIL FROM:<a@example.org> SIZE=10
			< 250
			> RCPT TO:<b@example.net>
			< 250
			> DATA
			< 354
			> 1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890
			> .
			< 552 5.3.4`,
		"smtp-spam": `
			< 220
			> HELO x
			< 250
			> MAIL FROM:<>
			< 250
			> RCPT TO:<b@example.net>
			< 250
			> DATA
			< 354
			> .
			< 554 5.7.1
			> MAIL FROM:<>
			< 250`,
		"smtp-percent-relay": `
			< 220
			> HELO x
			< 250
			> MAIL FROM:<a@example.org>
			< 250
			> RCPT TO:<b@example.net>
			< 550 5.7.1 <b@example.net>: Relay access denied
			> RCPT TO:<b%example.net@mail.example.com>
			< 250`,
		"smtp-auth-failed": `
			< 220
			> EHLO x
			< 250-
			< 250-
			< 250-
			< 250-AUTH PLAIN LOGIN
			< 250-
			< 250
			> AUTH PLAIN
			< 334
			> AHRhcm8AeA==
			< 535 5.7.8
			> AUTH LOGIN dGFybw==
			< 334
			> eA==
			< 535 5.7.8
			> AUTH PLAIN !
			< 501`,
		"imap-too-many":    "< * BYE Too many\n<!",
		"imap-unavailable": "< * OK\n> a1 LOGIN taro x\n< a1 NO [UNAVAILABLE]\n> a2 SELECT INBOX\n< a2 BAD",
		"pop3-not-pop3":    "> GET / HTTP/1.0\n< HTTP/1.1 200 OK\n",
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			connect(t, start(t, codes.SimulationOf(id), Options{})).talk(dialogue)
		})
	}
}

// Greylisting goes by client, sender and recipient, and by the clock.
func TestGreylisting(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2024, 1, 1, 2, 0, 0, 0, time.UTC)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	s := start(t, codes.SimulationOf("smtp-greylisted"), Options{Now: clock})
	try := func(to, want string) {
		t.Helper()
		connect(t, s).talk("< 220\n> HELO x\n< 250\n> MAIL FROM:<a@example.org>\n< 250\n> RCPT TO:<" + to + ">\n< " + want)
	}
	try("b@example.net", "451 4.7.1 <b@example.net>")
	pass(5*time.Minute - time.Second)
	try("b@example.net", "451 4.7.1")
	try("c@example.net", "451 4.7.1")
	pass(time.Second)
	try("b@example.net", "250 2.1.5")
	try("c@example.net", "451 4.7.1")
}

func TestOnceAndLog(t *testing.T) {
	var mu sync.Mutex
	var lines, said []string
	s := start(t, codes.SimulationOf("pop3-auth-failed"), Options{Once: true,
		Log: func(l string) { mu.Lock(); lines = append(lines, l); mu.Unlock() },
		Dialogue: func(n int, from, words string) {
			mu.Lock()
			said = append(said, fmt.Sprint(n, from, words))
			mu.Unlock()
		},
	})
	c := connect(t, s)
	c.talk("< +OK\n> USER taro\n< +OK\n> PASS geheim\n< -ERR [AUTH]\n> QUIT\n< +OK\n<!")
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("does not end after one connection")
	}
	if _, err := net.Dial("tcp", s.Addr); dial.Outcome(err) != dial.Refused {
		t.Errorf("a second connection: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff([]string{"connection 1 from " + c.LocalAddr().String()}, lines); d != "" {
		t.Error(d)
	}
	if !slices.Contains(said, "1CPASS ***") || slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "geheim") }) {
		t.Errorf("%q", said)
	}
}

// Closing ends whatever is going on.
func TestCloseInTheMiddle(t *testing.T) {
	for _, id := range []string{"pop3-no-greeting", "pop3-slow-drip", "pop3-auth-failed"} {
		s, err := Start(codes.SimulationOf(id), Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := connect(t, s)
		ended := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(c)
			ended <- err
		}()
		s.Close()
		if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s goes on", id)
		}
	}
}

func TestCannotListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, id := range []string{"pop3-lock-busy", "connect-refused", "connect-timeout", "dns-silent"} {
		_, err := Start(codes.SimulationOf(id), Options{Listen: l.Addr().String()})
		if errors.Is(err, ErrCannotPlay) {
			continue
		}
		if dial.Outcome(err) != dial.InUse || !strings.Contains(err.Error(), id) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// The words alone, as somebody would paste them, name the cause, too.
func TestWordsAreExplained(t *testing.T) {
	n := 0
	for _, sim := range codes.Simulations() {
		rules, err := parseScript(sim.Script)
		if err != nil || sim.Cause == "" {
			continue
		}
		for _, r := range rules {
			for _, st := range r.steps {
				if r.when == "CAPA" || r.when == "QUIT" || !refusal(st.text) {
					continue
				}
				n++
				text := strings.NewReplacer("$USER", "taro", "$FROM", "a@example.org", "$TO", "b@example.net", "$CLIENT", "192.0.2.1").Replace(st.text)
				if d := explain.Explain([]byte(text), codes.English).Diagnosis; len(d) == 0 || d[0].Cause != sim.Cause {
					t.Errorf("%s: %q is explained as %+v, want %s", sim.ID, text, d, sim.Cause)
				}
			}
		}
	}
	if n < 35 {
		t.Errorf("only %d refusals were explained", n)
	}
}

func refusal(text string) bool {
	return strings.HasPrefix(text, "-ERR") || strings.HasPrefix(text, "NO ") || strings.HasPrefix(text, "* BYE") || text != "" && (text[0] == '4' || text[0] == '5')
}
