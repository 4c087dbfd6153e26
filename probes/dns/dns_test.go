package dns_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/dns"
	"mailsrv/probes/dns/dnstest"
)

const zone = `
example.test.      SOA ns1.example.test. hostmaster.example.test. 7 3600 600 86400 300
example.test.      300 MX 10 MX1.Example.test.
example.test.      MX 20 mx2.example.test.
mx1.example.test.  A 192.0.2.1
mx1.example.test.  AAAA 2001:db8::1
mx2.example.test.  CNAME real.example.test.
real.example.test. A 192.0.2.2
gone.example.test. CNAME nowhere.test.
loop1.test.        CNAME loop2.test.
loop2.test.        CNAME loop1.test.
txt.test.          TXT "v=spf1 " "include:\"a\\b\" \009end"
sub.deep.test.     A 192.0.2.9
*.wild.test.       TXT "any"
null.test.         MX 0 .
signed.test.       A 192.0.2.3
!servfail bad.test.
!refuse no.test.
!silent quiet.test.
!formerr old.test.
old.test.          A 192.0.2.4
!truncate long.test. TXT
long.test.         TXT "long"
!cut cut.test.
!garbage garbage.test.
!bogus bogus.test.
bogus.test.        A 192.0.2.5
!signed signed.test.
!invent 203.0.113.80 .lies.test.
`

func client(t *testing.T, servers ...string) *dns.Client {
	t.Helper()
	return &dns.Client{Servers: servers, Timeout: time.Second}
}

func TestLookup(t *testing.T) {
	c := client(t, dnstest.New(t, zone).Addr)
	ctx := context.Background()
	type result struct {
		Outcome dns.Outcome
		Values  []string
		Chain   []string
	}
	for _, tt := range []struct {
		name string
		t    dns.Type
		want result
	}{
		{"EXAMPLE.test", dns.MX, result{dns.Answered, []string{"10 MX1.Example.test.", "20 mx2.example.test."}, nil}},
		{"mx1.example.test.", dns.AAAA, result{dns.Answered, []string{"2001:db8::1"}, nil}},
		{"mx2.example.test", dns.A, result{dns.Answered, []string{"192.0.2.2"}, []string{"real.example.test"}}},
		{"mx2.example.test", dns.AAAA, result{dns.NoData, nil, []string{"real.example.test"}}},
		{"mx2.example.test", dns.CNAME, result{dns.Answered, []string{"real.example.test."}, nil}},
		{"gone.example.test", dns.A, result{dns.NXDomain, nil, []string{"nowhere.test"}}},
		{"example.test", dns.TXT, result{dns.NoData, nil, nil}},
		{"deep.test", dns.A, result{dns.NoData, nil, nil}},
		{"missing.example.test", dns.A, result{dns.NXDomain, nil, nil}},
		{"x.y.wild.test", dns.TXT, result{dns.Answered, []string{`"any"`}, nil}},
		{"null.test", dns.MX, result{dns.Answered, []string{"0 ."}, nil}},
		{"txt.test", dns.TXT, result{dns.Answered, []string{`"v=spf1 include:\"a\\b\" \009end"`}, nil}},
		{"bad.test", dns.A, result{dns.ServFail, nil, nil}},
		{"no.test", dns.A, result{dns.Refused, nil, nil}},
		{"quiet.test", dns.A, result{dns.Timeout, nil, nil}},
		{"old.test", dns.A, result{dns.Answered, []string{"192.0.2.4"}, nil}},
		{"long.test", dns.TXT, result{dns.Answered, []string{`"long"`}, nil}},
		{"cut.test", dns.TXT, result{dns.TruncatedNoTCP, nil, nil}},
		{"garbage.test", dns.A, result{dns.Malformed, nil, nil}},
		{"bogus.test", dns.A, result{dns.ServFail, nil, nil}},
		{"any.lies.test", dns.A, result{dns.Answered, []string{"203.0.113.80"}, nil}},
		{"any.lies.test", dns.AAAA, result{dns.NXDomain, nil, nil}},
		{"a..b", dns.A, result{dns.Malformed, nil, nil}},
	} {
		a := c.Lookup(ctx, tt.name, tt.t)
		got := result{Outcome: a.Outcome, Chain: a.Chain}
		for _, r := range a.Records {
			got.Values = append(got.Values, r.Value)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s %s (-want +got): %s", tt.name, tt.t, d)
		}
	}
	loop := c.Lookup(ctx, "loop1.test", dns.A)
	if loop.Outcome != dns.NoData || len(loop.Chain) == 0 || len(loop.Chain) > 16 {
		t.Errorf("CNAME loop: %s after %d names", loop.Outcome, len(loop.Chain))
	}
}

