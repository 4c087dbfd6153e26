package doctor

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/host"
	"mailsrv/probes/mta"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp/smtptest"
)

// at is a listening socket of a server.
func at(addr, program string) port.Holder {
	return port.Holder{Local: netip.MustParseAddrPort(addr), Process: host.Process{PID: 176, Program: program}}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// debianPostfix is what Debian installs.
func debianPostfix() mta.Server {
	return mta.Server{Product: mta.Postfix, Version: "3.7.11", Program: "/usr/sbin/postconf", ConfigDir: "/etc/postfix", Running: true, PID: 176, Hostname: "mail.example.com",
		Setting: "mynetworks", Networks: prefixes("127.0.0.0/8", "::1/128"), Listen: []port.Holder{at("0.0.0.0:25", "master"), at("[::]:25", "master")}}
}

// examineForeign runs the check on a machine with these servers, whose own
// address is 10.1.2.3.
func examineForeign(t *testing.T, opt Options, servers ...mta.Server) []diag.Finding {
	t.Helper()
	opt.Foreign = func(context.Context) []mta.Server { return servers }
	if opt.Timeout == 0 {
		opt.Timeout = time.Second
	}
	c := newCase(opt, nil)
	c.Addresses = []netip.Addr{netip.MustParseAddr("10.1.2.3")}
	fs, _ := runOne(t.Context(), c, registered["foreign"])
	renders(t, fs)
	for _, f := range fs {
		if f.ID != "foreign.ok" && f.Evidence["server"] == nil && f.ID != "env.admin_missing" {
			t.Errorf("%s does not say whose it is: %+v", f.ID, f.Evidence)
		}
	}
	return fs
}

func TestForeign(t *testing.T) {
	const deny = "RCPT TO: => 454 4.7.1 Relay access denied\n"
	closed := smtptest.New(t, smtptest.Config{Script: deny})
	open := smtptest.New(t, smtptest.Config{})
	clear := smtptest.New(t, smtptest.Config{Script: deny + "EHLO => 250-mail\\n250 AUTH PLAIN LOGIN\n"})
	silent := smtptest.New(t, smtptest.Config{Script: "greeting => silent\n"})
	late := func(age time.Duration, reason string) []mta.Waiting {
		return []mta.Waiting{{ID: "A", Sender: "x@example.com", Recipient: "a@b.example", Since: time.Now().Add(-age), Reason: reason, Tried: true}}
	}
	for _, tt := range []struct {
		name   string
		at     string // what answers at 10.1.2.3:25
		change func(s *mta.Server)
		want   map[string]diag.Status
	}{
		{"healthy", closed.Addr, nil, map[string]diag.Status{"foreign.ok": diag.OK}},
		{"only for this machine", "refuse", func(s *mta.Server) { s.Listen = []port.Holder{at("127.0.0.1:25", "master")} }, map[string]diag.Status{"foreign.ok": diag.OK}},
		{"open by its settings", closed.Addr, func(s *mta.Server) { s.Networks = prefixes("127.0.0.0/8", "0.0.0.0/1") }, map[string]diag.Status{"relay.open": diag.Fail}},
		{"open to everybody", closed.Addr, func(s *mta.Server) { s.Anyone = "*" }, map[string]diag.Status{"relay.open": diag.Fail}},
		{"open in fact", open.Addr, nil, map[string]diag.Status{"relay.open": diag.Fail}},
		{"wide", closed.Addr, func(s *mta.Server) { s.Networks = prefixes("198.51.0.0/16") }, map[string]diag.Status{"relay.network_wide": diag.Warn}},
		{"the own network", "refuse", func(s *mta.Server) { s.Networks = prefixes("127.0.0.0/8", "10.1.2.0/24") }, map[string]diag.Status{"relay.network_trusted": diag.Info, "foreign.ok": diag.OK}},
		{"passwords in clear", clear.Addr, nil, map[string]diag.Status{"auth.cleartext": diag.Fail}},
		{"hangs", silent.Addr, nil, map[string]diag.Status{"server.not_answering": diag.Fail}},
		{"broken", closed.Addr, func(s *mta.Server) {
			s.Complaint = "postconf: fatal: line 48: missing '='"
			s.Networks = prefixes("0.0.0.0/0")
		}, map[string]diag.Status{"foreign.config_broken": diag.Fail}},
		{"asked in vain", closed.Addr, func(s *mta.Server) { s.Late = true }, map[string]diag.Status{"check.timeout": diag.Skip}},
		{"mail waits", closed.Addr, func(s *mta.Server) {
			s.Queue = late(9*time.Hour, "connect to mx.b.example[192.0.2.1]:25: Connection timed out")
		},
			map[string]diag.Status{"queue.stuck": diag.Fail}},
		{"mail waits a little", closed.Addr, func(s *mta.Server) { s.Queue = late(time.Hour, "450 4.2.0 Greylisted") }, map[string]diag.Status{"queue.deferred": diag.Warn}},
		{"mail on its way", closed.Addr, func(s *mta.Server) { s.Queue = late(time.Minute, "") }, map[string]diag.Status{"foreign.ok": diag.OK}},
		{"mail held", closed.Addr, func(s *mta.Server) { s.Queue = late(90*time.Hour, ""); s.Queue[0].Held = true }, map[string]diag.Status{"queue.held": diag.Info, "foreign.ok": diag.OK}},
		{"queue hidden", closed.Addr, func(s *mta.Server) { s.QueueErr = errors.New("permission denied") }, map[string]diag.Status{"env.admin_missing": diag.Skip}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := debianPostfix()
			if tt.change != nil {
				tt.change(&s)
			}
			opt := Options{DialMap: lab(t, "10.1.2.3:25 "+tt.at)}
			if tt.name == "hangs" {
				opt.Timeout = 50 * time.Millisecond
			}
			fs := examineForeign(t, opt, s)
			got := statuses(fs)
			if got["foreign.found"] != diag.Info {
				t.Errorf("%+v", fs)
			}
			delete(got, "foreign.found")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s %+v", d, fs)
			}
			if tt.name == "mail waits" {
				if f := find(t, fs, "queue.stuck"); f.Subject != "b.example" || f.Evidence["cause"] != "connect-timeout" || f.Evidence["server"] != "Postfix" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestForeignDovecot(t *testing.T) {
	s := mta.Server{Product: mta.Dovecot, Version: "2.3.19.1", ConfigDir: "/etc/dovecot/dovecot.conf", Running: true, PID: 203,
		Listen: []port.Holder{at("0.0.0.0:143", "dovecot"), at("0.0.0.0:993", "dovecot")}}
	if got := statuses(examineForeign(t, Options{}, s)); len(got) != 2 || got["foreign.ok"] != diag.OK {
		t.Errorf("%v", got)
	}
	s.ClearAuth = "disable_plaintext_auth = no"
	if f := find(t, examineForeign(t, Options{}, s), "auth.cleartext"); f.Evidence["setting"] != s.ClearAuth || f.Status != diag.Fail {
		t.Errorf("%+v", f)
	}
	s.Listen = []port.Holder{at("127.0.0.1:143", "dovecot")}
	if fs := examineForeign(t, Options{}, s); has(fs, "auth.cleartext") {
		t.Errorf("nobody reads along on loopback: %+v", fs)
	}
}

func TestForeignCertificates(t *testing.T) {
	ca := newAuthority(t)
	day := 24 * time.Hour
	for _, tt := range []struct {
		name string
		w    wanted
		want map[string]diag.Status
	}{
		{"good, whatever its name", wanted{name: "other.example.com", from: -day, until: 90 * day}, map[string]diag.Status{"foreign.ok": diag.OK}},
		{"expired", wanted{name: "mail.example.com", from: -9 * day, until: -day}, map[string]diag.Status{"cert.expired": diag.Fail}},
		{"ends soon", wanted{name: "mail.example.com", from: -9 * day, until: 3 * day}, map[string]diag.Status{"cert.expires_soon": diag.Warn}},
		{"made at installation", wanted{name: "mail", from: -day, until: 900 * day, self: true}, map[string]diag.Status{"cert.self_signed": diag.Info, "foreign.ok": diag.OK}},
	} {
		dir := t.TempDir()
		ca.issue(t, dir, tt.w)
		s := debianPostfix()
		s.Listen = nil
		for _, p := range []mta.Pair{{Cert: dir + "/cert.pem", Key: dir + "/key.pem"}, {Cert: dir + "/cert.pem"}} {
			s.Certs = []mta.Pair{p}
			got := statuses(examineForeign(t, Options{RootCAs: ca.pool}, s))
			delete(got, "foreign.found")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(tt.name, d)
			}
		}
	}
	s := debianPostfix()
	s.Listen, s.Certs = nil, []mta.Pair{{Cert: "/nowhere/cert.pem"}}
	if f := find(t, examineForeign(t, Options{}, s), "cert.file_missing"); f.Evidence["server"] != "Postfix" {
		t.Errorf("%+v", f)
	}
}

// What is only installed is a note where nothing else is, and none beside a
// configured mailsrv.
func TestForeignNotRunning(t *testing.T) {
	s := debianPostfix()
	s.Running, s.Listen = false, nil
	if got := statuses(examineForeign(t, Options{}, s)); len(got) != 2 || got["foreign.not_running"] != diag.Info {
		t.Errorf("%v", got)
	}
	if fs := examineForeign(t, Options{ConfigFile: configured(t, plain(t)).config}, s); len(fs) != 0 {
		t.Errorf("%+v", fs)
	}
	if fs := examineForeign(t, Options{}); len(fs) != 0 {
		t.Errorf("%+v", fs)
	}
}
