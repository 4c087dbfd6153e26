package relaytest

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

// allTests are the names of the document, which never change.
var allTests = []string{
	"plain", "null-sender", "local-sender", "sender-literal", "sender-no-domain", "same-sender-recipient", "percent-hack", "percent-literal",
	"bang-path", "source-route", "source-route-local", "quoted", "quoted-local", "double-at", "literal-recipient", "trailing-dot",
	"postmaster-route", "mixed-case-domain", "subdomain",
}

func TestBattery(t *testing.T) {
	got := Battery(Names{Domain: "example.com", Server: netip.MustParseAddr("192.0.2.1")})
	var names []string
	for _, x := range got {
		names = append(names, x.Name)
		if x.Name != "null-sender" && x.From == "" || x.To == "" {
			t.Errorf("%+v", x)
		}
		for name := range inside {
			if !slices.Contains(allTests, name) {
				t.Errorf("no test %s", name)
			}
		}
	}
	if d := cmp.Diff(allTests, names); d != "" {
		t.Error(d)
	}
	want := []Try{
		{"percent-hack", "relay-test@example.org", "relay-test%example.net@example.com"},
		{"percent-literal", "relay-test@example.org", "relay-test%example.net@[192.0.2.1]"},
		{"bang-path", "relay-test@example.org", "example.net!relay-test@example.com"},
		{"source-route", "relay-test@example.org", "@example.com:relay-test@example.net"},
	}
	if d := cmp.Diff(want, got[6:10]); d != "" {
		t.Error(d)
	}
	six := Battery(Names{Domain: "example.com", Server: netip.MustParseAddr("2001:db8::1"), To: "me@example.jp"})
	if six[7].To != "me%example.jp@[IPv6:2001:db8::1]" {
		t.Errorf("%+v", six[7])
	}
}

// test asks a scripted server; every text of both languages must render.
func test(t *testing.T, h *smtptest.Host, opt Options) *Report {
	t.Helper()
	host, port, _ := net.SplitHostPort(h.Addr)
	opt.Host = host
	for _, c := range port {
		opt.Port = opt.Port*10 + int(c-'0')
	}
	if opt.Domain == "" {
		opt.Domain = "example.com"
	}
	if opt.Timeout == 0 {
		opt.Timeout = 2 * time.Second
	}
	r := Run(context.Background(), opt)
	for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
		if err := r.Localize(lang); err != nil {
			t.Error(err)
		}
		for _, f := range r.Findings {
			if f.Title == "" || f.Status == diag.Skip && (f.Detail == "" || len(f.Fixes) == 0) {
				t.Errorf("%s: %+v", lang, f)
			}
		}
	}
	if len(r.Tests) != len(allTests) {
		t.Fatalf("%d tests", len(r.Tests))
	}
	return r
}

// with lists the tests of a result.
func with(r *Report, result string) []string {
	out := []string{}
	for _, x := range r.Tests {
		if x.Result == result {
			out = append(out, x.Name)
		}
	}
	return out
}

const deny = "RCPT TO: => 550 5.7.1 Relaying denied\n"

func TestRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		id           string
		status       diag.Status
		tests        any // of the finding's evidence
		accepted     []string
		why          any
	}{
		{name: "closed", script: deny, id: "relay.ok", status: diag.OK, tests: 19},
		{name: "wants a login first", script: "MAIL FROM: => 530 5.7.0 Authentication required\n", id: "relay.ok", status: diag.OK, tests: 19},
		{name: "takes everything", script: "", id: "relay.open", status: diag.Fail, tests: []string{"plain", "mixed-case-domain"},
			// The server takes its own domain whole: these say nothing.
			accepted: slices.DeleteFunc(slices.Clone(allTests), func(s string) bool { return inside[s] })},
		{name: "percent hack", script: deny + "RCPT TO:<relay-test%example.net@example.com => 250 ok\n",
			id: "relay.open_trick", status: diag.Fail, tests: []string{"percent-hack"}, accepted: []string{"percent-hack"}},
		{name: "source route", script: deny + "RCPT TO:<@ => 250 ok\n",
			id: "relay.open_trick", status: diag.Fail, tests: []string{"source-route", "source-route-local", "postmaster-route"},
			accepted: []string{"source-route", "source-route-local", "postmaster-route"}},
		{name: "null sender", script: "MAIL FROM: => 550 5.7.1 no\nMAIL FROM:<> => 250 ok\n",
			id: "relay.open_trick", status: diag.Fail, tests: []string{"null-sender"}, accepted: []string{"null-sender"}},
		{name: "trusts the sender", script: "MAIL FROM: => 553 5.1.8 no\nMAIL FROM:<postmaster@example.com => 250 ok\n",
			id: "relay.sender_trusted", status: diag.Fail, tests: []string{"local-sender"}, accepted: []string{"local-sender"}},
		// Everything in its own domain is taken: no relaying.
		{name: "catch-all", script: deny + "RCPT TO:<no-such-user => 250 ok\nRCPT TO:<relay-test%example.net@example.com => 250 ok\n" +
			"RCPT TO:<example.net!relay-test@example.com => 250 ok\nRCPT TO:<\"relay-test@example.net\"@example.com => 250 ok\n",
			id: "relay.ok", status: diag.OK, tests: 19},
		{name: "4xx", script: "RCPT TO: => 451 4.7.1 Greylisted\n", id: "relay.untested", status: diag.Skip, why: "temporary"},
		{name: "4xx for some", script: deny + "RCPT TO:<relay-test%example.net@example.com => 450 4.2.0 later\n", id: "relay.ok", status: diag.OK, tests: 19},
		{name: "silent", script: "MAIL FROM: => silent\n", id: "relay.untested", status: diag.Skip, why: "no-answer"},
		{name: "turned away", script: "greeting => 554 5.7.1 no service\n", id: "relay.untested", status: diag.Skip, why: "no-connection"},
		{name: "sender refused", script: "MAIL FROM: => 550 5.7.27 Sender domain does not accept mail\n", id: "relay.untested", status: diag.Skip, why: "sender"},
		{name: "says why it relays", script: "RCPT TO: => 250 2.1.5 ok, trusted client\n", id: "relay.untested", status: diag.Skip, why: "trusted",
			accepted: slices.DeleteFunc(slices.Clone(allTests), func(s string) bool { return inside[s] })},
		{name: "hangs up after each answer", script: deny + "RSET => close\n", id: "relay.ok", status: diag.OK, tests: 19},
		{name: "hangs up instead of one answer", script: deny + "RCPT TO:<relay-test%example.net@[ => close\n", id: "relay.ok", status: diag.OK, tests: 19},
		{name: "hangs up always", script: "RCPT TO: => close\n", id: "relay.untested", status: diag.Skip, why: "no-answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := smtptest.New(t, smtptest.Config{Script: tt.script})
			opt := Options{}
			if tt.name == "silent" {
				opt.Timeout = time.Second // a busy machine connects, greets and answers in this time
			}
			r := test(t, h, opt)
			if len(r.Findings) != 1 || r.Findings[0].ID != tt.id || r.Findings[0].Status != tt.status {
				t.Fatalf("%+v", r.Findings)
			}
			f := r.Findings[0]
			if tt.tests != nil {
				if d := cmp.Diff(tt.tests, f.Evidence["tests"]); d != "" {
					t.Error(d)
				}
			}
			if tt.accepted == nil {
				tt.accepted = []string{}
			}
			if d := cmp.Diff(tt.accepted, with(r, Accepted)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.why, f.Evidence["why"]); d != "" {
				t.Error(d)
			}
			for _, c := range h.Commands() {
				if strings.HasPrefix(strings.ToUpper(c), "DATA") {
					t.Error("went beyond RCPT")
				}
			}
		})
	}
}

// Each try is one transaction, and RSET ends it.
func TestResetBetweenTries(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: deny})
	test(t, h, Options{Helo: "client.example.jp"})
	open, rsets := false, 0
	for _, c := range h.Commands() {
		switch verb, _, _ := strings.Cut(c, " "); verb {
		case "EHLO":
			if c != "EHLO client.example.jp" {
				t.Error(c)
			}
		case "MAIL":
			if open {
				t.Error("a second MAIL without RSET")
			}
			open = true
		case "RSET", "connect":
			open = false
			rsets++
		}
	}
	if rsets < 19 {
		t.Errorf("%d resets", rsets)
	}
}

