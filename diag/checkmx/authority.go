package checkmx

import (
	"context"
	"net"
	"strings"

	"golang.org/x/net/publicsuffix"

	"mailsrv/probes/dns"
)

// authority answers from the name servers of each zone instead of a resolver's
// cache: what everybody will see once all caches have forgotten. Where no such
// server can be asked, the resolver answers.
type authority struct {
	c        *Checker
	resolver *dns.Cache
	servers  *shared[string, []string] // addr:port of a zone's servers, by zone
}

// How many of a zone's servers are tried.
const maxAuthorities = 3

func (a *authority) Lookup(ctx context.Context, name string, t dns.Type) *dns.Answer {
	return a.lookup(ctx, dns.Name(name), t, 0)
}

func (a *authority) lookup(ctx context.Context, name string, t dns.Type, depth int) *dns.Answer {
	var known *dns.Answer
	if t == dns.MX || t == dns.TLSA || t == dns.NS || t == dns.DS {
		// Only a resolver validates; and it alone knows delegations.
		if known = a.resolver.Lookup(ctx, name, t); !known.Outcome.Found() || t == dns.NS || t == dns.DS {
			return known
		}
	}
	for _, server := range a.zoneServers(ctx, name) {
		r := a.c.direct.Query(ctx, server, dns.Question{Name: name, Type: t})
		if !r.Outcome.Found() || !r.AA {
			continue
		}
		if len(r.Chain) > 0 && len(r.Records) == 0 && depth < maxAuthorities {
			end := a.lookup(ctx, r.Canonical(), t, depth+1)
			r.Outcome, r.Records, r.Authority = end.Outcome, end.Records, end.Authority
			r.Chain, r.CNAMEs = append(r.Chain, end.Chain...), append(r.CNAMEs, end.CNAMEs...)
		}
		r.AD = known != nil && known.AD
		return r
	}
	if known != nil {
		return known
	}
	return a.resolver.Lookup(ctx, name, t)
}

// zoneServers are the servers of the deepest zone that name lies in, up to the
// registered domain.
func (a *authority) zoneServers(ctx context.Context, name string) []string {
	top, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return nil
	}
	for at := name; below(at, top); {
		ns := a.resolver.Lookup(ctx, at, dns.NS)
		if ns.Outcome == dns.Answered && len(ns.Chain) == 0 {
			return a.servers.do(ctx, at, func() []string { return a.addresses(ctx, ns) })
		}
		_, rest, ok := strings.Cut(at, ".")
		if !ok {
			break
		}
		at = rest
	}
	return nil
}

func (a *authority) addresses(ctx context.Context, ns *dns.Answer) []string {
	var out []string
	for _, r := range ns.Records {
		for _, x := range a.resolver.Lookup(ctx, r.Host, dns.A).Records {
			if len(out) < maxAuthorities && addressKind(x.Addr, a.c.opt.Map) == "" {
				out = append(out, net.JoinHostPort(x.Addr.String(), authorityOfZone))
			}
		}
	}
	return out
}
