package checkmx

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

// addrsOnce calls see for each public address once, with the first host that
// has it.
func (f *Facts) addrsOnce(see func(h *Host, a *Addr)) {
	seen := map[*Addr]bool{}
	for _, h := range f.Hosts {
		if h.Form != "" {
			continue
		}
		for _, a := range h.public() {
			if !seen[a] {
				seen[a] = true
				see(h, a)
			}
		}
	}
}

// ownName is the name that an address has and that leads back to it; empty when
// it has none, or only a pool's.
func (j *judge) ownName(a *Addr) string {
	for i, fwd := range a.Forward {
		if name := a.PTR.Records[i].Host; leadsTo(fwd, a.IP) && nameFault(name) == "" && !j.generic(name, a.IP) {
			return name
		}
	}
	return ""
}

func judgePTR(j *judge) {
	j.addrsOnce(func(h *Host, a *Addr) {
		if a.PTR == nil {
			return
		}
		j.ran = true
		ev := diag.Evidence{"host": h.Name}
		fix := line(dns.ReverseName(a.IP), "PTR", dot(h.Name))
		warn := func(id string) *diag.Finding {
			f := j.add(id, a.IP.String(), ev)
			*f = f.With("fix", fix)
			j.publish(id, dns.ReverseName(a.IP), "PTR", dot(h.Name))
			return f
		}
		var names []string
		confirmed, asked := false, false
		for i, r := range a.PTR.Records {
			names = append(names, r.Host)
			if i < len(a.Forward) {
				asked = asked || a.Forward[i].Outcome.Found()
				confirmed = confirmed || leadsTo(a.Forward[i], a.IP)
			}
		}
		ev["names"] = names
		switch {
		case !a.PTR.Outcome.Found():
			ev["outcome"] = string(a.PTR.Outcome)
			delete(ev, "names")
			j.add("ptr.unknown", a.IP.String(), ev)
		case len(names) == 0:
			delete(ev, "names")
			warn("ptr.missing")
		case slices.ContainsFunc(names, func(n string) bool { return j.generic(n, a.IP) }):
			ev["confirmed"] = confirmed
			warn("ptr.generic")
		case !confirmed && !asked:
			ev["outcome"] = string(a.Forward[0].Outcome)
			j.add("ptr.unknown", a.IP.String(), ev)
		case !confirmed:
			var leads []string
			for _, fwd := range a.Forward {
				for _, r := range fwd.Records {
					leads = append(leads, r.Addr.String())
				}
			}
			ev["leads_to"] = leads
			f := warn("ptr.mismatch")
			*f = f.With("forward", addressLine(names[0], a.IP))
		default:
			if len(names) > 1 {
				j.add("ptr.multiple", a.IP.String(), ev)
			}
			if !slices.ContainsFunc(names, j.isMX) {
				j.add("ptr.not_mx_name", a.IP.String(), ev)
			}
		}
	})
}

// leadsTo tells whether an address look-up gave ip.
func leadsTo(a *dns.Answer, ip netip.Addr) bool {
	return slices.ContainsFunc(a.Records, func(r dns.Record) bool { return r.Addr == ip })
}

func (f *Facts) isMX(name string) bool {
	return slices.ContainsFunc(f.Hosts, func(h *Host) bool { return h.Name == name || h.A != nil && h.A.Canonical() == name })
}

// poolWords are parts of names that providers give to lines, not to servers.
var poolWords = []string{
	"adsl", "broadband", "cable", "client", "clients", "cpe", "cust", "customer", "customers", "dhcp", "dial", "dialin", "dialup", "dip",
	"dsl", "dyn", "dynamic", "dynamicip", "dynip", "fios", "ftth", "fttp", "gpon", "hsd", "pool", "pools", "ppp", "pppoe", "residential",
	"unassigned", "unknown", "user", "users", "vdsl", "wireless", "xdsl",
}

var (
	letters = regexp.MustCompile(`[a-z]+`)
	numbers = regexp.MustCompile(`[0-9]+`)
)

// generic tells that a reverse name looks like one that the provider gave to
// the line. Names of the domain itself and of its mail hosts are never that.
func (f *Facts) generic(name string, ip netip.Addr) bool {
	if below(name, f.Domain) || f.isMX(name) {
		return false
	}
	own := name // what stands left of the provider's domain
	if d, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		own = strings.TrimSuffix(name, d)
	}
	for _, w := range letters.FindAllString(own, -1) {
		if slices.Contains(poolWords, w) {
			return true
		}
	}
	return holdsAddress(own, ip)
}

// holdsAddress tells whether the digits of an address stand in a name: in
// order, reversed, as one number with zeros, or in hexadecimal.
func holdsAddress(name string, ip netip.Addr) bool {
	flat := strings.NewReplacer("-", "", ".", "", "_", "").Replace(name)
	if ip.Is6() {
		b := ip.As16()
		return strings.Contains(flat, hex.EncodeToString(b[8:]))
	}
	b := ip.As4()
	if strings.Contains(flat, hex.EncodeToString(b[:])) {
		return true
	}
	var padded strings.Builder
	want := make([]int, 4)
	for i, o := range b {
		want[i] = int(o)
		padded.WriteString(strconv.Itoa(1000 + int(o))[1:])
	}
	if strings.Contains(flat, padded.String()) {
		return true
	}
	var have []int
	for _, n := range numbers.FindAllString(name, -1) {
		if v, err := strconv.Atoi(n); err == nil {
			have = append(have, v)
		}
	}
	back := slices.Clone(want)
	slices.Reverse(back)
	return contains(have, want) || contains(have, back)
}

func contains(have, want []int) bool {
	for i := 0; i+len(want) <= len(have); i++ {
		if slices.Equal(have[i:i+len(want)], want) {
			return true
		}
	}
	return false
}
