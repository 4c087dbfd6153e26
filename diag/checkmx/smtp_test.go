package checkmx

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

// ca signs the certificates of all test hosts.
var ca = certtest.NewCA()

const reverse = `
1.2.0.192.in-addr.arpa. PTR mx1.example.test.
2.2.0.192.in-addr.arpa. PTR mx2.example.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx1.example.test.
`

// goodHost greets as name, shows a good certificate, and takes only mail for
// example.test. More lines of script can be added.
func goodHost(name, script string) smtptest.Config {
	return smtptest.Config{
		Script: "greeting => 220 " + name + " ESMTP\nRCPT TO: => 550 5.7.1 relaying denied\nRCPT TO:<postmaster@example.test> => 250 ok\nRCPT TO:<abuse@example.test> => 250 ok\n" + script,
		TLS:    serverTLS(certtest.Leaf{Names: []string{name}}, 0),
	}
}

func serverTLS(leaf certtest.Leaf, max uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(leaf)}, MinVersion: tls.VersionTLS10, MaxVersion: max}
}

// hosts is a lab with mail hosts: address of the dial map to its host, or to
// "refuse" or "drop".
func hosts(t *testing.T, zone string, at map[string]any) lab {
	t.Helper()
	var lines strings.Builder
	for addr, h := range at {
		switch h := h.(type) {
		case smtptest.Config:
			fmt.Fprintf(&lines, "%s %s\n", addr, smtptest.New(t, h).Addr)
		case *smtptest.Host:
			fmt.Fprintf(&lines, "%s %s\n", addr, h.Addr)
		default:
			fmt.Fprintf(&lines, "%s %s\n", addr, h)
		}
	}
	return lab{zone: zone, opt: func(o *Options) {
		m, err := dial.ParseMap(strings.NewReader(lines.String()))
		if err != nil {
			t.Fatal(err)
		}
		o.Map, o.NoSMTP, o.RootCAs = m, false, ca.Pool()
		o.Only = []string{"domain", "mx", "ptr", "helo", "smtp", "tls"}
	}}
}

const (
	at1 = "192.0.2.1:25"
	at2 = "192.0.2.2:25"
	at6 = "[2001:db8::1]:25"
)

// single is the zone of a domain with one mail host.
var single = zone("mx2.example.test. example.test./MX", "example.test. MX 10 mx1.example.test."+reverse)