func TestRecordFields(t *testing.T) {
	srv := dnstest.New(t, `
example.test.  SOA ns1.example.test. hostmaster.example.test. 7 3600 600 86400 300
example.test.  60 MX 10 MX1.Example.test.
txt.test.      TXT "v=spf1 " "include:\"a\\b\" \009end"
_imaps._tcp.example.test. SRV 1 2 993 imap.example.test.
_25._tcp.example.test. TLSA 3 1 1 ABCDEF
`)
	c := client(t, srv.Addr)
	for _, want := range []dns.Record{
		{Name: "example.test", Type: dns.MX, TTL: 60, Host: "mx1.example.test", Preference: 10},
		{Name: "txt.test", Type: dns.TXT, TTL: 3600, Text: "v=spf1 include:\"a\\b\" \tend"},
		{Name: "_imaps._tcp.example.test", Type: dns.SRV, TTL: 3600, Host: "imap.example.test", Preference: 1, Weight: 2, Port: 993},
		{Name: "_25._tcp.example.test", Type: dns.TLSA, TTL: 3600, Usage: 3, Selector: 1, Matching: 1, Hex: "abcdef"},
		{Name: "example.test", Type: dns.SOA, TTL: 3600, Host: "ns1.example.test", Serial: 7, Minimum: 300},
	} {
		a := c.Lookup(context.Background(), want.Name, want.Type)
		if len(a.Records) != 1 {
			t.Errorf("%s %s: %d records", want.Name, want.Type, len(a.Records))
			continue
		}
		got := a.Records[0]
		if got.Len == 0 || got.Value == "" {
			t.Errorf("%s: length %d, value %q", want.Name, got.Len, got.Value)
		}
		got.Len, got.Value = 0, ""
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s (-want +got): %s", want.Name, d)
		}
	}
}

func TestFlags(t *testing.T) {
	srv := dnstest.New(t, zone)
	c := client(t, srv.Addr)
	ctx := context.Background()
	if a := c.Lookup(ctx, "signed.test", dns.A); !a.AD || !a.RA || a.AA {
		t.Errorf("signed: AD %v RA %v AA %v", a.AD, a.RA, a.AA)
	}
	if a := c.Lookup(ctx, "mx1.example.test", dns.A); a.AD {
		t.Error("AD on an unsigned name")
	}
	if a := c.Lookup(ctx, "bogus.test", dns.A); !cmp.Equal(a.EDE, []int{6}) {
		t.Errorf("bogus: EDE %v", a.EDE)
	}
	if a := c.Query(ctx, srv.Addr, dns.Question{Name: "bogus.test", Type: dns.A, Recurse: true, NoCheck: true}); a.Outcome != dns.Answered {
		t.Errorf("bogus without checking: %s", a.Outcome)
	}
	if a := c.Lookup(ctx, "long.test", dns.TXT); !a.TCP {
		t.Error("a cut answer must come over TCP")
	}
}

func TestAuthoritative(t *testing.T) {
	srv := dnstest.New(t, `
!authoritative test.
test.             SOA ns.test. hostmaster.test. 1 3600 600 86400 300
example.test.     NS ns1.example.test.
ns1.example.test. A 192.0.2.53
`)
	c := client(t)
	ctx := context.Background()
	a := c.Query(ctx, srv.Addr, dns.Question{Name: "example.test", Type: dns.NS})
	if a.AA || a.Outcome != dns.NoData || len(a.Authority) != 1 || a.Authority[0].Host != "ns1.example.test" || len(a.Additional) != 1 {
		t.Errorf("referral: %+v", a)
	}
	if a := c.Query(ctx, srv.Addr, dns.Question{Name: "test", Type: dns.SOA}); !a.AA || a.Outcome != dns.Answered {
		t.Errorf("SOA: %+v", a)
	}
	if a := c.Query(ctx, srv.Addr, dns.Question{Name: "other.", Type: dns.SOA}); a.Outcome != dns.Refused {
		t.Errorf("foreign zone: %s", a.Outcome)
	}
}

