package checkmx

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
	"mailsrv/probes/https/httpstest"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

func dkimKey(t *testing.T, bits int) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestDKIM(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // short keys are the point
	key := func(selector, text string) string {
		return fmt.Sprintf("%s._domainkey.example.test. TXT %s\n", selector, dns.Quote(text))
	}
	good, k1024, k512 := dkimKey(t, 2048), dkimKey(t, 1024), dkimKey(t, 512)
	named := policy("dkim", key("own", "v=DKIM1; p="+good[:50]))
	inner := named.opt
	named.opt = func(o *Options) { inner(o); o.Selectors = []string{"Own"} }
	runSerial(t, []fault{
		{name: "good", lab: policy("dkim", key("mail", "v=DKIM1; k=rsa; p="+good))},
		{name: "good without version", lab: policy("dkim", key("mail", "p="+good))},
		{name: "none", lab: policy("dkim", ""), info: []string{"dkim.none_found example.test"}},
		{name: "look-ups fail", lab: policy("dkim", "!servfail ._domainkey.example.test.")},
		{name: "revoked", lab: policy("dkim", key("mail", "v=DKIM1; p=")), info: []string{"dkim.revoked mail._domainkey.example.test"}},
		{name: "syntax", lab: policy("dkim", key("mail", "v=DKIM1; k=rsa")), want: []string{"fail dkim.syntax mail._domainkey.example.test"}},
		{name: "named selector", lab: named, want: []string{"fail dkim.syntax own._domainkey.example.test"}},
		{name: "short", lab: policy("dkim", key("mail", "v=DKIM1; p="+k512)), want: []string{"fail dkim.short_key mail._domainkey.example.test"}},
		{name: "1024", lab: policy("dkim", key("mail", "v=DKIM1; p="+k1024)), info: []string{"dkim.key_1024 mail._domainkey.example.test"}},
		{name: "testing", lab: policy("dkim", key("mail", "v=DKIM1; t=y; p="+good)), info: []string{"dkim.testing mail._domainkey.example.test"}},
		{name: "multiple", lab: policy("dkim", key("mail", "v=DKIM1; p="+good)+key("mail", "v=DKIM1; p="+k1024)), want: []string{"fail dkim.multiple mail._domainkey.example.test"}},
		{name: "dangling", lab: policy("dkim", "selector1._domainkey.example.test. CNAME s.gone.test."), want: []string{"fail dkim.dangling selector1._domainkey.example.test"}},
		{name: "alias", lab: policy("dkim", "selector1._domainkey.example.test. CNAME s.there.test.\ns.there.test. TXT "+dns.Quote("v=DKIM1; p="+good))},
		{name: "wildcard text is no key", lab: policy("dkim", "*.example.test. TXT hello"), info: []string{"dkim.none_found example.test"}},
	})
}

// runSerial is runFaults for tests that cannot run at the same time as others.
func runSerial(t *testing.T, faults []fault) {
	t.Helper()
	for _, tt := range faults {
		r := tt.check(t)
		want := tt.want
		if want == nil {
			want = []string{}
		}
		if d := cmp.Diff(want, wrong(r)); d != "" {
			t.Errorf("%s (-want +got): %s", tt.name, d)
		}
		infos := strings.Join(ids(r, diag.Info), "\n")
		for _, id := range tt.info {
			if !strings.Contains(infos, id) {
				t.Errorf("%s: no %s in %s", tt.name, id, infos)
			}
		}
	}
}

// policyHost is a lab whose mta-sts host answers with h and shows a certificate.
func policyHost(t *testing.T, lines string, leaf certtest.Leaf, h http.HandlerFunc, mx map[string]any) lab {
	t.Helper()
	at := map[string]any{"192.0.2.80:443": httpstest.New(t, ca.Issue(leaf), h)}
	for k, v := range mx {
		at[k] = v
	}
	l := hosts(t, healthy+lines+"\nmta-sts.example.test. A 192.0.2.80", at)
	inner := l.opt
	l.opt = func(o *Options) { inner(o); o.Only = []string{"domain", "mtasts"} }
	return l
}

