package record

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rsaKey(t testing.TB, bits int) string {
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

func TestParseDKIM(t *testing.T) {
	key := rsaKey(t, 1024)
	ed := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for in, want := range map[string]struct {
		d   *DKIM
		why string
	}{
		"v=DKIM1; k=rsa; p=" + key:              {d: &DKIM{Type: "rsa", Bits: 1024}},
		"p=" + key[:40] + " " + key[40:]:        {d: &DKIM{Type: "rsa", Bits: 1024}},
		"v=DKIM1; t=y:s; p=" + key + ";":        {d: &DKIM{Type: "rsa", Bits: 1024, Testing: true}},
		"v=DKIM1; k=ed25519; p=" + ed:           {d: &DKIM{Type: "ed25519"}},
		"v=DKIM1; p=":                           {d: &DKIM{Type: "rsa", Revoked: true}},
		"v=DKIM1; k=rsa":                        {why: Missing},
		"k=rsa; v=DKIM1; p=" + key:              {why: BadVersion},
		"v=DKIM2; p=" + key:                     {why: BadVersion},
		"v=DKIM1; p=" + key[:30]:                {why: BadBase64},
		"v=DKIM1; p=-----BEGIN PUBLIC KEY-----": {why: BadBase64},
		"v=DKIM1; k=ed25519; p=" + key:          {why: BadBase64},
		"v=DKIM1 k=rsa p=" + key:                {why: BadVersion},
		"hello":                                 {why: BadTag},
	} {
		d, err := ParseDKIM(in)
		if why(err) != want.why {
			t.Errorf("%.40q: %v, want %q", in, err, want.why)
		}
		if diff := cmp.Diff(want.d, d); diff != "" && want.why == "" {
			t.Errorf("%.40q (-want +got): %s", in, diff)
		}
	}
}

func TestParseMTASTS(t *testing.T) {
	for in, want := range map[string]string{
		"v=STSv1; id=20261121": "", "v=STSv1;id=a1;": "", "v=STSv1; id=" + strings.Repeat("a", 33): BadCharacter,
		"v=STSv1": Missing, "v=STSv1; id=": BadCharacter, "v=STSv1; id=2026-11-21": BadCharacter, "v=STS1; id=1": BadVersion,
		"id=1; v=STSv1": BadVersion, "v=STSv1 id=1": BadVersion, "v=STSv1; id": BadTag,
	} {
		if _, err := ParseMTASTS(in); why(err) != want {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if _, err := ParseMTASTS(MTASTSFor(time.Now())); err != nil {
		t.Error(err)
	}
}

func TestParsePolicy(t *testing.T) {
	good := "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmx: *.example.net\r\nmax_age: 86400\r\n"
	p, err := ParsePolicy(good)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Policy{Mode: "enforce", MX: []string{"mx1.example.test", "*.example.net"}, MaxAge: 24 * time.Hour}, p); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	for host, want := range map[string]bool{"mx1.example.test": true, "mx2.example.test": false, "a.example.net": true, "a.b.example.net": false, "example.net": false} {
		if p.Covers(host) != want {
			t.Errorf("%s: not %v", host, want)
		}
	}
	edit := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for in, want := range map[string]string{
		"": Missing, edit("version: STSv1\r\n", ""): Missing, edit("STSv1", "STSv2"): BadVersion, edit("mode: enforce", "mode: on"): BadValue,
		edit("mode: enforce\r\n", ""): Missing, edit("max_age: 86400\r\n", ""): Missing, edit("86400", "1d"): BadValue, edit("86400", "99999999999"): BadValue,
		edit("mx: mx1.example.test\r\nmx: *.example.net\r\n", ""): Missing, edit("mx1.example.test", "a b"): BadDomain, edit("mx1.example.test", "192.0.2.1"): BadDomain,
		edit("mx1.example.test", "mx.*.test"): BadDomain, "<html>\n": BadTag, "version: STSv1\nmode: none\nmax_age: 60": "", PolicyFor("testing", []string{"mx.example.test"}): "",
	} {
		if _, err := ParsePolicy(in); why(err) != want {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestParseTLSRPT(t *testing.T) {
	for in, want := range map[string][2]string{
		"v=TLSRPTv1; rua=mailto:a@b.test":                    {"", ""},
		"v=TLSRPTv1;rua=mailto:a@b.test,https://b.test/tls;": {"", ""},
		"v=TLSRPTv1":                     {Missing, ""},
		"v=TLSRPTv1; rua=a@b.test":       {BadURI, "v=TLSRPTv1; rua=mailto:a@b.test"},
		"v=TLSRPTv1 rua=mailto:a@b.test": {BadVersion, "v=TLSRPTv1; rua=mailto:a@b.test"},
		"v=TLSRPT1; rua=mailto:a@b.test": {BadVersion, "v=TLSRPTv1; rua=mailto:a@b.test"},
		"v=TLSRPTv1; rua=http://b.test/": {BadURI, ""},
	} {
		if _, err := ParseTLSRPT(in); why(err) != want[0] {
			t.Errorf("%q: %v, want %q", in, err, want[0])
		} else if got := RepairTLSRPT(in); err != nil && got != want[1] {
			t.Errorf("%q: repaired to %q, want %q", in, got, want[1])
		}
	}
	if _, err := ParseTLSRPT(TLSRPTFor("a@b.test")); err != nil {
		t.Error(err)
	}
}

func TestParseBIMI(t *testing.T) {
	for in, want := range map[string]string{
		"v=BIMI1; l=https://b.test/logo.svg": "", "v=BIMI1; l=https://b.test/logo.svg; a=https://b.test/vmc.pem": "", "v=BIMI1; l=; a=;": "",
		"v=BIMI1": Missing, "v=BIMI1; l=http://b.test/logo.svg": BadURI, "v=BIMI1; l=https://b.test/l.svg; a=http://x": BadURI, "v=BIMI2; l=": BadVersion, "l=x; v=BIMI1": BadVersion,
	} {
		if _, err := ParseBIMI(in); why(err) != want {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func FuzzOthers(f *testing.F) {
	for _, s := range []string{"v=DKIM1; k=rsa; p=MIGf; t=y:s", "v=STSv1; id=1", "version: STSv1\nmode: none\nmx: *.a.test\nmax_age: 1", "v=TLSRPTv1; rua=mailto:a@b,https://c/", "v=BIMI1; l=https://a/b.svg; a=", "mx:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = ParseDKIM(s)
		_, _ = ParseMTASTS(s)
		if p, err := ParsePolicy(s); err == nil {
			if again, err := ParsePolicy(PolicyFor(p.Mode, p.MX)); err != nil || !cmp.Equal(again.MX, p.MX) {
				t.Fatalf("%q: %v", s, err)
			}
			_ = p.Covers(s)
		}
		if _, err := ParseTLSRPT(s); err == nil {
			if _, err := ParseTLSRPT(MergeTLSRPT([]string{s, "v=TLSRPTv1; rua=mailto:a@example.test"})); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
		if fixed := RepairTLSRPT(s); fixed != "" {
			if _, err := ParseTLSRPT(fixed); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = ParseBIMI(s)
		_, _, _, _ = LooksLikeMTASTS(s), LooksLikeTLSRPT(s), LooksLikeBIMI(s), LooksLikeDMARC(s)
	})
}
