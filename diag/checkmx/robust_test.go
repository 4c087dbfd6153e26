package checkmx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/smtp/smtptest"
)

// A domain ends within six time-outs, whatever its servers do.
func TestEndsInTime(t *testing.T) {
	const limit = 200 * time.Millisecond
	host := smtptest.New(t, smtptest.Config{Script: "greeting => 220 mx1.example.test\nEHLO => delay 150ms 250 mx1.example.test\nMAIL => delay 150ms 250 ok\nRCPT => delay 150ms 250 ok\nRSET => delay 150ms 250 ok"})
	for name, l := range map[string]lab{
		"slow at every step": hosts(t, single, map[string]any{at1: host}),
		"silent resolver":    {zone: "!silent ."},
		"silent about most":  {zone: healthy + "!silent . TXT\n!silent . A\n!silent . AAAA\n!silent . NS"},
		"slow resolver":      {zone: healthy + "!delay 120ms ."},
	} {
		inner := l.opt
		l.opt = func(o *Options) {
			if inner != nil {
				inner(o)
			}
			o.Timeout, o.Only = limit, nil
		}
		began := time.Now()
		r := l.check(t)
		if d := time.Since(began); d > 6*limit+limit/2 {
			t.Errorf("%s: took %s", name, d)
		}
		if r.Facts.OutOfTime && len(ids(r, diag.Skip)) == 0 {
			t.Errorf("%s: ran out of time and does not say so", name)
		}
	}
}

// A check that crashes is one finding about that check; the others go on.
func TestCrash(t *testing.T) {
	r := lab{zone: healthy}.check(t)
	r.Facts.DMARC = &DMARC{} // without steps: an impossible state
	c := New(Options{Only: []string{"mx", "dmarc"}})
	if d := cmp.Diff([]string{"skip domain.check_crashed dmarc"}, ids(c.report(r.Facts), diag.Skip)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	r.Facts.DMARC = nil
	r.Facts.Crashed = map[string]string{"mx": "boom"}
	if d := cmp.Diff([]string{"skip domain.check_crashed mx"}, ids(c.report(r.Facts), diag.Skip, diag.OK)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

func TestOutOfTimeIsUnknown(t *testing.T) {
	r := lab{zone: healthy}.check(t)
	r.Facts.OutOfTime = true
	again := New(Options{Only: []string{"mx"}}).report(r.Facts)
	if !again.Unknown() {
		t.Errorf("%v", ids(again, diag.Skip, diag.OK))
	}
}

// hostile answers every question with what a stranger put into DNS.
type hostile struct{ text, name string }

func (h hostile) Lookup(_ context.Context, name string, t dns.Type) *dns.Answer {
	a := &dns.Answer{Name: dns.Name(name), Type: t, Outcome: dns.Answered}
	r := dns.Record{Name: dns.Name(name), Type: t, TTL: 60, Value: h.text, Host: h.name, Text: h.text, Hex: h.text, Len: len(h.text)}
	switch t {
	case dns.A:
		r.Addr = netip.MustParseAddr("100.1.2.3")
	case dns.AAAA, dns.CNAME:
		a.Outcome = dns.NoData
		return a
	}
	if len(h.text)%3 == 0 && t == dns.TXT {
		a.Records = append(a.Records, r) // twice the same
	}
	a.Records = append(a.Records, r)
	return a
}

// No text in DNS crashes a check, or breaks a text of the report.
func FuzzReport(f *testing.F) {
	for _, s := range []string{
		"v=spf1 include:a.test redirect=b.test ip4:0.0.0.0/0 ~all", "v=spf1 a:%{d} exists:%{i} +all", "v=DMARC1; p=none; rua=mailto:a@b.test,x!10m; pct=0; sp=x",
		"v=DKIM1; k=rsa; p=MFwwDQ==", "v=STSv1; id=1", "v=TLSRPTv1; rua=mailto:a@b", "v=BIMI1; l=https://a/b", "v=spf1 -all\x00\xff", "{{.x}}", "v=spf1 ptr ptr mx//0 -all mx",
	} {
		f.Add(s, "mx.example.test")
		f.Add(s, "192.0.2.1")
		f.Add(s, ".")
		f.Add(s, "a_b\\032.example.test.example.test")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		c := New(Options{Resolvers: []string{"127.0.0.1:9"}, NoSMTP: true, Timeout: time.Second, Expect: []netip.Addr{netip.MustParseAddr("192.0.2.7")}})
		c.lookup = dns.NewCache(hostile{text, dns.Name(name)}, 1000)
		c.dialer, c.direct = nowhere{}, &dns.Client{Dialer: nowhere{}}
		r := c.Check(context.Background(), "example.test")
		for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
			if err := r.Localize(lang); err != nil && !strings.Contains(text+name, "<no value>") {
				t.Fatal(err)
			}
		}
		for _, x := range r.Findings {
			if x.ID == "domain.check_crashed" {
				t.Fatal(x.Evidence)
			}
		}
	})
}

type nowhere struct{}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, fmt.Errorf("nothing is contacted here")
}

