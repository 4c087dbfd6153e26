package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/dial"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/server/store"
)

// noWhere is a dial map in which every address is unreachable.
func noWhere(t *testing.T) *dial.Map {
	t.Helper()
	m, err := dial.ParseMap(strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRelayOverTheWire(t *testing.T) {
	const deny = "RCPT TO: => 550 5.7.1 Relaying denied\n"
	for _, tt := range []struct {
		name, script string
		want         []string
		tests        []string
	}{
		{"closed", deny, []string{}, nil},
		{"takes everything", "", []string{"relay.open"}, []string{"plain", "mixed-case-domain"}},
		{"percent hack", deny + "RCPT TO:<relay-test%example.net@example.com => 250 ok\n", []string{"relay.open_trick"}, []string{"percent-hack"}},
		{"bang path", deny + "RCPT TO:<example.net!relay-test@example.com => 250 ok\n", []string{"relay.open_trick"}, []string{"bang-path"}},
		{"trusts the sender", "MAIL FROM: => 553 5.1.8 no\nMAIL FROM:<postmaster@example.com => 250 ok\n", []string{"relay.sender_trusted"}, []string{"local-sender"}},
		{"hangs up after each refusal", "RCPT TO: => close\n", []string{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := smtptest.New(t, smtptest.Config{Script: tt.script})
			f := onePort(t, "smtp", h.Addr)
			running(t, f.data(), store.RunAddr{Service: "smtp", Addr: h.Addr})
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"relay"}})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Fatal(d)
			}
			if len(tt.want) > 0 {
				if d := cmp.Diff(tt.tests, find(t, r.Findings, tt.want[0]).Evidence["tests"]); d != "" {
					t.Error(d)
				}
			}
			for _, c := range h.Commands() {
				if strings.HasPrefix(strings.ToUpper(c), "DATA") {
					t.Error("the battery went beyond RCPT")
				}
			}
		})
	}
}

func TestRelayUntested(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: "RCPT TO: => 451 4.7.1 later\n"})
	f := onePort(t, "smtp", h.Addr)
	running(t, f.data(), store.RunAddr{Service: "smtp", Addr: h.Addr})
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"relay"}})
	if len(bad(r)) != 0 || !has(r.Findings, "relay.untested") || has(r.Findings, "relay.ok") || r.ExitCode(false) != ExitUnknown {
		t.Errorf("%+v", r.Findings)
	}
}

func TestRelayOffline(t *testing.T) {
	file := configured(t, plain(t)).config
	policy := func(accept string) func(relaytest.Try) relaytest.Verdict {
		return func(t relaytest.Try) relaytest.Verdict {
			if t.Name == accept {
				return relaytest.Verdict{Result: relaytest.Accepted, Reply: "250 ok", Rule: "some.rule"}
			}
			return relaytest.Verdict{Result: relaytest.Refused, Reply: "550 5.7.1 no"}
		}
	}
	r := examine(t, Options{ConfigFile: file, Only: []string{"relay"}, Policy: policy("")})
	if len(bad(r)) != 0 || !has(r.Findings, "relay.ok") {
		t.Errorf("%+v", r.Findings)
	}
	r = examine(t, Options{ConfigFile: file, Only: []string{"relay"}, Policy: policy("plain")})
	if f := find(t, r.Findings, "relay.open"); f.Evidence["rule"] != "some.rule" {
		t.Errorf("%+v", f)
	}
	r = examine(t, Options{ConfigFile: file, Only: []string{"relay"}})
	if !has(r.Findings, "relay.untested") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestRelayNetworks(t *testing.T) {
	for _, tt := range []struct {
		networks string
		own      string // address of this machine
		want     map[string]diag.Status
	}{
		{`"192.168.1.0/24"`, "192.168.1.5", map[string]diag.Status{"relay.network_trusted": diag.Info}},
		{`"0.0.0.0/0"`, "192.168.1.5", map[string]diag.Status{"relay.open": diag.Fail}},
		{`"::/0"`, "192.168.1.5", map[string]diag.Status{"relay.open": diag.Fail}},
		{`"198.51.100.0/24"`, "192.168.1.5", map[string]diag.Status{"relay.network_wide": diag.Warn}},
		{`"198.51.100.7/32"`, "192.168.1.5", map[string]diag.Status{"relay.network_trusted": diag.Info}},
		{`"192.168.1.0/24"`, "198.51.100.5", map[string]diag.Status{"relay.private_from_outside": diag.Warn}},
		{`"127.0.0.1/32"`, "192.168.1.5", map[string]diag.Status{}},
		{`"10.0.0.0/7"`, "192.168.1.5", map[string]diag.Status{"relay.open": diag.Fail}},
	} {
		c := newCase(Options{ConfigFile: configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \":2525\"\n[relay]\nnetworks = ["+tt.networks+"]\n").config}, nil)
		c.Addresses = []netip.Addr{netip.MustParseAddr(tt.own)}
		fs := c.networks()
		renders(t, fs)
		got := map[string]diag.Status{}
		for _, f := range fs {
			got[f.ID] = f.Status
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Error(tt.networks, tt.own, d)
		}
	}
}

