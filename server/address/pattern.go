package address

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Pattern matches addresses, or other words such as HELO names and the values of
// header fields. Letter case does not count.
//
//	taro@example.com     that address
//	taro@                that name in every domain
//	example.com          every address of that domain
//	.example.com         every address of its subdomains; *.example.com is the same
//	<>                   the null sender
//	/^[0-9]+@/           what the regular expression (RE2) finds a place in
//
// In all but the last, * stands for any letters, also none.
type Pattern struct {
	text string
	re   *regexp.Regexp
	kind patternKind
}

type patternKind int

const (
	wholeAddress patternKind = iota + 1
	domainOnly
	nullSender
	expression
)

// maxPattern bounds the length of a pattern.
const maxPattern = 1000

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	switch {
	case s == "":
		return Pattern{}, errors.New("an empty pattern matches nothing")
	case len(s) > maxPattern:
		return Pattern{}, fmt.Errorf("a pattern has at most %d characters", maxPattern)
	case !utf8.ValidString(s):
		return Pattern{}, errors.New("is not written in UTF-8")
	case s == "<>":
		return Pattern{text: s, kind: nullSender}, nil
	case strings.HasPrefix(s, "/"):
		if len(s) < 3 || !strings.HasSuffix(s, "/") {
			return Pattern{}, errors.New("a regular expression stands between two slashes: /^[0-9]+@/")
		}
		re, err := regexp.Compile("(?i)" + s[1:len(s)-1])
		if err != nil {
			return Pattern{}, fmt.Errorf("is no regular expression of the kind RE2: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return Pattern{text: s, re: re, kind: expression}, nil
	case strings.ContainsAny(s, " \t\r\n<>,;"):
		return Pattern{}, errors.New("has a character that no address has; a regular expression stands between slashes: /.../")
	case strings.Count(s, "@") > 1:
		return Pattern{}, errors.New("has more than one @")
	}
	p := Pattern{text: s, kind: domainOnly}
	glob := s
	if at := strings.IndexByte(s, '@'); at >= 0 {
		p.kind = wholeAddress
		if at == 0 {
			return Pattern{}, fmt.Errorf("has no name before the @; every address of a domain is %q", s[1:])
		}
		if at == len(s)-1 {
			glob += "*"
		}
	} else if strings.HasPrefix(s, ".") {
		glob = "*" + s
	}
	p.re = globRegexp(glob)
	return p, nil
}

// Glob returns a pattern for other words than addresses: all of it must match,
// with * for any letters, or the expression between slashes finds a place.
func Glob(s string) (Pattern, error) {
	if strings.HasPrefix(s, "/") || s == "" || len(s) > maxPattern || !utf8.ValidString(s) {
		return ParsePattern(s)
	}
	return Pattern{text: s, re: globRegexp(s), kind: expression}, nil
}

func globRegexp(glob string) *regexp.Regexp {
	parts := strings.Split(glob, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?is)^" + strings.Join(parts, ".*") + "$")
}

// Match tells whether an address is meant. A final point of its domain does not
// count.
func (p Pattern) Match(a Address) bool {
	a.Domain = strings.TrimSuffix(a.Domain, ".")
	switch p.kind {
	case nullSender:
		return a.IsNull()
	case domainOnly:
		return !a.IsNull() && p.re.MatchString(a.Domain) || p.text == "*"
	case wholeAddress:
		return !a.IsNull() && p.re.MatchString(a.Local+"@"+a.Domain)
	case expression:
		return p.re.MatchString(a.String())
	}
	return false
}

// MatchText holds a word against the pattern as a whole.
func (p Pattern) MatchText(s string) bool { return p.re != nil && p.re.MatchString(s) }

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// MarshalText is String, for JSON.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }
