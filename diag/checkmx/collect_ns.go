package checkmx

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"mailsrv/probes/dns"
)

// Limits of how many servers are asked about one zone.
const (
	maxServers      = 13 // names
	maxServerAddrs  = 4  // addresses of one name
	maxParentTries  = 3  // servers of the parent zone
	authorityOfZone = "53"
)

// NS is what is known about the servers of the zone that a domain lies in.
type NS struct {
	Zone    string
	Answer  *dns.Answer // the zone's own NS set, by the resolver; nil when only the parent could be asked
	Parent  []string    // the delegation, by the parent's servers; nil when it could not be had
	Servers []*Server   // of both sets
}

// Server is one name server.
type Server struct {
	Name     string
	InParent bool
	InZone   bool
	Host     *Host
	Ends     []*ServerEnd // its addresses that were asked
}

// ServerEnd is what one address of a name server answers, without recursion.
type ServerEnd struct {
	Addr  *Addr
	SOA   *dns.Answer
	Mail  []*dns.Answer // MX, addresses of mail hosts in the zone, TXT, _dmarc: the same questions to all
	State string        // "good", "lame", "unreachable", "unknown"
}

// States of a name server's address.
const (
	nsGood        = "good"
	nsLame        = "lame"
	nsUnreachable = "unreachable"
	nsUnknown     = "unknown" // this machine has no way there
)

// collectNS asks the domain's own name servers, and the parent who they are.
func (c *Checker) collectNS(ctx context.Context, f *Facts) {
	if c.opt.Map != nil && !c.opt.Map.ListsPort(53) {
		return // a lab without name servers of its own
	}
	n := &NS{}
	n.Zone, n.Answer = c.zoneOf(ctx, f.Domain)
	if n.Zone == "" {
		return
	}
	n.Parent = c.delegation(ctx, n.Zone)
	names := map[string]*Server{}
	list := func(name string) *Server {
		s := names[name]
		if s == nil && len(n.Servers) < maxServers {
			s = &Server{Name: name}
			names[name] = s
			n.Servers = append(n.Servers, s)
		}
		return s
	}
	if n.Answer != nil {
		for _, r := range n.Answer.Records {
			if s := list(r.Host); s != nil {
				s.InZone = true
			}
		}
	}
	for _, name := range n.Parent {
		if s := list(name); s != nil {
			s.InParent = true
		}
	}
	if len(n.Servers) == 0 {
		return
	}
	slices.SortFunc(n.Servers, func(a, b *Server) int { return strings.Compare(a.Name, b.Name) })
	var wg sync.WaitGroup
	for _, s := range n.Servers {
		wg.Go(func() { c.collectServer(ctx, f, n.Zone, s) })
	}
	wg.Wait()
	f.NS = n
}

// zoneOf finds the zone a domain lies in: the domain itself, or a name above it
// up to the registered domain. Where the resolver cannot say, the parent can.
func (c *Checker) zoneOf(ctx context.Context, domain string) (string, *dns.Answer) {
	top, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		top = domain
	}
	for name := domain; below(name, top); {
		a := c.lookup.Lookup(ctx, name, dns.NS)
		switch {
		case a.Outcome == dns.Answered && len(a.Chain) == 0:
			return name, a
		case !a.Outcome.Found():
			return top, nil
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return "", nil
}

// delegation asks the parent zone's servers for a zone's name servers.
func (c *Checker) delegation(ctx context.Context, zone string) []string {
	for parent := zone; parent != "."; {
		_, rest, ok := strings.Cut(parent, ".")
		if parent = rest; !ok {
			parent = "."
		}
		ns := c.lookup.Lookup(ctx, parent, dns.NS)
		if !ns.Outcome.Found() {
			return nil
		}
		for _, r := range ns.Records[:min(len(ns.Records), maxParentTries)] {
			if names := c.askParent(ctx, r.Host, zone); names != nil {
				return names
			}
		}
		if len(ns.Records) > 0 {
			return nil
		}
	}
	return nil
}

func (c *Checker) askParent(ctx context.Context, server, zone string) []string {
	a := c.lookup.Lookup(ctx, server, dns.A)
	for _, r := range a.Records[:min(len(a.Records), 1)] {
		if addressKind(r.Addr, c.opt.Map) != "" {
			continue
		}
		reply := c.direct.Query(ctx, net.JoinHostPort(r.Addr.String(), authorityOfZone), dns.Question{Name: zone, Type: dns.NS})
		var names []string
		for _, r := range slices.Concat(reply.Records, reply.Authority) {
			if r.Type == dns.NS && r.Name == zone {
				names = append(names, r.Host)
			}
		}
		if names != nil {
			return names
		}
	}
	return nil
}

func (c *Checker) collectServer(ctx context.Context, f *Facts, zone string, s *Server) {
	s.Host = &Host{Name: s.Name}
	c.resolve(ctx, s.Host)
	ask := s.Host.public()
	var wg sync.WaitGroup
	for _, a := range ask[:min(len(ask), maxServerAddrs)] {
		end := &ServerEnd{Addr: a}
		s.Ends = append(s.Ends, end)
		wg.Go(func() { c.collectEnd(ctx, f, zone, end) })
	}
	wg.Wait()
}

func (c *Checker) collectEnd(ctx context.Context, f *Facts, zone string, end *ServerEnd) {
	server := net.JoinHostPort(end.Addr.IP.String(), authorityOfZone)
	end.SOA = c.direct.Query(ctx, server, dns.Question{Name: zone, Type: dns.SOA})
	switch o := end.SOA.Outcome; {
	case o == dns.Answered && end.SOA.AA:
		end.State = nsGood
	case over(ctx), o == dns.Unreachable && end.Addr.IP.Is6() && c.opt.Map == nil:
		end.State = nsUnknown // out of time, or this machine has no IPv6
	case o == dns.Timeout || o == dns.Unreachable:
		end.State = nsUnreachable
	default:
		end.State = nsLame
	}
	if end.State != nsGood {
		return
	}
	for _, q := range f.mailQuestions(zone) {
		end.Mail = append(end.Mail, c.direct.Query(ctx, server, q))
	}
}

// mailQuestions are the questions whose answers must agree, as far as the zone
// answers them itself.
func (f *Facts) mailQuestions(zone string) []dns.Question {
	out := []dns.Question{{Name: f.Domain, Type: dns.MX}, {Name: f.Domain, Type: dns.TXT}, {Name: "_dmarc." + f.Domain, Type: dns.TXT}}
	seen := map[string]bool{}
	for _, r := range f.MX.Records {
		if below(r.Host, zone) && !seen[r.Host] {
			seen[r.Host] = true
			out = append(out, dns.Question{Name: r.Host, Type: dns.A}, dns.Question{Name: r.Host, Type: dns.AAAA})
		}
	}
	return out
}