func serve(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != policyPath {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
}

func TestMTASTS(t *testing.T) {
	const txt = "_mta-sts.example.test. TXT \"v=STSv1; id=1\"\n"
	const good = "version: STSv1\nmode: enforce\nmx: mx1.example.test\nmx: *.example.test\nmax_age: 604800\n"
	leaf := certtest.Leaf{Names: []string{"mta-sts.example.test"}}
	mx := func() map[string]any {
		return map[string]any{at1: goodHost("mx1.example.test", ""), at2: goodHost("mx2.example.test", "")}
	}
	with := func(body string) lab { return policyHost(t, txt, leaf, serve("text/plain; charset=utf-8", body), mx()) }
	expired := mx()
	bad := goodHost("mx1.example.test", "")
	bad.TLS = serverTLS(certtest.Leaf{Names: []string{"mx1.example.test"}, From: -48 * time.Hour, To: -time.Hour}, 0)
	expired[at1] = bad
	plain := mx()
	plain[at2] = goodHost("mx2.example.test", "EHLO => 250-mx2.example.test\\n250 SIZE")
	const host = "mta-sts.example.test"
	runFaults(t, []fault{
		{name: "good", lab: with(good)},
		{name: "missing", lab: policy("mtasts", ""), info: []string{"mtasts.missing example.test"}},
		{name: "look-up fails", lab: policy("mtasts", "!servfail _mta-sts.example.test."), want: []string{"warn dns.txt_lookup_failed _mta-sts.example.test"}},
		{name: "multiple", lab: policy("mtasts", txt+"_mta-sts.example.test. TXT \"v=STSv1; id=2\""), want: []string{"fail mtasts.multiple example.test"}, record: `_mta-sts.example.test. IN TXT "v=STSv1; id=1"`},
		{name: "no id", lab: policyHost(t, strings.Replace(txt, "; id=1", ";", 1), leaf, serve("text/plain", good), mx()), want: []string{"fail mtasts.syntax example.test"}},
		{name: "version", lab: policy("mtasts", strings.Replace(txt, "STSv1", "STS1", 1)), want: []string{"fail mtasts.syntax example.test"}},
		{name: "no host", lab: policy("mtasts", txt), want: []string{"fail mtasts.policy_fetch " + host}},
		{name: "refused", lab: hostsOnly(t, "mtasts", healthy+txt+"mta-sts.example.test. A 192.0.2.80", map[string]any{"192.0.2.80:443": "refuse"}), want: []string{"fail mtasts.policy_fetch " + host}},
		{name: "not found", lab: policyHost(t, txt, leaf, http.NotFound, mx()), want: []string{"fail mtasts.policy_fetch " + host}},
		{name: "redirect", lab: policyHost(t, txt, leaf, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://x.test/", http.StatusMovedPermanently)
		}, mx()), want: []string{"fail mtasts.policy_fetch " + host}},
		{name: "certificate", lab: policyHost(t, txt, certtest.Leaf{Names: []string{"www.example.test"}}, serve("text/plain", good), mx()), want: []string{"fail mtasts.policy_tls " + host}},
		{name: "policy syntax", lab: with("version: STSv1\nmx: mx1.example.test\nmax_age: 604800"), want: []string{"fail mtasts.policy_syntax " + host}},
		{name: "content type", lab: policyHost(t, txt, leaf, serve("text/html", good), mx()), want: []string{"warn mtasts.content_type " + host}},
		{name: "host not named", lab: with("version: STSv1\nmode: enforce\nmx: mx1.example.test\nmax_age: 604800\n"), want: []string{"fail mtasts.mx_mismatch mx2.example.test"}},
		{name: "host not named, testing", lab: with("version: STSv1\nmode: testing\nmx: mx1.example.test\nmax_age: 604800\n"), want: []string{"warn mtasts.mx_mismatch mx2.example.test"}, info: []string{"mtasts.testing example.test"}},
		{name: "none", lab: with("version: STSv1\nmode: none\nmax_age: 60\n"), info: []string{"mtasts.mode_none example.test"}},
		{name: "short", lab: with(strings.Replace(good, "604800", "3600", 1)), want: []string{"warn mtasts.short_max_age " + host}},
		{name: "expired certificate", lab: policyHost(t, txt, leaf, serve("text/plain", good), expired), want: []string{"fail mtasts.mx_tls mx1.example.test"}},
		{name: "no STARTTLS", lab: policyHost(t, txt, leaf, serve("text/plain", good), plain), want: []string{"fail mtasts.mx_tls mx2.example.test"}},
		{name: "expired certificate, testing", lab: policyHost(t, txt, leaf, serve("text/plain", strings.Replace(good, "enforce", "testing", 1)), expired), info: []string{"mtasts.testing example.test"}},
	})
}

// hostsOnly is hosts with one family.
func hostsOnly(t *testing.T, family, zone string, at map[string]any) lab {
	t.Helper()
	l := hosts(t, zone, at)
	inner := l.opt
	l.opt = func(o *Options) { inner(o); o.Only = []string{"domain", family} }
	return l
}

func TestTLSRPT(t *testing.T) {
	at := func(texts ...string) lab {
		var b strings.Builder
		for _, x := range texts {
			b.WriteString("_smtp._tls.example.test. TXT \"" + x + "\"\n")
		}
		return policy("tlsrpt", b.String())
	}
	const good = `_smtp._tls.example.test. IN TXT "v=TLSRPTv1; rua=mailto:a@example.test"`
	runFaults(t, []fault{
		{name: "good", lab: at("v=TLSRPTv1; rua=mailto:a@example.test")},
		{name: "missing", lab: at(), info: []string{"tlsrpt.missing example.test"}},
		{name: "look-up fails", lab: policy("tlsrpt", "!silent _smtp._tls.example.test."), want: []string{"warn dns.txt_lookup_failed _smtp._tls.example.test"}},
		{name: "syntax", lab: at("v=TLSRPTv1; rua=a@example.test"), want: []string{"warn tlsrpt.syntax example.test"}, record: good},
		{name: "multiple", lab: at("v=TLSRPTv1; rua=mailto:a@example.test", "v=TLSRPTv1; rua=mailto:b@example.test"), want: []string{"warn tlsrpt.multiple example.test"}},
	})
}

func TestBIMI(t *testing.T) {
	at := func(dmarc, text string) lab {
		return policy("bimi", "_dmarc.example.test. TXT \""+dmarc+"\"\ndefault._bimi.example.test. TXT \""+text+"\"")
	}
	const logo = "v=BIMI1; l=https://example.test/logo.svg"
	runFaults(t, []fault{
		{name: "good", lab: at("v=DMARC1; p=reject", logo)},
		{name: "none", lab: policy("bimi", "")},
		{name: "declined", lab: at("v=DMARC1; p=none", "v=BIMI1; l=; a=;")},
		{name: "syntax", lab: at("v=DMARC1; p=reject", "v=BIMI1; l=http://example.test/logo.svg"), want: []string{"warn bimi.syntax default._bimi.example.test"}},
		{name: "not enforced", lab: at("v=DMARC1; p=none", logo), want: []string{"warn bimi.dmarc_not_enforced example.test"}},
		{name: "not for subdomains", lab: at("v=DMARC1; p=reject; sp=none", logo), want: []string{"warn bimi.dmarc_not_enforced example.test"}},
		{name: "DMARC unknown", lab: policy("bimi", "!servfail _dmarc.example.test.\ndefault._bimi.example.test. TXT \""+logo+"\"")},
	})
}

