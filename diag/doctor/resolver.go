package doctor

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func init() {
	register(Check{Name: "resolver", Stage: Local, Limit: 40 * time.Second, After: []string{"environment"}, Because: []string{"env.no_address"}, Run: resolver})
}

// resolver tries each resolver by itself.
func resolver(ctx context.Context, c *Case) []diag.Finding {
	named := slices.Contains(c.Only, "resolver") || len(c.Resolvers) > 0
	if c.LocalOnly() && !named && c.Readable() {
		return []diag.Finding{nothing} // localhost needs no DNS
	}
	servers := c.resolvers()
	if c.Stage < Internet && !named {
		servers = slices.DeleteFunc(servers, func(s string) bool { return !addrOf(s).IsLoopback() })
		if len(servers) == 0 {
			return []diag.Finding{nothing} // not this machine: stage internet
		}
	}
	if len(servers) == 0 {
		return []diag.Finding{diag.New("resolver.none", "", nil)}
	}
	each := make([][]diag.Finding, len(servers))
	parallel(len(servers), func(i int) { each[i] = judgeResolver(servers[i], c.tryResolver(ctx, servers[i])) })
	return oneDead(each)
}

// resolvers are those to ask: given by option, configured, or the system's.
func (c *Case) resolvers() []string {
	var out []string
	switch {
	case len(c.Resolvers) > 0:
		for _, a := range c.Resolvers {
			out = append(out, a.String())
		}
	case len(c.Config.DNS.Servers) > 0:
		for _, a := range c.Config.DNS.Servers {
			out = append(out, a.String())
		}
	default:
		out, _ = dns.SystemServers() // none is resolver.none
	}
	return out
}

