package checkmx

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A healthy domain's zone; tests replace or add lines. Addresses are those of
// the dial map.
const healthy = `
example.test.        SOA ns1.example.test. hostmaster.example.test. 1 3600 600 864000 300
example.test.        MX 10 mx1.example.test.
example.test.        MX 20 mx2.example.test.
mx1.example.test.    A 192.0.2.1
mx2.example.test.    A 192.0.2.2
`

// zone returns healthy with some lines left out (those that begin with one of
// the given prefixes) and others added.
func zone(without string, with string) string {
	var b strings.Builder
	drop := strings.Fields(without)
	for line := range strings.Lines(healthy) {
		f := strings.Fields(line)
		if len(f) > 1 && slices.ContainsFunc(drop, func(d string) bool { return f[0]+"/"+f[1] == d || f[0] == d }) {
			continue
		}
		b.WriteString(line)
	}
	return b.String() + "\n" + with
}

// lab is what a test checks against.
type lab struct {
	zone   string
	domain string // example.test when empty
	opt    func(*Options)
}

func labMap(t *testing.T) *dial.Map {
	t.Helper()
	m, err := dial.ParseMap(strings.NewReader(`
		192.0.2.1:25 refuse
		192.0.2.2:25 refuse
		[2001:db8::1]:25 refuse`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (l lab) check(t *testing.T) *Report {
	t.Helper()
	srv := dnstest.New(t, l.zone)
	opt := Options{Resolvers: []string{srv.Addr}, Timeout: 10 * time.Second, Map: labMap(t), NoSMTP: true,
		Only: []string{"domain", "dns", "dnssec", "mx"}}
	if strings.Contains(l.zone, "!silent") {
		opt.Timeout = time.Second
	}
	if l.opt != nil {
		l.opt(&opt)
	}
	domain := l.domain
	if domain == "" {
		domain = "example.test"
	}
	r := New(opt).Check(context.Background(), domain)
	for _, lang := range []codes.Lang{codes.Japanese, codes.English} {
		if err := r.Localize(lang); err != nil {
			t.Errorf("%s: %v", lang, err)
		}
	}
	return r
}

// ids lists the findings with the given statuses as "status id subject".
func ids(r *Report, want ...diag.Status) []string {
	out := []string{}
	for _, f := range r.Findings {
		if slices.Contains(want, f.Status) {
			out = append(out, string(f.Status)+" "+f.ID+" "+f.Subject)
		}
	}
	return out
}

func wrong(r *Report) []string { return ids(r, diag.Fail, diag.Warn, diag.Skip) }

func find(t *testing.T, r *Report, id string) diag.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no finding %s in %v", id, ids(r, diag.Fail, diag.Warn, diag.Skip, diag.Info, diag.OK))
	return diag.Finding{}
}

func recordsOf(f diag.Finding) []string {
	var out []string
	for _, x := range f.Fixes {
		if x.Record != "" {
			out = append(out, x.Record)
		}
	}
	return out
}

// fault is one planted fault: what must be found, and nothing else.
type fault struct {
	name string
	lab
	want   []string // every fail, warn and skip
	info   []string // ids that must be among the info findings
	record string   // of the first finding in want
}

func runFaults(t *testing.T, faults []fault) {
	t.Helper()
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := tt.check(t)
			want := tt.want
			if want == nil {
				want = []string{}
			}
			if d := cmp.Diff(want, wrong(r)); d != "" {
				t.Errorf("(-want +got): %s", d)
			}
			infos := ids(r, diag.Info)
			for _, id := range tt.info {
				if !slices.Contains(infos, "info "+id) {
					t.Errorf("no info %q in %q", id, infos)
				}
			}
			if tt.record != "" {
				_, rest, _ := strings.Cut(tt.want[0], " ")
				id, _, _ := strings.Cut(rest, " ")
				if d := cmp.Diff([]string{tt.record}, recordsOf(find(t, r, id))); d != "" {
					t.Errorf("record (-want +got): %s", d)
				}
			}
			for _, f := range r.Findings {
				if f.Title == "" || strings.Contains(f.Title+f.Detail, "<no value>") {
					t.Errorf("%s: title %q, detail %q", f.ID, f.Title, f.Detail)
				}
			}
		})
	}
}

