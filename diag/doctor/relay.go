package doctor

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/smtp"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "relay", Stage: Local, Limit: 60 * time.Second, After: []string{"ports"}, Run: needsData("relay", relay)})
}

func relay(ctx context.Context, c *Case) []diag.Finding {
	out := c.networks()
	out = append(out, c.smartHost(ctx)...)
	if slices.ContainsFunc(out, func(f diag.Finding) bool { return f.ID == "relay.open" }) {
		return out
	}
	tried := c.battery(ctx)
	if !healthy(out) { // closed to strangers, but not in order
		tried = withoutOK(tried)
	}
	return append(out, tried...)
}

// networks judges what relay.networks lets in.
func (c *Case) networks() []diag.Finding {
	if !c.Config.Relay.Allow {
		return []diag.Finding{diag.New("relay.off", "", diag.Evidence{"default": c.Config.File == ""})}
	}
	var out []diag.Finding
	var private []string
	for _, n := range c.Config.Relay.Networks {
		own := n.Addr().IsLoopback() || n.IsSingleIP() && c.Own(n.Addr())
		switch {
		case coversInternet(n):
			out = append(out, diag.New("relay.open", "relay.networks "+n.String(), diag.Evidence{"network": n.String(), "rule": "network.trusted"}))
		case own: // auth.test_exemption
		case !isPrivate(n) && !n.IsSingleIP():
			out = append(out, diag.New("relay.network_wide", n.String(), diag.Evidence{"network": n.String()}))
		default:
			private = append(private, n.String())
		}
	}
	if len(private) == 0 {
		return out
	}
	ev := diag.Evidence{"networks": private}
	if c.Config.Open() && slices.ContainsFunc(c.Addresses, func(a netip.Addr) bool { return a.Is4() && routable(a) }) {
		return append(out, diag.New("relay.private_from_outside", "relay.networks", ev))
	}
	return append(out, diag.New("relay.network_trusted", "relay.networks", ev))
}

// coversInternet: a network so wide that most who are in it are strangers.
func coversInternet(n netip.Prefix) bool {
	if isPrivate(n) || n.Addr().IsLoopback() {
		return false
	}
	if n.Addr().Is4() {
		return n.Bits() < 8
	}
	return n.Bits() < 20
}

// isPrivate tells whether the whole of a network is private.
func isPrivate(n netip.Prefix) bool {
	if !n.Addr().IsPrivate() && !n.Addr().IsLinkLocalUnicast() && !shared.Contains(n.Addr()) {
		return false
	}
	for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"} {
		if q := netip.MustParsePrefix(p); q.Contains(n.Addr()) && n.Bits() >= q.Bits() {
			return true
		}
	}
	return false
}

// battery tries to relay as a stranger: over the wire when the server runs, and
// by asking the policy room when it does not, or when it trusts the address
// that we come from.
func (c *Case) battery(ctx context.Context) []diag.Finding {
	l, ok := c.listener(config.SMTP)
	if !ok || len(c.Config.Domains) == 0 {
		return nil // no port on which strangers could try
	}
	addr := reachable(l, c.Addresses)
	names := relaytest.Names{Domain: c.Config.Domains[0], Server: netip.MustParseAddrPort(addr).Addr()}
	subject := l.Service + " " + l.Addr
	trusted := slices.ContainsFunc(c.Config.Relay.Networks, func(n netip.Prefix) bool { return n.Contains(names.Server) })
	if !c.Running || trusted {
		if c.Policy == nil {
			return []diag.Finding{diag.New("relay.untested", subject, diag.Evidence{"why": "not-running"})}
		}
		return relaytest.Judge(subject, relaytest.Offline(names, c.Policy))
	}
	if id := c.Has("server.not_answering", "port.not_listening", "port.wrong_service"); id != "" {
		return skipped("relay", id)
	}
	client, err := relaytest.Dial(ctx, addr, smtp.Options{Dialer: c.Dialer(), Timeout: c.Timeout, Helo: "doctor." + relaytest.StrangerDomain})
	if err != nil {
		return relaytest.Judge(subject, relaytest.Answers{Err: err})
	}
	defer client.Close()
	return relaytest.Judge(subject, client.Ask(names))
}
