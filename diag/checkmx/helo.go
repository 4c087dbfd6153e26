package checkmx

import (
	"net/netip"
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func judgeHELO(j *judge) {
	j.addrsOnce(func(h *Host, a *Addr) {
		name := ""
		if a.SMTP != nil {
			name = greetingName(a.SMTP)
		}
		if name == "" {
			return
		}
		j.ran = true
		ev := diag.Evidence{"host": h.Name, "name": name, "banner": a.SMTP.Greeting.Reply.String()}
		if why := privateName(name); why != "" {
			ev["reason"] = why
			j.add("helo.invalid", a.IP.String(), ev)
			return
		}
		n := a.SMTP.HelloName
		if n == nil || len(n.Addrs) == 0 && !n.resolved() {
			return // an address in brackets, or it could not be asked
		}
		if slices.ContainsFunc(n.Addrs, func(o *Addr) bool { return o.IP == a.IP }) {
			return
		}
		if asked := n.A; a.IP.Is6() && !n.AAAA.Outcome.Found() || a.IP.Is4() && !asked.Outcome.Found() {
			return
		}
		ev["addresses"] = strs(n.Addrs)
		ev["exists"] = n.A.Outcome != dns.NXDomain
		ev["fix"] = ""
		if len(n.Addrs) == 0 && (below(name, j.Domain) || below(name, registered(h.Name))) {
			ev["fix"] = addressLine(name, a.IP) // a name of theirs that leads nowhere yet
		}
		ev["better"] = h.Name
		if own := j.ownName(a); own != "" {
			ev["better"] = own
		}
		j.add("helo.mismatch", a.IP.String(), ev)
	})
}

// privateName says why a greeting's name means nothing outside; empty when it
// does.
func privateName(name string) string {
	if strings.HasPrefix(name, "[") {
		return "" // an address literal, RFC 5321 section 4.1.3
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "address"
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "localhost" || strings.HasPrefix(name, "localhost."):
		return "localhost"
	case name == nameless, !strings.Contains(name, "."):
		return "single-label"
	case slices.Contains([]string{"local", "localdomain", "lan", "home", "internal", "intranet", "corp", "private", "localhost", "invalid"}, last), below(name, "home.arpa"):
		return "private-suffix"
	case nameFault(name) != "":
		return "characters"
	}
	return ""
}
