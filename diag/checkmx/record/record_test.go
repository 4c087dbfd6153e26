package record

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func why(err error) string {
	var e *SyntaxError
	if errors.As(err, &e) {
		return e.Why
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestParseSPF(t *testing.T) {
	for in, want := range map[string]string{
		"v=spf1":                               "",
		"V=SPF1 MX -ALL":                       "",
		"v=spf1 a mx:b.test/24//64 a//64 -all": "",
		"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all":    "",
		"v=spf1 include:_spf.example.test. redirect=x.test": "",
		"v=spf1 exists:%{i}._spf.%{d2} exp=why.%{d} -all":   "",
		"v=spf1 a:%{l}.%{d}/24 unknown=thing%% ~all":        "",
		"v=spf1 exists:%{ir}.%{v}._spf.%{d} ptr -all":       "",
		"v=spf1mx":                               BadVersion,
		"v=spf2 mx":                              BadVersion,
		"v=spf1 ipv4:192.0.2.1":                  BadMechanism,
		"v=spf1 mx, -all":                        BadMechanism,
		"v=spf1 ip4:example.test":                BadAddress,
		"v=spf1 ip4":                             BadAddress,
		"v=spf1 ip4:2001:db8::1":                 BadAddress,
		"v=spf1 ip6:192.0.2.1":                   BadAddress,
		"v=spf1 ip4:192.0.2.1/33":                BadPrefix,
		"v=spf1 ip4:192.0.2.1/":                  BadPrefix,
		"v=spf1 ip4:192.0.2.1/024":               BadPrefix,
		"v=spf1 a/33":                            BadPrefix,
		"v=spf1 mx//129":                         BadPrefix,
		"v=spf1 include":                         BadDomain,
		"v=spf1 include:":                        BadDomain,
		"v=spf1 include:example":                 BadDomain,
		"v=spf1 a:192.0.2.1":                     BadDomain,
		"v=spf1 a:b..test":                       BadDomain,
		"v=spf1 all:x":                           BadValue,
		"v=spf1 mx=x.test all -mx=":              BadMechanism,
		"v=spf1 exists:%{z}.test":                BadMacro,
		"v=spf1 exists:%x.test":                  BadMacro,
		"v=spf1 redirect=a.test redirect=b.test": Repeated,
		"v=spf1 “mx” -all":                       BadBytes,
		"v=spf1 mx -all\n":                       BadBytes,
		"v=spf1 -":                               BadMechanism,
	} {
		s, err := ParseSPF(in)
		if got := why(err); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if err == nil {
			again, err := ParseSPF(s.String())
			if err != nil || again.String() != s.String() {
				t.Errorf("%q: written as %q: %v", in, s, err)
			}
		}
	}
	s, err := ParseSPF("v=spf1 -IP4:192.0.2.77/24 A:Host.test./20//60 all mx redirect=x.test")
	if err != nil {
		t.Fatal(err)
	}
	want := []Term{
		{Text: "-IP4:192.0.2.77/24", Qualifier: '-', Name: "ip4", Prefix: netip.MustParsePrefix("192.0.2.0/24"), Bits4: 32, Bits6: 128},
		{Text: "A:Host.test./20//60", Qualifier: '+', Name: "a", Domain: "host.test", Bits4: 20, Bits6: 60},
		{Text: "all", Qualifier: '+', Name: "all", Bits4: 32, Bits6: 128},
		{Text: "mx", Qualifier: '+', Name: "mx", Bits4: 32, Bits6: 128},
		{Text: "redirect=x.test", Name: "redirect", Domain: "x.test", Bits4: 32, Bits6: 128},
	}
	if d := cmp.Diff(want, s.Terms, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if s.All().Text != "all" || s.Redirect() != nil || len(s.Ignored()) != 2 {
		t.Errorf("all %v, redirect %v, ignored %v", s.All(), s.Redirect(), s.Ignored())
	}
}

func TestIsSPF(t *testing.T) {
	for in, want := range map[string][2]bool{
		"v=spf1": {true, false}, "V=SPF1 mx": {true, false}, "v=spf1mx": {false, true}, " v=spf1 mx": {false, true}, "\"v=spf1 mx\"": {false, true},
		"v=spf10": {false, false}, "spf1 mx": {false, true}, "v=spf1; mx": {false, true}, "spf2.0/pra mx": {false, false}, "hello": {false, false}, "": {false, false},
	} {
		if got := [2]bool{IsSPF(in), LooksLikeSPF(in)}; got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestRepairSPF(t *testing.T) {
	for in, want := range map[string]string{
		"v=spf1 ipv4:192.0.2.1 -all":        "v=spf1 ip4:192.0.2.1 -all",
		"v=spf1, mx, a, ~all":               "v=spf1 mx a ~all",
		"v=spf1;mx;-all":                    "v=spf1 mx -all",
		"v=spf1 a:192.0.2.1 -all":           "v=spf1 ip4:192.0.2.1 -all",
		"v=spf1 ip4:2001:db8::1 -all":       "v=spf1 ip6:2001:db8::1 -all",
		"v=spf1 ip4:mail.example.test -all": "v=spf1 a:mail.example.test -all",
		"v=spf1 include=_spf.x.test - all":  "v=spf1 include:_spf.x.test -all",
		"v=spf1 include: _spf.x.test ~all":  "v=spf1 include:_spf.x.test ~all",
		"“v=spf1 mx” -all":                  "v=spf1 mx -all",
		"v=spf1mx -all":                     "v=spf1 mx -all",
		"v=spf1 mx -al":                     "v=spf1 mx -all",
		"v=spf1 mx redirect:x.test":         "v=spf1 mx redirect=x.test",
		"v=spf1 ip4:192.0.2.999 -all":       "",
		"v=spf1 nonsense -all":              "",
	} {
		if got := RepairSPF(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	var rs []*SPF
	for _, s := range []string{"v=spf1 mx include:a.test -all", "v=spf1 MX ip4:192.0.2.1 ~all", "v=spf1 redirect=b.test"} {
		r, err := ParseSPF(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	if got, want := Merge(rs).String(), "v=spf1 mx include:a.test ip4:192.0.2.1 include:b.test ~all"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Merge(rs[:1]).String(), "v=spf1 mx include:a.test -all"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseDMARC(t *testing.T) {
	for in, want := range map[string]string{
		"v=DMARC1; p=none":                     "",
		"v=DMARC1":                             "",
		"V = DMARC1 ; P = Reject ;":            "",
		"v=DMARC1;p=none;rua=mailto:a@b.test;": "",
		"v=DMARC1; p=none; new=thing":          "",
		"v=DMARC1; p=none; adkim=x":            "",
		"v=DMARC1 p=none":                      BadVersion,
		"v=dmarc1; p=none":                     BadVersion,
		"p=none; v=DMARC1":                     BadVersion,
		"v=DMARC1; p=block":                    BadValue,
		"v=DMARC1; p=none; sp=x":               BadValue,
		"v=DMARC1; p=":                         BadValue,
		"v=DMARC1; none":                       BadTag,
		"v=DMARC1; p=none;; rua=x":             BadTag,
		"v=DMARC1; p=none; p=reject":           Repeated,
		"v=DMARC1; p=n“one":                    BadBytes,
	} {
		if _, err := ParseDMARC(in); why(err) != want {
			t.Errorf("%q: %q, want %q", in, why(err), want)
		}
	}
	d, err := ParseDMARC("v=DMARC1; p=quarantine; sp=none; pct=50; adkim=x; rua=mailto:a@b.test!10m , mailto:c@d.test; ruf=http://x")
	if err != nil {
		t.Fatal(err)
	}
	d.Tags = nil
	want := &DMARC{P: "quarantine", SP: "none", HasP: true, Pct: 50, Rua: []string{"mailto:a@b.test!10m", "mailto:c@d.test"}, Ruf: []string{"http://x"}, Ignored: []string{"adkim=x"}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("(-want +got): %s", diff)
	}
}

func TestDMARCEdit(t *testing.T) {
	d, err := ParseDMARC("v=DMARC1; rua=mailto:a@b.test; pct=10")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.With("p", "reject").With("pct", "").With("sp", "").With("rua", "mailto:x@y.test").String(), "v=DMARC1; p=reject; rua=mailto:x@y.test"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := d.String(), "v=DMARC1; rua=mailto:a@b.test; pct=10"; got != want {
		t.Errorf("the original changed: %q", got)
	}
	for in, want := range map[string]string{
		"v=DMARC1 p=none": "v=DMARC1; p=none",
		"p=reject; v=DMARC1; rua=mailto:a@b.test,mailto:c@d": "v=DMARC1; p=reject; rua=mailto:a@b.test,mailto:c@d",
		"v=DMARC1, p=quarentine, rua=mailto:a@b.test":        "v=DMARC1; p=quarantine; rua=mailto:a@b.test",
		"v=DMARC1; p:none": "v=DMARC1; p=none",
		"v=DMARC1; hello":  "",
	} {
		if got := RepairDMARC(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestMailtoDomain(t *testing.T) {
	for in, want := range map[string]string{
		"mailto:a@B.test": "b.test", "MAILTO:a@b.test!10m": "b.test", "mailto:a%2Bx@b.test": "b.test",
		"a@b.test": "", "mailto:": "", "mailto:a": "", "mailto:@b.test": "", "http://b.test/": "", "mailto:a@b..test": "", "mailto://a@b.test": "",
	} {
		if got, ok := MailtoDomain(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzSPF(f *testing.F) {
	for _, s := range []string{"v=spf1 a mx:b.test/24//64 -all", "v=spf1 exists:%{ir}.%{d2} exp=x.test", "v=spf1 ip6:::/0 redirect=a.b", "v=spf1,mx;all", "“v=spf1”"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseSPF(s); err == nil {
			if _, err := ParseSPF(r.String()); err != nil {
				t.Fatalf("%q is written as %q: %v", s, r, err)
			}
			_ = Merge([]*SPF{r, r}).String()
			_ = r.Ignored()
		}
		if fixed := RepairSPF(s); fixed != "" {
			if _, err := ParseSPF(fixed); err != nil {
				t.Fatalf("%q is repaired to %q: %v", s, fixed, err)
			}
		}
		_ = LooksLikeSPF(s)
	})
}

func FuzzDMARC(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=none; rua=mailto:a@b.test!10m,mailto:c@d", "v=DMARC1 p=x", "p=none;v=DMARC1", "v=DMARC1;;;="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDMARC(s); err == nil {
			if again, err := ParseDMARC(d.With("v", "DMARC1").String()); err != nil || again.P != d.P {
				t.Fatalf("%q is written as %q: %v", s, d, err)
			}
			for _, u := range d.Rua {
				if dom, ok := MailtoDomain(u); ok && strings.ContainsAny(dom, " @") {
					t.Fatalf("%q: domain %q", u, dom)
				}
			}
		}
		if fixed := RepairDMARC(s); fixed != "" {
			if _, err := ParseDMARC(fixed); err != nil {
				t.Fatalf("%q is repaired to %q: %v", s, fixed, err)
			}
		}
	})
}
