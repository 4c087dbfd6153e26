package doctor

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/mta"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp/smtptest"
)

// mxPostfix is the mail host of example.test, on a machine without mailsrv.
func (w *world) mxPostfix(zone string, lines ...string) *mta.Server {
	local := smtptest.New(w.t, smtptest.Config{Script: "RCPT TO: => 454 4.7.1 Relay access denied\n"})
	w.internet(zone, append(lines, "127.0.0.1:25 "+local.Addr)...)
	s := debianPostfix()
	s.Hostname, s.Domains = "mx1.example.test", []string{"mx1.example.test", "localhost", "example.test"}
	w.alone(func(made *mta.Server) { *made = s })
	return &s
}

// At stage internet a machine with another maker's server is looked at like one
// with mailsrv: its resolver, its name, its domains, its ways in and out.
func TestSite(t *testing.T) {
	for _, tt := range []struct {
		name string
		put  func(w *world)
		want []string
	}{
		{"in order", func(w *world) { w.mxPostfix("") }, []string{}},
		{"the MX leads elsewhere", func(w *world) {
			w.mxPostfix("")
			w.opt.Expect = []netip.Addr{netip.MustParseAddr("198.51.100.200")}
		}, []string{"mx.address_mismatch"}},
		{"a satellite is nobody's MX", func(w *world) {
			s := w.mxPostfix("")
			w.opt.Expect = nil
			s.Listen = []port.Holder{at("127.0.0.1:25", "master")}
			w.alone(func(made *mta.Server) { *made = *s })
		}, []string{}},
		{"two SPF records", func(w *world) {
			w.domain = healthyDomain() + "example.test. TXT \"v=spf1 a -all\"\n"
			w.mxPostfix("")
		}, []string{"spf.multiple"}},
		{"resolver says nothing", func(w *world) { w.mxPostfix("!silent .") }, []string{"resolver.silent"}},
		{"provider blocks port 25", func(w *world) { w.mxPostfix("", "203.0.113.10:25 drop") }, []string{"reach.out25_blocked"}},
		{"host name is one label", func(w *world) {
			s := w.mxPostfix("")
			s.Hostname = "debian"
			w.alone(func(made *mta.Server) { *made = *s })
		}, []string{"hostname.not_fqdn"}},
		{"a domain given by option", func(w *world) {
			w.mxPostfix("")
			w.opt.Domains = []string{"gone.test"}
		}, []string{"domain.nxdomain"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.put(w)
			r := w.build()
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Errorf("%s\n%+v", d, r.Findings)
			}
		})
	}
}

// Only names that others can look up are domains of the site; without any it is
// the domain of the server's own name, for which it need not take mail.
func TestSiteOf(t *testing.T) {
	for _, tt := range []struct{ hostname, domains, want string }{
		{"mail.example.com", "mail.example.com example.com localhost localhost.localdomain example.org", "example.com example.org receives"},
		{"mail.example.com", "mail.example.com localhost", "example.com"},
		{"www.shop.example.co.jp", "", "example.co.jp"},
		{"debian", "debian localhost", ""},
		{"nas.lan", "nas.lan lan", ""},
		{"mail.example.com", "office.local example.com", "example.com receives"},
	} {
		s := debianPostfix()
		s.Hostname, s.Domains = tt.hostname, strings.Fields(tt.domains)
		w := siteOf(s)
		got := w.domains
		if w.receives {
			got = append(got, "receives")
		}
		if strings.Join(got, " ") != tt.want || w.listener == nil || w.listener.Addr != ":25" {
			t.Errorf("%s, %s: %v %v", tt.hostname, tt.domains, got, w.listener)
		}
	}
}

// At stage local nothing of the site is asked for.
func TestSiteLocal(t *testing.T) {
	w := newWorld(t)
	w.mxPostfix("")
	w.opt.Stage, w.opt.Resolvers, w.opt.ReachTargets = Local, nil, nil
	r := w.build()
	if len(bad(r)) != 0 || has(r.Findings, "mx.ok") || !has(r.Findings, "foreign.found") {
		t.Errorf("%v", idsOf(r.Findings, diag.OK, diag.Info, diag.Warn, diag.Fail))
	}
}
