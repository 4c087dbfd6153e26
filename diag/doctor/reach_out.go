package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dns"
	"mailsrv/probes/reach"
)

// provider is a large one whose hosts prove whether the network lets mail out.
// Their mail hosts answer on port 25 alone, so other hosts of theirs stand in
// for the rest.
type provider struct{ domain, web, submission string }

var providers = []provider{
	{"gmail.com", "www.google.com", "smtp.gmail.com"},
	{"outlook.com", "www.microsoft.com", "smtp-mail.outlook.com"},
	{"icloud.com", "www.apple.com", "smtp.mail.me.com"},
	{"yahoo.co.jp", "www.yahoo.co.jp", "smtp.mail.yahoo.co.jp"},
}

// goal is one place to try: where mail would be given, and addresses at which
// the same network answers on other ports.
type goal struct {
	name  string
	mail  netip.Addr
	proof []netip.AddrPort
}

// reached is what came of one.
type reached struct {
	name  string
	mail  reach.Try
	proof []reach.Try
}

func (r reached) alive() bool {
	return slices.ContainsFunc(r.proof, func(t reach.Try) bool { return t.Outcome == "" })
}

// reachOut tries outgoing port 25, and what reached hosts say about the time.
func (c *Case) reachOut(ctx context.Context) []diag.Finding {
	if id := c.Has(deadResolver...); id != "" && !slices.ContainsFunc(c.ReachTargets, isAddr) {
		return skipped("reach", id)
	}
	goals := c.goals(ctx)
	if len(goals) == 0 {
		return []diag.Finding{diag.New("reach.out25_unknown", "", nil)}
	}
	all := make([]reached, len(goals))
	parallel(len(goals), func(i int) { all[i] = c.try(ctx, goals[i]) })
	if !slices.ContainsFunc(all, func(r reached) bool { return r.mail.Outcome == "" }) {
		// What depends on other people's networks is tried twice.
		parallel(len(goals), func(i int) { all[i].mail = reach.Port(ctx, c.Dialer(), hostPort(goals[i].mail, 25), c.Timeout) })
	}
	out := judgeOut(all, c.sends())
	return append(out, judgeClock(all)...)
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// goals are the given targets, or those of the providers.
func (c *Case) goals(ctx context.Context) []goal {
	client := &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}
	defer client.Close()
	first := func(name string) (netip.Addr, bool) {
		if a, err := netip.ParseAddr(name); err == nil {
			return a.Unmap(), true
		}
		if rec := client.Lookup(ctx, name, dns.A).Records; len(rec) > 0 {
			return rec[0].Addr, true
		}
		return netip.Addr{}, false
	}
	n := len(c.ReachTargets)
	if n == 0 {
		n = len(providers)
	}
	found := make([]goal, n)
	parallel(n, func(i int) {
		if len(c.ReachTargets) > 0 {
			name := c.ReachTargets[i]
			if a, ok := first(name); ok {
				found[i] = goal{name, a, []netip.AddrPort{netip.AddrPortFrom(a, 443), netip.AddrPortFrom(a, 587)}}
			}
			return
		}
		p := providers[i]
		mx := client.Lookup(ctx, p.domain, dns.MX).Records
		if len(mx) == 0 {
			return
		}
		slices.SortStableFunc(mx, func(a, b dns.Record) int { return int(a.Preference) - int(b.Preference) })
		a, ok := first(mx[0].Host)
		if !ok {
			return
		}
		found[i] = goal{name: p.domain, mail: a}
		for host, number := range map[string]uint16{p.web: 443, p.submission: 587} {
			if a, ok := first(host); ok {
				found[i].proof = append(found[i].proof, netip.AddrPortFrom(a, number))
			}
		}
	})
	return slices.DeleteFunc(found, func(g goal) bool { return !g.mail.IsValid() })
}

func (c *Case) try(ctx context.Context, g goal) reached {
	r := reached{name: g.name, proof: make([]reach.Try, len(g.proof))}
	parallel(len(g.proof)+1, func(i int) {
		if i == len(g.proof) {
			r.mail = reach.Port(ctx, c.Dialer(), hostPort(g.mail, 25), c.Timeout)
			return
		}
		r.proof[i] = reach.Port(ctx, c.Dialer(), g.proof[i].String(), c.Timeout)
	})
	return r
}

// judgeOut reads the tries. A server that only receives needs no outgoing 25.
func judgeOut(all []reached, sends bool) []diag.Finding {
	var tries []reach.Try
	var closed []string
	open, alive := 0, 0
	for _, r := range all {
		tries = append(append(tries, r.mail), r.proof...)
		if r.mail.Outcome == "" {
			open++
		} else {
			closed = append(closed, r.name)
		}
		if r.alive() {
			alive++
		}
	}
	ev := diag.Evidence{"tries": rows(tries), "open": open, "targets": len(all)}
	id := ""
	switch {
	case open == len(all):
		return nil
	case open > 0:
		id, ev["closed"] = "reach.out25_partly", closed
	case alive > 0:
		id = "reach.out25_blocked"
	default:
		return []diag.Finding{diag.New("reach.no_network", "", ev)}
	}
	f := diag.New(id, "25", ev)
	if !sends {
		f = f.As(diag.Info)
	}
	return []diag.Finding{f}
}

// skew is how much a clock may be off; mail dated an hour into the future is
// refused, and DNSSEC and TLS have less patience.
const skew = 5 * time.Minute

// judgeClock holds this machine's clock against what the reached hosts say. The
// one in the middle counts, so that one wrong host does no harm.
func judgeClock(all []reached) []diag.Finding {
	var off []time.Duration
	var said []string
	for _, r := range all {
		for _, t := range append([]reach.Try{r.mail}, r.proof...) {
			if !t.Theirs.IsZero() {
				off = append(off, t.Ours.Sub(t.Theirs))
				said = append(said, t.Addr+" "+t.Theirs.UTC().Format(time.RFC3339))
			}
		}
	}
	if len(off) == 0 {
		return nil
	}
	slices.Sort(off)
	middle := off[len(off)/2]
	if len(off)%2 == 0 && middle.Abs() > off[len(off)/2-1].Abs() {
		middle = off[len(off)/2-1] // in doubt for our clock
	}
	if middle.Abs() <= skew {
		return nil
	}
	n, unit := ageOf(middle.Abs())
	f := diag.New("env.clock_skew", "", diag.Evidence{"seconds": int64(middle.Seconds()), "said": said})
	return []diag.Finding{f.With("n", fmt.Sprint(n)).With("unit", unit).With("fast", middle > 0)}
}
