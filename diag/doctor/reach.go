package doctor

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dns"
	"mailsrv/probes/host"
	"mailsrv/probes/reach"
)

func init() {
	register(Check{Name: "reach", Stage: Internet, Limit: 60 * time.Second, After: []string{"environment", "ports", "resolver"}, Because: []string{"env.no_address"}, Run: needsConfig("reach", reachable25)})
}

// reachable25 tries port 25 in both directions. It has four troubles with four
// different remedies: the provider blocks outgoing 25, the router does not
// forward incoming 25, nothing listens, or this machine's firewall is in the
// way.
func reachable25(ctx context.Context, c *Case) []diag.Finding {
	named := slices.Contains(c.Only, "reach") || len(c.ReachTargets) > 0
	if c.LocalOnly() && !named {
		return []diag.Finding{nothing} // a server for trying out needs nobody
	}
	var out, in []diag.Finding
	parallel(2, func(i int) {
		if i == 0 {
			out = c.reachOut(ctx)
		} else if !c.LocalOnly() {
			in = c.reachIn(ctx)
		}
	})
	return append(out, in...)
}

// route is how this machine is joined to the internet, as far as it can know.
type route struct {
	outward netip.Addr   // the address that connections to the internet come from
	own     []netip.Addr // of this machine
	public  []netip.Addr // under which others would reach the server
	told    bool         // public was given by option
}

// shared tells whether the addresses others would use are shared by several
// customers of the provider, or are none of the internet at all.
func (r route) shared() (netip.Addr, bool) {
	for _, a := range append([]netip.Addr{r.outward}, r.public...) {
		if shared.Contains(a) {
			return a, true
		}
	}
	for _, a := range r.public {
		if r.told && a.IsPrivate() && !slices.Contains(r.own, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// behindNAT: what goes out is translated on its way.
func (r route) behindNAT() bool { return r.outward.IsPrivate() || shared.Contains(r.outward) }

// direct tells whether the public address is this machine's own.
func (r route) direct() bool {
	return slices.ContainsFunc(r.public, func(a netip.Addr) bool { return slices.Contains(r.own, a) })
}

// route finds it out. Without an option the public address is where the host
// name leads.
func (c *Case) route(ctx context.Context) route {
	r := route{outward: host.Outward(), own: c.Addresses, public: c.Expect, told: len(c.Expect) > 0}
	if r.told {
		return r
	}
	if r.public = c.public(); len(r.public) > 0 || c.hostname() == "" || c.Has(deadResolver...) != "" {
		return r
	}
	client := &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}
	defer client.Close()
	for _, rec := range client.Lookup(ctx, c.hostname(), dns.A).Records {
		if routable(rec.Addr) {
			r.public = append(r.public, rec.Addr)
		}
	}
	return r
}

// rows are tries for the evidence: "192.0.2.1:25 timeout".
func rows(tries []reach.Try) []string {
	var out []string
	for _, t := range tries {
		how := t.Outcome
		if how == "" {
			how = "ok"
		}
		out = append(out, t.Addr+" "+how)
	}
	return out
}

func hostPort(a netip.Addr, number uint16) string { return netip.AddrPortFrom(a, number).String() }
