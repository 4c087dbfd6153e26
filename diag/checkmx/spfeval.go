package checkmx

import (
	"net/netip"
	"slices"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// half is half of the IPv4 addresses: more than anybody's own.
const half = 1 << 31

// passesAll tells that the record lets nearly anybody send, and by which of its
// terms.
func (n *SPFNode) passesAll(depth int) (bool, string) {
	if depth > maxSPFDepth {
		return false, ""
	}
	var size uint64
	via := ""
	for _, t := range n.Terms {
		switch {
		case t.Name == "redirect" && t.Child != nil, t.Name == "include" && t.Child != nil && t.Qualifier == '+':
			if open, _ := t.Child.passesAll(depth + 1); open {
				return true, t.Text
			}
		case t.Qualifier != '+':
		case t.Name == "all":
			return true, t.Text
		default:
			for _, p := range t.Prefixes {
				if p.Addr().Is4() {
					size += 1 << (32 - p.Bits())
				}
				if p.Addr().Is6() && p.Bits() <= 3 || size >= half {
					via = t.Text
				}
			}
		}
	}
	return via != "", via
}

// huge tells that a term of the record names a range that no single owner has.
func (n *SPFNode) huge(text string) bool {
	return slices.ContainsFunc(n.Terms, func(t *SPFTerm) bool {
		return t.Text == text && slices.ContainsFunc(t.Prefixes, func(p netip.Prefix) bool { return p.Bits() < 8 })
	})
}

var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// spfPrivate looks for addresses that no receiver ever sees.
func (j *judge) spfPrivate(n *SPFNode) {
	private := func(p netip.Prefix) bool {
		return slices.ContainsFunc(privateRanges, func(r netip.Prefix) bool { return r.Overlaps(p) && r.Bits() <= p.Bits() }) && !j.mapped(p)
	}
	var terms []string
	for _, t := range n.Terms {
		if (t.Name == "ip4" || t.Name == "ip6") && private(t.Prefix) {
			terms = append(terms, t.Text)
		}
	}
	if len(terms) > 0 {
		f := j.add("spf.private_range", j.Domain, diag.Evidence{"terms": terms})
		j.spfFix(f, without(func(t record.Term) bool { return slices.Contains(terms, t.Text) }))
	}
}

// mapped tells that a range holds one of the mail hosts' addresses that count as
// public although they lie in a private range.
func (j *judge) mapped(p netip.Prefix) bool {
	return slices.ContainsFunc(j.Hosts, func(h *Host) bool {
		return slices.ContainsFunc(h.public(), func(a *Addr) bool { return p.Contains(a.IP) })
	})
}

// answerSize is how long the TXT answer is over UDP without EDNS, octets.
func answerSize(a *dns.Answer) int {
	size := 12 + len(a.Name) + 2 + 4
	for _, r := range a.Records {
		size += 2 + 10 + r.Len
	}
	return size
}

func shortText(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// spfCovers tells which mail hosts would not pass if they sent.
func (j *judge) spfCovers(n *SPFNode) {
	if len(n.Terms) == 1 && n.Terms[0].Text == "-all" {
		return // nobody sends, on purpose
	}
	var out []string
	j.addrsOnce(func(h *Host, a *Addr) {
		if r := n.check(a.IP, 0); r != "pass" && r != "unknown" {
			out = append(out, a.IP.String())
		}
	})
	if len(out) > 0 {
		j.add("spf.mx_not_covered", j.Domain, diag.Evidence{"addresses": out})
	}
}

// check evaluates the record for a client address as far as that needs no
// mail: pass, fail, softfail, neutral, or unknown.
func (n *SPFNode) check(ip netip.Addr, depth int) string {
	if n.Record == nil || depth > maxSPFDepth {
		return "unknown"
	}
	for _, t := range n.Terms {
		match := false
		switch t.Name {
		case "all":
			match = true
		case "ip4", "ip6", "a", "mx":
			match = slices.ContainsFunc(t.Prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
			if !match && (t.Failed != "" || t.Macro || t.Unasked) {
				return "unknown"
			}
		case "include":
			if t.Child == nil {
				return "unknown"
			}
			switch t.Child.check(ip, depth+1) {
			case "pass":
				match = true
			case "unknown":
				return "unknown"
			}
		case "ptr", "exists":
			return "unknown"
		case "redirect":
			if t.Child == nil {
				return "unknown"
			}
			return t.Child.check(ip, depth+1)
		}
		if match {
			return map[byte]string{'+': "pass", '-': "fail", '~': "softfail", '?': "neutral"}[t.Qualifier]
		}
	}
	return "neutral"
}
