package doctor

import (
	"context"
	"net/netip"
	"runtime"
	"slices"

	"mailsrv/diag"
	"mailsrv/probes/reach"
	"mailsrv/server/config"
)

// reachIn tries incoming port 25 from near to far: loopback, the machine's own
// addresses, the public address.
func (c *Case) reachIn(ctx context.Context) []diag.Finding {
	l, ok := c.openSMTP()
	if !ok {
		return nil // no listener for others: port.loopback_only
	}
	r := c.route(ctx)
	var out []diag.Finding
	if r.behindNAT() {
		out = append(out, diag.New("reach.nat", "", diag.Evidence{"address": r.outward.String(), "public": texts(r.public)}))
	}
	near := reach.Port(ctx, c.Dialer(), reachable(l, c.Addresses), c.Timeout)
	if near.Outcome != "" {
		ev := diag.Evidence{"listener": l.Service, "address": l.Addr, "tries": rows([]reach.Try{near}), "running": c.Running, "server": ""}
		if c.site != nil {
			ev["server"] = c.site.product
		}
		return append(out, diag.New("reach.in25_not_listening", l.Service+" "+l.Addr, ev))
	}
	if f, closed := c.localFirewall(ctx, l, near); closed {
		return append(out, f)
	}
	if a, ok := r.shared(); ok {
		return append(out, diag.New("reach.cgnat", a.String(), diag.Evidence{"address": a.String()}))
	}
	return append(out, c.fromOutside(ctx, r)...)
}

// openSMTP is the first SMTP listener that others can reach.
func (c *Case) openSMTP() (config.Listener, bool) {
	if c.site != nil {
		if c.site.listener == nil {
			return config.Listener{}, false
		}
		return *c.site.listener, true
	}
	i := slices.IndexFunc(c.Config.Listen, func(l config.Listener) bool { return l.Service == config.SMTP && !l.Loopback() })
	if i < 0 {
		return config.Listener{}, false
	}
	return c.Config.Listen[i], true
}

// localFirewall tells whether the server answers over loopback, but not over
// the machine's own addresses.
func (c *Case) localFirewall(ctx context.Context, l config.Listener, near reach.Try) (diag.Finding, bool) {
	var mine []netip.Addr
	for _, a := range c.Addresses {
		if serves(l, a) && !a.IsLinkLocalUnicast() {
			mine = append(mine, a)
		}
	}
	tries := make([]reach.Try, len(mine))
	parallel(len(mine), func(i int) { tries[i] = reach.Port(ctx, c.Dialer(), hostPort(mine[i], uint16(l.Port())), c.Timeout) })
	var closed []string
	for i, t := range tries {
		if t.Outcome != "" {
			closed = append(closed, mine[i].String())
		}
	}
	if len(closed) == 0 {
		return diag.Finding{}, false
	}
	ev := diag.Evidence{"addresses": closed, "port": l.Port(), "tries": rows(append(tries, near))}
	return diag.New("reach.local_firewall", l.Service+" "+l.Addr, ev).With("os", runtime.GOOS), true
}

// serves tells whether a listener takes connections to an address.
func serves(l config.Listener, a netip.Addr) bool {
	ip := l.IP()
	return !ip.IsValid() || ip == a || ip.IsUnspecified() && ip.Is4() == a.Is4()
}

// fromOutside tries the public address, which works from inside only where the
// router turns such connections round (hairpin).
func (c *Case) fromOutside(ctx context.Context, r route) []diag.Finding {
	unknown := func(why string, tries []reach.Try) []diag.Finding {
		name := c.hostname()
		if r.told && len(r.public) > 0 {
			name = r.public[0].String()
		}
		return []diag.Finding{diag.New("reach.in25_unknown", name, diag.Evidence{"why": why, "tries": rows(tries)})}
	}
	switch {
	case r.direct():
		return unknown("own-address", nil)
	case len(r.public) == 0:
		return unknown("no-public-address", nil)
	}
	var tries []reach.Try
	for _, a := range r.public {
		t := reach.Port(ctx, c.Dialer(), hostPort(a, 25), c.Timeout)
		if t.Outcome == "" {
			return nil
		}
		tries = append(tries, t)
	}
	others := c.otherPorts()
	more := make([]reach.Try, len(others))
	parallel(len(others), func(i int) { more[i] = reach.Port(ctx, c.Dialer(), hostPort(r.public[0], others[i]), c.Timeout) })
	tries = append(tries, more...)
	if slices.ContainsFunc(more, func(t reach.Try) bool { return t.Outcome == "" }) {
		a := r.public[0].String()
		return []diag.Finding{diag.New("reach.in25_not_forwarded", a, diag.Evidence{"address": a, "tries": rows(tries), "to": texts(c.Addresses)})}
	}
	return unknown("no-hairpin", tries)
}

// otherPorts prove that connections to the public address come back: those of
// the other services, and of the web.
func (c *Case) otherPorts() []uint16 {
	out := []uint16{587, 465, 443, 80}
	for _, l := range c.Config.Listen {
		if p := uint16(l.Port()); !l.Loopback() && p != 25 && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
