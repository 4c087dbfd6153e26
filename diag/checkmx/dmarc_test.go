package checkmx

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDMARC(t *testing.T) {
	at := func(texts ...string) lab {
		var lines []string
		for _, x := range texts {
			if !strings.Contains(x, " TXT ") && !strings.HasPrefix(x, "!") && !strings.Contains(x, " MX ") {
				x = `_dmarc.example.test. TXT "` + x + `"`
			}
			lines = append(lines, x)
		}
		return policy("dmarc", strings.Join(lines, "\n"))
	}
	rec := func(text string) string { return `_dmarc.example.test. IN TXT "` + text + `"` }
	sub := func(l lab) lab {
		l.domain = "sub.example.test"
		l.zone += "\nsub.example.test. MX 10 mx1.example.test."
		return l
	}
	const rua = "rua=mailto:dmarc@example.test"
	runFaults(t, []fault{
		{name: "good", lab: at("v=DMARC1; p=reject; " + rua)},
		{name: "good, blanks and case", lab: at("v = DMARC1 ; P=Quarantine; RUA=mailto:a@sub.example.test;", "sub.example.test. MX 10 mx1.example.test.")},
		{name: "good by CNAME", lab: at("_dmarc.other.test. TXT \"v=DMARC1; p=reject; "+rua+"\"", "_dmarc.example.test. CNAME _dmarc.other.test. ; TXT is there")},
		{name: "missing", lab: at(), want: []string{"warn dmarc.missing example.test"}, record: rec("v=DMARC1; p=quarantine; rua=mailto:postmaster@example.test")},
		{name: "missing, other text", lab: at("_dmarc.example.test. TXT \"hello\""), want: []string{"warn dmarc.missing example.test"}},
		{name: "missing, no mail", lab: lab{zone: "example.test. MX 0 .", opt: func(o *Options) { o.Only = []string{"dmarc"} }}, want: []string{"warn dmarc.missing example.test"}, record: rec("v=DMARC1; p=reject")},
		{name: "look-up fails", lab: at("!servfail _dmarc.example.test."), want: []string{"warn dns.txt_lookup_failed _dmarc.example.test"}},
		{name: "parent look-up fails", lab: sub(at("!servfail _dmarc.example.test.")), want: []string{"warn dns.txt_lookup_failed _dmarc.example.test"}},
		{name: "multiple", lab: at("v=DMARC1; p=none", "v=DMARC1; p=reject"), want: []string{"fail dmarc.multiple example.test"}, record: rec("v=DMARC1; p=reject")},
		{name: "no semicolon", lab: at("v=DMARC1 p=reject"), want: []string{"fail dmarc.syntax example.test"}, record: rec("v=DMARC1; p=reject")},
		{name: "version last", lab: at("p=reject; v=DMARC1; " + rua), want: []string{"fail dmarc.syntax example.test"}, record: rec("v=DMARC1; p=reject; " + rua)},
		{name: "unknown policy", lab: at("v=DMARC1; p=quarentine; " + rua), want: []string{"fail dmarc.syntax example.test"}, record: rec("v=DMARC1; p=quarantine; " + rua)},
		{name: "unknown subdomain policy", lab: at("v=DMARC1; p=reject; sp=all; " + rua), want: []string{"fail dmarc.syntax example.test"}},
		{name: "no tag", lab: at("v=DMARC1; reject"), want: []string{"fail dmarc.syntax example.test"}},
		{name: "ignored value", lab: at("v=DMARC1; p=reject; adkim=x; " + rua), want: []string{"warn dmarc.syntax example.test"}, record: rec("v=DMARC1; p=reject; " + rua)},
		{name: "wrong place", lab: at("example.test. TXT \"v=DMARC1; p=reject\""), want: []string{"fail dmarc.wrong_place example.test"}, record: rec("v=DMARC1; p=reject")},
		{name: "none", lab: at("v=DMARC1; p=none; sp=none; " + rua), want: []string{"warn dmarc.policy_none example.test"}, record: rec("v=DMARC1; p=quarantine; " + rua)},
		{name: "none and no reports", lab: at("v=DMARC1; p=none"), want: []string{"warn dmarc.policy_none example.test"}, info: []string{"dmarc.no_rua example.test"}, record: rec("v=DMARC1; p=quarantine; rua=mailto:postmaster@example.test")},
		{name: "no policy", lab: at("v=DMARC1; " + rua), want: []string{"warn dmarc.policy_none example.test"}, record: rec("v=DMARC1; p=quarantine; " + rua)},
		{name: "subdomains weaker", lab: at("v=DMARC1; p=reject; sp=none; " + rua), want: []string{"warn dmarc.sp_weaker example.test"}, record: rec("v=DMARC1; p=reject; " + rua)},
		{name: "partial", lab: at("v=DMARC1; p=reject; pct=20; " + rua), info: []string{"dmarc.partial example.test"}},
		{name: "no reports", lab: at("v=DMARC1; p=reject"), info: []string{"dmarc.no_rua example.test"}},
		{name: "bare address", lab: at("v=DMARC1; p=reject; rua=dmarc@example.test"), want: []string{"warn dmarc.rua_invalid example.test"}, record: rec("v=DMARC1; p=reject; " + rua)},
		{name: "web address", lab: at("v=DMARC1; p=reject; rua=https://example.test/dmarc"), want: []string{"warn dmarc.rua_invalid example.test"}},
		{name: "nobody there", lab: at("v=DMARC1; p=reject; rua=mailto:a@gone.test"), want: []string{"warn dmarc.rua_no_mx gone.test"}},
		{name: "takes no mail", lab: at("v=DMARC1; p=reject; rua=mailto:a@null.test", "null.test. MX 0 ."), want: []string{"warn dmarc.rua_no_mx null.test"}},
		{name: "unknown whether it takes mail", lab: at("v=DMARC1; p=reject; rua=mailto:a@bad.test", "!servfail .bad.test.")},
		{name: "not agreed", lab: at("v=DMARC1; p=reject; rua=mailto:a@other.test", "other.test. MX 10 mx1.example.test."), want: []string{"warn dmarc.external_not_authorised other.test"},
			record: `example.test._report._dmarc.other.test. IN TXT "v=DMARC1"`},
		{name: "agreed", lab: at("v=DMARC1; p=reject; rua=mailto:a@other.test", "other.test. MX 10 mx1.example.test.", `example.test._report._dmarc.other.test. TXT "v=DMARC1"`)},
		{name: "agreed for all", lab: at("v=DMARC1; p=reject; rua=mailto:a@other.test", "other.test. MX 10 mx1.example.test.", `*._report._dmarc.other.test. TXT "v=DMARC1;"`)},
		{name: "inherited", lab: sub(at("v=DMARC1; p=reject; " + rua)), info: []string{"dmarc.inherited sub.example.test"}},
		{name: "inherited, none for subdomains", lab: sub(at("v=DMARC1; p=reject; sp=none; " + rua)), want: []string{"warn dmarc.policy_none sub.example.test"}, info: []string{"dmarc.inherited sub.example.test"}},
		{name: "wildcard text counts for nothing", lab: at("*.example.test. TXT \"p=reject\""), want: []string{"warn dmarc.missing example.test"}},
		{name: "wildcard text with the version", lab: at("*.example.test. TXT \"v=DMARC1; p=reject; " + rua + "\"")},
	})
}

