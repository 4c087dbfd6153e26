package checkmx

import (
	"fmt"
	"slices"
	"sort"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func judgeClient(j *judge) {
	k := j.Client
	if k == nil || j.null() {
		return
	}
	j.ran = true
	services, unknown := false, false
	for _, s := range k.SRV {
		unknown = unknown || !s.Answer.Outcome.Found()
		services = services || len(s.Answer.Records) > 0 && s.Name != "_autodiscover._tcp."+j.Domain
		j.srv(s)
	}
	if !services && !unknown {
		j.add("client.srv_missing", j.Domain, nil)
	}
	auto := slices.ContainsFunc(k.Auto, func(h *Host) bool { return len(h.Addrs) > 0 || !h.resolved() }) ||
		slices.ContainsFunc(k.SRV, func(s *Service) bool {
			return s.Name == "_autodiscover._tcp."+j.Domain && (len(s.Answer.Records) > 0 || !s.Answer.Outcome.Found())
		})
	if !auto {
		j.add("client.autoconfig_missing", j.Domain, nil)
	}
}

func (j *judge) srv(s *Service) {
	var names []string
	for name := range s.Targets {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		h := s.Targets[name]
		ev := diag.Evidence{"target": name}
		fix := ""
		switch chain := slices.Concat(h.A.Chain, h.AAAA.Chain); {
		case !h.resolved():
			continue
		case len(h.Addrs) == 0 && slices.ContainsFunc(j.Hosts, func(m *Host) bool { return m.Name == name }):
			continue // the mail host that has lost its address: mx.*
		case len(h.Addrs) == 0:
			ev["reason"] = "no-address"
			if !h.exists() {
				ev["reason"] = "nxdomain"
			}
		case len(chain) > 0:
			ev["reason"], ev["real"] = "cname", chain[len(chain)-1]
			for _, r := range s.Answer.Records {
				if r.Host == name {
					fix = line(s.Name, "SRV", srvData(r, chain[len(chain)-1]))
				}
			}
		default:
			continue
		}
		f := j.add("client.srv_bad", s.Name, ev)
		*f = f.With("fix", fix)
	}
}

func srvData(r dns.Record, target string) string {
	return fmt.Sprintf("%d %d %d %s", r.Preference, r.Weight, r.Port, dot(target))
}
