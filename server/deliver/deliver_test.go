package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/server/deliver/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a small internet: names in a resolver, sinks behind addresses.
type world struct {
	t     *testing.T
	dns   fakeDNS
	hosts map[string]*sinktest.Sink // by address

	mu    sync.Mutex
	dials []string
}

// fakeDNS has the records of sinktest.DNS without a server.
type fakeDNS sinktest.DNS

func (d fakeDNS) LookupMX(_ context.Context, name string) (out []*net.MX, err error) {
	for _, v := range d[name+" MX"] {
		pref, host, _ := strings.Cut(v, " ")
		n, err := strconv.Atoi(pref)
		if err != nil {
			return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
		}
		out = append(out, &net.MX{Host: host, Pref: uint16(n)})
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return out, nil
}

func (d fakeDNS) LookupNetIP(_ context.Context, _, name string) (out []netip.Addr, err error) {
	for _, kind := range []string{" AAAA", " A"} { // as a resolver may well answer
		for _, v := range d[name+kind] {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
			}
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return out, nil
}

func newWorld(t *testing.T, dns fakeDNS) *world {
	return &world{t: t, dns: dns, hosts: map[string]*sinktest.Sink{}}
}

// host puts a sink behind addresses.
func (w *world) host(cfg sinktest.Config, addrs ...string) *sinktest.Sink {
	s := sinktest.New(w.t, cfg)
	for _, a := range addrs {
		w.hosts[a] = s
	}
	return s
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, addr)
	w.mu.Unlock()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if s := w.hosts[host]; s != nil {
		return (&net.Dialer{}).DialContext(ctx, network, s.Addr().String())
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: refusedError}
}

var refusedError = netErrors[0].numbers[0]

func (w *world) client(change ...func(*Config)) *Client {
	c := Config{Hostname: "mail.example.com", Resolver: w.dns, Dial: w.dial, Timeouts: Timeouts{Quit: 200 * time.Millisecond}}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// send delivers text from taro@example.com, all recipients in the domain of
// the first.
func send(t *testing.T, c *Client, text string, to ...string) []Result {
	t.Helper()
	m := message(text, to...)
	k := c.Courier(c.Destination(m.Sender, to[0]))
	defer k.Close()
	return k.Deliver(t.Context(), m)
}

func message(text string, to ...string) *Message {
	m := &Message{Sender: "taro@example.com", Size: int64(len(text)), Open: open(text)}
	for _, a := range to {
		m.Recipients = append(m.Recipients, Recipient{Address: a})
	}
	return m
}

func open(text string) func() (io.ReadSeekCloser, error) {
	return func() (io.ReadSeekCloser, error) {
		return struct {
			io.ReadSeeker
			io.Closer
		}{strings.NewReader(text), io.NopCloser(nil)}, nil
	}
}

// brief is a result as a test states it: outcome, enhanced code, host, cause.
func brief(results []Result) []string {
	var out []string
	for _, r := range results {
		s := string(r.Outcome) + " " + r.Enhanced
		if r.Host != "" {
			s += " " + r.Host
		}
		if r.Cause != "" {
			s += " " + r.Cause
		}
		if r.Uncertain {
			s += " uncertain"
		}
		if r.Down {
			s += " down"
		}
		out = append(out, s)
	}
	return out
}

func want(t *testing.T, got []Result, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, brief(got)); diff != "" {
		t.Errorf("results (-want +got):\n%s\n%+v", diff, got)
	}
}

func dialogue(t *testing.T, s *sinktest.Sink, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.Dialogue()); diff != "" {
		t.Errorf("dialogue (-want +got):\n%s", diff)
	}
}

const hello = "Subject: hello\r\n\r\nhello\r\n"

func oneHost() fakeDNS {
	return fakeDNS{"example.jp. MX": {"10 mx.example.jp."}, "mx.example.jp. A": {"192.0.2.1"}}
}

