package doctor

import (
	"slices"
	"strings"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/checkmx"
)

// dynamic are the findings of a domain. One whose MX leads elsewhere, by a name
// of a dynamic DNS service, has not moved: the name kept an older address. What
// was found at that address is about whoever has it now, and left out.
func dynamic(r *checkmx.Report) []diag.Finding {
	i := slices.IndexFunc(r.Findings, func(f diag.Finding) bool { return f.ID == "mx.address_mismatch" })
	if i < 0 {
		return r.Findings
	}
	for _, h := range r.Facts.Hosts {
		name, zone := dynamicName(h)
		if name == "" {
			continue
		}
		var stale []string
		for _, a := range h.Addrs {
			stale = append(stale, a.IP.String())
		}
		out := slices.DeleteFunc(slices.Clone(r.Findings), func(f diag.Finding) bool {
			return f.ID == "mx.address_mismatch" || (f.Status == diag.Fail || f.Status == diag.Warn) && ofHost(f.ID)
		})
		return append(out, diag.New("domain.dynamic_stale", r.Domain, diag.Evidence{
			"host": h.Name, "name": name, "zone": zone, "addresses": stale, "expected": r.Findings[i].Evidence["expected"],
		}))
	}
	return r.Findings
}

// dynamicName is the name of a dynamic DNS service that leads to a host, which
// may stand behind aliases of one's own.
func dynamicName(h *checkmx.Host) (name, zone string) {
	if len(h.Addrs) == 0 {
		return "", ""
	}
	names := []string{h.Name}
	if h.A != nil {
		names = append(names, h.A.Chain...)
	}
	if h.AAAA != nil {
		names = append(names, h.AAAA.Chain...)
	}
	for _, name := range names {
		if zone, ok := codes.DynamicDNS(name); ok {
			return name, zone
		}
	}
	return "", ""
}

// ofHost tells that a finding of check-mx is about the machine at an address.
func ofHost(id string) bool {
	return slices.ContainsFunc([]string{"ptr.", "smtp.", "helo.", "dnsbl."}, func(p string) bool { return strings.HasPrefix(id, p) })
}