// A server that insists on TLS is asked inside TLS.
func TestStartTLSFirst(t *testing.T) {
	ca := certtest.NewCA()
	cert := ca.Issue(certtest.Leaf{Names: []string{"127.0.0.1"}})
	h := smtptest.New(t, smtptest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Script: "MAIL FROM: => 530 5.7.0 Must issue a STARTTLS command first\n"})
	test(t, h, Options{})
	n := 0
	for _, c := range h.Commands() {
		if c == "STARTTLS" {
			n++
		}
	}
	if n < 2 {
		t.Errorf("STARTTLS %d times", n)
	}
}

func TestDeliver(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: deny +
		"RCPT TO:<me@example.jp> => 250 ok\nRCPT TO:<me%example.jp@example.com> => 250 ok\nRCPT TO:<relay-test@relay-test.example.com => 250 ok\n"})
	r := test(t, h, Options{Deliver: "me@example.jp"})
	var sent []string
	for _, x := range r.Tests {
		if x.Sent {
			sent = append(sent, x.Name)
		}
	}
	want := []string{"plain", "null-sender", "local-sender", "sender-literal", "sender-no-domain", "same-sender-recipient", "percent-hack", "mixed-case-domain"}
	if d := cmp.Diff(want, sent); d != "" {
		t.Error(d)
	}
	got := h.Messages()
	if len(got) != len(want) {
		t.Fatalf("%d messages", len(got))
	}
	for i, m := range got {
		if !strings.Contains(m, "\r\nSubject: relay-test "+want[i]+"\r\n") || !strings.HasPrefix(m, "From: <me@example.jp>\r\nTo: <me@example.jp>\r\n") {
			t.Errorf("%s", m)
		}
	}

	// What RCPT lets through and the end of DATA refuses does not relay.
	h = smtptest.New(t, smtptest.Config{Script: ". => 550 5.7.1 no\nRCPT TO: => 550 no\nRCPT TO:<me@example.jp> => 250 ok\n"})
	r = test(t, h, Options{Deliver: "me@example.jp"})
	if r.Findings[0].ID != "relay.ok" || r.Tests[0].Reply != "550 5.7.1 no" {
		t.Errorf("%+v", r)
	}
}

func TestNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	r := Run(context.Background(), Options{Host: "127.0.0.1", Port: port, Timeout: time.Second})
	if len(r.Findings) != 1 || r.Findings[0].ID != "relay.untested" || r.Findings[0].Evidence["why"] != "no-connection" {
		t.Errorf("%+v", r.Findings)
	}
	if d := cmp.Diff(allTests, with(r, Skip)); d != "" {
		t.Error(d)
	}
}

func TestGuessDomain(t *testing.T) {
	for _, tt := range []struct{ host, greeting, want string }{
		{"mail.example.com", "", "example.com"},
		{"example.com", "220 mx.example.net ESMTP", "example.com"},
		{"192.0.2.1", "220 mx.example.net ESMTP", "example.net"},
		{"192.0.2.1", "", "localhost"},
		{"mailhost", "220 mx.example.net. ESMTP", "example.net"},
		{"2001:db8::1", "220 localhost", "localhost"},
	} {
		if got := guessDomain(tt.host, tt.greeting); got != tt.want {
			t.Errorf("%s %q: %s", tt.host, tt.greeting, got)
		}
	}
}

func TestOffline(t *testing.T) {
	n := Names{Domain: "example.com", Server: netip.MustParseAddr("192.0.2.1")}
	accept := map[string]bool{}
	ask := func(t Try) Verdict {
		if accept[t.Name] {
			return Verdict{Result: Accepted, Reply: "250 2.1.5 ok", Rule: "some.rule"}
		}
		return Verdict{Result: Refused, Reply: "550 5.7.1 no"}
	}
	if fs := Judge("smtp :25", Offline(n, ask)); fs[0].ID != "relay.ok" {
		t.Errorf("%+v", fs)
	}
	accept["plain"] = true
	if fs := Judge("smtp :25", Offline(n, ask)); fs[0].ID != "relay.open" || fs[0].Evidence["rule"] != "some.rule" || fs[0].Evidence["client"] != nil {
		t.Errorf("%+v", fs)
	}
}

func FuzzGuessDomain(f *testing.F) {
	f.Add("mail.example.com", "220 mx.example.net ESMTP")
	f.Add("", "220")
	f.Fuzz(func(t *testing.T, host, greeting string) {
		Battery(Names{Domain: guessDomain(host, greeting), Server: netip.MustParseAddr("::1")})
	})
}
