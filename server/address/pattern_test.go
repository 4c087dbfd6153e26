package address

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for pattern, want := range map[string]struct{ yes, no string }{
		"taro@example.com":         {"taro@example.com TARO@Example.COM taro@example.com.", "taro@example.net xtaro@example.com <>"},
		"taro@":                    {"taro@example.com taro@x.example", "jiro@example.com"},
		"example.com":              {"a@example.com b@EXAMPLE.com", "a@sub.example.com a@notexample.com <> example.com@example.net"},
		".example.com":             {"a@sub.example.com a@x.y.example.com", "a@example.com a@notexample.com"},
		"*.example.com":            {"a@sub.example.com", "a@example.com"},
		"*example.com":             {"a@sub.example.com a@example.com a@notexample.com", "a@example.net"},
		"news-*@example.com":       {"news-1@example.com news-@example.com", "news@example.com"},
		"[192.0.2.1]":              {"a@[192.0.2.1]", "a@[192.0.2.2] a@192x0"},
		"<>":                       {"<>", "a@example.com"},
		"*":                        {"<> a@example.com postmaster", ""},
		`/^[0-9]+@(aol|msn)\.com/`: {"123@aol.com 1@MSN.com", "joe@aol.com 123@example.com <>"},
		"/^$/":                     {"<>", "a@example.com"},
	} {
		p, err := ParsePattern(pattern)
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		for _, list := range []struct {
			words string
			want  bool
		}{{want.yes, true}, {want.no, false}} {
			for word := range strings.FieldsSeq(list.words) {
				a := Address{}
				if word != "<>" {
					local, domain, _ := strings.Cut(word, "@")
					a = Address{Local: local, Domain: domain}
				}
				if p.Match(a) != list.want {
					t.Errorf("%q and %s: %v, want %v", pattern, word, !list.want, list.want)
				}
			}
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                       "matches nothing",
		"/":                      "between two slashes",
		"/x":                     "between two slashes",
		"/(/":                    "no regular expression",
		`/a(?!b)/`:               "no regular expression",
		"a b@example.com":        "no address has",
		"<taro@example.com>":     "no address has",
		"a@b@example.com":        "more than one @",
		"@example.com":           `every address of a domain is "example.com"`,
		strings.Repeat("x", 1e4): "at most 1000",
	} {
		if _, err := ParsePattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", pattern, err, want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"taro@", ".example.com", "/^[0-9]+@/", "*", "a*b@*", "<>", "[192.0.2.1]"} {
		f.Add(s, "123@aol.com")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", pattern, p.String(), err)
		}
		a, err := Parse(s)
		if err != nil {
			return
		}
		if p.Match(a) != again.Match(a) {
			t.Errorf("%q matches %q once", pattern, s)
		}
		// An address written as a pattern means itself.
		if self, err := ParsePattern(a.String()); err == nil && a.Domain != "" && !strings.HasPrefix(s, "/") && !self.Match(a) {
			t.Errorf("%q does not mean itself", s)
		}
	})
}
