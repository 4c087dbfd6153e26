package checkmx

import (
	"fmt"
	"strings"
	"testing"

	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
)

// servers is a lab whose zone has name servers of its own: what the resolver
// knows, and by address what each authoritative server answers ("drop" or
// "refuse" for one that does not).
func servers(t *testing.T, resolver string, at map[string]string) lab {
	t.Helper()
	lines := "192.0.2.1:25 refuse\n192.0.2.2:25 refuse\n"
	for addr, script := range at {
		target := script
		if strings.Contains(script, " ") {
			target = dnstest.New(t, script).Addr
		}
		lines += fmt.Sprintf("%s:53 %s\n", addr, target)
	}
	return lab{zone: resolver, opt: func(o *Options) {
		m, err := dial.ParseMap(strings.NewReader(lines))
		if err != nil {
			t.Fatal(err)
		}
		o.Map, o.Only = m, []string{"domain", "dns", "ns", "mx"}
	}}
}

const (
	nsRecords = `
example.test.     NS ns1.example.test.
example.test.     NS ns2.example.test.
ns1.example.test. A 192.0.2.51
ns2.example.test. A 192.0.2.52
`
	world   = healthy + nsRecords + parentRecords
	ownZone = "!authoritative example.test.\n" + healthy + nsRecords

	parentRecords = `
test.        NS a.nic.test.
a.nic.test.  A 192.0.2.50
`
	parent = "!authoritative test.\ntest. SOA a.nic.test. hostmaster.nic.test. 1 3600 600 864000 300\n" + nsRecords
)

// allGood are the servers of a healthy delegation; changes replace some.
func allGood(changes map[string]string) map[string]string {
	m := map[string]string{"192.0.2.50": parent, "192.0.2.51": ownZone, "192.0.2.52": ownZone}
	for k, v := range changes {
		m[k] = v
	}
	return m
}

func TestNS(t *testing.T) {
	swap := strings.NewReplacer
	third := "example.test. NS ns3.example.test.\nns3.example.test. A 192.0.2.53\n"
	runFaults(t, []fault{
		{name: "good", lab: servers(t, world, allGood(nil))},
		{name: "no NS known", lab: servers(t, healthy, nil)},
		{name: "single", lab: servers(t, strings.ReplaceAll(world, "example.test.     NS ns2.example.test.\n", ""), map[string]string{"192.0.2.51": strings.ReplaceAll(ownZone, "example.test.     NS ns2.example.test.\n", "")}),
			want: []string{"warn ns.single example.test"}},
		{name: "two names, one address", lab: servers(t, swap("192.0.2.52", "192.0.2.51").Replace(world), map[string]string{"192.0.2.51": ownZone}), want: []string{"warn ns.single example.test"}},
		{name: "no such server", lab: servers(t, swap("ns2.example.test. A 192.0.2.52", "").Replace(world), allGood(nil)), want: []string{"warn ns.nxdomain ns2.example.test"}},
		{name: "server look-up fails", lab: servers(t, world+"!servfail ns2.example.test.", allGood(nil))},
		{name: "down", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": "drop"})), want: []string{"warn ns.unreachable ns2.example.test"}},
		{name: "refusing connections", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": "refuse"})), want: []string{"warn ns.unreachable ns2.example.test"}},
		{name: "a lab without name servers", lab: servers(t, world, nil)},
		{name: "all down", lab: servers(t, world, allGood(map[string]string{"192.0.2.51": "drop", "192.0.2.52": "drop"})), want: []string{"fail ns.unreachable ns1.example.test", "fail ns.unreachable ns2.example.test"}},
		{name: "lame, refuses", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": "!authoritative other.test."})), want: []string{"warn ns.lame ns2.example.test"}},
		{name: "lame, fails", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": "!servfail ."})), want: []string{"warn ns.lame ns2.example.test"}},
		{name: "lame, no authority", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": healthy})), want: []string{"warn ns.lame ns2.example.test"}},
		{name: "all lame is the cause of SERVFAIL", lab: servers(t, world+"!servfail .example.test. MX\n!servfail .example.test. NS", allGood(map[string]string{"192.0.2.51": "!refuse .", "192.0.2.52": "!refuse ."})),
			want: []string{"fail ns.lame ns1.example.test", "fail ns.lame ns2.example.test"}},
		{name: "cname", lab: servers(t, swap("ns2.example.test. A 192.0.2.52", "ns2.example.test. CNAME real.example.test.\nreal.example.test. A 192.0.2.52").Replace(world), allGood(nil)),
			want: []string{"warn ns.cname ns2.example.test"}, record: "example.test. IN NS real.example.test."},
		{name: "private", lab: servers(t, swap("192.0.2.52", "10.0.0.1").Replace(world), allGood(nil)), want: []string{"warn ns.private_address ns2.example.test"}},
		{name: "parent knows more", lab: servers(t, world+third, allGood(map[string]string{"192.0.2.50": parent, "192.0.2.53": ownZone + third, "192.0.2.51": ownZone + third, "192.0.2.52": ownZone + third})), want: []string{"warn ns.parent_mismatch example.test"}},
		{name: "old delegation to a lame server", lab: servers(t, world+"ns3.example.test. A 192.0.2.53", allGood(map[string]string{"192.0.2.50": parent + third, "192.0.2.53": "!refuse ."})), want: []string{"warn ns.parent_mismatch example.test"}},
		{name: "serials", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": swap(" 1 3600 600", " 2 3600 600", "MX 20", "MX 30").Replace(ownZone)})), want: []string{"warn ns.serial_mismatch example.test"}},
		{name: "answers", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": swap("MX 20", "MX 30").Replace(ownZone)})), want: []string{"warn ns.answer_mismatch example.test"}},
		{name: "policy answers", lab: servers(t, world, allGood(map[string]string{"192.0.2.52": ownZone + "_dmarc.example.test. TXT \"v=DMARC1; p=none\""})), want: []string{"warn ns.answer_mismatch _dmarc.example.test"}},
		{name: "stale", lab: servers(t, swap("MX 20", "MX 30").Replace(world), allGood(nil)), want: []string{"warn dns.resolver_stale example.test"}},
		{name: "stale address", lab: servers(t, swap("mx1.example.test.    A 192.0.2.1", "mx1.example.test. 77 A 192.0.2.2", "mx2.example.test.    A 192.0.2.2", "mx2.example.test. A 192.0.2.1").Replace(world), allGood(nil)),
			want: []string{"warn dns.resolver_stale mx1.example.test", "warn dns.resolver_stale mx2.example.test"}},
		{name: "sub-domain without a zone of its own", lab: func() lab {
			l := servers(t, world+"sub.example.test. MX 10 mx1.example.test.", allGood(map[string]string{"192.0.2.51": ownZone + "sub.example.test. MX 10 mx1.example.test.", "192.0.2.52": ownZone + "sub.example.test. MX 10 mx1.example.test."}))
			l.domain = "sub.example.test"
			return l
		}()},
	})
}

// Counted-down TTLs of a resolver are not taken for those of the zone.
func TestTTLOfAuthority(t *testing.T) {
	r := servers(t, strings.ReplaceAll(world, "example.test.        MX 10", "example.test. 7 MX 10"), allGood(nil)).check(t)
	for _, f := range r.Findings {
		if strings.HasPrefix(f.ID, "dns.ttl") {
			t.Errorf("%s %v", f.ID, f.Evidence)
		}
	}
}
