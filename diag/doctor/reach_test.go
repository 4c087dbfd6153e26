package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/reach"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/server/store"
)

// lab is a dial map.
func lab(t *testing.T, lines ...string) *dial.Map {
	t.Helper()
	m, err := dial.ParseMap(strings.NewReader(strings.Join(lines, "\n")))
	must(t, err)
	return m
}

// statuses are the findings of a check by id.
func statuses(fs []diag.Finding) map[string]diag.Status {
	out := map[string]diag.Status{}
	for _, f := range fs {
		out[f.ID] = f.Status
	}
	return out
}

func TestReachOut(t *testing.T) {
	up := smtptest.New(t, smtptest.Config{}).Addr
	for _, tt := range []struct {
		name string
		lab  []string
		want map[string]diag.Status
	}{
		{"works", []string{"192.0.2.10:25 " + up, "192.0.2.11:25 " + up}, map[string]diag.Status{"reach.ok": diag.OK}},
		{"blocked", []string{"192.0.2.10:25 drop", "192.0.2.11:25 drop", "192.0.2.10:587 " + up}, map[string]diag.Status{"reach.out25_blocked": diag.Fail}},
		{"partly", []string{"192.0.2.10:25 drop", "192.0.2.11:25 " + up}, map[string]diag.Status{"reach.out25_partly": diag.Warn}},
		{"nothing", []string{"192.0.2.10:25 drop"}, map[string]diag.Status{"reach.no_network": diag.Fail}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"reach"}, Stage: Internet,
				ReachTargets: []string{"192.0.2.10", "192.0.2.11"}, DialMap: lab(t, tt.lab...)})
			if d := cmp.Diff(tt.want, statuses(r.Findings)); d != "" {
				t.Errorf("%s %+v", d, r.Findings)
			}
		})
	}
	// A server that only receives needs no outgoing port 25.
	r := examine(t, Options{ConfigFile: configured(t, plain(t)+"[relay]\nallow = false\n").config, Only: []string{"reach"}, Stage: Internet,
		ReachTargets: []string{"192.0.2.10"}, DialMap: lab(t, "192.0.2.10:25 drop", "192.0.2.10:443 "+up)})
	if f := find(t, r.Findings, "reach.out25_blocked"); f.Status != diag.Info || len(bad(r)) != 0 {
		t.Errorf("%+v", f)
	}
}

// The providers' hosts come from the DNS; a dead resolver leaves nothing to say.
func TestReachProviders(t *testing.T) {
	up := smtptest.New(t, smtptest.Config{}).Addr
	zone := "gmail.com. MX 20 alt.example.\ngmail.com. MX 10 mx.example.\nmx.example. A 192.0.2.10\nalt.example. A 192.0.2.99\n" +
		"www.google.com. A 192.0.2.12\nsmtp.gmail.com. A 192.0.2.13\n"
	run := func(zone string, lines ...string) *Report {
		server := netip.MustParseAddrPort(dnstest.New(t, zone).Addr)
		return examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"resolver", "reach"}, Stage: Internet,
			Resolvers: []netip.AddrPort{server}, DialMap: lab(t, lines...), Timeout: 300 * time.Millisecond})
	}
	r := run(healthyZone+zone, "192.0.2.10:25 "+up)
	if len(bad(r)) != 0 || !has(r.Findings, "reach.ok") {
		t.Errorf("%+v", r.Findings)
	}
	r = run(healthyZone+zone, "192.0.2.10:25 drop", "192.0.2.12:443 "+up)
	if d := cmp.Diff([]string{"reach.out25_blocked"}, bad(r)); d != "" {
		t.Error(d)
	}
	r = run(healthyZone)
	if !has(r.Findings, "reach.out25_unknown") || has(r.Findings, "reach.ok") || len(bad(r)) != 0 {
		t.Errorf("%+v", r.Findings)
	}
	r = run("!servfail .")
	if d := cmp.Diff([]string{"resolver.servfail"}, bad(r)); d != "" || has(r.Findings, "reach.ok") {
		t.Errorf("%s %+v", d, r.Findings)
	}
}

// openSMTP is a configuration whose SMTP port others can reach.
func openSMTP(t *testing.T, port string) files {
	return configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \":"+port+"\"\n")
}

func TestReachIn(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{})
	_, port, _ := strings.Cut(h.Addr, ":")
	_, free, _ := strings.Cut(freeAddr(t), ":")
	out := "198.51.100.1:25 " + h.Addr // the way out is fine
	for _, tt := range []struct {
		name, port string
		own        []string
		expect     string
		lab        []string
		want       map[string]diag.Status
		why        any
	}{
		{"works", port, nil, "192.0.2.1", []string{"192.0.2.1:25 " + h.Addr}, map[string]diag.Status{"reach.ok": diag.OK}, nil},
		{"nothing listens", free, nil, "192.0.2.1", nil, map[string]diag.Status{"reach.in25_not_listening": diag.Fail}, nil},
		{"not forwarded", port, nil, "192.0.2.1", []string{"192.0.2.1:25 drop", "192.0.2.1:443 " + h.Addr}, map[string]diag.Status{"reach.in25_not_forwarded": diag.Fail}, nil},
		{"no hairpin", port, nil, "192.0.2.1", []string{"192.0.2.1:25 drop"}, map[string]diag.Status{"reach.in25_unknown": diag.Skip}, "no-hairpin"},
		{"own firewall", port, []string{"10.1.2.3"}, "192.0.2.1", []string{"10.1.2.3:" + port + " drop"}, map[string]diag.Status{"reach.local_firewall": diag.Fail}, nil},
		{"public address of its own", port, []string{"192.0.2.1"}, "", []string{"192.0.2.1:" + port + " " + h.Addr}, map[string]diag.Status{"reach.in25_unknown": diag.Skip}, "own-address"},
		{"shared address", port, nil, "100.64.1.2", nil, map[string]diag.Status{"reach.cgnat": diag.Warn}, nil},
		{"router behind a router", port, nil, "192.168.7.1", nil, map[string]diag.Status{"reach.cgnat": diag.Warn}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := openSMTP(t, tt.port)
			opt := Options{ConfigFile: f.config, Only: []string{"reach"}, Stage: Internet, ReachTargets: []string{"198.51.100.1"},
				DialMap: lab(t, append(tt.lab, out)...), Timeout: 500 * time.Millisecond}
			if tt.expect != "" {
				opt.Expect = []netip.Addr{netip.MustParseAddr(tt.expect)}
			}
			c := newCase(opt, nil)
			c.Addresses = nil
			for _, a := range tt.own {
				c.Addresses = append(c.Addresses, netip.MustParseAddr(a))
			}
			fs, _ := runOne(t.Context(), c, registered["reach"])
			renders(t, fs)
			got := statuses(fs)
			delete(got, "reach.nat") // as the machine of the test may be
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Fatalf("%s %+v", d, fs)
			}
			if tt.why != nil {
				if x := find(t, fs, "reach.in25_unknown"); x.Evidence["why"] != tt.why {
					t.Errorf("%+v", x.Evidence)
				}
			}
		})
	}
}

// That the server does not run is the cause of nothing listening; that a port is
// held by another program explains it.
func TestReachFollows(t *testing.T) {
	addr := freeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	f := openSMTP(t, port)
	opt := Options{ConfigFile: f.config, Only: []string{"ports", "reach"}, Stage: Internet, ReachTargets: []string{"198.51.100.1"},
		DialMap: lab(t, "198.51.100.1:25 "+smtptest.New(t, smtptest.Config{}).Addr), Timeout: 500 * time.Millisecond}
	r := examine(t, opt)
	if d := cmp.Diff([]string{"reach.in25_not_listening"}, bad(r)); d != "" {
		t.Error(d)
	}
	running(t, f.data(), store.RunAddr{Service: "smtp", Addr: "[::]:" + port})
	r = examine(t, opt)
	if d := cmp.Diff([]string{"port.not_listening"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestReachNothingToTry(t *testing.T) {
	t.Chdir(t.TempDir())
	r := examine(t, Options{Stage: Internet, Skip: []string{"ports", "locks", "mbox"}})
	for _, c := range r.Checks {
		if c.Name == "reach" && c.Why != "nothing" {
			t.Errorf("%+v", c)
		}
	}
}

func TestNAT(t *testing.T) {
	for addr, want := range map[string]bool{"192.168.1.5": true, "10.0.0.1": true, "100.64.0.9": true, "203.0.113.9": false} {
		if got := (route{outward: netip.MustParseAddr(addr)}).behindNAT(); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	renders(t, []diag.Finding{diag.New("reach.nat", "", diag.Evidence{"address": "192.168.1.5", "public": []string{"203.0.113.9"}})})
}

func TestClockSkew(t *testing.T) {
	now := time.Now()
	said := func(offsets ...time.Duration) []reached {
		var out []reached
		for i, o := range offsets {
			out = append(out, reached{mail: reach.Try{Addr: fmt.Sprintf("192.0.2.%d:25", i), Ours: now, Theirs: now.Add(-o)}})
		}
		return out
	}
	for _, tt := range []struct {
		all  []reached
		want any // seconds
	}{
		{said(), nil},
		{said(4 * time.Minute), nil},
		{said(10 * time.Minute), int64(600)},
		{said(-2 * time.Hour), int64(-7200)},
		{said(time.Second, 10*time.Hour, 2*time.Second), nil}, // one wrong host
		{said(time.Second, 10*time.Hour), nil},
		{said(9*time.Minute, 10*time.Hour, 8*time.Minute), int64(540)},
	} {
		fs := judgeClock(tt.all)
		renders(t, fs)
		var got any
		if len(fs) > 0 {
			got = fs[0].Evidence["seconds"]
		}
		if got != tt.want {
			t.Errorf("%v, want %v", got, tt.want)
		}
	}
	// And from end to end.
	h := smtptest.New(t, smtptest.Config{Script: "greeting => 220 mx ESMTP Exim; " + now.Add(-time.Hour).Format(time.RFC1123Z) + "\n"})
	r := examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"reach"}, Stage: Internet,
		ReachTargets: []string{"192.0.2.10"}, DialMap: lab(t, "192.0.2.10:25 "+h.Addr)})
	if d := cmp.Diff([]string{"env.clock_skew"}, bad(r)); d != "" {
		t.Error(d)
	}
}
