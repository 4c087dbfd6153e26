package checkmx

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Words for why a name is no usable domain name.
const (
	invalidEmpty   = "empty"
	invalidLabel   = "empty-label"
	invalidLong    = "label-too-long" // over 63 octets
	invalidTooLong = "name-too-long"  // over 253 octets
	invalidChars   = "characters"
	invalidAddress = "address"      // an IP address
	invalidMailbox = "mail-address" // user@domain
)

// DomainName puts a domain as people type it into the form of DNS.
func DomainName(s string) (string, error) {
	d, why := normalize(s)
	if why != "" {
		return "", fmt.Errorf("%q is not a usable domain name (%s)", s, why)
	}
	return d, nil
}

// normalize puts a domain as people type it into the form of DNS; why says what
// is wrong with it.
func normalize(s string) (domain, why string) {
	s = strings.TrimSpace(s)
	s = strings.TrimSuffix(s, ".")
	switch {
	case s == "":
		return s, invalidEmpty
	case strings.Contains(s, "@"):
		return s, invalidMailbox
	}
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return s, invalidAddress
	}
	if strings.IndexFunc(s, func(r rune) bool { return r > '~' }) >= 0 {
		ascii, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return s, invalidChars
		}
		s = ascii
	}
	s = strings.ToLower(s)
	return s, nameFault(s)
}

// nameFault says what keeps a name from being a host or domain name, RFC 1123
// section 2.1; empty when nothing does.
func nameFault(s string) string {
	for label := range strings.SplitSeq(s, ".") {
		switch {
		case label == "":
			return invalidLabel
		case len(label) > 63:
			return invalidLong
		case label[0] == '-' || label[len(label)-1] == '-':
			return invalidChars
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return invalidChars
			}
		}
	}
	if len(s) > 253 {
		return invalidTooLong
	}
	return ""
}

// Forms of an MX host that cannot be one.
const (
	formAddress = "address"
	formLocal   = "local"
	formName    = "name"
	formDoubled = "doubled" // ends with the domain twice, and only a wildcard gives it an address
)

// hostForm says what keeps a name from being the mail host of domain.
func hostForm(host, domain string) string {
	if _, ok := literal(host, domain); ok {
		return formAddress
	}
	switch {
	case host == "localhost", host == "localhost.localdomain", !strings.Contains(host, "."):
		return formLocal
	case nameFault(host) != "":
		return formName
	}
	return ""
}

// literal reads an address that stands where a host name should, also when a
// zone file appended its origin to it.
func literal(host, domain string) (netip.Addr, bool) {
	host = strings.Trim(strings.TrimSuffix(host, "."+domain), "[]")
	host = strings.TrimPrefix(host, "ipv6:")
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// below tells whether name lies below, or is, domain.
func below(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// registered is the part of a name that its owner registered; the name itself
// where that is not known.
func registered(name string) string {
	if top, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return top
	}
	return name
}

// randomLabel is a label that nobody has.
func randomLabel() string { return "mailsrv-check-" + strings.ToLower(rand.Text()[:10]) }