func TestDMARCWalk(t *testing.T) {
	if d := cmp.Diff([]string{"d.e.f.g.h.i.j", "e.f.g.h.i.j", "f.g.h.i.j", "g.h.i.j", "h.i.j", "i.j", "j"}, parents("a.b.c.d.e.f.g.h.i.j")); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	used := func(lines ...string) string {
		var b strings.Builder
		for _, l := range lines {
			name, text, _ := strings.Cut(l, " ")
			b.WriteString("\n_dmarc." + name + ". TXT \"" + text + "\"")
		}
		l := policy("dmarc", b.String()+"\na.b.example.test. MX 10 mx1.example.test.")
		l.domain = "a.b.example.test"
		d := l.check(t).Facts.DMARC
		if d.Used == nil {
			return ""
		}
		return d.Used.Domain
	}
	for _, tt := range []struct {
		want  string
		lines []string
	}{
		{"a.b.example.test", []string{"a.b.example.test v=DMARC1; p=none", "example.test v=DMARC1; p=reject"}},
		{"example.test", []string{"b.example.test v=DMARC1; p=none", "example.test v=DMARC1; p=reject"}},
		{"b.example.test", []string{"b.example.test v=DMARC1; p=none; psd=n", "example.test v=DMARC1; p=reject"}},
		{"b.example.test", []string{"b.example.test v=DMARC1; p=none", "example.test v=DMARC1; p=reject; psd=y"}},
		{"test", []string{"test v=DMARC1; p=reject; psd=y"}},
		{"", nil},
	} {
		if got := used(tt.lines...); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func TestSameOrganisation(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"example.test", "sub.example.test", true}, {"a.example.co.jp", "b.example.co.jp", true}, {"a.co.jp", "b.co.jp", false}, {"a.test", "b.test", false}} {
		if sameOrganisation(tt.a, tt.b) != tt.want {
			t.Errorf("%s and %s: not %v", tt.a, tt.b, tt.want)
		}
	}
	if !slices.Contains(Families(), "dmarc") {
		t.Error("the family is not in the list")
	}
}