// A failing resolver is followed by the next one, and what it said is not
// hidden by the silence of the others.
func TestSecondServer(t *testing.T) {
	bad := dnstest.New(t, "!servfail .")
	quiet := dnstest.New(t, "!silent .")
	good := dnstest.New(t, zone)
	ctx := context.Background()
	c := client(t, bad.Addr, good.Addr)
	for range 2 {
		if a := c.Lookup(ctx, "mx1.example.test", dns.A); a.Outcome != dns.Answered {
			t.Fatalf("%s", a.Outcome)
		}
	}
	if n := len(bad.Queries()); n != 1 {
		t.Errorf("the failing resolver was asked %d times, want 1: the one that answered comes first", n)
	}
	if a := client(t, quiet.Addr, bad.Addr).Lookup(ctx, "x.test", dns.A); a.Outcome != dns.ServFail {
		t.Errorf("silent and failing: %s", a.Outcome)
	}
	if n := len(quiet.Queries()); n != 2 {
		t.Errorf("the silent resolver was asked %d times, want 2", n)
	}
}

func TestUnreachable(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := pc.LocalAddr().String()
	_ = pc.Close()
	if a := client(t, addr).Lookup(context.Background(), "x.test", dns.A); a.Outcome != dns.Unreachable {
		t.Errorf("closed port: %s (%v)", a.Outcome, a.Err)
	}
	if a := client(t).Lookup(context.Background(), "x.test", dns.A); a.Outcome != dns.Unreachable {
		t.Errorf("no resolver: %s", a.Outcome)
	}
}

func TestCancel(t *testing.T) {
	c := &dns.Client{Servers: []string{dnstest.New(t, "!silent .").Addr}, Timeout: time.Hour}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan *dns.Answer)
	go func() { done <- c.Lookup(ctx, "x.test", dns.A) }()
	cancel()
	if a := <-done; a.Outcome != dns.Timeout {
		t.Errorf("cancelled: %s", a.Outcome)
	}
}

func TestServerAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::1": "[2001:db8::1]:53",
		"[2001:db8::1]": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353", "fe80::1%eth0": "[fe80::1%eth0]:53",
		"": "", "resolver.example": "", "192.0.2.53:0": "", "192.0.2.53:x": "", "192.0.2": "",
	} {
		got, err := dns.ServerAddr(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestQuote(t *testing.T) {
	long := strings.Repeat("a", 300)
	for in, want := range map[string]string{
		"": `""`, `a"b\`: `"a\"b\\"`, "é": `"\195\169"`,
		long: `"` + long[:255] + `" "` + long[255:] + `"`,
	} {
		if got := dns.Quote(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

func TestReverseName(t *testing.T) {
	if got := dns.ReverseName(netip.MustParseAddr("192.0.2.1")); got != "1.2.0.192.in-addr.arpa" {
		t.Error(got)
	}
	if got := dns.ReverseName(netip.MustParseAddr("::ffff:192.0.2.1")); got != "1.2.0.192.in-addr.arpa" {
		t.Error(got)
	}
	if got := dns.ReverseName(netip.MustParseAddr("2001:db8::1")); !strings.HasPrefix(got, "1.0.0.0.") || !strings.HasSuffix(got, ".8.b.d.0.1.0.0.2.ip6.arpa") {
		t.Error(got)
	}
}

func TestCache(t *testing.T) {
	srv := dnstest.New(t, "a.test. A 192.0.2.1\nb.test. A 192.0.2.2\n!delay 20ms a.test.")
	c := dns.NewCache(client(t, srv.Addr), 2)
	ctx := context.Background()
	answers := make(chan *dns.Answer)
	for range 8 {
		go func() { answers <- c.Lookup(ctx, "A.test.", dns.A) }()
	}
	for range 8 {
		if a := <-answers; a.Outcome != dns.Answered {
			t.Errorf("%s", a.Outcome)
		}
	}
	want := []string{"a.test. A udp"}
	if d := cmp.Diff(want, srv.Queries()); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	for _, n := range []string{"b.test", "c.test", "c.test", "a.test"} { // a is forgotten by then
		c.Lookup(ctx, n, dns.A)
	}
	want = append(want, "b.test. A udp", "c.test. A udp", "a.test. A udp")
	if d := cmp.Diff(want, srv.Queries()); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

// Whoever gives up while asking must not leave his time-out to the others.
func TestCacheGivenUp(t *testing.T) {
	srv := dnstest.New(t, "a.test. A 192.0.2.1\n!delay 50ms a.test.")
	c := dns.NewCache(&dns.Client{Servers: []string{srv.Addr}, Timeout: 5 * time.Second}, 10)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if a := c.Lookup(ctx, "a.test", dns.A); a.Outcome != dns.Timeout {
		t.Errorf("first: %s", a.Outcome)
	}
	if a := c.Lookup(context.Background(), "a.test", dns.A); a.Outcome != dns.Answered {
		t.Errorf("second: %s", a.Outcome)
	}
}
