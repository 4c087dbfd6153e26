// Package record reads and writes the policy records of mail domains: SPF,
// DMARC, DKIM keys, MTA-STS, TLS reporting, BIMI. It knows their grammar and
// nothing else: it asks no name server and judges no meaning. What one half of
// mailsrv recommends to publish and what the other half judges comes from the
// same functions.
package record

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// SyntaxError says which part of a record does not parse, and why.
type SyntaxError struct {
	Part string // the part as written
	Why  string // a word: see the constants
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%q: %s", e.Part, e.Why) }

// Reasons of a SyntaxError. They are the same in every language.
const (
	BadVersion   = "version"   // the version is missing, misspelt, or not first
	BadMechanism = "mechanism" // no such mechanism
	BadAddress   = "address"   // no IP address, or another family's
	BadPrefix    = "prefix"    // no prefix length, or too long
	BadDomain    = "domain"    // no domain name where one must stand
	BadMacro     = "macro"
	BadValue     = "value"    // a value where none may stand, or one that is not allowed
	BadTag       = "tag"      // no "name=value"
	Repeated     = "repeated" // may stand only once
	BadBytes     = "bytes"    // characters other than printable ASCII
	Missing      = "missing"  // something required is not there
	BadBase64    = "base64"   // a key that is not base64, or no key
	BadURI       = "uri"
	BadCharacter = "character" // not allowed in this value
)

// SPF is a parsed SPF record, RFC 7208.
type SPF struct {
	Terms []Term // mechanisms and modifiers as they stand
}

// Term is one mechanism or modifier.
type Term struct {
	Text      string       // as written
	Qualifier byte         // '+', '-', '~', '?'; 0 for a modifier
	Name      string       // lower case: "include", "redirect"
	Domain    string       // target name without final dot; empty: the record's own domain
	Prefix    netip.Prefix // ip4, ip6
	Bits4     int          // a, mx: prefix lengths
	Bits6     int
	Macro     bool // the target depends on the mail: it cannot be looked up beforehand
}

// IsSPF tells an SPF record from other texts, RFC 7208 section 4.5.
func IsSPF(text string) bool {
	return len(text) >= 6 && strings.EqualFold(text[:6], "v=spf1") && (len(text) == 6 || text[6] == ' ')
}

// LooksLikeSPF tells that a text was meant as an SPF record, but is none.
func LooksLikeSPF(text string) bool {
	if IsSPF(text) {
		return false
	}
	t := strings.ToLower(strings.TrimLeft(text, " \t\"'“”"))
	t = strings.ReplaceAll(t, " ", "")
	if rest, ok := strings.CutPrefix(t, "v=spf1"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return false // another version, RFC 7208 section 4.5
	}
	return strings.HasPrefix(t, "v=spf1") || strings.HasPrefix(t, "v:spf1") || strings.HasPrefix(t, "spf1") || strings.HasPrefix(t, "v=spf,") || strings.HasPrefix(t, "v=spfmx") || strings.HasPrefix(t, "v=spfinclude") ||
		strings.HasPrefix(t, "v=spf2include") || strings.HasPrefix(t, "v=spf3") || strings.HasPrefix(t, "v=spf2mx")
}

// ParseSPF reads a record. The error is a *SyntaxError.
func ParseSPF(text string) (*SPF, error) {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return nil, &SyntaxError{text, BadBytes}
		}
	}
	if !IsSPF(text) {
		return nil, &SyntaxError{text, BadVersion}
	}
	s := &SPF{}
	once := map[string]bool{}
	for _, f := range strings.Fields(text[6:]) {
		t, err := parseTerm(f)
		if err != nil {
			return nil, err
		}
		if t.Name == "redirect" || t.Name == "exp" {
			if once[t.Name] {
				return nil, &SyntaxError{f, Repeated}
			}
			once[t.Name] = true
		}
		s.Terms = append(s.Terms, t)
	}
	return s, nil
}

// String writes the record.
func (s *SPF) String() string {
	parts := []string{"v=spf1"}
	for _, t := range s.Terms {
		parts = append(parts, t.Text)
	}
	return strings.Join(parts, " ")
}

var modifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*=`)

func parseTerm(text string) (Term, error) {
	t := Term{Text: text, Bits4: 32, Bits6: 128}
	if m := modifier.FindString(text); m != "" {
		t.Name = strings.ToLower(strings.TrimSuffix(m, "="))
		value := text[len(m):]
		if t.Name == "redirect" || t.Name == "exp" {
			return t, t.setDomain(value)
		}
		_, why := macros(value)
		return t, syntax(text, why)
	}
	rest := text
	t.Qualifier = '+'
	if strings.ContainsRune("+-~?", rune(rest[0])) {
		t.Qualifier, rest = rest[0], rest[1:]
	}
	end := strings.IndexAny(rest, ":/")
	if end < 0 {
		end = len(rest)
	}
	t.Name = strings.ToLower(rest[:end])
	rest = rest[end:]
	switch t.Name {
	case "all":
		if rest != "" {
			return t, &SyntaxError{text, BadValue}
		}
		return t, nil
	case "ip4", "ip6":
		return t, t.setPrefix(rest)
	case "a", "mx":
		rest, err := t.setBits(rest)
		if err != nil {
			return t, err
		}
		return t, t.setOptional(rest)
	case "ptr":
		return t, t.setOptional(rest)
	case "include", "exists":
		value, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return t, &SyntaxError{text, BadDomain}
		}
		return t, t.setDomain(value)
	}
	return t, &SyntaxError{text, BadMechanism}
}

func syntax(part, why string) error {
	if why == "" {
		return nil
	}
	return &SyntaxError{part, why}
}

func (t *Term) setOptional(rest string) error {
	if rest == "" {
		return nil
	}
	value, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return &SyntaxError{t.Text, BadValue}
	}
	return t.setDomain(value)
}

func (t *Term) setPrefix(rest string) error {
	value, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return &SyntaxError{t.Text, BadAddress}
	}
	addr, length, hasLength := strings.Cut(value, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != (t.Name == "ip4") {
		return &SyntaxError{t.Text, BadAddress}
	}
	bits := a.BitLen()
	if hasLength {
		if bits, ok = number(length, a.BitLen()); !ok {
			return &SyntaxError{t.Text, BadPrefix}
		}
	}
	t.Prefix = netip.PrefixFrom(a, bits).Masked()
	return nil
}

// setBits takes the dual prefix length "/24//64" off the end of an a or mx.
func (t *Term) setBits(rest string) (string, error) {
	var ok bool
	before, six, has6 := strings.Cut(rest, "//")
	if has6 {
		if t.Bits6, ok = number(six, 128); !ok {
			return "", &SyntaxError{t.Text, BadPrefix}
		}
	}
	// A slash inside a macro is no prefix length.
	if i := strings.LastIndexByte(before, '/'); i >= 0 && !strings.Contains(before[i:], "}") {
		if t.Bits4, ok = number(before[i+1:], 32); !ok {
			return "", &SyntaxError{t.Text, BadPrefix}
		}
		before = before[:i]
	}
	return before, nil
}

// number reads a prefix length: no sign, no leading zero.
func number(s string, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= most && strconv.Itoa(n) == s
}

func (t *Term) setDomain(value string) error {
	macro, why := macros(value)
	if why != "" {
		return &SyntaxError{t.Text, why}
	}
	t.Macro = macro
	t.Domain = strings.TrimSuffix(strings.ToLower(value), ".")
	if strings.HasSuffix(value, "}") {
		return nil // ends in a macro, RFC 7208 section 7.1: domain-end
	}
	i := strings.LastIndexByte(t.Domain, '.')
	if i < 0 || !topLabel(t.Domain[i+1:]) {
		return &SyntaxError{t.Text, BadDomain}
	}
	if !macro && !plausible(t.Domain) {
		return &SyntaxError{t.Text, BadDomain}
	}
	return nil
}

// plausible tells that a name could be looked up at all.
func plausible(name string) bool {
	if len(name) > 253 {
		return false
	}
	for l := range strings.SplitSeq(name, ".") {
		if l == "" || len(l) > 63 {
			return false
		}
	}
	return true
}

// topLabel is the grammar of a last label: letters, digits and inner hyphens,
// not all digits.
func topLabel(l string) bool {
	if l == "" || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	digits := true
	for i := range len(l) {
		c := l[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && c != '-' && (c < '0' || c > '9') {
			return false
		}
		digits = digits && c >= '0' && c <= '9'
	}
	return !digits
}

var macro = regexp.MustCompile(`^%\{[slodiphcrtvSLODIPHCRTV](?:[1-9][0-9]{0,2})?[rR]?[.\-+,/_=]*\}`)

// macros checks a macro-string, RFC 7208 section 7.1. has tells that it depends
// on the mail.
func macros(s string) (has bool, why string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "%%"), strings.HasPrefix(rest, "%_"), strings.HasPrefix(rest, "%-"):
			i++
			has = true
		default:
			m := macro.FindString(rest)
			if m == "" {
				return has, BadMacro
			}
			i += len(m) - 1
			has = true
		}
	}
	return has, ""
}

// All is the first "all" of the record, or nil.
func (s *SPF) All() *Term {
	for i := range s.Terms {
		if s.Terms[i].Name == "all" {
			return &s.Terms[i]
		}
	}
	return nil
}

// Redirect is the redirect of a record that has no "all", or nil.
func (s *SPF) Redirect() *Term {
	if s.All() != nil {
		return nil
	}
	for i := range s.Terms {
		if s.Terms[i].Name == "redirect" {
			return &s.Terms[i]
		}
	}
	return nil
}

// Ignored are the terms that have no effect because of an "all": mechanisms
// after it, and a redirect anywhere.
func (s *SPF) Ignored() []Term {
	var out []Term
	seen := false
	for _, t := range s.Terms {
		if t.Name == "redirect" && s.All() != nil || seen && t.Qualifier != 0 {
			out = append(out, t)
		}
		seen = seen || t.Name == "all"
	}
	return out
}