func TestDeliver(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	got := send(t, w.client(), hello, "hanako@example.jp", "jiro@example.jp")
	want(t, got, "delivered 2.0.0 mx.example.jp", "delivered 2.0.0 mx.example.jp")
	if got[0].Addr.String() != "192.0.2.1:25" || got[0].Text != "250 2.0.0 Ok: taken" || got[0].Code != 250 || !got[0].DSN {
		t.Errorf("result %+v", got[0])
	}
	dialogue(t, s, "1 EHLO mail.example.com", "1 MAIL FROM:<taro@example.com> SIZE=25", "1 RCPT TO:<hanako@example.jp>",
		"1 RCPT TO:<jiro@example.jp>", "1 DATA", "1 QUIT")
	wantMsg := []sinktest.Message{{Session: 1, From: "<taro@example.com> SIZE=25", To: []string{"<hanako@example.jp>", "<jiro@example.jp>"}, Raw: hello, Text: hello}}
	if diff := cmp.Diff(wantMsg, s.Messages()); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestParameters(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	c := w.client()
	m := message("Subject: \u65e5\r\n\r\n\u65e5\r\n", "\u82b1\u5b50@example.jp", "jiro@example.jp")
	m.EightBit, m.UTF8, m.Ret, m.EnvID = true, true, "HDRS", "QQ314159"
	m.Recipients[0].Notify = "SUCCESS,DELAY"
	m.Recipients[1].ORCPT = "rfc822;jiro+2Bx@example.com"
	k := c.Courier(c.Destination(m.Sender, m.Recipients[0].Address))
	want(t, k.Deliver(t.Context(), m), "delivered 2.0.0 mx.example.jp", "delivered 2.0.0 mx.example.jp")
	k.Close()
	dialogue(t, s, "1 EHLO mail.example.com", "1 MAIL FROM:<taro@example.com> SIZE=21 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159",
		"1 RCPT TO:<\u82b1\u5b50@example.jp> NOTIFY=SUCCESS,DELAY", "1 RCPT TO:<jiro@example.jp> ORCPT=rfc822;jiro+2Bx@example.com", "1 DATA", "1 QUIT")
}

// Without extensions nothing of them is used, and commands go one by one.
func TestPlainHost(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, _ string) string {
		if verb == "EHLO" {
			return "502 5.5.1 EHLO not known"
		}
		return ""
	}}, "192.0.2.1")
	c := w.client()
	m := message(hello, "hanako@example.jp", "\u82b1\u5b50@example.jp", "jiro@example.jp")
	m.EightBit, m.Ret, m.EnvID = true, "HDRS", "QQ"
	m.Recipients[0].Notify = "NEVER"
	k := c.Courier(c.Destination(m.Sender, m.Recipients[0].Address))
	got := k.Deliver(t.Context(), m)
	k.Close()
	want(t, got, "delivered 2.0.0 mx.example.jp", "failed 5.6.7 mx.example.jp syntax-error", "delivered 2.0.0 mx.example.jp")
	if got[0].DSN {
		t.Error("a host without DSN cannot report")
	}
	dialogue(t, s, "1 EHLO mail.example.com", "1 HELO mail.example.com", "1 MAIL FROM:<taro@example.com>", "1 RCPT TO:<hanako@example.jp>",
		"1 RCPT TO:<jiro@example.jp>", "1 DATA", "1 QUIT")
}

func TestInternationalDomain(t *testing.T) {
	w := newWorld(t, fakeDNS{"xn--wgv71a.jp. MX": {"10 mx.example.jp."}, "mx.example.jp. A": {"192.0.2.1"}})
	s := w.host(sinktest.Config{Extensions: []string{"PIPELINING"}}, "192.0.2.1")
	want(t, send(t, w.client(), hello, "taro@\u65e5\u672c.jp"), "delivered 2.0.0 mx.example.jp")
	if got := s.Messages()[0].To; !slices.Equal(got, []string{"<taro@xn--wgv71a.jp>"}) {
		t.Errorf("to %q", got)
	}
}

