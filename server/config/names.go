package config

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// ParseDomain reads a mail domain: a DNS name, which comes back in lower case
// and with international labels in their ASCII form, or an address literal,
// "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3).
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	name := strings.TrimSuffix(s, ".")
	for _, r := range name {
		if r >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil {
				return "", fmt.Errorf("%q is no domain name", s)
			}
			name = ascii
			break
		}
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return strings.ToLower(name), nil
}

func parseLiteral(s string) (string, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	tag, six := "", false
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner, tag, six = inner[5:], "ipv6:", true
	}
	a, err := netip.ParseAddr(inner)
	if !ok || err != nil || a.Is6() != six || a.Zone() != "" {
		return "", fmt.Errorf(`%q is no address literal: these look like "[192.0.2.1]" or "[IPv6:2001:db8::1]"`, s)
	}
	return "[" + tag + a.String() + "]", nil
}

// CheckHostname says what is wrong with a name for greetings and HELO (RFC
// 5321 2.3.5: a fully qualified name). "localhost" is accepted.
func CheckHostname(s string) error {
	for i, r := range []rune(s) {
		if r > 0x7e || r < 0x21 {
			return fmt.Errorf("character %d (%q) is not allowed: only the ASCII letters, digits, hyphens and points of a DNS name are, no full-width ones", i+1, r)
		}
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return fmt.Errorf(`an address is no host name: give a name such as "mail.example.com"`)
	}
	if err := checkName(s); err != nil {
		return err
	}
	if !strings.Contains(s, ".") && !strings.EqualFold(s, "localhost") {
		return fmt.Errorf(`must be a full name with its domain, such as "mail.example.com"`)
	}
	return nil
}

// checkName holds s against the host name rules of RFC 1123 2.1.
func checkName(s string) error {
	if s == "" || len(s) > 253 {
		return fmt.Errorf("a domain name has 1 to 253 characters")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fmt.Errorf("an address stands in brackets here: [%s]", s)
	}
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return fmt.Errorf("%q has an empty part between points", s)
		case len(label) > 63:
			return fmt.Errorf("%q is longer than 63 characters", label)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Errorf("%q begins or ends with a hyphen", label)
		}
		for _, r := range label {
			if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				return fmt.Errorf("%q is not allowed in a domain name", r)
			}
		}
	}
	return nil
}
