package address

import (
	"strings"
	"testing"
	"unicode"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		in, local, domain, rest string
		err                     error
	}{
		{"<>", "", "", "", nil},
		{"<taro@example.com>", "taro", "example.com", "", nil},
		{"<taro@example.com> SIZE=5", "taro", "example.com", " SIZE=5", nil},
		{"<Postmaster>", "Postmaster", "", "", nil},
		{"<taro@[192.0.2.1]>", "taro", "[192.0.2.1]", "", nil},
		{"<taro@[IPv6:2001:db8::1]>", "taro", "[IPv6:2001:db8::1]", "", nil},
		{`<"a b"@example.com>`, "a b", "example.com", "", nil},
		{`<"a\"b>"@example.com>x`, `a"b>`, "example.com", "x", nil},
		{`<"victim@example.net"@example.com>`, "victim@example.net", "example.com", "", nil},
		{"<@a.example,@b.example:taro@example.com>", "taro", "example.com", "", nil},
		{"<victim%example.net@example.com>", "victim%example.net", "example.com", "", nil},
		{"<example.net!victim@example.com>", "example.net!victim", "example.com", "", nil},
		{"<a..b.@docomo.example>", "a..b.", "docomo.example", "", nil},
		{"<user@under_score.example>", "user", "under_score.example", "", nil},

		{"<太郎@example.com>", "太郎", "example.com", "", nil},
		{"<taro@例え.jp>", "taro", "例え.jp", "", nil},
		{`<"太 郎"@example.com>`, "太 郎", "example.com", "", nil},

		{"taro@example.com", "", "", "", ErrSyntax},
		{"<taro@example.com", "", "", "", ErrSyntax},
		{"<taro@>", "", "", "", ErrSyntax},
		{"<@example.com>", "", "", "", ErrSyntax},
		{"<@:taro@example.com>", "", "", "", ErrSyntax},
		{"<a@b@example.com>", "", "", "", ErrSyntax},
		{"<a@b.example@c.example>", "", "", "", ErrSyntax},
		{"<a b@example.com>", "", "", "", ErrSyntax},
		{"< taro@example.com>", "", "", "", ErrSyntax},
		{"<taro@example.com.>", "", "", "", ErrSyntax},
		{"<taro@example..com>", "", "", "", ErrSyntax},
		{"<taro@-example.com>", "", "", "", ErrSyntax},
		{"<taro@example-.com>", "", "", "", ErrSyntax},
		{"<taro@a--b.example>", "taro", "a--b.example", "", nil},
		{"<taro@exam\x00ple.com>", "", "", "", ErrSyntax},
		{"<ta\x00ro@example.com>", "", "", "", ErrSyntax},
		{"<taro@[192.0.2]>", "", "", "", ErrSyntax},
		{"<taro@[2001:db8::1]>", "", "", "", ErrSyntax},
		{`<"@example.com>`, "", "", "", ErrSyntax},
		{`<""@example.com>`, "", "", "", ErrSyntax},
		{`<"a"b@example.com>`, "", "", "", ErrSyntax},
		{"<ta\xffro@example.com>", "", "", "", ErrSyntax},
		{"<ta\u0085ro@example.com>", "", "", "", ErrSyntax},
		{"<taro@例え。jp>", "", "", "", ErrSyntax},
		{"<taro@\u2028.jp>", "", "", "", ErrSyntax},
		{"<" + strings.Repeat("x", 65) + "@example.com>", "", "", "", ErrTooLong},
		{"<" + strings.Repeat("x", 600) + "@example.com>", "", "", "", ErrTooLong},
	} {
		a, rest, err := ParsePath(tt.in)
		if err != tt.err || a.Local != tt.local || a.Domain != tt.domain || rest != tt.rest {
			t.Errorf("ParsePath(%q) = %+v, %q, %v; want %q %q, %q, %v", tt.in, a, rest, err, tt.local, tt.domain, tt.rest, tt.err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<>", "<a@b>", `<"a\"b>"@[192.0.2.1]> X`, "<@a,@b:c@d.e>", "<a%b@c>", "<太郎@例え.jp>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, _, err := ParsePath(s)
		if err != nil {
			return
		}
		if strings.ContainsFunc(a.String(), unicode.IsControl) {
			t.Errorf("%q: control characters in %q", s, a)
		}
		// What was understood is written in a way that is understood the same.
		again, rest, err := ParsePath("<" + a.String() + ">")
		if err != nil || again != a || rest != "" {
			t.Errorf("%q: %+v, written %q, read again %+v, %q, %v", s, a, a, again, rest, err)
		}
	})
}