func TestDotsAndBytes(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000)
	for name, text := range map[string]string{
		"dots":        "Subject: x\r\n\r\n.\r\n..\r\n...a\r\n.a\r\na.\r\n",
		"dot first":   ".\r\n",
		"empty":       "",
		"8 bit":       "a: b\r\n\r\n\x00\x80\xff\r\n",
		"long line":   long + "\r\n" + "." + long + "\r\n",
		"buffer edge": strings.Repeat("x", 16<<10-2) + "\r\n.y\r\n" + strings.Repeat("z", 16<<10-9) + "\r\n..\r\n",
		"bare":        "a\n.b\r.c\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, oneHost())
			s := w.host(sinktest.Config{}, "192.0.2.1")
			want(t, send(t, w.client(), text, "hanako@example.jp"), "delivered 2.0.0 mx.example.jp")
			if got := s.Messages()[0]; got.Text != text || got.Raw != strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] {
				t.Errorf("got %d octets, sent %d", len(got.Text), len(text))
			}
		})
	}
}

func TestUnendedLine(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	want(t, send(t, w.client(), "a\r\nb", "hanako@example.jp"), "delivered 2.0.0 mx.example.jp")
	if got := s.Messages()[0].Text; got != "a\r\nb\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestRecipientsApart(t *testing.T) {
	for _, extensions := range [][]string{{"PIPELINING"}, {}} {
		w := newWorld(t, fakeDNS{"example.jp. MX": {"10 mx1.example.jp.", "20 mx2.example.jp."}, "mx1.example.jp. A": {"192.0.2.1"}, "mx2.example.jp. A": {"192.0.2.2"}})
		one := w.host(sinktest.Config{Extensions: extensions, Script: func(_ *sinktest.Session, verb, arg string) string {
			switch {
			case verb == "RCPT" && strings.Contains(arg, "gone"):
				return "550-5.1.1 No such\r\n550 5.1.1 user"
			case verb == "RCPT" && strings.Contains(arg, "grey"):
				return "450 4.7.1 Greylisted"
			}
			return ""
		}}, "192.0.2.1")
		two := w.host(sinktest.Config{Extensions: extensions}, "192.0.2.2")
		got := send(t, w.client(), hello, "a@example.jp", "gone@example.jp", "grey@example.jp", "b@example.jp")
		want(t, got, "delivered 2.0.0 mx1.example.jp", "failed 5.1.1 mx1.example.jp", "delivered 2.0.0 mx2.example.jp", "delivered 2.0.0 mx1.example.jp")
		if got[1].Text != "550 5.1.1 No such user" || got[1].Command != "RCPT" || got[1].Code != 550 {
			t.Errorf("%+v", got[1])
		}
		if to := one.Messages()[0].To; !slices.Equal(to, []string{"<a@example.jp>", "<b@example.jp>"}) {
			t.Errorf("mx1 has it for %q", to)
		}
		if to := two.Messages()[0].To; len(two.Messages()) != 1 || !slices.Equal(to, []string{"<grey@example.jp>"}) {
			t.Errorf("mx2 has it for %q", to)
		}
	}
}