func TestRelayOff(t *testing.T) {
	r := examine(t, Options{ConfigFile: configured(t, plain(t)+"[relay]\nallow = false\n").config, Only: []string{"relay"}, Policy: func(relaytest.Try) relaytest.Verdict { return relaytest.Verdict{Result: relaytest.Refused} }})
	if len(bad(r)) != 0 || !has(r.Findings, "relay.off") || !has(r.Findings, "relay.ok") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestAuth(t *testing.T) {
	const head = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\n"
	for _, tt := range []struct {
		name, text string
		want       []string
		notes      []string
	}{
		{"good", head + "smtp = \":2525\"\nsubmission = \":5587\"\n", []string{}, []string{}},
		{"no submission", head + "smtp = \":2525\"\n", []string{}, []string{"auth.no_submission"}},
		{"clear text", head + "submission = \":5587\"\npop3 = \":1110\"\n[auth]\nrequire_tls = false\n", []string{"auth.cleartext"}, []string{}},
		{"clear text at home", head + "submission = \"127.0.0.1:5587\"\n[auth]\nrequire_tls = false\n", []string{}, []string{}},
		{"clear text inside TLS", head + "submissions = \":4465\"\n[auth]\nrequire_tls = false\n", []string{}, []string{}},
		{"left from testing", head + "submission = \":5587\"\n[relay]\nnetworks = [\"127.0.0.1/32\"]\n", []string{"auth.test_exemption"}, []string{}},
		{"no mechanism", head + "submission = \":5587\"\n[auth]\nmechanisms = []\n", []string{"auth.no_mechanism"}, []string{}},
		{"CRAM-MD5", head + "submission = \":5587\"\n[auth]\nmechanisms = [\"CRAM-MD5\"]\n", []string{"auth.mechanism_unsupported"}, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := examine(t, Options{ConfigFile: configured(t, tt.text).config, Only: []string{"auth", "config"}})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
			var notes []diag.Finding
			for _, f := range r.Findings {
				if strings.HasPrefix(f.ID, "auth.") {
					notes = append(notes, f)
				}
			}
			if d := cmp.Diff(tt.notes, idsOf(notes, diag.Info)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPopBeforeSMTP(t *testing.T) {
	const head, relay = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsubmission = \":5587\"\n", "[relay]\npop_before_smtp = "
	for _, tt := range []struct {
		name, listen, relay string
		id                  string
		why                 any
	}{
		{"off", "smtp = \":2525\"\npop3 = \":1110\"\n", `"0s"`, "auth.ok", nil},
		{"works", "smtp = \":2525\"\npop3s = \":1995\"\n", `"1m"`, "auth.pop_before_smtp", nil},
		{"no POP3", "smtp = \":2525\"\n", `"10m"`, "auth.pop_before_smtp_no_effect", "no-pop3"},
		{"no SMTP", "pop3 = \":1110\"\n", `"10m"`, "auth.pop_before_smtp_no_effect", "no-smtp"},
		{"sends nothing", "smtp = \":2525\"\npop3 = \":1110\"\n", "\"10m\"\nallow = false", "auth.pop_before_smtp_no_effect", "relay-off"},
		{"too short", "smtp = \":2525\"\npop3 = \":1110\"\n", `"59s"`, "auth.pop_before_smtp_no_effect", "window"},
		{"all may send", "smtp = \":2525\"\npop3 = \"192.168.1.5:1110\"\n", "\"10m\"\nnetworks = [\"192.168.1.0/24\"]", "auth.pop_before_smtp_no_effect", "exempt"},
		{"some may send", "smtp = \":2525\"\npop3 = \"192.168.1.5:1110\"\npop3s = \"192.168.2.5:1995\"\n", "\"10m\"\nnetworks = [\"192.168.1.0/24\"]", "auth.pop_before_smtp", nil},
		{"nobody knows who comes", "smtp = \":2525\"\npop3 = \":1110\"\n", "\"10m\"\nnetworks = [\"192.168.1.0/24\"]", "auth.pop_before_smtp", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := examine(t, Options{ConfigFile: configured(t, head+tt.listen+relay+tt.relay+"\n").config, Only: []string{"auth"}})
			f := find(t, r.Findings, tt.id)
			if f.Evidence["why"] != tt.why {
				t.Errorf("%+v", f)
			}
			if others := slices.DeleteFunc(r.Findings, func(x diag.Finding) bool { return x.ID == tt.id || x.ID == "auth.ok" }); len(others) > 0 {
				t.Errorf("%+v", others)
			}
		})
	}
}

// A test exemption explains why a stranger on loopback may relay.
func TestExemptionExplainsOpenRelay(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{})
	f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \""+h.Addr+"\"\n[relay]\nnetworks = [\"127.0.0.0/8\"]\n")
	running(t, f.data(), store.RunAddr{Service: "smtp", Addr: h.Addr})
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"relay", "auth"}, Policy: func(relaytest.Try) relaytest.Verdict { return relaytest.Verdict{Result: relaytest.Refused} }})
	if d := cmp.Diff([]string{"auth.test_exemption"}, bad(r)); d != "" {
		t.Error(d)
	}
}