func TestHealthyHosts(t *testing.T) {
	h := smtptest.New(t, goodHost("mx1.example.test", ""))
	r := hosts(t, healthy+reverse, map[string]any{at1: h, at2: goodHost("mx2.example.test", "")}).check(t)
	if d := cmp.Diff([]string{}, wrong(r)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	want := []string{"ok domain.ok example.test", "ok mx.ok example.test", "ok ptr.ok example.test", "ok helo.ok example.test", "ok smtp.ok example.test", "ok tls.ok example.test"}
	if d := cmp.Diff(want, ids(r, diag.OK)); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if got := r.MX[0]; got.Banner != "220 mx1.example.test ESMTP" || got.TLS != "TLS 1.3" {
		t.Errorf("%+v", got)
	}
	var said []string
	for _, c := range h.Commands() {
		verb, _, _ := strings.Cut(c, " ")
		if verb == "EHLO" {
			c = verb // our host name differs by machine
		}
		said = append(said, c)
	}
	dialogue := []string{"connect", "EHLO", "STARTTLS", "EHLO", "MAIL FROM:<>", "RCPT TO:<postmaster@example.test>", "RCPT TO:<abuse@example.test>", "RSET",
		"MAIL FROM:<relay-test@example.net>", "RCPT TO:<relay-test@example.org>", "QUIT"}
	if d := cmp.Diff(dialogue, said); d != "" {
		t.Errorf("dialogue (-want +got): %s", d)
	}
}

func TestPTR(t *testing.T) {
	good := map[string]any{at1: goodHost("mx1.example.test", "")}
	ptr := func(records string) string {
		return zone("mx2.example.test. example.test./MX", "example.test. MX 10 mx1.example.test.\n"+records)
	}
	const rev = "1.2.0.192.in-addr.arpa. "
	const want = "1.2.0.192.in-addr.arpa. IN PTR mx1.example.test."
	runFaults(t, []fault{
		{name: "missing", lab: hosts(t, ptr(""), good), want: []string{"warn ptr.missing 192.0.2.1"}, record: want},
		{name: "no data", lab: hosts(t, ptr(rev+"TXT x"), good), want: []string{"warn ptr.missing 192.0.2.1"}},
		{name: "fails", lab: hosts(t, ptr("!servfail "+rev), good), want: []string{"skip ptr.unknown 192.0.2.1"}},
		{name: "forward fails", lab: hosts(t, ptr(rev+"PTR x.other.test.\n!servfail x.other.test."), good), want: []string{"skip ptr.unknown 192.0.2.1"}},
		{name: "mismatch", lab: hosts(t, ptr(rev+"PTR x.other.test.\nx.other.test. A 192.0.2.9"), good), want: []string{"warn ptr.mismatch 192.0.2.1"}},
		{name: "leads nowhere", lab: hosts(t, ptr(rev+"PTR x.other.test."), good), want: []string{"warn ptr.mismatch 192.0.2.1"}},
		{name: "pool word", lab: hosts(t, ptr(rev+"PTR a12.dyn.isp.test.\na12.dyn.isp.test. A 192.0.2.1"), good), want: []string{"warn ptr.generic 192.0.2.1"}, record: want},
		{name: "address in the name", lab: hosts(t, ptr(rev+"PTR ip-192-0-2-1.isp.test.\nip-192-0-2-1.isp.test. A 192.0.2.1"), good), want: []string{"warn ptr.generic 192.0.2.1"}},
		{name: "another name", lab: hosts(t, ptr(rev+"PTR post.other.test.\npost.other.test. A 192.0.2.1"), good), info: []string{"ptr.not_mx_name 192.0.2.1"}},
		{name: "several", lab: hosts(t, ptr(rev+"PTR mx1.example.test.\n"+rev+"PTR x.other.test."), good), info: []string{"ptr.multiple 192.0.2.1"}},
	})
}

func TestHoldsAddress(t *testing.T) {
	f := &Facts{Domain: "example.test"}
	for name, want := range map[string]bool{
		"192-0-2-77.isp.test": true, "77.2.0.192.isp.test": true, "h192000002077.isp.test": true, "c000024d.isp.test": true,
		"p77-2.isp.test": false, "mail.isp.test": false, "mx77.isp.test": false, "dyn.test": false, "dynamo.isp.test": false,
		"pool-7.example.test": false, "p1-dhcp.isp.test": true, "static-2-77.isp.test": false,
	} {
		if got := f.generic(name, mustAddr("192.0.2.77")); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !f.generic("host-0000-0000-0000-0001.isp.test", mustAddr("2001:db8::1")) {
		t.Error("IPv6 digits")
	}
}

func TestHELO(t *testing.T) {
	greet := func(s string) map[string]any { return map[string]any{at1: goodHost("mx1.example.test", s)} }
	runFaults(t, []fault{
		{name: "localhost", lab: hosts(t, single, greet("greeting => 220 localhost.localdomain ESMTP")), want: []string{"warn helo.invalid 192.0.2.1"}},
		{name: "single label", lab: hosts(t, single, greet("greeting => 220 server ESMTP\nEHLO => 250-server\\n250 STARTTLS")), want: []string{"warn helo.invalid 192.0.2.1"}},
		{name: "local", lab: hosts(t, single, greet("greeting => 220 mail.office.local ESMTP")), want: []string{"warn helo.invalid 192.0.2.1"}},
		{name: "address", lab: hosts(t, single, greet("greeting => 220 192.0.2.1 ESMTP")), want: []string{"warn helo.invalid 192.0.2.1"}},
		{name: "literal", lab: hosts(t, single, greet("greeting => 220 [192.0.2.1] ESMTP"))},
		{name: "no name, EHLO has one", lab: hosts(t, single, greet("greeting => 220 ESMTP ready\nEHLO => 250-mx1.example.test\\n250 STARTTLS"))},
		{name: "mismatch", lab: hosts(t, single+"other.test. A 192.0.2.9", greet("greeting => 220 other.test ESMTP")), want: []string{"warn helo.mismatch 192.0.2.1"}},
		{name: "own name that is not there yet", lab: hosts(t, single, greet("greeting => 220 new.example.test ESMTP")), want: []string{"warn helo.mismatch 192.0.2.1"}, record: "new.example.test. IN A 192.0.2.1"},
		{name: "no such name", lab: hosts(t, single, greet("greeting => 220 other.test ESMTP")), want: []string{"warn helo.mismatch 192.0.2.1"}},
		{name: "look-up fails", lab: hosts(t, single+"!servfail other.test.", greet("greeting => 220 other.test ESMTP"))},
	})
}

func TestSMTP(t *testing.T) {
	one := func(script string) lab {
		return hosts(t, single, map[string]any{at1: goodHost("mx1.example.test", script)})
	}
	two := func(first any) lab {
		return hosts(t, healthy+reverse, map[string]any{at1: first, at2: goodHost("mx2.example.test", "")})
	}
	six := single + "\nmx1.example.test. AAAA 2001:db8::1"
	good := goodHost("mx1.example.test", "")
	quick := func(l lab) lab {
		inner := l.opt
		l.opt = func(o *Options) { inner(o); o.Timeout = 500 * time.Millisecond }
		return l
	}
	runFaults(t, []fault{
		{name: "refused", lab: hosts(t, single, map[string]any{at1: "refuse"}), want: []string{"fail smtp.refused mx1.example.test"}},
		{name: "refused, spare", lab: two("refuse"), want: []string{"warn smtp.refused mx1.example.test"}},
		{name: "dropped", lab: hosts(t, single, map[string]any{at1: "drop"}), want: []string{"fail smtp.timeout mx1.example.test"}},
		{name: "port not listed", lab: hosts(t, single, map[string]any{"192.0.2.1:26": "drop"}), want: []string{"fail smtp.timeout mx1.example.test"}},
		{name: "both down", lab: hosts(t, healthy+reverse, map[string]any{at1: "refuse", at2: "drop"}), want: []string{"fail smtp.refused mx1.example.test", "fail smtp.timeout mx2.example.test"}},
		{name: "silent", lab: quick(one("greeting => silent")), want: []string{"fail smtp.no_banner mx1.example.test"}},
		{name: "closed", lab: one("greeting => close"), want: []string{"fail smtp.no_banner mx1.example.test"}},
		{name: "not SMTP", lab: one("greeting => HTTP/1.1 400 Bad Request"), want: []string{"fail smtp.no_banner mx1.example.test"}},
		{name: "rejects", lab: one("greeting => 554 5.7.1 no service for you"), want: []string{"fail smtp.rejects mx1.example.test"}},
		{name: "rejects, spare", lab: two(goodHost("mx1.example.test", "greeting => 554 no")), want: []string{"warn smtp.rejects mx1.example.test"}},
		{name: "busy", lab: one("greeting => 421 4.3.2 too busy"), want: []string{"warn smtp.busy mx1.example.test"}},
		{name: "blocked at RCPT", lab: one("RCPT TO:<postmaster@example.test> => 554 5.7.1 Service unavailable; client host [127.0.0.1] blocked using zen"), want: []string{"warn smtp.rejects mx1.example.test"}},
		{name: "busy at RCPT", lab: one("RCPT TO:<postmaster@example.test> => 452 4.3.1 no space"), want: []string{"warn smtp.busy mx1.example.test"}},
		{name: "no EHLO", lab: one("EHLO => 502 5.5.1 what"), want: []string{"warn smtp.no_ehlo mx1.example.test"}},
		{name: "EHLO refused", lab: one("EHLO => 550 go away\nHELO => 550 go away"), want: []string{"warn smtp.rejects mx1.example.test"}},
		{name: "ipv6 refused", lab: hosts(t, six, map[string]any{at1: good, at6: "refuse"}), want: []string{"warn smtp.ipv6_unreachable 2001:db8::1"}},
		{name: "ipv4 refused, ipv6 works", lab: hosts(t, six, map[string]any{at1: "refuse", at6: good}), want: []string{"warn smtp.refused mx1.example.test"}},
		{name: "both families refused", lab: hosts(t, six, map[string]any{at1: "refuse", at6: "refuse"}), want: []string{"fail smtp.refused mx1.example.test"}},
		{name: "open relay", lab: one("RCPT TO: => 250 ok"), want: []string{"fail smtp.open_relay mx1.example.test"}},
		{name: "domain not configured", lab: one("RCPT TO:<postmaster@example.test> => 550 5.7.1 relaying denied\nRCPT TO:<abuse@example.test> => 550 5.7.1 relaying denied"), want: []string{"fail smtp.domain_rejected mx1.example.test"}},
		{name: "domain not configured, other words", lab: one("RCPT TO:<postmaster@example.test> => 550 5.7.1 <postmaster@example.test>: go away\nRCPT TO: => 550 5.7.1 <x@example.org>: go away"), want: []string{"fail smtp.domain_rejected mx1.example.test"}},
		{name: "domain not configured, deferred", lab: one("RCPT TO:<postmaster@example.test> => 454 4.7.1 <postmaster@example.test>: Relay access denied"), want: []string{"fail smtp.domain_rejected mx1.example.test"}},
		{name: "postmaster", lab: one("RCPT TO:<postmaster@example.test> => 550 5.1.1 no such user"), want: []string{"warn smtp.postmaster_rejected mx1.example.test"}},
		{name: "abuse", lab: one("RCPT TO:<abuse@example.test> => 550 5.1.1 no such user"), info: []string{"smtp.abuse_rejected mx1.example.test"}},
		{name: "null sender", lab: one("MAIL FROM:<> => 550 5.7.1 no null"), want: []string{"warn smtp.null_sender_rejected mx1.example.test"}},
		{name: "greylisting", lab: one("RCPT TO: => 451 4.7.1 greylisted, try later\nRCPT TO:<postmaster@example.test> => 451 4.7.1 try later"), info: []string{"smtp.greylisted mx1.example.test"}},
		{name: "no STARTTLS", lab: one("EHLO => 250-mx1.example.test\\n250 SIZE"), want: []string{"warn smtp.no_starttls mx1.example.test"}},
		{name: "STARTTLS broken", lab: one("STARTTLS => badtls"), want: []string{"warn smtp.starttls_broken mx1.example.test"}},
		{name: "STARTTLS refused", lab: one("STARTTLS => 454 4.7.0 no key"), want: []string{"warn smtp.starttls_broken mx1.example.test"}},
	})
}

func TestSlowBanner(t *testing.T) {
	l := hosts(t, single, map[string]any{at1: goodHost("mx1.example.test", "")})
	r := l.check(t)
	r.Facts.Hosts[0].Addrs[0].SMTP.Took = 6 * time.Second // a test should not wait that long
	if d := cmp.Diff([]string{"warn smtp.slow_banner mx1.example.test"}, wrong(New(Options{Only: []string{"smtp"}}).report(r.Facts))); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

func TestTLS(t *testing.T) {
	const day = 24 * time.Hour
	name := []string{"mx1.example.test"}
	show := func(leaf certtest.Leaf, max uint16) lab {
		h := goodHost("mx1.example.test", "")
		h.TLS = serverTLS(leaf, max)
		return hosts(t, single, map[string]any{at1: h})
	}
	untrusted := show(certtest.Leaf{Names: name}, 0)
	inner := untrusted.opt
	untrusted.opt = func(o *Options) { inner(o); o.RootCAs = certtest.NewCA().Pool() }
	runFaults(t, []fault{
		{name: "expired", lab: show(certtest.Leaf{Names: []string{"x.test"}, From: -9 * day, To: -day}, 0), want: []string{"warn tls.expired mx1.example.test"}},
		{name: "not yet", lab: show(certtest.Leaf{Names: name, From: day}, 0), want: []string{"warn tls.expired mx1.example.test"}},
		{name: "soon", lab: show(certtest.Leaf{Names: name, To: 5 * day}, 0), want: []string{"warn tls.expires_soon mx1.example.test"}},
		{name: "name", lab: show(certtest.Leaf{Names: []string{"x.test"}, SelfSigned: true}, 0), want: []string{"warn tls.name_mismatch mx1.example.test"}},
		{name: "self-signed", lab: show(certtest.Leaf{Names: name, SelfSigned: true}, 0), want: []string{"warn tls.self_signed mx1.example.test"}},
		{name: "untrusted", lab: untrusted, want: []string{"warn tls.untrusted mx1.example.test"}},
		{name: "weak", lab: show(certtest.Leaf{Names: name, RSABits: 1024}, 0), want: []string{"warn tls.weak_key mx1.example.test"}},
		{name: "old", lab: show(certtest.Leaf{Names: name, RSABits: 2048}, tls.VersionTLS11), want: []string{"warn tls.old_version mx1.example.test"}},
	})
}

// A host that several domains of a run share is asked once.
func TestHostsAskedOnce(t *testing.T) {
	h := smtptest.New(t, goodHost("mx1.example.test", ""))
	l := hosts(t, single+"\nother.test. MX 10 mx1.example.test.", map[string]any{at1: h})
	opt := Options{Timeout: time.Second}
	l.opt(&opt)
	runTwo(t, l.zone, opt, "example.test", "other.test")
	n := 0
	for _, c := range h.Commands() {
		if c == "connect" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}
