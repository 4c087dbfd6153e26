package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/dns"
	"mailsrv/probes/dns/dnstest"
)

func TestHostname(t *testing.T) {
	for _, tt := range []struct {
		name string
		open bool
		id   string
		want diag.Status
	}{
		{"mail.example.com", true, "", ""},
		{"mail.example.com.", true, "", ""},
		{"MAILSERVER", true, "hostname.not_fqdn", diag.Fail},
		{"ｍａｉｌ.example.com", true, "hostname.bad_characters", diag.Fail},
		{"my mail.example.com", true, "hostname.bad_characters", diag.Fail},
		{"mail_1.example.com", true, "hostname.bad_characters", diag.Fail},
		{"192.0.2.1", true, "hostname.is_address", diag.Fail},
		{"[192.0.2.1]", true, "hostname.is_address", diag.Fail},
		{"2001:db8::1", true, "hostname.is_address", diag.Fail},
		{"server.local", true, "hostname.private_suffix", diag.Warn},
		{"nas.home.arpa", true, "hostname.private_suffix", diag.Warn},
		{"localhost", false, "hostname.localhost", diag.Info},
		{"localhost", true, "hostname.localhost", diag.Fail},
	} {
		fs := judgeHostname(tt.name, tt.open)
		renders(t, fs)
		switch {
		case tt.id == "" && len(fs) == 0:
		case len(fs) != 1 || fs[0].ID != tt.id || fs[0].Status != tt.want:
			t.Errorf("%s: %+v, want %s %s", tt.name, fs, tt.id, tt.want)
		}
	}
	f := judgeHostname("ｍail.example_.com", true)[0]
	if d := cmp.Diff([]string{`1: 'ｍ' (U+FF4D)`, `13: '_' (U+005F)`}, f.Evidence["characters"]); d != "" {
		t.Error(d)
	}
}

const healthyZone = `
.                 NS a.root.example.
.                 DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
example.com.      MX 10 mail.example.com.
example.com.      TXT "v=spf1 mx -all"
example.com.      A 192.0.2.1
mail.example.com. A 192.0.2.1
1.2.0.192.in-addr.arpa. PTR mail.example.com.
`

func serverOf(t *testing.T, zone string) netip.AddrPort {
	return netip.MustParseAddrPort(dnstest.New(t, zone).Addr)
}

