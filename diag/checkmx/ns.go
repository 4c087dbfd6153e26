package checkmx

import (
	"fmt"
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

// serverFault is the one thing wrong with a server as a whole: the finding's
// id, or empty. "unknown" says that it could not be asked from here.
func (s *Server) fault() string {
	h := s.Host
	switch {
	case !h.resolved():
		return nsUnknown
	case len(h.Addrs) == 0:
		return "ns.nxdomain"
	case len(h.public()) == 0:
		return "ns.private_address"
	}
	worst := nsUnknown
	for _, e := range s.Ends {
		switch e.State {
		case nsGood:
			return ""
		case nsLame:
			worst = "ns.lame"
		case nsUnreachable:
			if worst == nsUnknown {
				worst = "ns.unreachable"
			}
		}
	}
	return worst
}

// answering are the addresses that answer with authority.
func (n *NS) answering() []*ServerEnd {
	var out []*ServerEnd
	for _, s := range n.Servers {
		for _, e := range s.Ends {
			if e.State == nsGood {
				out = append(out, e)
			}
		}
	}
	return out
}

// dead tells that every server is known not to serve the zone.
func (n *NS) dead() bool {
	return n != nil && !slices.ContainsFunc(n.Servers, func(s *Server) bool { return s.fault() == "" || s.fault() == nsUnknown })
}

// blocked tells that no name server can be reached although the resolver gets
// its answers from them: this machine's network lets no direct question out.
func (j *judge) blocked() bool {
	if j.opt.Map != nil || !j.MX.Outcome.Found() {
		return false
	}
	return !slices.ContainsFunc(j.NS.Servers, func(s *Server) bool { return s.fault() != "ns.unreachable" && s.fault() != nsUnknown })
}

func judgeNS(j *judge) {
	n := j.NS
	if n == nil {
		return
	}
	j.ran = true
	if j.blocked() {
		j.add("ns.unknown", n.Zone, diag.Evidence{"servers": n.names()})
		return
	}
	addrs := map[string]bool{}
	for _, s := range n.Servers {
		for _, a := range s.Host.Addrs {
			addrs[a.IP.String()] = true
		}
	}
	complete := !slices.ContainsFunc(n.Servers, func(s *Server) bool { return len(s.Host.Addrs) == 0 })
	if len(n.Servers) == 1 || complete && len(addrs) == 1 {
		j.add("ns.single", n.Zone, diag.Evidence{"servers": n.names()})
	}
	outdated := j.judgeDelegation()
	for _, s := range n.Servers {
		j.judgeServer(s, outdated)
	}
	j.judgeAgreement()
}

func (n *NS) names() []string {
	var out []string
	for _, s := range n.Servers {
		out = append(out, s.Name)
	}
	return out
}

// judgeDelegation compares the parent's delegation with what the zone says of
// itself.
func (j *judge) judgeDelegation() (outdated bool) {
	n := j.NS
	own := n.own()
	if n.Parent == nil || own == nil {
		return false
	}
	parent := slices.Sorted(slices.Values(n.Parent))
	if slices.Equal(slices.Compact(parent), own) {
		return false
	}
	minus := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	}
	j.add("ns.parent_mismatch", n.Zone, diag.Evidence{"parent": parent, "zone": own, "only_parent": minus(parent, own), "only_zone": minus(own, parent)})
	return true
}

// own is the zone's own NS set, sorted; nil when nobody could be asked.
func (n *NS) own() []string {
	if n.Answer == nil {
		return nil
	}
	var out []string
	for _, r := range n.Answer.Records {
		out = append(out, r.Host)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (j *judge) judgeServer(s *Server, outdated bool) {
	ev := diag.Evidence{"zone": j.NS.Zone, "addresses": strs(s.Host.Addrs)}
	if chain := slices.Concat(s.Host.A.Chain, s.Host.AAAA.Chain); len(chain) > 0 && len(s.Host.Addrs) > 0 {
		f := j.add("ns.cname", s.Name, diag.Evidence{"zone": j.NS.Zone, "target": chain[len(chain)-1]})
		*f = f.With("fix", line(j.NS.Zone, "NS", dot(chain[len(chain)-1])))
	}
	fault := s.fault()
	if outdated && !(s.InParent && s.InZone) && fault != "" {
		return // the outdated delegation is the cause
	}
	spare := slices.ContainsFunc(j.NS.Servers, func(o *Server) bool { return o != s && (o.fault() == "" || o.fault() == nsUnknown) })
	for _, e := range s.Ends {
		if e.State == nsLame || e.State == nsUnreachable {
			ev["address"], ev["outcome"] = e.Addr.IP.String(), string(e.SOA.Outcome)
			if e.State == nsLame && e.SOA.Outcome.Found() {
				ev["outcome"] = "no-authority"
			}
			id := "ns.unreachable"
			if e.State == nsLame {
				id = "ns.lame"
			}
			f := j.add(id, s.Name, ev)
			if spare || fault == "" {
				*f = f.As(diag.Warn)
			}
		}
	}
	if fault == "ns.nxdomain" {
		f := j.add(fault, s.Name, diag.Evidence{"zone": j.NS.Zone, "exists": s.Host.exists()})
		*f = f.With("delete", line(j.NS.Zone, "NS", dot(s.Name)))
	}
	for _, a := range s.Host.Addrs {
		if a.Kind != "" {
			j.add("ns.private_address", s.Name, diag.Evidence{"zone": j.NS.Zone, "address": a.IP.String(), "kind": a.Kind})
		}
	}
}

// judgeAgreement compares what the servers answer among each other, and with
// the resolver.
func (j *judge) judgeAgreement() {
	ends := j.NS.answering()
	if len(ends) == 0 {
		return
	}
	var serials []string
	differ := false
	for _, e := range ends {
		serials = append(serials, fmt.Sprintf("%s %d", e.Addr.IP, e.SOA.Records[0].Serial))
		differ = differ || e.SOA.Records[0].Serial != ends[0].SOA.Records[0].Serial
	}
	if differ {
		j.add("ns.serial_mismatch", j.NS.Zone, diag.Evidence{"serials": serials})
		return // different answers follow from it
	}
	for i, first := range ends[0].Mail {
		sets := map[string][]string{}
		known := true
		for _, e := range ends {
			known = known && e.Mail[i].Outcome.Found() && e.Mail[i].AA
			k := answerSet(e.Mail[i])
			sets[k] = append(sets[k], e.Addr.IP.String())
		}
		if known && len(sets) > 1 {
			var answers []string
			for k, who := range sets {
				answers = append(answers, strings.Join(who, ", ")+": "+k)
			}
			slices.Sort(answers)
			j.add("ns.answer_mismatch", first.Name, diag.Evidence{"type": string(first.Type), "answers": answers})
		}
	}
}

// answerSet is an answer without order and TTL; an answer that leads elsewhere
// by a CNAME is that CNAME.
func answerSet(a *dns.Answer) string {
	if len(a.Chain) > 0 {
		return "CNAME " + a.Chain[0]
	}
	var out []string
	for _, r := range a.Records {
		out = append(out, strings.ToLower(r.Value))
	}
	slices.Sort(out)
	if len(out) == 0 {
		return string(a.Outcome)
	}
	return strings.Join(slices.Compact(out), " | ")
}
