package checkmx

import (
	"context"
	"slices"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

// Stale is a question to which the resolver still has an older answer than all
// of the domain's own servers.
type Stale struct {
	Old, New *dns.Answer
}

// stale compares the resolver's answers with those of the domain's own servers,
// where these agree.
func (f *Facts) stale() []Stale {
	if f.NS == nil {
		return nil
	}
	ends := f.NS.answering()
	if len(ends) == 0 {
		return nil
	}
	var out []Stale
	current := ends[0].Mail[0] // the MX
	for i, first := range ends[0].Mail {
		named := slices.ContainsFunc(current.Records, func(r dns.Record) bool { return r.Host == first.Name })
		if (first.Type == dns.A || first.Type == dns.AAAA) && !named && len(current.Records) > 0 {
			continue // an old MX leads there, and that is said already
		}
		mine := f.resolverAnswer(first.Name, first.Type)
		if mine == nil || !mine.Outcome.Found() || !first.Outcome.Found() || !first.AA || len(first.Chain) > 0 || len(mine.Chain) > 0 {
			continue // behind a CNAME other servers answer
		}
		agree := !slices.ContainsFunc(ends, func(e *ServerEnd) bool { return answerSet(e.Mail[i]) != answerSet(first) })
		if !agree || answerSet(mine) == answerSet(first) {
			continue
		}
		if (first.Type == dns.A || first.Type == dns.AAAA) && overlap(mine, first) {
			continue // servers that rotate their answers
		}
		out = append(out, Stale{Old: mine, New: first})
	}
	return out
}

// resolverAnswer is what the resolver said to the same question.
func (f *Facts) resolverAnswer(name string, t dns.Type) *dns.Answer {
	switch {
	case name == f.Domain && t == dns.MX:
		return f.MX
	case name == f.Domain && t == dns.TXT:
		return f.TXT
	case t == dns.TXT && f.DMARC != nil:
		return f.DMARC.Steps[0].Answer
	}
	for _, h := range f.Hosts {
		if h.Name == name && t == dns.A {
			return h.A
		}
		if h.Name == name && t == dns.AAAA {
			return h.AAAA
		}
	}
	return nil
}

func overlap(a, b *dns.Answer) bool {
	return slices.ContainsFunc(a.Records, func(r dns.Record) bool {
		return slices.ContainsFunc(b.Records, func(o dns.Record) bool { return r.Addr == o.Addr })
	})
}

// spreading answers what the resolver is behind with as the domain's own servers
// do: as everybody will see it once the old answers have run out.
type spreading struct {
	known    []*dns.Answer
	resolver *dns.Cache
}

func (s *spreading) Lookup(ctx context.Context, name string, t dns.Type) *dns.Answer {
	i := slices.IndexFunc(s.known, func(a *dns.Answer) bool { return a.Name == dns.Name(name) && a.Type == t })
	if i < 0 {
		return s.resolver.Lookup(ctx, name, t)
	}
	return s.known[i]
}

// current measures again with what holds now where the resolver is behind, so
// that nothing is said of a state that is over. What the resolver knows is asked
// for once: only what follows from the new answers is new work.
func (c *Checker) current(ctx context.Context, before *Facts) *Facts {
	stale := before.stale()
	if len(stale) == 0 {
		return before
	}
	over := &spreading{resolver: c.lookup}
	for _, s := range stale {
		a := *s.New
		a.AD = s.Old.AD // only a resolver validates
		over.known = append(over.known, &a)
	}
	again := *c
	again.lookup = dns.NewCache(over, maxFresh)
	f := again.collect(ctx, before.Domain, before.NS)
	f.Stale, f.Resolver = stale, before.Resolver
	return f
}

// maxFresh is how many answers a second look at one domain keeps.
const maxFresh = 1000

// judgeStale says where the resolver is behind, and for how long.
func (j *judge) judgeStale() {
	for _, s := range j.Stale {
		var ttl uint32
		for _, r := range s.Old.Records {
			ttl = max(ttl, r.TTL)
		}
		for _, r := range s.Old.Authority {
			if r.Type == dns.SOA && len(s.Old.Records) == 0 {
				ttl = min(r.TTL, r.Minimum)
			}
		}
		j.add("dns.resolver_stale", s.New.Name, diag.Evidence{"type": string(s.New.Type), "resolver": s.Old.Server, "ttl": int(ttl), "old": answerSet(s.Old), "new": answerSet(s.New)})
	}
}