// What each refusal comes to, with one host and with a second one that takes
// the mail.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		verb, answer string
		alone, two   string
	}{
		{"CONN", "421 4.3.2 Busy", "deferred 4.3.2 mx1.example.jp down", "delivered 2.0.0 mx2.example.jp"},
		{"CONN", "554 5.7.1 Go away", "failed 5.7.1 mx1.example.jp down", "delivered 2.0.0 mx2.example.jp"},
		{"CONN", "CLOSE", "deferred 4.4.2 mx1.example.jp connection-reset down", "delivered 2.0.0 mx2.example.jp"},
		{"CONN", "hello there", "deferred 4.5.0 mx1.example.jp syntax-error down", "delivered 2.0.0 mx2.example.jp"},
		{"EHLO", "421 4.3.2 Busy", "deferred 4.3.2 mx1.example.jp down", "delivered 2.0.0 mx2.example.jp"},
		{"EHLO", "CLOSE 421 Busy", "deferred  mx1.example.jp down", "delivered 2.0.0 mx2.example.jp"},
		{"MAIL", "451 4.3.0 Not now", "deferred 4.3.0 mx1.example.jp", "delivered 2.0.0 mx2.example.jp"},
		{"MAIL", "550 5.7.1 Not you", "failed 5.7.1 mx1.example.jp", "failed 5.7.1 mx1.example.jp"},
		{"MAIL", "CLOSE 421 4.3.2 Bye", "deferred 4.3.2 mx1.example.jp", "delivered 2.0.0 mx2.example.jp"},
		{"RCPT", "450 4.2.1 Busy", "deferred 4.2.1 mx1.example.jp", "delivered 2.0.0 mx2.example.jp"},
		{"RCPT", "550 5.1.1 Unknown", "failed 5.1.1 mx1.example.jp", "failed 5.1.1 mx1.example.jp"},
		{"RCPT", "550 unknown", "failed  mx1.example.jp", "failed  mx1.example.jp"},
		{"RCPT", "550 4.1.1 odd", "failed  mx1.example.jp", "failed  mx1.example.jp"},
		{"RCPT", "CLOSE", "deferred 4.4.2 mx1.example.jp connection-reset", "delivered 2.0.0 mx2.example.jp"},
		{"DATA", "451 4.3.0 Not now", "deferred 4.3.0 mx1.example.jp", "delivered 2.0.0 mx2.example.jp"},
		{"DATA", "554 5.7.1 No", "failed 5.7.1 mx1.example.jp", "failed 5.7.1 mx1.example.jp"},
		{"DATA", "CLOSE", "deferred 4.4.2 mx1.example.jp connection-reset", "delivered 2.0.0 mx2.example.jp"},
		{"END", "451 4.7.1 Later", "deferred 4.7.1 mx1.example.jp", "delivered 2.0.0 mx2.example.jp"},
		{"END", "552 5.2.2 Full", "failed 5.2.2 mx1.example.jp", "failed 5.2.2 mx1.example.jp"},
		// RFC 1047: nobody else may be asked now.
		{"END", "CLOSE", "deferred 4.4.2 mx1.example.jp connection-reset uncertain", "deferred 4.4.2 mx1.example.jp connection-reset uncertain"},
		{"END", "RESET", "deferred 4.4.2 mx1.example.jp connection-reset uncertain", "deferred 4.4.2 mx1.example.jp connection-reset uncertain"},
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {"8BITMIME"}} {
			t.Run(tt.verb+" "+tt.answer+" "+extensions[0], func(t *testing.T) {
				script := func(_ *sinktest.Session, verb, _ string) string {
					if verb == tt.verb {
						return tt.answer
					}
					return ""
				}
				w := newWorld(t, fakeDNS{"alone.example.jp. MX": {"1 mx1.example.jp."}, "example.jp. MX": {"10 mx1.example.jp.", "20 mx2.example.jp."},
					"mx1.example.jp. A": {"192.0.2.1"}, "mx2.example.jp. A": {"192.0.2.2"}})
				w.host(sinktest.Config{Script: script, Extensions: extensions}, "192.0.2.1")
				two := w.host(sinktest.Config{}, "192.0.2.2")
				want(t, send(t, w.client(), hello, "a@alone.example.jp"), tt.alone)
				want(t, send(t, w.client(), hello, "a@example.jp"), tt.two)
				if n := len(two.Messages()); n != strings.Count(tt.two, "delivered") {
					t.Errorf("mx2 has %d messages", n)
				}
			})
		}
	}
}

// The words are those other servers use, so that people and programs know them.
func TestTexts(t *testing.T) {
	w := newWorld(t, fakeDNS{"example.jp. MX": {"10 mx.example.jp."}, "mx.example.jp. A": {"192.0.2.9"}, "null.example. MX": {"0 ."}, "bad.example. MX": {"SERVFAIL"},
		"nohost.example. MX": {"5 gone.example."}})
	for to, text := range map[string]string{
		"a@example.jp":     "connect to mx.example.jp[192.0.2.9]:25: Connection refused",
		"a@null.example":   "556 5.1.10 Recipient address has null MX: null.example takes no mail (RFC 7505)",
		"a@bad.example":    "DNS did not answer the question for the MX of bad.example: lookup bad.example.: server misbehaving",
		"a@nohost.example": "Host or domain name not found: gone.example has no address",
		"a@gone.example":   "Host or domain name not found: gone.example has no address",
		"a":                "the recipient address has no domain",
		"a@[192.0.2]":      "[192.0.2] is no address literal",
	} {
		if got := send(t, w.client(), hello, to)[0].Text; got != text {
			t.Errorf("%s: %q, want %q", to, got, text)
		}
	}
}

