package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/simulate"
	"mailsrv/probes/dns/dnstest"
)

// elsewhere examines 192.0.2.10, whose ports lead where the lines say.
func elsewhere(t *testing.T, opt Options, lines ...string) *Report {
	t.Helper()
	opt.Host = "192.0.2.10"
	for _, p := range []string{"25", "587", "465", "110", "995", "143", "993"} {
		listed := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "192.0.2.10:"+p+" ") })
		if !listed {
			lines = append(lines, "192.0.2.10:"+p+" refuse")
		}
	}
	opt.DialMap = lab(t, lines...)
	return examine(t, opt)
}

// simulated starts a server that plays a known failure.
func simulated(t *testing.T, id string) string {
	t.Helper()
	s, err := simulate.Start(codes.SimulationOf(id), simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Addr
}

func TestHostThatWorks(t *testing.T) {
	r := elsewhere(t, Options{}, "192.0.2.10:110 "+simulated(t, "pop3-lock-busy"), "192.0.2.10:25 "+simulated(t, "smtp-user-unknown"))
	if len(bad(r)) != 0 || r.ExitCode(true) != ExitHealthy || r.Config != "" {
		t.Errorf("%v %+v", bad(r), r)
	}
	f := find(t, r.Findings, "host.found")
	if d := cmp.Diff([]string{"smtp 25", "pop3 110"}, f.Evidence["offers"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"submission 192.0.2.10", "imap 192.0.2.10"}, subjectsOf(r.Findings, "host.not_offered")); d != "" {
		t.Error(d)
	}
	if has(r.Findings, "relay.ok") || has(r.Findings, "relay.open") {
		t.Error("nobody asked to try whether it relays")
	}
}

func subjectsOf(fs []diag.Finding, id string) []string {
	var out []string
	for _, f := range fs {
		if f.ID == id {
			out = append(out, f.Subject)
		}
	}
	return out
}

// Each simulated fault of a server elsewhere is named first, and alone.
func TestHostFaults(t *testing.T) {
	login := Login{"taro@example.com", "secret"}
	for _, tt := range []struct {
		play, port string
		only       string
		want       string
	}{
		{"pop3-lock-busy", "110", "", "probe.auth"},
		{"pop3-auth-failed", "110", "", "probe.auth"},
		{"pop3-from-lines", "110", "", "probe.mailbox_damaged"},
		{"pop3-not-pop3", "110", "", "probe.other_protocol"},
		{"pop3-av-proxy", "110", "", "probe.av_proxy"},
		{"tls-expired", "995", "", "probe.cert"},
		{"imap-auth-failed", "143", "", "probe.auth"},
		{"smtp-auth-failed", "587", "", "probe.auth"},
		{"smtp-open-relay", "25", "relay", "relay.open"},
	} {
		t.Run(tt.play, func(t *testing.T) {
			opt := Options{Login: login, Timeout: time.Second}
			if tt.only != "" {
				opt.Only = []string{tt.only}
			}
			r := elsewhere(t, opt, "192.0.2.10:"+tt.port+" "+simulated(t, tt.play))
			if d := cmp.Diff([]string{tt.want}, bad(r)); d != "" {
				t.Errorf("%s %+v", d, r.Findings)
			}
			if r.ExitCode(true) != ExitFailed {
				t.Error("exit", r.ExitCode(true))
			}
		})
	}
}

func TestHostThatDoesNotAnswer(t *testing.T) {
	r := elsewhere(t, Options{})
	if d := cmp.Diff([]string{"host.unreachable"}, bad(r)); d != "" || find(t, r.Findings, "host.unreachable").Evidence["outcome"] != "refused" {
		t.Errorf("%s %+v", d, r.Findings)
	}
	// One that drops only port 25: whether it offers SMTP cannot be seen from here.
	r = elsewhere(t, Options{Timeout: 200 * time.Millisecond}, "192.0.2.10:25 drop", "192.0.2.10:110 "+simulated(t, "pop3-lock-busy"))
	if f := find(t, r.Findings, "host.unseen"); f.Subject != "smtp 192.0.2.10" || len(bad(r)) != 0 || r.ExitCode(false) != ExitHealthy {
		t.Errorf("%+v", r.Findings)
	}
	// Asked for by name, a port that is closed is the fault.
	r = elsewhere(t, Options{Only: []string{"imap"}}, "192.0.2.10:110 "+simulated(t, "pop3-lock-busy"))
	if d := cmp.Diff([]string{"probe.tcp"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestHostName(t *testing.T) {
	server := netip.MustParseAddrPort(dnstest.New(t, healthyZone+"pop.example.com. A 192.0.2.10\n").Addr)
	r := examine(t, Options{Host: "pop.example.com", Resolvers: []netip.AddrPort{server}, DialMap: lab(t, "192.0.2.10:110 "+simulated(t, "pop3-lock-busy")), Timeout: time.Second})
	if f := find(t, r.Findings, "host.found"); !cmp.Equal(f.Evidence["addresses"], []string{"192.0.2.10"}) {
		t.Errorf("%+v", r.Findings)
	}
	r = examine(t, Options{Host: "nowhere.example.com", Resolvers: []netip.AddrPort{server}, Timeout: time.Second})
	if d := cmp.Diff([]string{"probe.name"}, bad(r)); d != "" || find(t, r.Findings, "check.skipped").Subject != "smtp, submission, pop3, imap" {
		t.Errorf("%s %+v", d, r.Findings)
	}
}

func TestHostChecksAreOthers(t *testing.T) {
	if _, err := Run(t.Context(), Options{Host: "192.0.2.10", Only: []string{"ports"}}); err == nil || !strings.Contains(err.Error(), "of another host") {
		t.Error(err)
	}
}
