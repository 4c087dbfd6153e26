package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxAddrs bounds how many addresses are tried in one round.
const maxAddrs = 10

// target is one address of a host to try.
type target struct {
	name string
	addr netip.AddrPort
}

// group is a set of hosts that are equally good.
type group []string

// route finds the hosts of a destination. Without hosts the result says why.
func (c *Client) route(ctx context.Context, d Destination) ([]group, *Result) {
	switch {
	case d.Smart != nil:
		return []group{{d.Smart.Host}}, nil
	case d.Domain == "":
		return nil, &Result{Outcome: Failed, Enhanced: "5.1.3", Cause: causeSyntax, Text: "the recipient address has no domain"}
	case d.Domain[0] == '[':
		if _, ok := literal(d.Domain); !ok {
			return nil, &Result{Outcome: Failed, Enhanced: "5.1.3", Cause: causeSyntax, Text: d.Domain + " is no address literal"}
		}
		return []group{{d.Domain}}, nil
	}
	lctx, cancel := context.WithTimeout(ctx, c.Timeouts.Lookup)
	defer cancel()
	// With records that cannot be used among good ones there is an error too.
	mxs, err := c.Resolver.LookupMX(lctx, d.Domain+".")
	switch {
	case len(mxs) > 0:
	case notFound(err):
		return []group{{d.Domain}}, nil // RFC 5321 5.1: the implicit MX
	case err != nil:
		return nil, lookupFailed("MX", d.Domain, err)
	}
	if len(mxs) == 1 && strings.Trim(mxs[0].Host, ".") == "" {
		return nil, &Result{Outcome: Failed, Enhanced: "5.1.10", Cause: causeNoSuchUser,
			Text: fmt.Sprintf("556 5.1.10 Recipient address has null MX: %s takes no mail (RFC 7505)", d.Domain)}
	}
	return groups(mxs), nil
}

// groups sorts hosts by preference and shuffles equal ones.
func groups(mxs []*net.MX) []group {
	rand.Shuffle(len(mxs), func(i, j int) { mxs[i], mxs[j] = mxs[j], mxs[i] })
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	var out []group
	for i, mx := range mxs {
		name := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
		if name == "" {
			continue // a null MX beside others means nothing
		}
		if i == 0 || len(out) == 0 || mx.Pref != mxs[i-1].Pref {
			out = append(out, nil)
		}
		if last := &out[len(out)-1]; !slices.Contains(*last, name) {
			*last = append(*last, name)
		}
	}
	return out
}

// targets finds the addresses of one group's hosts. self: one of them is this
// server, so that neither this group nor a less preferred one may be tried
// (RFC 5321 5.1). A host without addresses gives a fault instead.
func (c *Client) targets(ctx context.Context, d Destination, g group) (out []target, faults []Result, self bool) {
	for _, host := range g {
		if d.Smart == nil && c.Hostname != "localhost" && strings.EqualFold(host, c.Hostname) {
			self = true
			continue
		}
		addrs, fault := c.addrs(ctx, host)
		if fault != nil {
			faults = append(faults, *fault)
			continue
		}
		port := c.Port
		if d.Smart != nil {
			port = d.Smart.Port
		}
		for _, a := range addrs {
			t := target{host, netip.AddrPortFrom(a, port)}
			if c.Own != nil && c.Own(t.addr) {
				self = true
				continue
			}
			out = append(out, t)
		}
	}
	return out, faults, self
}

// addrs returns the addresses of a host, IPv4 first.
func (c *Client) addrs(ctx context.Context, host string) ([]netip.Addr, *Result) {
	if a, ok := literal(host); ok {
		return []netip.Addr{a}, nil
	}
	lctx, cancel := context.WithTimeout(ctx, c.Timeouts.Lookup)
	defer cancel()
	addrs, err := c.Resolver.LookupNetIP(lctx, "ip", host+".")
	if err != nil && !notFound(err) {
		r := lookupFailed("address", host, err)
		r.Host = host
		return nil, r
	}
	if len(addrs) == 0 {
		return nil, &Result{Outcome: Failed, Enhanced: "5.4.4", Command: "CONN", Cause: causeDNS, Host: host,
			Text: fmt.Sprintf("Host or domain name not found: %s has no address", host)}
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return addrs, nil
}

func lookupFailed(what, name string, err error) *Result {
	return &Result{Outcome: Deferred, Enhanced: "4.4.3", Command: "CONN", Cause: causeDNS,
		Text: fmt.Sprintf("DNS did not answer the question for the %s of %s: %s", what, name, clean(err.Error()))}
}

// literal reads "[192.0.2.1]", "[IPv6:2001:db8::1]", or an address alone, which
// stands in some MX records though it should not.
func literal(s string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return netip.Addr{}, false
		}
		if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
			inner = inner[5:]
		}
		s = inner
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// OwnAddrs returns a Config.Own for a server that listens for mail at the
// addresses listen; "0.0.0.0:25" and "[::]:25" stand for every address of this
// machine.
func OwnAddrs(listen []netip.AddrPort) func(netip.AddrPort) bool {
	return func(to netip.AddrPort) bool {
		for _, l := range listen {
			switch {
			case l.Port() != to.Port():
			case l.Addr().Unmap() == to.Addr().Unmap():
				return true
			case l.Addr().IsUnspecified() && isLocal(to.Addr().Unmap()):
				return true
			}
		}
		return false
	}
}

func isLocal(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range all {
		if p, err := netip.ParsePrefix(i.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

func (s *SmartHost) addr() string {
	return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port)))
}
