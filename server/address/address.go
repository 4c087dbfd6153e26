// Package address reads mail addresses as they stand in SMTP commands (RFC
// 5321 4.1.2). It is strict where a lax reading would let one server see
// another address than the next, and lax where the field is: local parts with
// points in odd places exist and are somebody's address.
package address

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321 4.5.3.1, in octets.
const (
	maxLocal  = 64
	maxDomain = 255
	maxPath   = 512 // a source route may make it longer than an address
)

// Address is a mail address, in UTF-8 where it goes beyond ASCII (RFC 6531). The zero Address is the null sender, "<>".
type Address struct {
	Local  string // without quotes
	Domain string // as written; empty for "postmaster" alone; "[192.0.2.1]" for a literal
}

// IsNull tells the null sender.
func (a Address) IsNull() bool { return a == Address{} }

// ASCII tells whether the address goes without SMTPUTF8 (RFC 6531).
func (a Address) ASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// String writes the address, with quotes where the local part needs them; the
// null sender is empty.
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	local := a.Local
	if !isLaxDotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// Why an address is refused.
var (
	ErrSyntax  = errors.New("is no mail address of the form <user@example.com>")
	ErrTooLong = errors.New("is longer than a mail address may be")
)

// ParsePath reads "<user@example.com>" at the beginning of s and returns what
// follows it. A source route, "<@a,@b:user@example.com>", is dropped as RFC
// 5321 appendix C asks. "<>" is the null sender.
func ParsePath(s string) (a Address, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		return Address{}, "", ErrSyntax
	}
	end, quoted := -1, false
	for i := 1; i < len(s) && end < 0; i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			end = i
		}
	}
	switch {
	case end < 0:
		return Address{}, "", ErrSyntax
	case end > maxPath:
		return Address{}, "", ErrTooLong
	}
	inner, rest := s[1:end], s[end+1:]
	if inner == "" {
		return Address{}, rest, nil
	}
	if strings.HasPrefix(inner, "@") {
		route, mailbox, ok := strings.Cut(inner, ":")
		for hop := range strings.SplitSeq(route, ",") {
			if name, at := strings.CutPrefix(hop, "@"); !ok || !at || !isDomain(name) {
				return Address{}, "", ErrSyntax
			}
		}
		inner = mailbox
	}
	a, err = Parse(inner)
	return a, rest, err
}

// Parse reads "user@example.com", "user@[192.0.2.1]", `"a b"@example.com`, or a
// local part alone.
func Parse(s string) (Address, error) {
	var a Address
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return a, ErrSyntax
	}
	after := ""
	if strings.HasPrefix(s, `"`) {
		n := 1
		for n < len(s) && s[n] != '"' {
			if s[n] == '\\' {
				n++
			}
			if n < len(s) {
				a.Local += s[n : n+1]
				n++
			}
		}
		if n >= len(s) || a.Local == "" {
			return Address{}, ErrSyntax
		}
		after = s[n+1:]
	} else {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			i = len(s)
		}
		a.Local, after = s[:i], s[i:]
		if !isLaxDotString(a.Local) {
			return Address{}, ErrSyntax
		}
	}
	if after != "" {
		domain, ok := strings.CutPrefix(after, "@")
		if !ok || !isDomain(domain) && !isLiteral(domain) {
			return Address{}, ErrSyntax
		}
		a.Domain = domain
	}
	if len(a.Local) > maxLocal || len(a.Domain) > maxDomain {
		return Address{}, ErrTooLong
	}
	return a, nil
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// isLaxDotString takes "a..b" and "a." too, which old mobile phone addresses
// have.
func isLaxDotString(s string) bool {
	for i := range len(s) {
		if s[i] != '.' && s[i] < 0x80 && !isAtext(s[i]) {
			return false
		}
	}
	return s != ""
}

// isDomain takes what stands in the field: letters, digits, hyphens and
// underscores, in parts that are not empty. An international name has to have
// a form in ASCII, and its dots are those of ASCII.
func isDomain(s string) bool {
	if s == "" {
		return false
	}
	if !isASCII(s) {
		ascii, err := idna.Lookup.ToASCII(s)
		if err != nil || strings.Count(ascii, ".") != strings.Count(s, ".") {
			return false
		}
		s = ascii
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && c != '_' && (!isAtext(c) || strings.IndexByte("!#$%&'*+/=?^`{|}~", c) >= 0) {
				return false
			}
		}
	}
	return true
}

// isLiteral takes "[192.0.2.1]" and "[IPv6:2001:db8::1]".
func isLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	inner, six := s[1:len(s)-1], false
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner, six = inner[5:], true
	}
	a, err := netip.ParseAddr(inner)
	return err == nil && a.Zone() == "" && a.Is6() == six
}
