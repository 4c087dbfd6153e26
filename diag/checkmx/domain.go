package checkmx

import (
	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func judgeDomain(j *judge) {
	j.ran = j.Invalid != "" || j.MX.Outcome.Found()
	if j.Invalid != "" {
		j.add("domain.invalid", j.Domain, diag.Evidence{"reason": j.Invalid})
		return
	}
	if j.MX.Outcome == dns.NXDomain {
		ev := diag.Evidence{"resolver": j.Resolver}
		if j.MX.Canonical() != j.Domain {
			ev["cname"] = j.MX.Canonical()
		}
		j.add("domain.nxdomain", j.Domain, ev)
	}
}

func judgeDNS(j *judge) {
	if j.Invalid != "" || j.MX.Outcome == dns.NXDomain {
		return
	}
	j.ran = true
	ev := diag.Evidence{"resolver": j.Resolver, "type": "MX", "outcome": string(j.MX.Outcome)}
	switch j.MX.Outcome {
	case dns.Answered, dns.NoData:
		j.judgeWildcard()
		j.judgeStale()
		j.judgeTTL()
	case dns.ServFail, dns.Malformed:
		if j.bogus() || j.NS.dead() {
			j.ran = false // dnssec or ns says it
			return
		}
		ev["rcode"] = j.MX.Rcode
		j.add("dns.servfail", j.Domain, ev)
	case dns.Refused:
		j.add("dns.refused", j.Domain, ev)
	case dns.TruncatedNoTCP:
		j.add("dns.truncated_no_tcp", j.Domain, ev)
	case dns.Timeout, dns.Unreachable:
		if j.NS.dead() {
			j.ran = false
			return
		}
		ev["resolver_dead"] = j.ResolverDead
		f := j.add("dns.timeout", j.Domain, ev)
		if j.ResolverDead {
			*f = f.As(diag.Skip) // says nothing about the domain
		}
	}
}