func TestDANE(t *testing.T) {
	cert := ca.Issue(certtest.Leaf{Names: []string{"mx1.example.test"}})
	h := goodHost("mx1.example.test", "")
	h.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	full := goodHost("mx1.example.test", "")
	full.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: append(cert.Certificate, ca.Cert.Raw), PrivateKey: cert.PrivateKey}}}
	at := func(tlsa string, h smtptest.Config) lab {
		return hostsOnly(t, "dane", single+"\n!signed example.test.\n"+tlsa, map[string]any{at1: h})
	}
	name := "_25._tcp.mx1.example.test. TLSA "
	fits := "3 1 1 " + tlsaData(1, 1, cert.Leaf)
	other := strings.Repeat("ab", 32)
	want := "_25._tcp.mx1.example.test. IN TLSA " + fits
	const subject = "_25._tcp.mx1.example.test"
	runFaults(t, []fault{
		{name: "good", lab: at(name+fits, h)},
		{name: "good, whole certificate, SHA-512", lab: at(name+"3 0 2 "+tlsaData(0, 2, cert.Leaf), h)},
		{name: "good, authority", lab: at(name+"2 0 1 "+tlsaData(0, 1, ca.Cert), full)},
		{name: "good, one of two", lab: at(name+"3 1 1 "+other+"\n"+name+fits, h)},
		{name: "missing", lab: hostsOnly(t, "dane", single, map[string]any{at1: h}), info: []string{"dane.missing example.test"}},
		{name: "unknown type", lab: at("!refuse _25._tcp.mx1.example.test.", h)},
		{name: "mismatch", lab: at(name+"3 1 1 "+other, h), want: []string{"fail dane.mismatch " + subject}, record: want},
		{name: "insecure", lab: hostsOnly(t, "dane", single+"\n"+name+fits, map[string]any{at1: h}), want: []string{"warn dane.insecure " + subject}},
		{name: "usage", lab: at(name+"1 1 1 "+other, h), want: []string{"warn dane.bad_usage " + subject}, record: want},
		{name: "length", lab: at(name+"3 1 1 abcd", h), want: []string{"fail dane.syntax " + subject}, record: want},
		{name: "length beside a good one", lab: at(name+"3 1 2 "+other+"\n"+name+fits, h), want: []string{"fail dane.syntax " + subject}},
		{name: "fails", lab: at("!servfail _25._tcp.mx1.example.test.", h), want: []string{"fail dane.lookup_failed " + subject}},
		{name: "no STARTTLS", lab: at(name+fits, goodHost("mx1.example.test", "EHLO => 250-mx1.example.test\\n250 SIZE")), want: []string{"fail dane.no_starttls mx1.example.test"}},
	})
}