func TestResolver(t *testing.T) {
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	for _, tt := range []struct {
		name    string
		servers []netip.AddrPort
		want    []string
	}{
		{"works", []netip.AddrPort{serverOf(t, healthyZone)}, []string{}},
		{"says nothing", []netip.AddrPort{serverOf(t, "!silent .")}, []string{"resolver.silent"}},
		{"fails", []netip.AddrPort{serverOf(t, "!servfail .")}, []string{"resolver.servfail"}},
		{"refuses", []netip.AddrPort{serverOf(t, "!refuse .")}, []string{"resolver.refused"}},
		{"is not there", []netip.AddrPort{dead}, []string{"resolver.unreachable"}},
		{"invents", []netip.AddrPort{serverOf(t, healthyZone+"*.com. A 192.0.2.80\n*.invalid. A 192.0.2.80\n")}, []string{"resolver.rewrites_nxdomain"}},
		{"cuts", []netip.AddrPort{serverOf(t, healthyZone+"!cut . DNSKEY\n")}, []string{"resolver.no_tcp"}},
		{"no MX", []netip.AddrPort{serverOf(t, healthyZone+"!refuse example.com. MX\n!refuse example.com. TXT\n")}, []string{"resolver.no_type"}},
		{"one of two dead", []netip.AddrPort{dead, serverOf(t, healthyZone)}, []string{"resolver.one_dead"}},
		{"both dead", []netip.AddrPort{dead, serverOf(t, "!servfail .")}, []string{"resolver.unreachable", "resolver.servfail"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"resolver"}, Resolvers: tt.servers, Timeout: 500 * time.Millisecond})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
			if len(tt.want) == 0 && !has(r.Findings, "resolver.ok") {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

func TestResolverSlow(t *testing.T) {
	facts := func(took time.Duration) resolverFacts {
		a := func(o dns.Outcome) *dns.Answer { return &dns.Answer{Outcome: o, RTT: took} }
		return resolverFacts{rootNS: a(dns.Answered), noSuch: []*dns.Answer{a(dns.NXDomain), a(dns.NXDomain)}, longPlain: a(dns.Answered)}
	}
	fs := judgeResolver("192.0.2.53:53", facts(1100*time.Millisecond))
	renders(t, fs)
	if f := find(t, fs, "resolver.slow"); f.Evidence["ms"] != int64(1100) || f.Status != diag.Warn {
		t.Errorf("%+v", f)
	}
	if fs := judgeResolver("192.0.2.53:53", facts(900*time.Millisecond)); len(fs) != 0 {
		t.Errorf("%+v", fs)
	}
	fs = judgeResolver("192.168.1.1:53", facts(time.Millisecond))
	renders(t, fs)
	if f := find(t, fs, "resolver.forwarder"); f.Status != diag.Info {
		t.Errorf("%+v", f)
	}
}

// Block lists that refuse the resolver: said once, for the lists that do.
func TestResolverRefusedByLists(t *testing.T) {
	file := configured(t, plain(t)).config
	run := func(zone string) *Report {
		return examine(t, Options{ConfigFile: file, Stage: Internet, Only: []string{"resolver"}, Resolvers: []netip.AddrPort{serverOf(t, healthyZone+zone)}})
	}
	r := run("2.0.0.127.zen.spamhaus.org. A 127.255.255.254\ndbltest.com.dbl.spamhaus.org. A 127.0.1.2\n")
	f := find(t, r.Findings, "resolver.dnsbl_refused")
	if d := cmp.Diff([]string{"zen.spamhaus.org"}, f.Evidence["lists"]); d != "" || f.Evidence["answer"] != "127.255.255.254" || !has(r.Findings, "resolver.ok") {
		t.Errorf("%s %+v", d, r.Findings)
	}
	for _, zone := range []string{"2.0.0.127.zen.spamhaus.org. A 127.0.0.2\n", "", "!servfail zen.spamhaus.org.\n"} {
		if r := run(zone); has(r.Findings, "resolver.dnsbl_refused") {
			t.Errorf("%q: %+v", zone, r.Findings)
		}
	}
}

// At stage local nothing beyond this machine is asked.
func TestResolverStages(t *testing.T) {
	file := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n[dns]\nservers = [\"192.0.2.53\"]\n").config
	r := examine(t, Options{ConfigFile: file, Stage: Local, Skip: []string{"ports", "locks", "mbox"}})
	i := slices.IndexFunc(r.Checks, func(c CheckResult) bool { return c.Name == "resolver" })
	if i < 0 || r.Checks[i].Why != "nothing" || has(r.Findings, "resolver.ok") || r.Checks[i].Ms > 100 {
		t.Errorf("%+v", r.Checks)
	}
}

func TestNoResolver(t *testing.T) {
	fs := resolver(t.Context(), &Case{Options: Options{Only: []string{"resolver"}}, Config: newCase(Options{ConfigFile: configured(t, plain(t)).config}, nil).Config})
	// The machine of the test may have resolvers.
	if slices.ContainsFunc(fs, func(f diag.Finding) bool { return f.ID == "resolver.none" }) {
		renders(t, fs)
	}
}

// check-mx comes through with its own ids; what follows from a dead resolver
// does not come at all.
func TestDomains(t *testing.T) {
	file := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n").config
	run := func(zone, expect string, checks ...string) *Report {
		return examine(t, Options{ConfigFile: file, Stage: Internet, Only: append(checks, "resolver", "hostname"), Resolvers: []netip.AddrPort{serverOf(t, zone)},
			Expect: []netip.Addr{netip.MustParseAddr(expect)}, Timeout: 500 * time.Millisecond, DialMap: noWhere(t)})
	}
	r := run(healthyZone, "198.51.100.7", "domains")
	if f := find(t, r.Findings, "mx.address_mismatch"); f.Status != diag.Fail {
		t.Errorf("%+v", f)
	}
	if has(r.Findings, "hostname.elsewhere") {
		t.Error("one cause, two findings") // the MX host is the host name
	}
	r = run(healthyZone, "198.51.100.7")
	if f := find(t, r.Findings, "hostname.elsewhere"); f.Subject != "mail.example.com" {
		t.Errorf("%+v", f)
	}
	r = run(healthyZone, "192.0.2.1", "domains")
	if has(r.Findings, "mx.address_mismatch") || has(r.Findings, "hostname.elsewhere") {
		t.Errorf("%v", bad(r))
	}
	r = run("!silent .", "192.0.2.1", "domains")
	if d := cmp.Diff([]string{"resolver.silent"}, bad(r)); d != "" {
		t.Error(d)
	}
	if f := find(t, r.Findings, "check.skipped"); f.Subject != "domains" || f.Evidence["because"] != "resolver.silent" {
		t.Errorf("%+v", f)
	}
	r = run(strings.Replace(healthyZone, "mail.example.com. A 192.0.2.1", "", 1), "192.0.2.1", "domains")
	if !has(r.Findings, "hostname.not_resolving") {
		t.Errorf("%v", bad(r))
	}
}

// Dynamic DNS that was not updated, and what looks like it.
func TestDynamicDNS(t *testing.T) {
	file := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n").config
	to := func(host string) string {
		return strings.ReplaceAll(healthyZone, "MX 10 mail.example.com.", "MX 10 "+host)
	}
	for _, tt := range []struct {
		name, zone, expect string
		want               string
		evidence           diag.Evidence
	}{
		{"stale", to("home.ddns.net.") + "home.ddns.net. A 192.0.2.1\n", "198.51.100.7", "domain.dynamic_stale", diag.Evidence{
			"host": "home.ddns.net", "name": "home.ddns.net", "zone": "ddns.net", "addresses": []string{"192.0.2.1"}, "expected": []string{"198.51.100.7"}}},
		{"stale behind an alias", to("mx.example.com.") + "mx.example.com. CNAME home.mydns.jp.\nhome.mydns.jp. A 192.0.2.1\n", "198.51.100.7", "domain.dynamic_stale", diag.Evidence{
			"host": "mx.example.com", "name": "home.mydns.jp", "zone": "mydns.jp", "addresses": []string{"192.0.2.1"}, "expected": []string{"198.51.100.7"}}},
		{"updated", to("home.ddns.net.") + "home.ddns.net. A 192.0.2.1\n", "192.0.2.1", "", nil},
		{"no known service", healthyZone, "198.51.100.7", "mx.address_mismatch", diag.Evidence{
			"host": "mail.example.com", "addresses": []string{"192.0.2.1"}, "expected": []string{"198.51.100.7"}}},
		// Which address is this server's is not known: nothing can be said.
		{"own address unknown", to("home.ddns.net.") + "home.ddns.net. A 192.0.2.1\n", "", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := Options{ConfigFile: file, Stage: Internet, Only: []string{"domains", "resolver", "hostname"}, Resolvers: []netip.AddrPort{serverOf(t, tt.zone)},
				Timeout: 500 * time.Millisecond, DialMap: noWhere(t), addresses: &[]netip.Addr{netip.MustParseAddr("192.168.1.5")}}
			if tt.expect != "" {
				opt.Expect = []netip.Addr{netip.MustParseAddr(tt.expect)}
			}
			r := examine(t, opt)
			for _, id := range []string{"domain.dynamic_stale", "mx.address_mismatch"} {
				if id != tt.want {
					if has(r.Findings, id) {
						t.Errorf("%s: %v", id, bad(r))
					}
				} else if d := cmp.Diff(tt.evidence, find(t, r.Findings, id).Evidence); d != "" {
					t.Error(d)
				}
			}
			if tt.want == "domain.dynamic_stale" && (has(r.Findings, "hostname.elsewhere") || slices.ContainsFunc(bad(r), ofHost)) {
				t.Errorf("one cause, several findings: %v", bad(r))
			}
		})
	}
}

func TestDomainsForm(t *testing.T) {
	file := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"192.0.2.1\", \"[192.0.2.99]\", \"[127.0.0.1]\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n").config
	r := examine(t, Options{ConfigFile: file, Only: []string{"domains"}})
	if d := cmp.Diff([]string{"domain.bare_address", "domain.literal_foreign"}, bad(r)); d != "" {
		t.Error(d)
	}
	if f := find(t, r.Findings, "domain.literal_foreign"); f.Subject != "[192.0.2.99]" {
		t.Errorf("%+v", f)
	}
}