// One Checker serves many domains at once.
func TestConcurrent(t *testing.T) {
	srv := dnstest.New(t, healthy)
	c := New(Options{Resolvers: []string{srv.Addr}, Map: labMap(t), NoSMTP: true, Timeout: time.Second, Only: []string{"domain", "dns", "mx"}})
	defer c.Close()
	done := make(chan []string)
	for range 20 {
		go func() { done <- wrong(c.Check(context.Background(), "example.test")) }()
	}
	for range 20 {
		if w := <-done; len(w) > 0 {
			t.Errorf("%q", w)
		}
	}
	n := 0
	for _, q := range srv.Queries() {
		if q == "example.test. MX udp" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the MX was asked for %d times", n)
	}
}

// What a stranger put into DNS cannot take over the terminal.
func TestHarmlessTexts(t *testing.T) {
	r := policy("spf", `example.test. TXT "v=spf1 \027]0;evil\007 -all"`).check(t)
	f := find(t, r, "spf.syntax")
	if s := f.Title + f.Detail; strings.ContainsAny(s, "\x1b\x07") || !strings.Contains(s, "evil") {
		t.Errorf("%q", s)
	}
}

// What keeps the checks that were asked for from being made is said.
func TestObstacle(t *testing.T) {
	mxOnly := func(o *Options) { o.Only = []string{"mx", "spf"} }
	for zone, want := range map[string]string{
		"!silent .": "skip dns.timeout example.test", "!servfail .example.test.": "fail dns.servfail example.test",
		healthy + "!bogus example.test.": "fail dnssec.bogus example.test", "other.test. A 192.0.2.1": "fail domain.nxdomain example.test",
	} {
		r := lab{zone: zone, opt: mxOnly}.check(t)
		if d := cmp.Diff([]string{want}, ids(r, diag.Fail, diag.Warn, diag.Skip, diag.Info, diag.OK)); d != "" {
			t.Errorf("%s (-want +got): %s", zone, d)
		}
		if unknown := strings.HasPrefix(want, "skip"); r.Unknown() != unknown {
			t.Errorf("%s: unknown is %t", zone, r.Unknown())
		}
	}
}

// What this machine cannot reach is unknown, not broken.
func TestNoWayThere(t *testing.T) {
	r := servers(t, world, allGood(nil)).check(t)
	facts := r.Facts
	facts.Hosts[0].Addrs[0].SMTP = &SMTP{Connect: dial.Unreachable}
	facts.Hosts[1].Addrs[0].SMTP = &SMTP{Connect: dial.Denied}
	for _, s := range facts.NS.Servers {
		s.Ends[0].State = nsUnreachable
	}
	got := ids(New(Options{Only: []string{"smtp", "ns"}}).report(facts), diag.Fail, diag.Warn, diag.Skip, diag.Info, diag.OK)
	want := []string{"skip smtp.unknown mx1.example.test", "skip smtp.unknown mx2.example.test", "info ns.unknown example.test"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}