func TestDNSBL(t *testing.T) {
	list := func(lines string) lab {
		return hostsOnly(t, "dnsbl", single+"\n"+lines, map[string]any{at1: "refuse"})
	}
	const ip = "1.2.0.192.zen.spamhaus.org. A "
	six := hostsOnly(t, "dnsbl", single+"\nmx1.example.test. AAAA 2001:db8::1\n"+listName(netip.MustParseAddr("2001:db8::1"))+".zen.spamhaus.org. A 127.0.0.4", map[string]any{at1: "refuse", at6: "refuse"})
	named := list("1.2.0.192.bl.other.test. A 127.0.0.2\n1.2.0.192.zen.spamhaus.org. A 127.0.0.2")
	inner := named.opt
	named.opt = func(o *Options) { inner(o); o.DNSBL = []string{"bl.other.test"} }
	runFaults(t, []fault{
		{name: "clean", lab: list("")},
		{name: "listed", lab: list(ip + "127.0.0.4\n1.2.0.192.zen.spamhaus.org. TXT \"see page\""), want: []string{"fail dnsbl.ip_listed 192.0.2.1"}},
		{name: "listed twice", lab: list(ip + "127.0.0.4\n1.2.0.192.bl.spamcop.net. A 127.0.0.2"), want: []string{"fail dnsbl.ip_listed 192.0.2.1"}},
		{name: "ipv6", lab: six, want: []string{"fail dnsbl.ip_listed 2001:db8::1"}},
		{name: "policy", lab: list(ip + "127.0.0.10"), want: []string{"warn dnsbl.policy_listed 192.0.2.1"}},
		{name: "both", lab: list(ip + "127.0.0.11\n" + ip + "127.0.0.2"), want: []string{"fail dnsbl.ip_listed 192.0.2.1"}},
		{name: "domain", lab: list("example.test.dbl.spamhaus.org. A 127.0.1.2"), want: []string{"fail dnsbl.domain_listed example.test"}},
		{name: "domain refused", lab: list("example.test.dbl.spamhaus.org. A 127.0.1.255"), info: []string{"dnsbl.query_blocked dbl.spamhaus.org"}},
		{name: "refused", lab: list(ip + "127.255.255.254"), info: []string{"dnsbl.query_blocked zen.spamhaus.org"}},
		{name: "not an answer", lab: list(ip + "192.0.2.99")},
		{name: "lists everything", lab: list("*.zen.spamhaus.org. A 127.0.0.2")},
		{name: "fails", lab: list("!servfail .zen.spamhaus.org.")},
		{name: "named", lab: named, want: []string{"fail dnsbl.ip_listed 192.0.2.1"}},
	})
	for zone, want := range map[string]bool{"relays.orbs.org": true, "rbl.maps.vix.com": true, "zen.spamhaus.org": false, "notorbs.org": false} {
		if DeadList(zone) != want {
			t.Errorf("%s: not %v", zone, want)
		}
	}
}

func TestClient(t *testing.T) {
	const auto = "autoconfig.example.test. A 192.0.2.1\n"
	const srv = "_imaps._tcp.example.test. SRV 0 1 993 "
	runFaults(t, []fault{
		{name: "good", lab: policy("client", auto+srv+"mx1.example.test.")},
		{name: "not offered", lab: policy("client", auto+srv+".")},
		{name: "missing", lab: policy("client", ""), info: []string{"client.srv_missing example.test", "client.autoconfig_missing example.test"}},
		{name: "gone", lab: policy("client", auto+srv+"imap.gone.test."), want: []string{"warn client.srv_bad _imaps._tcp.example.test"}},
		{name: "no address", lab: policy("client", auto+srv+"example.test."), want: []string{"warn client.srv_bad _imaps._tcp.example.test"}},
		{name: "alias", lab: policy("client", auto+srv+"imap.example.test.\nimap.example.test. CNAME mx1.example.test."), want: []string{"warn client.srv_bad _imaps._tcp.example.test"},
			record: "_imaps._tcp.example.test. IN SRV 0 1 993 mx1.example.test."},
		{name: "fails", lab: policy("client", auto+srv+"imap.bad.test.\n!servfail .bad.test.")},
	})
}

// What mailsrv recommends to publish it does not complain about.
func TestRecommendedRecordsAreGood(t *testing.T) {
	var lines []string
	for _, fam := range []string{"spf", "dmarc", "tlsrpt"} {
		for _, p := range policy(fam, "").check(t).Publish {
			if p.Type == "TXT" {
				lines = append(lines, p.Name+" "+p.Type+" "+p.Value)
			}
		}
	}
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for _, fam := range []string{"spf", "dmarc", "tlsrpt"} {
		r := policy(fam, strings.Join(lines, "\n")).check(t)
		if w := wrong(r); len(w) > 0 {
			t.Errorf("%s: %q", fam, w)
		}
	}
	if _, err := record.ParsePolicy(record.PolicyFor("testing", []string{"mx1.example.test"})); err != nil {
		t.Error(err)
	}
}
