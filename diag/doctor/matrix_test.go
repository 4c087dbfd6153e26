package doctor

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/server/store"
)

func TestMatrix(t *testing.T) {
	good := smtptest.New(t, smtptest.Config{}).Addr
	no := smtptest.New(t, smtptest.Config{Script: "RCPT => 550 5.1.1 no\n"}).Addr
	grey := smtptest.New(t, smtptest.Config{Script: "RCPT => 450 4.2.0 greylisted\n"}).Addr
	sub := func(script string) string {
		return smtptest.New(t, smtptest.Config{Script: "EHLO => 250-x\\n250 AUTH PLAIN\n" + script}).Addr
	}
	zone := "example.com. MX 10 mail.example.com.\nmail.example.com. A 192.0.2.1\n" +
		"a.example. MX 10 mx.a.example.\nmx.a.example. A 192.0.2.10\nb.example. MX 10 mx.b.example.\nmx.b.example. A 192.0.2.11\nnone.example. MX 0 .\n"
	for _, tt := range []struct {
		name       string
		submission string
		to         []string
		lab        []string
		want       map[string]diag.Status
	}{
		{"all work", sub(""), []string{"x@a.example", "x@b.example"}, []string{"192.0.2.1:25 " + good, "192.0.2.10:25 " + good, "192.0.2.11:25 " + good},
			map[string]diag.Status{"matrix.ok": diag.OK}},
		{"all fail", sub("MAIL => 553 5.1.8 no\n"), []string{"x@a.example"}, []string{"192.0.2.1:25 " + no, "192.0.2.10:25 " + no},
			map[string]diag.Status{"matrix.all_fail": diag.Fail}},
		{"only elsewhere", sub(""), []string{"x@a.example", "x@b.example"}, []string{"192.0.2.1:25 " + good, "192.0.2.10:25 drop", "192.0.2.11:25 drop"},
			map[string]diag.Status{"matrix.remote_fail": diag.Fail}},
		{"only the own domain", sub(""), []string{"x@a.example"}, []string{"192.0.2.1:25 refuse", "192.0.2.10:25 " + good},
			map[string]diag.Status{"matrix.own_fail": diag.Fail}},
		{"one", sub(""), []string{"x@a.example", "x@b.example"}, []string{"192.0.2.1:25 " + good, "192.0.2.10:25 " + no, "192.0.2.11:25 " + good},
			map[string]diag.Status{"matrix.one_fails": diag.Warn}},
		{"the only one, by its own words", sub(""), []string{"x@a.example"}, []string{"192.0.2.1:25 " + good, "192.0.2.10:25 " + no},
			map[string]diag.Status{"matrix.one_fails": diag.Warn}},
		{"put off", sub("RCPT => 451 4.3.0 later\n"), []string{"x@a.example"}, []string{"192.0.2.1:25 " + grey, "192.0.2.10:25 " + grey},
			map[string]diag.Status{"matrix.untested": diag.Skip}},
		{"no such domain", sub(""), []string{"x@nowhere.example", "x@a.example"}, []string{"192.0.2.1:25 " + good, "192.0.2.10:25 " + good},
			map[string]diag.Status{"matrix.one_fails": diag.Warn}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsubmission = \""+tt.submission+"\"\n")
			running(t, f.data(), store.RunAddr{Service: "submission", Addr: tt.submission})
			removed := 0
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"matrix"}, SendMatrix: tt.to, DialMap: lab(t, tt.lab...), Timeout: time.Second,
				Resolvers: []netip.AddrPort{netip.MustParseAddrPort(dnstest.New(t, zone).Addr)},
				TempAccount: func(time.Duration) (TempAccount, error) {
					return TempAccount{Address: "loop-1@example.com", Password: "x", Remove: func() error { removed++; return nil }}, nil
				}})
			if d := cmp.Diff(tt.want, statuses(r.Findings)); d != "" {
				t.Errorf("%s %+v", d, r.Findings)
			}
			if removed != 1 {
				t.Errorf("the account was removed %d times", removed)
			}
		})
	}
}

// It runs only when it is asked for.
func TestMatrixIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		opt  Options
		want bool
	}{
		{Options{Stage: Internet}, false},
		{Options{SendMatrix: []string{"x@a.example"}}, true},
		{Options{Only: []string{"matrix"}}, true},
		{Options{SendMatrix: []string{"x@a.example"}, Skip: []string{"matrix"}}, false},
	} {
		checks, err := choose(tt.opt)
		must(t, err)
		got := false
		for _, c := range checks {
			got = got || c.Name == "matrix"
		}
		if got != tt.want {
			t.Errorf("%+v: %v", tt.opt, got)
		}
	}
}

func TestMatrixBySmartHost(t *testing.T) {
	relay := smtptest.New(t, smtptest.Config{Script: "EHLO => 250-x\\n250 AUTH PLAIN\nRCPT => 550 5.7.1 no relaying\n"})
	f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"localhost\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n[relay]\nsmart_host = \""+relay.Addr+"\"\nauth = { username = \"taro\", password = \"s3cret\" }\n")
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"matrix"}, SendMatrix: []string{"x@a.example", "x@b.example"}})
	if d := cmp.Diff([]string{"matrix.all_fail"}, bad(r)); d != "" {
		t.Errorf("%s %+v", d, r.Findings)
	}
	auth := false
	for _, c := range relay.Commands() {
		auth = auth || len(c) > 5 && c[:5] == "AUTH "
	}
	if !auth {
		t.Errorf("%v", relay.Commands())
	}
}

// Nothing to try is not healthy.
func TestMatrixUntested(t *testing.T) {
	fs := judgeMatrix(nil)
	renders(t, fs)
	if fs[0].ID != "matrix.untested" || fs[0].Status != diag.Skip {
		t.Errorf("%+v", fs)
	}
	fs = judgeMatrix([]delivery{{kind: remote, to: "x@a.example", stage: "name", outcome: dial.ServFail, unknown: true}})
	if fs[0].ID != "matrix.untested" {
		t.Errorf("%+v", fs)
	}
}