func TestHealthy(t *testing.T) {
	r := lab{zone: healthy}.check(t)
	if d := cmp.Diff([]string{}, wrong(r)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if d := cmp.Diff([]string{"ok domain.ok example.test", "ok dns.ok example.test", "ok mx.ok example.test"}, ids(r, diag.OK)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	wantMX := []MX{{Host: "mx1.example.test", Preference: 10, Addresses: []string{"192.0.2.1"}}, {Host: "mx2.example.test", Preference: 20, Addresses: []string{"192.0.2.2"}}}
	if d := cmp.Diff(wantMX, r.MX); d != "" {
		t.Errorf("mx (-want +got): %s", d)
	}
	if r.Unknown() {
		t.Error("nothing is unknown here")
	}
}

func TestDomainAndDNS(t *testing.T) {
	only := func(names ...string) func(*Options) { return func(o *Options) { o.Only = names } }
	runFaults(t, []fault{
		{name: "empty label", lab: lab{domain: "a..b"}, want: []string{"fail domain.invalid a..b"}},
		{name: "empty", lab: lab{domain: "."}, want: []string{"fail domain.invalid "}},
		{name: "long label", lab: lab{domain: strings.Repeat("a", 64) + ".test"}, want: []string{"fail domain.invalid " + strings.Repeat("a", 64) + ".test"}},
		{name: "underscore", lab: lab{domain: "a_b.test"}, want: []string{"fail domain.invalid a_b.test"}},
		{name: "address", lab: lab{domain: "[192.0.2.1]"}, want: []string{"fail domain.invalid [192.0.2.1]"}},
		{name: "mail address", lab: lab{domain: "taro@example.test"}, want: []string{"fail domain.invalid taro@example.test"}},
		{name: "international", lab: lab{zone: "xn--wgv71a.test. MX 10 mx1.example.test.\n" + healthy, domain: "日本。test"}},
		{name: "upper case and dot", lab: lab{zone: healthy, domain: " EXAMPLE.test. "}},
		{name: "no such domain", lab: lab{zone: healthy, domain: "nowhere.test"}, want: []string{"fail domain.nxdomain nowhere.test"}},
		{name: "alias of nothing", lab: lab{zone: "example.test. CNAME gone.test."}, want: []string{"fail domain.nxdomain example.test"}},
		{name: "servfail", lab: lab{zone: healthy + "!servfail .example.test."}, want: []string{"fail dns.servfail example.test"}},
		{name: "garbage", lab: lab{zone: healthy + "!garbage example.test."}, want: []string{"fail dns.servfail example.test"}},
		{name: "timeout", lab: lab{zone: healthy + "!silent .example.test."}, want: []string{"fail dns.timeout example.test"}},
		{name: "dead resolver", lab: lab{zone: "!silent ."}, want: []string{"skip dns.timeout example.test"}},
		{name: "refused", lab: lab{zone: healthy + "!refuse example.test."}, want: []string{"fail dns.refused example.test"}},
		{name: "no tcp", lab: lab{zone: healthy + "!cut example.test."}, want: []string{"fail dns.truncated_no_tcp example.test"}},
		{name: "tcp works", lab: lab{zone: healthy + "!truncate example.test."}},
		{name: "bogus", lab: lab{zone: healthy + "!bogus example.test."}, want: []string{"fail dnssec.bogus example.test"}},
		{name: "wildcard text", lab: lab{zone: healthy + "*.example.test. TXT \"hello\""}, want: []string{"warn dns.wildcard *.example.test"}},
		{name: "wildcard SPF below a domain that sends", lab: lab{zone: healthy + "*.example.test. TXT \"v=spf1 -all\""}, want: []string{"warn dns.wildcard *.example.test"}},
		{name: "wildcard address", lab: lab{zone: healthy + "*.example.test. A 192.0.2.1"}},
		{name: "low ttl", lab: lab{zone: zone("example.test./MX", "example.test. 30 MX 10 mx1.example.test.")}, info: []string{"dns.ttl_low example.test"}},
		{name: "high ttl", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. 604800 A 192.0.2.1")}, info: []string{"dns.ttl_high mx1.example.test"}},
		{name: "unsigned", lab: lab{zone: healthy}, info: []string{"dnssec.unsigned example.test"}},
		{name: "only", lab: lab{zone: zone("mx1.example.test. mx2.example.test.", ""), opt: only("dns")}},
	})
}

func TestDeadResolverIsUnknown(t *testing.T) {
	if r := (lab{zone: "!silent ."}).check(t); !r.Unknown() {
		t.Error("a dead resolver says nothing about the domain")
	}
	if r := (lab{zone: "!silent .example.test."}).check(t); r.Unknown() {
		t.Error("a resolver that answers for others is not dead")
	}
}

// The domain's signed answer is taken as validated.
func TestDNSSECOK(t *testing.T) {
	r := lab{zone: healthy + "!signed example.test."}.check(t)
	find(t, r, "dnssec.ok")
}

func TestMX(t *testing.T) {
	expect := func(s ...string) func(*Options) {
		return func(o *Options) {
			for _, a := range s {
				o.Expect = append(o.Expect, netip.MustParseAddr(a))
			}
		}
	}
	const apex = "example.test. SOA ns1.example.test. hostmaster.example.test. 1 3600 600 864000 300\n"
	runFaults(t, []fault{
		{name: "none", lab: lab{zone: apex}, want: []string{"fail mx.none example.test"}, record: "example.test. IN MX 10 mail.example.test."},
		{name: "none, address told", lab: lab{zone: apex, opt: expect("192.0.2.1")}, want: []string{"fail mx.none example.test"},
			record: "example.test. IN MX 10 mail.example.test.\nmail.example.test. IN A 192.0.2.1"},
		{name: "implicit", lab: lab{zone: apex + "example.test. A 192.0.2.1"}, want: []string{"warn mx.implicit example.test"}, record: "example.test. IN MX 10 example.test."},
		{name: "implicit, unknown", lab: lab{zone: apex + "!servfail example.test. A\n!servfail example.test. AAAA"}, want: []string{"fail mx.lookup_failed example.test"}},
		{name: "null", lab: lab{zone: apex + "example.test. MX 0 ."}, info: []string{"mx.null example.test"}},
		{name: "null mixed", lab: lab{zone: healthy + "example.test. MX 0 ."}, want: []string{"fail mx.null_mixed example.test"},
			record: "example.test. IN MX 10 mx1.example.test.\nexample.test. IN MX 20 mx2.example.test."},
		{name: "cname", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. CNAME real.example.test.\nreal.example.test. A 192.0.2.1")},
			want: []string{"warn mx.cname mx1.example.test"}, record: "example.test. IN MX 10 real.example.test."},
		{name: "address", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 192.0.2.1.")}, want: []string{"fail mx.ip_literal 192.0.2.1"},
			record: "example.test. IN MX 10 mail.example.test.\nmail.example.test. IN A 192.0.2.1"},
		{name: "address with the origin", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 192.0.2.1.example.test.")}, want: []string{"fail mx.ip_literal 192.0.2.1.example.test"},
			record: "example.test. IN MX 10 mail.example.test.\nmail.example.test. IN A 192.0.2.1"},
		{name: "localhost", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 localhost.")}, want: []string{"fail mx.localhost localhost"}, record: "example.test. IN MX 10 mail.example.test."},
		{name: "single label", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 mailer.")}, want: []string{"fail mx.localhost mailer"}, record: "example.test. IN MX 10 mailer.example.test."},
		{name: "underscore", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 my_mail.example.test.\nmy_mail.example.test. A 192.0.2.1")}, want: []string{"fail mx.invalid_name my_mail.example.test"},
			record: "example.test. IN MX 10 my-mail.example.test.\nmy-mail.example.test. IN A 192.0.2.1"},
		{name: "missing dot", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 mx1.example.test.example.test.")}, want: []string{"fail mx.missing_dot mx1.example.test.example.test"},
			record: "example.test. IN MX 10 mx1.example.test."},
		{name: "missing dot, one host good", lab: lab{zone: zone("", "example.test. MX 30 mx3.example.test.example.test.")}, want: []string{"fail mx.missing_dot mx3.example.test.example.test"}},
		{name: "missing dot under a wildcard", lab: lab{zone: zone("example.test./MX", "*.example.test. A 192.0.2.2\nexample.test. MX 10 example.test.example.test.")}, want: []string{"fail mx.missing_dot example.test.example.test"},
			record: "example.test. IN MX 10 example.test."},
		{name: "dangling", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 mx.gone.test.")}, want: []string{"fail mx.dangling mx.gone.test"}},
		{name: "dangling beside a good one", lab: lab{zone: healthy + "example.test. MX 30 mx.gone.test."}, want: []string{"fail mx.dangling mx.gone.test"},
			record: "example.test. IN MX 10 mx1.example.test.\nexample.test. IN MX 20 mx2.example.test."},
		{name: "dangling alias", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. CNAME mx.gone.test.")}, want: []string{"fail mx.dangling mx1.example.test"}},
		{name: "no such host", lab: lab{zone: zone("example.test./MX mx1.example.test.", "example.test. MX 10 mx1.example.test.")}, want: []string{"fail mx.nxdomain mx1.example.test"}},
		{name: "no such host, spare", lab: lab{zone: zone("mx1.example.test.", "")}, want: []string{"warn mx.nxdomain mx1.example.test"}},
		{name: "no such host in an existing domain", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 mx.other.test.\nother.test. NS ns.other.test.")}, want: []string{"fail mx.nxdomain mx.other.test"}},
		{name: "no such top-level domain", lab: lab{zone: zone("example.test./MX", "example.test. MX 10 mx.example.con.")}, want: []string{"fail mx.nxdomain mx.example.con"}},
		{name: "both missing", lab: lab{zone: zone("mx1.example.test. mx2.example.test.", ""), opt: expect("192.0.2.7")}, want: []string{"fail mx.nxdomain mx1.example.test", "fail mx.nxdomain mx2.example.test"},
			record: "mx1.example.test. IN A 192.0.2.7"},
		{name: "no address", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. TXT x")}, want: []string{"warn mx.no_address mx1.example.test"}},
		{name: "look-up fails", lab: lab{zone: zone("", "!servfail mx1.example.test.")}, want: []string{"warn mx.lookup_failed mx1.example.test"}},
		{name: "one family fails", lab: lab{zone: zone("", "!servfail mx1.example.test. AAAA")}},
		{name: "private", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. A 192.168.0.2"), opt: expect("192.0.2.2", "2001:db8::1")}, want: []string{"fail mx.private_address 192.168.0.2"},
			record: "mx1.example.test. IN A 192.0.2.2\nmx1.example.test. IN AAAA 2001:db8::1"},
		{name: "documentation", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. A 192.0.2.99")}, want: []string{"fail mx.private_address 192.0.2.99"}},
		{name: "listed private", lab: lab{zone: zone("mx1.example.test.", "mx1.example.test. AAAA 2001:db8::1")}},
		{name: "duplicate", lab: lab{zone: healthy + "example.test. MX 30 mx2.example.test."}, want: []string{"warn mx.duplicate mx2.example.test"}, record: "example.test. IN MX 20 mx2.example.test."},
		{name: "same address", lab: lab{zone: zone("mx2.example.test.", "mx2.example.test. A 192.0.2.1")}, want: []string{"warn mx.same_address 192.0.2.1"}},
		{name: "equal preference", lab: lab{zone: healthy + "example.test. MX 20 mx3.example.test.\nmx3.example.test. AAAA 2001:db8::1"}, info: []string{"mx.equal_preference example.test"}},
		{name: "single", lab: lab{zone: zone("mx2.example.test. example.test./MX", "example.test. MX 10 mx1.example.test.")}, info: []string{"mx.single example.test"}},
		{name: "ipv6 only", lab: lab{zone: zone("mx1.example.test. example.test./MX", "example.test. MX 10 mx1.example.test.\nmx1.example.test. AAAA 2001:db8::1")}, want: []string{"warn mx.ipv6_only example.test"}},
		{name: "elsewhere", lab: lab{zone: healthy, opt: expect("192.0.2.7")}, want: []string{"fail mx.address_mismatch example.test"}, record: "mx1.example.test. IN A 192.0.2.7"},
		{name: "here", lab: lab{zone: healthy, opt: expect("192.0.2.7", "192.0.2.2")}},
	})
}

func TestAddressKinds(t *testing.T) {
	for addr, want := range map[string]string{
		"8.8.8.8": "", "2606:4700::1": "", "100.63.255.255": "", "100.64.0.1": "shared", "100.128.0.0": "",
		"10.255.0.1": "private", "172.15.0.1": "", "172.16.0.1": "private", "172.32.0.1": "", "192.168.1.1": "private",
		"127.0.0.1": "loopback", "::1": "loopback", "169.254.1.1": "link-local", "fe80::1": "link-local",
		"fd00::1": "unique-local", "::ffff:8.8.8.8": "mapped", "224.0.0.1": "multicast", "ff02::1": "multicast",
		"198.19.0.1": "benchmark", "203.0.113.9": "documentation", "3fff::1": "documentation", "2001:db8::1": "documentation",
		"0.0.0.0": "this-network", "240.0.0.1": "reserved", "255.255.255.255": "broadcast", "4000::1": "reserved", "2001:200::1": "",
	} {
		if got := addressKind(netip.MustParseAddr(addr), nil); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// runTwo checks several domains with one Checker and wants no fault.
func runTwo(t *testing.T, zone string, opt Options, domains ...string) {
	t.Helper()
	opt.Resolvers = []string{dnstest.New(t, zone).Addr}
	c := New(opt)
	for _, d := range domains {
		if w := wrong(c.Check(context.Background(), d)); len(w) > 0 {
			t.Errorf("%s: %q", d, w)
		}
	}
}
