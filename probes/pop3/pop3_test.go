package pop3

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

func connect(t *testing.T, script string, opt Options) (*Conn, *pop3test.Server) {
	t.Helper()
	s := pop3test.Play(t, script)
	c, err := Dial(context.Background(), s.Addr, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, s
}

func TestWholeConversation(t *testing.T) {
	c, s := connect(t, `
		> +OK ready <1.2@mail.example.com>
		< CAPA
		> +OK here it comes
		> USER
		> UIDL
		> RESP-CODES
		> IMPLEMENTATION Example
		> .
		< USER taro
		> +OK
		< PASS secret
		> +OK welcome
		< STAT
		> +OK 2 320
		< LIST
		> +OK
		> 1 120
		> 2 200
		> .
		< UIDL
		> +OK
		> 1 aaa
		> 2 bbb
		> .
		< RETR 2
		> +OK 200 octets
		> Subject: x
		>
		> ..dot
		> ...
		> end
		> .
		< TOP 1 0
		> +OK
		> Subject: y
		>
		> .
		< DELE 2
		> +OK
		< QUIT
		> +OK bye
	`, Options{})
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := c.Greeting()
	step(err)
	if g.Text != "ready <1.2@mail.example.com>" || !g.OK {
		t.Errorf("greeting %+v", g)
	}
	_, err = c.Capa()
	step(err)
	if !c.Has("UIDL") || c.Has("STLS") || c.Has("EXAMPLE") {
		t.Errorf("capabilities %q", c.Capabilities)
	}
	_, err = c.Login("taro", "secret")
	step(err)
	n, size, err := c.Stat()
	step(err)
	if n != 2 || size != 320 {
		t.Errorf("STAT %d %d", n, size)
	}
	list, err := c.List()
	step(err)
	if d := cmp.Diff([]Message{{Number: 1, Size: 120}, {Number: 2, Size: 200}}, list); d != "" {
		t.Error(d)
	}
	uids, err := c.Uidl()
	step(err)
	if d := cmp.Diff([]Message{{Number: 1, UID: "aaa"}, {Number: 2, UID: "bbb"}}, uids); d != "" {
		t.Error(d)
	}
	msg, err := c.Retr(2, 1<<20)
	step(err)
	if want := "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n"; string(msg) != want {
		t.Errorf("message %q, want %q", msg, want)
	}
	_, err = c.Top(1, 0, 1<<20)
	step(err)
	_, err = c.Dele(2)
	step(err)
	_, err = c.Quit()
	step(err)

	var all []string
	for _, l := range c.Transcript {
		all = append(all, l.From+" "+l.Stage+" "+l.Text)
	}
	text := strings.Join(all, "\n")
	if strings.Contains(text, "secret") {
		t.Errorf("the password stands in the transcript:\n%s", text)
	}
	for _, want := range []string{"C auth PASS ***", "S retr (message of 29 octets)", "C list STAT", "S capabilities UIDL", "S quit +OK bye"} {
		if !strings.Contains(text, want) {
			t.Errorf("transcript lacks %q:\n%s", want, text)
		}
	}
	if got := s.Said(); got[2] != "PASS secret" {
		t.Errorf("the server heard %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	const fast = 200 * time.Millisecond
	for _, tt := range []struct {
		name, script string
		stage, how   string
		code         string
	}{
		{"silent", "stall", StageGreeting, dial.Silent, ""},
		{"drip", "raw +\nstall", StageGreeting, dial.Drip, ""},
		{"closed", "close", StageGreeting, dial.Closed, ""},
		{"tls expected", "raw \\x15\\x03\\x01\\x00\\x02\\x02\\x0a", StageGreeting, dial.TLSExpected, ""},
		{"http", "> HTTP/1.1 400 Bad Request", StageGreeting, dial.Garbage, ""},
		{"long line", "raw +OK " + strings.Repeat("x", 9000), StageGreeting, dial.Garbage, ""},
		{"refused greeting", "> -ERR [SYS/TEMP] too many", StageGreeting, dial.Temporary, "SYS/TEMP"},
		{"user refused", "> +OK\n< CAPA\n> -ERR what\n< USER\n> -ERR no", StageAuth, dial.Permanent, ""},
		{"in use", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> -ERR [in-use] lock busy", StageAuth, dial.InUse, "IN-USE"},
		{"reset after USER", "> +OK\n< CAPA\n> -ERR what\n< USER\nreset", StageAuth, dial.Reset, ""},
		{"login delay", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> -ERR [LOGIN-DELAY] wait", StageAuth, dial.Temporary, "LOGIN-DELAY"},
		{"bad STAT", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> +OK\n< STAT\n> +OK many", StageList, dial.Garbage, ""},
		{"gone", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> +OK\n< STAT\n> +OK 1 10\n< RETR\n> -ERR it's gone", StageRetr, dial.Permanent, ""},
		{"stalls", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> +OK\n< STAT\n> +OK 1 10\n< RETR\n> +OK\n> Subject: x\nstall", StageRetr, dial.Drip, ""},
		{"cut", "> +OK\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> +OK\n< STAT\n> +OK 1 10\n< RETR\n> +OK\n> Subject: x\nclose", StageRetr, dial.Closed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := connect(t, tt.script, Options{Timeout: fast})
			err := walk(c)
			e := As(err)
			if e == nil {
				t.Fatalf("no stage error: %v", err)
			}
			if e.Stage != tt.stage || e.Outcome() != tt.how || e.Reply.Code != tt.code {
				t.Errorf("%s %s [%s], want %s %s [%s] (%v)", e.Stage, e.Outcome(), e.Reply.Code, tt.stage, tt.how, tt.code, err)
			}
		})
	}
}

// walk goes through all stages and returns the first error; a server without
// CAPA is no error.
func walk(c *Conn) error {
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if _, err := c.Capa(); err != nil && As(err).How != dial.Permanent {
		return err
	}
	if _, err := c.Login("taro", "x"); err != nil {
		return err
	}
	if _, _, err := c.Stat(); err != nil {
		return err
	}
	_, err := c.Retr(1, 1<<20)
	return err
}

// A reset at once may be seen while connecting already.
func TestResetAtOnce(t *testing.T) {
	s := pop3test.Play(t, "reset")
	c, err := Dial(context.Background(), s.Addr, Options{})
	if err == nil {
		defer c.Close()
		_, err = c.Greeting()
	}
	if e := As(err); e == nil || e.Outcome() != dial.Reset {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	s := pop3test.Play(t, "close")
	addr := s.Addr
	_, err := Dial(context.Background(), "127.0.0.1:1", Options{Timeout: time.Second})
	if e := As(err); e == nil || e.Stage != StageTCP || e.Outcome() != dial.Refused {
		t.Errorf("%v (%s is alive)", err, addr)
	}
	if _, err := Dial(context.Background(), "no-port", Options{}); As(err) == nil || As(err).Stage != StageName {
		t.Errorf("no port: %v", err)
	}
}

func TestMessageTooLarge(t *testing.T) {
	c, _ := connect(t, "> +OK\n< RETR\n> +OK\n> 0123456789\n> 0123456789\n> .", Options{})
	if _, err := c.Greeting(); err != nil {
		t.Fatal(err)
	}
	msg, err := c.Retr(1, 15)
	if e := As(err); e == nil || e.Outcome() != "too-large" || string(msg) != "0123456789\r\n" {
		t.Errorf("%q %v", msg, err)
	}
}

func TestContextEndsConversation(t *testing.T) {
	s := pop3test.Play(t, "> +OK\nstall")
	ctx, cancel := context.WithCancel(context.Background())
	c, err := Dial(ctx, s.Addr, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Greeting(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.Capa(); err == nil {
		t.Error("the conversation outlived its context")
	}
}

func TestCommandInjection(t *testing.T) {
	c, s := connect(t, "> +OK\nstall", Options{})
	if _, err := c.Greeting(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login("taro\r\nDELE 1", "x"); As(err) == nil || As(err).How != "invalid" {
		t.Errorf("%v", err)
	}
	if said := s.Said(); len(said) != 0 {
		t.Errorf("the server heard %q", said)
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"+OK ready\r\n", "-ERR [IN-USE] lock\r\n1 2\r\n.\r\n", "\x16\x03\x01", "+OK [\r\n", "-ERR []x\n", ".\r\n", "+OK\r\n..x\r\n.\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := bufio.NewReaderSize(strings.NewReader(s), maxLine)
		reply, err := readReply(r, func(line string) {
			if strings.ContainsAny(line, "\r\n\x00\x1b") {
				t.Errorf("%q is not clean", line)
			}
		})
		if err == nil && reply.Raw == "" {
			t.Errorf("%q: a reply without words: %+v", s, reply)
		}
		if strings.ContainsAny(reply.Code, " []") {
			t.Errorf("%q: code %q", s, reply.Code)
		}
		if err == nil {
			_ = readListing(r, func(string) {})
		}
		msg, _ := readMessage(bufio.NewReaderSize(strings.NewReader(s), 16), 100, func() {})
		if len(msg) > 100 {
			t.Errorf("%q: %d octets taken, 100 allowed", s, len(msg))
		}
	})
}
