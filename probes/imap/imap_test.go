package imap

import (
	"bufio"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/dial"
	"mailsrv/probes/pop3/pop3test"
)

func connect(t *testing.T, script string) *Conn {
	t.Helper()
	s := pop3test.Play(t, script)
	c, err := Dial(context.Background(), s.Addr, Options{Timeout: 400 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWholeConversation(t *testing.T) {
	c := connect(t, `
		> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready
		< a1 CAPABILITY
		> * CAPABILITY imap4rev1 SASL-IR idle
		> a1 OK done
		< a2 LOGIN "ta\"ro" "x y"
		> * NO [ALERT] Password expires soon
		> a2 OK [CAPABILITY IMAP4rev1 MOVE] Logged in
		< a3 EXAMINE "INBOX"
		> * FLAGS (\\Seen)
		> * 2 EXISTS
		> * OK [UIDVALIDITY 1] fine
		> a3 OK [READ-ONLY] done
		< a4 FETCH 2 BODY.PEEK[]
		> * 2 FETCH (FLAGS () BODY[] {12}
		raw Subject: x\r\n)\r\n
		> * 3 FETCH (BODY[] {3}
		raw abc)\r\n
		> a4 OK done
		< a5 LOGOUT
		> * BYE bye
		> a5 OK done`)
	greeting, err := c.Greeting()
	if err != nil || greeting.Text != "ready" || !c.Has("auth=plain") {
		t.Fatalf("%+v %v %q", greeting, err, c.Capabilities)
	}
	if _, err := c.Capability(); err != nil || !c.Has("IDLE") || c.Has("AUTH=PLAIN") {
		t.Errorf("%v %q", err, c.Capabilities)
	}
	if _, err := c.Login(`ta"ro`, "x y"); err != nil || !c.LoggedIn || !c.Has("MOVE") {
		t.Errorf("%v %q", err, c.Capabilities)
	}
	if n, err := c.Examine("INBOX"); n != 2 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	if msg, err := c.Fetch(2, 100); string(msg) != "Subject: x\r\n" || err != nil {
		t.Errorf("%q, %v", msg, err)
	}
	if _, err := c.Logout(); err != nil {
		t.Error(err)
	}
	var said []string
	for _, l := range c.Transcript {
		if l.From == "C" {
			said = append(said, l.Text)
		}
	}
	want := []string{"a1 CAPABILITY", `a2 LOGIN "ta\"ro" ***`, `a3 EXAMINE "INBOX"`, "a4 FETCH 2 BODY.PEEK[]", "a5 LOGOUT"}
	if d := cmp.Diff(want, said); d != "" {
		t.Error(d)
	}
}

func TestAuthenticate(t *testing.T) {
	for name, script := range map[string]string{
		"in the command": `
			> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR] ready
			< a1 AUTHENTICATE PLAIN AHRhcm8AZ2VoZWlt
			> a1 OK in`,
		"asked for": `
			> * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] ready
			< a1 AUTHENTICATE PLAIN
			> +
			< AHRhcm8AZ2VoZWlt
			> * CAPABILITY IMAP4rev1
			> a1 OK in`,
	} {
		c := connect(t, script)
		if _, err := c.Greeting(); err != nil {
			t.Fatal(name, err)
		}
		if _, err := c.Login("taro", "geheim"); err != nil || !c.LoggedIn {
			t.Errorf("%s: %v", name, err)
		}
		for _, l := range c.Transcript {
			if strings.Contains(l.Text, "AHRhcm8") {
				t.Errorf("%s: the password stands in the transcript: %s", name, l.Text)
			}
		}
	}
}

// How each step can fail, and what the server said.
func TestFailures(t *testing.T) {
	login := func(c *Conn) error {
		if _, err := c.Greeting(); err != nil {
			return err
		}
		_, err := c.Login("taro", "x")
		return err
	}
	fetch := func(c *Conn) error {
		if err := login(c); err != nil {
			return err
		}
		_, err := c.Fetch(1, 5000)
		return err
	}
	const in = "> * OK ready\n< a1 LOGIN\n> a1 OK in\n< a2 FETCH\n"
	for _, tt := range []struct {
		name, script string
		run          func(*Conn) error
		stage, how   string
		reply        string
	}{
		{"wrong password", "> * OK ready\n< a1 LOGIN\n> a1 NO [AUTHENTICATIONFAILED] no", login, "auth", dial.Permanent, "a1 NO [AUTHENTICATIONFAILED] no"},
		{"unavailable", "> * OK ready\n< a1 LOGIN\n> a1 NO [UNAVAILABLE] later", login, "auth", dial.Temporary, "a1 NO [UNAVAILABLE] later"},
		{"in use", "> * OK ready\n< a1 LOGIN\n> a1 NO [INUSE] other", login, "auth", dial.InUse, "a1 NO [INUSE] other"},
		{"not understood", "> * OK ready\n< a1 LOGIN\n> a1 BAD what", login, "auth", dial.Permanent, "a1 BAD what"},
		{"goodbye instead of a greeting", "> * BYE too many", login, "greeting", dial.Temporary, "* BYE too many"},
		{"goodbye instead of an answer", "> * OK ready\n< a1 LOGIN\n> * BYE down\nclose", login, "auth", dial.Temporary, "* BYE down"},
		{"silence", "stall", login, "greeting", dial.Silent, ""},
		{"drip", "raw * O\nstall", login, "greeting", dial.Drip, "* O"},
		{"closed", "close", login, "greeting", dial.Closed, ""},
		{"reset", "> * OK ready\n< a1 LOGIN\nreset", login, "auth", dial.Reset, ""},
		{"another protocol", "> +OK ready", login, "greeting", dial.Garbage, "+OK ready"},
		{"TLS", `raw \x15\x03\x01\x00\x02\x02\x46`, login, "greeting", dial.TLSExpected, ""},
		{"a line without end", "raw " + strings.Repeat("x", 5000) + "\nstall", login, "greeting", dial.Garbage, strings.Repeat("x", 4096)},
		{"half a message", in + "> * 1 FETCH (BODY[] {3000}\nraw " + strings.Repeat("x", 2000) + "\nstall", fetch, "retr", dial.Silent, "* 1 FETCH (BODY[] {3000}"},
		{"a few octets of a message", in + "> * 1 FETCH (BODY[] {3000}\nraw abc\n< never", fetch, "retr", dial.Drip, "* 1 FETCH (BODY[] {3000}"},
		{"cut off in a message", in + "> * 1 FETCH (BODY[] {3000}\nraw abc\nclose", fetch, "retr", dial.Closed, "* 1 FETCH (BODY[] {3000}"},
		{"too large", in + "> * 1 FETCH (BODY[] {5001}\nstall", fetch, "retr", "too-large", "* 1 FETCH (BODY[] {5001}"},
		{"no message", in + "> a2 OK nothing", fetch, "retr", dial.Permanent, "a2 OK nothing"},
		{"no such message", in + "> a2 NO [NONEXISTENT] gone", fetch, "retr", dial.Permanent, "a2 NO [NONEXISTENT] gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := As(tt.run(connect(t, tt.script)))
			if e == nil {
				t.Fatal("it went well")
			}
			if e.Stage != tt.stage || e.How != tt.how || e.Reply.Raw != tt.reply {
				t.Errorf("%s %s %.80q; want %s %s %.80q", e.Stage, e.How, e.Reply.Raw, tt.stage, tt.how, tt.reply)
			}
		})
	}
}

func TestExamineWithoutCount(t *testing.T) {
	c := connect(t, "> * PREAUTH ready\n< a1 EXAMINE\n> a1 OK done")
	if _, err := c.Greeting(); err != nil || !c.LoggedIn {
		t.Fatal(err)
	}
	if _, err := c.Examine("INBOX"); dial.Outcome(err) != dial.Garbage {
		t.Errorf("%v", err)
	}
}

func TestCommandsHoldNoLineEnds(t *testing.T) {
	c := connect(t, "> * OK ready\n< never")
	if _, err := c.Login("a\r\nb", "x"); dial.Outcome(err) != "invalid" {
		t.Errorf("%v", err)
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{
		"* OK [CAPABILITY IMAP4rev1] ready\r\n", "a1 NO [AUTHENTICATIONFAILED] no\r\n", "+ go\r\n", "* BYE\r\n",
		"* 1 FETCH (BODY[] {3}\r\nabc)\r\n", "* 1 FETCH ({99999999999999999999}\r\n", "* {1+}\r\n\r\n{0}\r\n{0}\r\n", "\x15\x03\x01", "* OK [", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		reply, err := readReply(bufio.NewReaderSize(strings.NewReader(string(in)), 4096), func(string) {}, nil)
		if err == nil && reply.Tag == "" {
			t.Errorf("%q: no tag and no error", in)
		}
		if strings.ContainsAny(reply.Raw, "\r\n\x00") {
			t.Errorf("%q: control characters are left in %q", in, reply.Raw)
		}
	})
}
