package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/checkmx"
)

func init() {
	register(Check{Name: "domains", Stage: Local, Limit: 90 * time.Second, After: []string{"resolver"}, Run: needsConfig("domains", domains)})
}

// domains looks at the form of each local domain, and at stage internet at the
// domain as other servers see it.
func domains(ctx context.Context, c *Case) []diag.Finding {
	var out []diag.Finding
	var names []string
	for _, d := range c.domains() {
		switch {
		case bareAddress(d):
			out = append(out, diag.New("domain.bare_address", d, diag.Evidence{"literal": literal(d)}))
		case strings.HasPrefix(d, "["):
			if a := literalAddr(d); a.IsValid() && !c.Own(a) && !slices.Contains(c.Expect, a) {
				out = append(out, diag.New("domain.literal_foreign", d, diag.Evidence{"own": texts(c.Addresses)}))
			}
		case needsDNS(d):
			names = append(names, d)
		}
	}
	if len(names) == 0 {
		if len(c.domains()) > 0 && len(out) == 0 {
			return []diag.Finding{diag.New("domain.local_only", strings.Join(c.domains(), ", "), nil), nothing}
		}
		return append(out, nothing)
	}
	if c.Stage < Internet && !slices.Contains(c.Only, "domains") {
		return append(out, nothing) // the DNS is for stage internet
	}
	if id := c.Has(deadResolver...); id != "" {
		return append(out, skipped("domains", id)...)
	}
	return append(out, c.checkMX(ctx, names)...)
}

// checkMX runs check-mx; its ids come through as they are.
func (c *Case) checkMX(ctx context.Context, names []string) []diag.Finding {
	checker := checkmx.New(checkmx.Options{
		Resolvers: c.resolvers(), Map: c.DialMap, Timeout: c.Timeout, RootCAs: c.RootCAs, Helo: c.hostname(), Expect: c.expected(), Now: c.Now,
	})
	defer checker.Close()
	each := make([][]diag.Finding, len(names))
	parallel(len(names), func(i int) { each[i] = dynamic(checker.Check(ctx, names[i])) })
	out := slices.Concat(each...)
	if c.runs("resolver") { // resolver.dnsbl_refused
		out = slices.DeleteFunc(out, func(f diag.Finding) bool { return f.ID == "dnsbl.query_blocked" })
	}
	if c.sends() {
		return out
	}
	for i, f := range out {
		// What only matters to senders is a note on a server that sends nothing.
		sends := strings.HasPrefix(f.ID, "ptr.") || strings.HasPrefix(f.ID, "spf.")
		if sends && (f.Status == diag.Fail || f.Status == diag.Warn) {
			out[i].Status = diag.Info
		}
	}
	return out
}

// literal is an address as it must stand among the domains, RFC 5321 4.1.3.
func literal(s string) string {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Is6() {
		return "[IPv6:" + s + "]"
	}
	return "[" + s + "]"
}

func literalAddr(s string) netip.Addr {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}