func TestSize(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Extensions: []string{"SIZE 20"}}, "192.0.2.1")
	got := send(t, w.client(), hello, "a@example.jp")
	want(t, got, "failed 5.3.4 mx.example.jp message-too-large")
	if got[0].Text != "message size 25 exceeds size limit 20 of mx.example.jp[192.0.2.1]:25" {
		t.Error(got[0].Text)
	}
	want(t, send(t, w.client(), "a\r\n", "a@example.jp"), "delivered 2.0.0 mx.example.jp")
	if len(s.Messages()) != 1 {
		t.Error("the big one was sent")
	}
}

// A host that has had enough in the middle of the text, and says so.
func TestRefusedInTheMiddle(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n552 5.3.4 Too big\r\n")
		buf := make([]byte, 4096)
		c.Read(buf)
		c.(*net.TCPConn).CloseWrite()
		time.AfterFunc(50*time.Millisecond, func() { c.Close() })
	}()
	w := newWorld(t, oneHost())
	c := w.client(func(c *Config) {
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
		}
	})
	got := send(t, c, strings.Repeat("0123456789abcde\r\n", 1<<20), "a@example.jp")
	want(t, got, "failed 5.3.4 mx.example.jp")
	<-done
}

func TestUnreadableMessage(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	c := w.client()
	m := message(hello, "a@example.jp")
	m.Open = func() (io.ReadSeekCloser, error) { return nil, errors.New("gone") }
	k := c.Courier(Destination{Domain: "example.jp"})
	want(t, k.Deliver(t.Context(), m), "deferred 4.3.0 server-temporary")
	m.Open = func() (io.ReadSeekCloser, error) { return &brokenFile{bytes.NewReader([]byte(hello))}, nil }
	want(t, k.Deliver(t.Context(), m), "deferred 4.3.0 server-temporary")
	k.Close()
	if len(s.Messages()) != 0 {
		t.Error("half a message was sent as a whole one")
	}
}

type brokenFile struct{ *bytes.Reader }

func (b *brokenFile) Close() error               { return nil }
func (b *brokenFile) Read(p []byte) (int, error) { return 0, errors.New("input/output error") }

func TestCommandInjection(t *testing.T) {
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{}, "192.0.2.1")
	want(t, send(t, w.client(), hello, "a@example.jp", "x>\r\nRCPT TO:<evil@example.jp"), "delivered 2.0.0 mx.example.jp", "failed 5.6.7 mx.example.jp syntax-error")
	if to := s.Messages()[0].To; len(to) != 1 {
		t.Errorf("to %q", to)
	}
}

func TestCancel(t *testing.T) {
	for _, verb := range []string{"CONN", "EHLO", "MAIL", "DATA", "END"} {
		t.Run(verb, func(t *testing.T) {
			hung := make(chan struct{})
			w := newWorld(t, fakeDNS{"example.jp. MX": {"1 mx.example.jp.", "2 other.example.jp."}, "mx.example.jp. A": {"192.0.2.1"}, "other.example.jp. A": {"192.0.2.2"}})
			w.host(sinktest.Config{Script: func(_ *sinktest.Session, v, _ string) string {
				if v == verb {
					close(hung)
					return sinktest.Hang
				}
				return ""
			}}, "192.0.2.1")
			other := w.host(sinktest.Config{}, "192.0.2.2")
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-hung; cancel() }()
			c := w.client()
			k := c.Courier(Destination{Domain: "example.jp"})
			got := k.Deliver(ctx, message(hello, "a@example.jp"))
			k.Close()
			if got[0].Outcome != Deferred || got[0].Cause != causeCancelled || got[0].Uncertain != (verb == "END") {
				t.Errorf("%+v", got[0])
			}
			if n, _ := other.Sessions(); n != 0 {
				t.Error("another host was tried")
			}
		})
	}
}
