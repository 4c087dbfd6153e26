package checkmx

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
)

// policy is a lab that looks at one policy family of the healthy domain with
// more lines in its zone.
func policy(family, lines string) lab {
	return lab{zone: healthy + lines, opt: func(o *Options) { o.Only = []string{"domain", "mx", family} }}
}

func spf(lines ...string) lab {
	for i, l := range lines {
		if !strings.Contains(l, " TXT ") && !strings.Contains(l, " A ") && !strings.HasPrefix(l, "!") {
			lines[i] = "example.test. TXT \"" + l + "\""
		}
	}
	return policy("spf", strings.Join(lines, "\n"))
}

func txt(text string) string { return `example.test. IN TXT "` + text + `"` }

func TestSPF(t *testing.T) {
	inc := func(name, text string) string { return name + ". TXT \"" + text + "\"" }
	eleven := []string{"v=spf1 include:a.test include:b.test mx a:x.test a:y.test -all", inc("a.test", "v=spf1 a:x.test a:y.test a:z.test -all"),
		inc("b.test", "v=spf1 include:c.test -all"), inc("c.test", "v=spf1 exists:%{i}.test -all"), "x.test. A 192.0.2.8", "y.test. A 192.0.2.8", "z.test. A 192.0.2.8"}
	eleven[0] = "v=spf1 include:a.test include:b.test mx a:x.test a:y.test include:d.test -all"
	eleven = append(eleven, inc("d.test", "v=spf1 -all"))
	runFaults(t, []fault{
		{name: "good", lab: spf("v=spf1 mx -all")},
		{name: "good, upper case, several strings", lab: policy("spf", `example.test. TXT "V=SPF1 " "MX " "~ALL"`)},
		{name: "good, redirect first", lab: spf("v=spf1 redirect=_spf.example.test mx", inc("_spf.example.test", "v=spf1 -all"))},
		{name: "missing", lab: spf(), want: []string{"warn spf.missing example.test"}, record: txt("v=spf1 mx -all")},
		{name: "missing, other texts", lab: spf("example.test. TXT \"site=1\""), want: []string{"warn spf.missing example.test"}},
		{name: "null MX", lab: lab{zone: "example.test. MX 0 .", opt: func(o *Options) { o.Only = []string{"mx", "spf"} }}, info: []string{"mx.null example.test"}},
		{name: "null MX, good", lab: lab{zone: "example.test. MX 0 .\nexample.test. TXT \"v=spf1 -all\"", opt: func(o *Options) { o.Only = []string{"mx", "spf"} }}, info: []string{"mx.null example.test"}},
		{name: "look-up fails", lab: spf("!servfail example.test. TXT"), want: []string{"warn dns.txt_lookup_failed example.test"}},
		{name: "look-up cut", lab: spf("!cut example.test. TXT"), want: []string{"fail dns.truncated_no_tcp example.test"}},
		{name: "include fails", lab: spf("v=spf1 include:a.test -all", "!servfail a.test."), want: []string{"warn dns.txt_lookup_failed a.test"}},
		{name: "multiple", lab: spf("v=spf1 mx -all", "v=spf1 ip4:192.0.2.9 ~all"), want: []string{"fail spf.multiple example.test"}, record: txt("v=spf1 mx ip4:192.0.2.9 ~all")},
		{name: "multiple in an include", lab: spf("v=spf1 include:a.test -all", inc("a.test", "v=spf1 -all"), inc("a.test", "v=spf1 ~all")), want: []string{"fail spf.multiple a.test"}},
		{name: "syntax", lab: spf("v=spf1 ipv4:192.0.2.1 -all"), want: []string{"fail spf.syntax example.test"}, record: txt("v=spf1 ip4:192.0.2.1 -all")},
		{name: "syntax without a guess", lab: spf("v=spf1 nonsense -all"), want: []string{"fail spf.syntax example.test"}},
		{name: "version", lab: spf("v=spf1mx -all"), want: []string{"fail spf.syntax example.test"}, record: txt("v=spf1 mx -all")},
		{name: "syntax in an include", lab: spf("v=spf1 include:a.test -all", inc("a.test", "v=spf1 ip4:x -all")), want: []string{"fail spf.syntax a.test"}},
		{name: "ten look-ups", lab: spf(append([]string{"v=spf1 include:a.test include:b.test mx a:x.test -all"}, eleven[1:]...)...)},
		{name: "eleven look-ups", lab: spf(eleven...), want: []string{"fail spf.too_many_lookups example.test"},
			record: txt("v=spf1 include:a.test include:b.test ip4:192.0.2.1 ip4:192.0.2.2 ip4:192.0.2.8 include:d.test -all")},
		{name: "terms after all do not count", lab: spf("v=spf1 -all include:a.test include:b.test"), want: []string{"warn spf.after_all example.test"}, record: txt("v=spf1 include:a.test include:b.test -all")},
		{name: "void", lab: spf("v=spf1 a:n1.test a:n2.test a:n3.test mx -all"), want: []string{"fail spf.void_lookups example.test"}, record: txt("v=spf1 mx -all")},
		{name: "two void are allowed", lab: spf("v=spf1 a:n1.test exists:n2.test mx -all")},
		{name: "loop", lab: spf("v=spf1 include:a.test -all", inc("a.test", "v=spf1 include:example.test -all")), want: []string{"fail spf.include_loop example.test"}},
		{name: "own loop", lab: spf("v=spf1 mx include:example.test -all"), want: []string{"fail spf.include_loop example.test"}, record: txt("v=spf1 mx -all")},
		{name: "redirect loop", lab: spf("v=spf1 redirect=a.test", inc("a.test", "v=spf1 redirect=example.test")), want: []string{"fail spf.include_loop example.test"}},
		{name: "include twice is no loop", lab: spf("v=spf1 include:a.test include:b.test -all", inc("a.test", "v=spf1 include:c.test -all"), inc("b.test", "v=spf1 include:c.test -all"), inc("c.test", "v=spf1 -all"))},
		{name: "include missing", lab: spf("v=spf1 mx include:gone.test -all"), want: []string{"fail spf.include_missing example.test"}, record: txt("v=spf1 mx -all")},
		{name: "redirect missing", lab: spf("v=spf1 mx redirect=gone.test"), want: []string{"fail spf.include_missing example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "include without SPF", lab: spf("v=spf1 mx include:a.test -all", inc("a.test", "hello")), want: []string{"fail spf.include_missing example.test"}},
		{name: "plus all", lab: spf("v=spf1 mx +all"), want: []string{"fail spf.plus_all example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "all", lab: spf("v=spf1 mx all"), want: []string{"fail spf.plus_all example.test"}},
		{name: "ranges", lab: spf("v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"), want: []string{"fail spf.plus_all example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "a/0", lab: spf("v=spf1 a:mx1.example.test/0 -all"), want: []string{"fail spf.plus_all example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "include of everything", lab: spf("v=spf1 include:a.test -all", inc("a.test", "v=spf1 +all")), want: []string{"fail spf.plus_all example.test"}},
		{name: "neutral", lab: spf("v=spf1 mx ?all"), want: []string{"warn spf.neutral_all example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "no all", lab: spf("v=spf1 mx"), want: []string{"warn spf.no_all example.test"}, record: txt("v=spf1 mx ~all")},
		{name: "redirect without all", lab: spf("v=spf1 redirect=a.test", inc("a.test", "v=spf1 mx:example.test")), want: []string{"warn spf.no_all example.test"}},
		{name: "redirect beside all", lab: spf("v=spf1 mx -all redirect=gone.test"), want: []string{"warn spf.after_all example.test"}, record: txt("v=spf1 mx -all")},
		{name: "ptr", lab: spf("v=spf1 mx ptr -all"), want: []string{"warn spf.ptr example.test"}, record: txt("v=spf1 mx -all")},
		{name: "private", lab: spf("v=spf1 mx ip4:192.168.0.0/16 ip6:fd00::1 -all"), want: []string{"warn spf.private_range example.test"}, record: txt("v=spf1 mx -all")},
		{name: "too long", lab: policy("spf", "example.test. TXT \"v=spf1 mx -all\"\nexample.test. TXT \""+strings.Repeat("x", 250)+"\" \""+strings.Repeat("y", 250)+"\""), want: []string{"warn spf.too_long example.test"}},
		{name: "not covered", lab: spf("v=spf1 ip4:192.0.2.1 -all"), info: []string{"spf.mx_not_covered example.test"}},
		{name: "two faults", lab: spf("v=spf1 ptr ?all"), want: []string{"warn spf.neutral_all example.test", "warn spf.ptr example.test"}, record: txt("v=spf1 ~all")},
		{name: "too many, and more", lab: spf(append([]string{"v=spf1 include:a.test include:b.test mx ptr a:x.test a:y.test ?all"}, eleven[1:]...)...), want: []string{"fail spf.too_many_lookups example.test", "warn spf.neutral_all example.test", "warn spf.ptr example.test"},
			record: txt("v=spf1 include:a.test include:b.test ip4:192.0.2.1 ip4:192.0.2.2 ip4:192.0.2.8 ~all")},
	})
}

func TestSPFTree(t *testing.T) {
	lines := []string{"v=spf1 include:a.test mx -all", `a.test. TXT "v=spf1 include:b.test include:c.test -all"`}
	for _, n := range []string{"b", "c"} {
		var terms []string
		for i := range 5 {
			terms = append(terms, fmt.Sprintf("exists:%%{i}.%d.test", i))
		}
		lines = append(lines, n+`.test. TXT "v=spf1 `+strings.Join(terms, " ")+` -all"`)
	}
	f := find(t, spf(lines...).check(t), "spf.too_many_lookups")
	want := []string{"include:a.test 13", "  include:b.test 6", "    exists:%{i}.0.test 1", "    exists:%{i}.1.test 1"}
	tree := f.Evidence["tree"].([]string)
	if d := cmp.Diff(want, tree[:4]); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if f.Evidence["lookups"] != 14 || f.Evidence["largest"] != "include:a.test" || len(recordsOf(f)) != 0 {
		t.Errorf("%v, records %q", f.Evidence, recordsOf(f))
	}
}

// A hostile tree ends: it is neither followed without end nor does it recurse
// without end.
func TestSPFHostile(t *testing.T) {
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`n%d.test. TXT "v=spf1 include:n%d.test include:n%d.test include:n%d.test -all"`, i, (i+1)%40, (i+7)%40, (i+11)%40))
	}
	r := spf(append(lines, "v=spf1 include:n0.test -all")...).check(t)
	if w := wrong(r); len(w) != 1 || w[0] != "fail spf.include_loop example.test" {
		t.Errorf("%q", w)
	}
}

// A domain that takes no mail is told to say that it sends none, unless it does.
func TestNullMXAndSPF(t *testing.T) {
	null := func(lines string) diag.Finding {
		return find(t, lab{zone: "example.test. MX 0 .\n" + lines, opt: func(o *Options) { o.Only = []string{"mx", "spf"} }}.check(t), "mx.null")
	}
	if d := cmp.Diff([]string{txt("v=spf1 -all")}, recordsOf(null(""))); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if got := recordsOf(null("example.test. TXT \"v=spf1 -all\"")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
