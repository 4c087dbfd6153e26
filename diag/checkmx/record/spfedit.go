package record

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// SPFMail is the record that lets the mail hosts of the domain send.
func SPFMail() *SPF {
	mx, _ := parseTerm("mx")
	return &SPF{Terms: []Term{mx}}
}

// SPFFor is the record for a domain whose mail hosts also send its mail, or
// that sends none at all.
func SPFFor(sends bool) string {
	if sends {
		return "v=spf1 mx -all"
	}
	return "v=spf1 -all"
}

// SPFHost is the record of a mail host's own name, which stands in for the
// sender where there is none, RFC 7208 section 2.4.
func SPFHost() string { return "v=spf1 a -all" }

// Without is the record without the terms that drop picks.
func (s *SPF) Without(drop func(Term) bool) *SPF {
	return &SPF{Terms: slices.DeleteFunc(slices.Clone(s.Terms), drop)}
}

// Ending is the record with the given last word, such as "~all", in place of
// any "all" and redirect.
func (s *SPF) Ending(all string) *SPF {
	out := s.Without(func(t Term) bool { return t.Name == "all" || t.Name == "redirect" })
	end, _ := parseTerm(all)
	out.Terms = append(out.Terms, end)
	return out
}

// Merge makes one record of several: every mechanism once, and the mildest
// ending, so that no sender of either is lost.
func Merge(records []*SPF) *SPF {
	out := &SPF{}
	seen := map[string]bool{}
	ending := ""
	for _, r := range records {
		for _, t := range r.Terms {
			switch {
			case t.Name == "all":
				all := string(t.Qualifier) + "all"
				if mildness(all) > mildness(ending) {
					ending = all
				}
				continue
			case t.Name == "redirect":
				t, _ = parseTerm("include:" + t.Text[strings.IndexByte(t.Text, '=')+1:])
			}
			if k := strings.ToLower(t.Text); !seen[k] {
				seen[k] = true
				out.Terms = append(out.Terms, t)
			}
		}
	}
	if ending != "-all" { // nothing milder: "?all" and "+all" are faults of their own
		ending = "~all"
	}
	return out.Ending(ending)
}

func mildness(all string) int { return slices.Index([]string{"", "-all", "~all", "?all", "+all"}, all) }

// IPTerm is the mechanism for one address or range.
func IPTerm(p netip.Prefix) Term {
	name, text := "ip4:", p.String()
	if p.Addr().Is6() {
		name = "ip6:"
	}
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	t, _ := parseTerm(name + text)
	return t
}

var spfSlips = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`(?i)^["'“” ]*v ?[=:] ?spf1?2?[ ;,]*`), "v=spf1 "},
	{regexp.MustCompile(`["'“”]`), ""},
	{regexp.MustCompile(`[‐‑‒–—−]`), "-"},
	{regexp.MustCompile(`[\x{00a0}\x{3000}]`), " "},
	{regexp.MustCompile(`[,;]+`), " "},
	{regexp.MustCompile(`(?i)(^|[ +~?-])(?:ipv4|ip)[:=](\d)`), "${1}ip4:$2"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])ipv6[:=]`), "${1}ip6:"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])(ip4|ip6|include|a|mx|exists)[=] ?`), "${1}${2}:"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])(ip4|ip6|include|a|mx|exists): +`), "${1}${2}:"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])(?:a|mx|ip6|include):(\d+\.\d+\.\d+\.\d+(?:/\d+)?)( |$)`), "${1}ip4:$2$3"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])ip4:([0-9a-f]*:[0-9a-f:]+(?:/\d+)?)( |$)`), "${1}ip6:$2$3"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])ip[46]:([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,})( |$)`), "${1}a:$2$3"},
	{regexp.MustCompile(`(?i)(^|[ +~?-])(?:includes|inc):`), "${1}include:"},
	{regexp.MustCompile(`(?i) redirect:`), " redirect="},
	{regexp.MustCompile(`([+~?-]) +all`), "${1}all"},
	{regexp.MustCompile(`(?i)(^| )([+~?-])?al+( |$)`), "$1${2}all$3"},
}

// RepairSPF guesses what someone with a slip in the record meant: a wrong name
// of a mechanism, commas, quotes, an address where a name must stand. Empty
// when the guess would not parse either.
func RepairSPF(text string) string {
	for _, slip := range spfSlips {
		text = slip.re.ReplaceAllString(text, slip.to)
	}
	text = strings.Join(strings.Fields(text), " ")
	if s, err := ParseSPF(text); err == nil && len(s.Terms) > 0 {
		return text
	}
	return ""
}
