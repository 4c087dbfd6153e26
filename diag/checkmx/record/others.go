package record

import (
	"net/url"
	"slices"
	"strings"
)

// IsTLSRPT tells a TLS reporting record from other texts, RFC 8460 section 3.
func IsTLSRPT(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	return strings.TrimRight(first, " \t") == "v=TLSRPTv1"
}

// LooksLikeTLSRPT tells that a text was meant as one, but is none.
func LooksLikeTLSRPT(text string) bool {
	t := strings.ToLower(strings.NewReplacer(" ", "", "\"", "").Replace(text))
	return !IsTLSRPT(text) && (strings.Contains(t, "tlsrptv1") || strings.HasPrefix(t, "v=tlsrpt"))
}

// ParseTLSRPT reads a record and returns where reports go.
func ParseTLSRPT(text string) ([]string, error) {
	if !IsTLSRPT(text) {
		return nil, &SyntaxError{text, BadVersion}
	}
	tags, err := parseTags(text)
	if err != nil {
		return nil, err
	}
	rua, ok := tag(tags, "rua")
	if !ok || rua == "" {
		return nil, &SyntaxError{"rua", Missing}
	}
	out := uris(rua)
	for _, u := range out {
		if _, mail := MailtoDomain(u); !mail && !isHTTPS(u) {
			return nil, &SyntaxError{u, BadURI}
		}
	}
	return out, nil
}

// TLSRPTFor is the record that sends reports to a mail address.
func TLSRPTFor(address string) string { return "v=TLSRPTv1; rua=mailto:" + address }

// MergeTLSRPT makes one record of several: reports go wherever one of them sent
// them. The first is as good as any when none parses.
func MergeTLSRPT(texts []string) string {
	var all []string
	for _, t := range texts {
		to, _ := ParseTLSRPT(t)
		for _, u := range to {
			if !slices.Contains(all, u) {
				all = append(all, u)
			}
		}
	}
	if len(all) == 0 {
		return texts[0]
	}
	return "v=TLSRPTv1; rua=" + strings.Join(all, ",")
}

// RepairTLSRPT guesses what was meant; empty when the guess would not parse.
func RepairTLSRPT(text string) string {
	_, rua, _ := strings.Cut(text, "rua")
	rua = strings.Trim(strings.TrimLeft(rua, " =:"), " ;\"")
	var good []string
	for _, u := range uris(rua) {
		if _, ok := MailtoDomain(u); !ok && !isHTTPS(u) {
			u = "mailto:" + strings.TrimPrefix(u[strings.LastIndexAny(u, ":/")+1:], ":")
		}
		good = append(good, u)
	}
	fixed := "v=TLSRPTv1; rua=" + strings.Join(good, ",")
	if _, err := ParseTLSRPT(fixed); err != nil {
		return ""
	}
	return fixed
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && strings.EqualFold(u.Scheme, "https") && u.Host != "" && !strings.ContainsAny(s, " \t<>")
}

// IsBIMI tells a BIMI record from other texts.
func IsBIMI(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "BIMI1"
}

// LooksLikeBIMI tells that a text was meant as one, but is none.
func LooksLikeBIMI(text string) bool {
	t := strings.ToLower(strings.NewReplacer(" ", "", "\"", "").Replace(text))
	return !IsBIMI(text) && (strings.Contains(t, "bimi1") || strings.HasPrefix(t, "v=bimi"))
}

// ParseBIMI checks a record; declined tells that the domain says it has no
// logo.
func ParseBIMI(text string) (declined bool, err error) {
	if !IsBIMI(text) {
		return false, &SyntaxError{text, BadVersion}
	}
	tags, err := parseTags(text)
	if err != nil {
		return false, err
	}
	l, ok := tag(tags, "l")
	if !ok {
		return false, &SyntaxError{"l", Missing}
	}
	a, _ := tag(tags, "a")
	if l == "" && a == "" {
		return true, nil
	}
	for _, u := range strings.Split(l, ",") {
		if u = strings.TrimSpace(u); !isHTTPS(u) {
			return false, &SyntaxError{"l=" + u, BadURI}
		}
	}
	if a != "" && a != "self" && !isHTTPS(a) {
		return false, &SyntaxError{"a=" + a, BadURI}
	}
	return false, nil
}