func addrOf(server string) netip.Addr {
	ap, err := netip.ParseAddrPort(server)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// resolverFacts is how one resolver answered.
type resolverFacts struct {
	rootNS    *dns.Answer
	noSuch    []*dns.Answer // A of names that do not exist
	longPlain *dns.Answer   // a long answer with room for 512 octets
	types     map[dns.Type]*dns.Answer
	lists     []*dns.Answer // of the block lists' test points
}

// testLists are block lists that give those they refuse a documented answer.
var testLists = []string{"zen.spamhaus.org", "dbl.spamhaus.org"}

// testPoint is what every list has (RFC 5782 section 5).
var testPoint = map[string]string{"zen.spamhaus.org": "2.0.0.127.", "dbl.spamhaus.org": "dbltest.com."}

// refusals are how block lists say that they do not serve a resolver.
var refusals = netip.MustParsePrefix("127.255.255.0/24")

func (f resolverFacts) all() []*dns.Answer {
	out := append([]*dns.Answer{f.rootNS}, f.noSuch...)
	if f.longPlain != nil {
		out = append(out, f.longPlain)
	}
	for _, a := range f.types {
		out = append(out, a)
	}
	return out
}

func (c *Case) tryResolver(ctx context.Context, server string) resolverFacts {
	client := &dns.Client{Timeout: c.Timeout}
	defer client.Close()
	ask := func(q dns.Question) *dns.Answer {
		q.Recurse = true
		return client.Query(ctx, server, q)
	}
	label := "doctor-" + strings.ToLower(rand.Text())[:12]
	f := resolverFacts{types: map[dns.Type]*dns.Answer{}}
	f.rootNS = ask(dns.Question{Name: ".", Type: dns.NS})
	f.noSuch = append(f.noSuch, ask(dns.Question{Name: label + ".com", Type: dns.A}))
	if dead := dns.Timeout; f.rootNS.Outcome == dead && f.noSuch[0].Outcome == dead || f.rootNS.Outcome == dns.Unreachable {
		return f // silent on the second try, too
	}
	f.noSuch = append(f.noSuch, ask(dns.Question{Name: label + ".invalid", Type: dns.A}))
	f.longPlain = ask(dns.Question{Name: ".", Type: dns.DNSKEY, Plain: true, DNSSEC: true})
	for _, d := range c.domains() {
		if needsDNS(d) {
			for _, t := range []dns.Type{dns.A, dns.MX, dns.TXT} {
				f.types[t] = ask(dns.Question{Name: d, Type: t})
			}
			break
		}
	}
	if c.Stage >= Internet {
		for _, l := range testLists {
			f.lists = append(f.lists, ask(dns.Question{Name: testPoint[l] + l, Type: dns.A}))
		}
	}
	return f
}

// judgeResolver gives the most basic fault of a resolver, and what else is
// worth knowing of one that works.
func judgeResolver(server string, f resolverFacts) []diag.Finding {
	one := func(id string, ev diag.Evidence) []diag.Finding {
		return []diag.Finding{diag.New(id, server, ev)}
	}
	all := f.all()
	every := func(o dns.Outcome) bool {
		return !slices.ContainsFunc(all, func(a *dns.Answer) bool { return a.Outcome != o })
	}
	switch {
	case f.rootNS.Outcome == dns.Unreachable:
		return one("resolver.unreachable", diag.Evidence{"reason": errorText(f.rootNS.Err)})
	case every(dns.Timeout):
		return one("resolver.silent", nil)
	case every(dns.ServFail):
		return one("resolver.servfail", nil)
	case every(dns.Refused):
		return one("resolver.refused", nil)
	}
	var out []diag.Finding
	for _, a := range f.noSuch {
		if a.Outcome == dns.Answered {
			var addrs []string
			for _, r := range a.Records {
				addrs = append(addrs, r.Addr.String())
			}
			out = append(out, diag.New("resolver.rewrites_nxdomain", server, diag.Evidence{"name": a.Name, "addresses": addrs}))
			break
		}
	}
	if f.longPlain != nil && f.longPlain.Outcome == dns.TruncatedNoTCP {
		out = append(out, diag.New("resolver.no_tcp", server, diag.Evidence{"reason": errorText(f.longPlain.Err)}))
	}
	if a := f.types[dns.A]; a != nil && a.Outcome.Found() {
		var missing []string
		for _, t := range []dns.Type{dns.MX, dns.TXT} {
			switch f.types[t].Outcome {
			case dns.Timeout, dns.Malformed, dns.Refused:
				missing = append(missing, string(t))
			}
		}
		if len(missing) > 0 {
			out = append(out, diag.New("resolver.no_type", server, diag.Evidence{"types": missing, "name": a.Name}))
		}
	}
	if m := median(all); m > time.Second {
		out = append(out, diag.New("resolver.slow", server, diag.Evidence{"ms": m.Milliseconds()}))
	}
	if refused, answer := listsRefuse(f.lists); len(refused) > 0 {
		// A note: this version uses no block lists to judge mail by.
		out = append(out, diag.New("resolver.dnsbl_refused", server, diag.Evidence{"lists": refused, "answer": answer}).As(diag.Info))
	}
	if a := addrOf(server); a.IsPrivate() || a.IsLinkLocalUnicast() || shared.Contains(a) {
		out = append(out, diag.New("resolver.forwarder", server, nil))
	}
	return out
}

// listsRefuse names the block lists that answer their test point with a refusal.
func listsRefuse(answers []*dns.Answer) (refused []string, answer string) {
	for i, a := range answers {
		for _, r := range a.Records {
			if refusals.Contains(r.Addr) {
				refused, answer = append(refused, testLists[i]), r.Addr.String()
				break
			}
		}
	}
	return refused, answer
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// median of the times of those that answered.
func median(all []*dns.Answer) time.Duration {
	var times []time.Duration
	for _, a := range all {
		if a.Outcome != dns.Timeout {
			times = append(times, a.RTT)
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// oneDead softens the fault of a resolver when another one works.
func oneDead(each [][]diag.Finding) []diag.Finding {
	dead := func(fs []diag.Finding) bool {
		return len(fs) == 1 && slices.Contains(deadResolver, fs[0].ID)
	}
	alive := slices.ContainsFunc(each, func(fs []diag.Finding) bool { return !dead(fs) })
	var out []diag.Finding
	for _, fs := range each {
		if dead(fs) && alive {
			ev := diag.Evidence{"fault": strings.TrimPrefix(fs[0].ID, "resolver.")}
			out = append(out, diag.New("resolver.one_dead", fs[0].Subject, ev))
			continue
		}
		out = append(out, fs...)
	}
	return out
}
