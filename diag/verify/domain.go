package verify

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/explain"
	"mailsrv/probes/dns"
)

// Families of package checkmx by what they say about a cause.
var (
	reachable = []string{"domain", "dns", "mx"}
	signed    = []string{"spf", "dmarc", "dkim"}
	reverse   = []string{"ptr"}
	onLists   = []string{"dnsbl"}
)

// elsewhere plans what DNS can say about a cause that another server reported.
// It is false when a conversation has to tell.
func (p *Plan) elsewhere(d explain.Diagnosis) bool {
	mine := p.mine()
	switch d.Cause {
	case "blocklisted", "ptr-missing":
		if a, ok := addressIn(d.Evidence); ok {
			p.client = a
			if d.Cause == "blocklisted" {
				p.list = listIn(d.Evidence)
			}
			return !mine && (d.Cause == "ptr-missing" || p.list != "")
		}
		if mine {
			return false
		}
		families := reverse
		if d.Cause == "blocklisted" {
			families = onLists
		}
		return p.askDomain(domainOf(d, p.sender()), families)
	case "spf-dkim-dmarc":
		if a, ok := addressIn(d.Evidence); ok && !mine {
			p.client = a
		}
		return p.askDomain(domainOf(d, p.sender()), signed) && !mine
	case "sender-rejected":
		return !mine && p.askDomain(domainOf(d, p.sender()), reachable)
	case "dns-failure":
		if p.r.Context != nil && isHost(p.r.Context.Server) && mine {
			return false
		}
		return p.askDomain(domainOf(d, p.about()), reachable)
	}
	if mine {
		return false
	}
	if a, _ := p.target(d); a == nil { // nobody is named: the mail host of the recipient's domain
		if domain := domainOf(d, p.about()); domain != "" && needs[d.Cause] != needLogin {
			p.joinMX(domain, d.Cause)
			return true
		}
	}
	return false
}

// about is the recipient whom all causes are about; none in a log, where each has
// its own.
func (p *Plan) about() string {
	if p.r.Input.Kind == explain.KindLog && len(p.r.Diagnosis) > 1 {
		return ""
	}
	return p.recipient()
}

// joinMX plans to ask a domain's mail host, or adds a cause to that.
func (p *Plan) joinMX(domain, cause string) {
	_ = p.askDomain(domain, reachable)
	i := slices.IndexFunc(p.mx, func(m *mxAsk) bool { return m.domain == domain })
	if i < 0 {
		p.mx = append(p.mx, &mxAsk{domain: domain, to: firstOf(p.recipientAt(domain), "postmaster")})
		i = len(p.mx) - 1
	}
	p.mx[i].causes = append(p.mx[i].causes, cause)
}

func (p *Plan) askDomain(name string, families []string) bool {
	if name == "" {
		return false
	}
	if !slices.ContainsFunc(p.domains, func(d domainAsk) bool { return d.name == name && d.families[0] == families[0] }) {
		p.domains = append(p.domains, domainAsk{name, families})
	}
	return true
}

func (p *Plan) sender() string {
	if p.r.Context == nil {
		return ""
	}
	return p.r.Context.Sender
}

// domainOf is the domain that a cause is about: that of the command which
// verifies it, or of an address.
func domainOf(d explain.Diagnosis, address string) string {
	if v := d.Verify; v != nil && len(v.Args) == 2 && v.Args[0] == "check-mx" {
		return v.Args[1]
	}
	if _, domain, ok := strings.Cut(addressOf(address), "@"); ok && isDomain(domain) {
		return domain
	}
	return ""
}

var addressWords = regexp.MustCompile(`[0-9A-Fa-f.:]{6,}`)

// addressIn finds the public address that a server's words are about.
func addressIn(words []string) (netip.Addr, bool) {
	for _, w := range words {
		for _, s := range addressWords.FindAllString(w, 8) {
			a, err := netip.ParseAddr(strings.Trim(s, ".:"))
			if err == nil && a.IsGlobalUnicast() && !a.IsPrivate() {
				return a.Unmap(), true
			}
		}
	}
	return netip.Addr{}, false
}

// lists are the zones to ask, by the words that servers name them with. Lists
// that answer nobody without a contract are not here.
var lists = []struct{ words, zone string }{
	{"spamhaus", "zen.spamhaus.org"}, {"spamcop", "bl.spamcop.net"}, {"barracuda", "b.barracudacentral.org"},
	{"psbl", "psbl.surriel.com"}, {"mailspike", "bl.mailspike.net"}, {"uceprotect", "dnsbl-1.uceprotect.net"}, {"s5h.net", "all.s5h.net"},
}

func listIn(words []string) string {
	text := strings.ToLower(strings.Join(words, " "))
	for _, l := range lists {
		if strings.Contains(text, l.words) {
			return l.zone
		}
	}
	return ""
}

// askDNS asks all that the plan wants of DNS.
func (p *Plan) askDNS(ctx context.Context) {
	for _, d := range p.domains {
		r := p.v.domain(ctx, d)
		if r == nil {
			p.skip("explain.limit", "", "dns-failure", diag.Evidence{})
			continue
		}
		for _, f := range r.Findings {
			if f.Status != diag.Info && f.ID != "domain.ok" && f.ID != "dns.ok" || f.ID == "mx.null" {
				p.add(f)
			}
		}
	}
	for _, n := range p.names {
		p.askName(ctx, n)
	}
	if p.client.IsValid() {
		p.askClient(ctx)
	}
}

// said are the findings about one domain.
func (p *Plan) said(name string) []diag.Finding {
	var out []diag.Finding
	for _, d := range p.domains {
		if r := p.v.domains[d.key()]; r != nil && d.name == name {
			out = append(out, r.Findings...)
		}
	}
	return out
}

// askName asks every resolver by itself for a host's addresses.
func (p *Plan) askName(ctx context.Context, name string) {
	var good, none, silent, addrs []string
	for _, r := range p.v.resolvers() {
		found, outcome := false, dns.Outcome("")
		for _, t := range []dns.Type{dns.A, dns.AAAA} {
			a := p.v.lookup(ctx, r, name, t)
			for _, rec := range a.Records {
				found = true
				if s := rec.Addr.String(); !slices.Contains(addrs, s) {
					addrs = append(addrs, s)
				}
			}
			if outcome == "" || outcome.Found() {
				outcome = a.Outcome
			}
		}
		switch {
		case found:
			good = append(good, r)
		case outcome.Found():
			none = append(none, r)
		default:
			silent = append(silent, r+" ("+string(outcome)+")")
		}
	}
	ev := diag.Evidence{"name": name, "resolvers": append(slices.Clone(good), none...), "addresses": addrs}
	switch {
	case len(good) > 0 && len(none)+len(silent) > 0:
		p.add(diag.New("explain.resolvers_differ", name, diag.Evidence{"name": name, "good": good, "bad": append(none, silent...), "addresses": addrs}))
	case len(good) > 0:
		p.add(diag.New("explain.name_found", name, ev))
	case len(none) > 0:
		p.add(diag.New("explain.name_missing", name, ev))
	case len(silent) > 0:
		p.add(diag.New("explain.name_unknown", name, diag.Evidence{"name": name, "bad": silent}))
	}
}

// askClient asks for the reverse name of the address that was refused, and
// whether the list that was named has it.
func (p *Plan) askClient(ctx context.Context) {
	resolvers := p.v.resolvers()
	if len(resolvers) == 0 {
		return
	}
	subject := p.client.String()
	unknown := func(a *dns.Answer) {
		for _, d := range p.r.Diagnosis {
			if d.Cause == "ptr-missing" || d.Cause == "blocklisted" {
				p.skip("explain.no_dns", a.Server, d.Cause, diag.Evidence{"outcome": string(a.Outcome)})
			}
		}
	}
	ptr := p.v.lookup(ctx, resolvers[0], dns.ReverseName(p.client), dns.PTR)
	switch {
	case len(ptr.Records) > 0:
		p.add(diag.New("explain.ptr", subject, diag.Evidence{"name": ptr.Records[0].Host}))
	case ptr.Outcome.Found():
		p.add(diag.New("explain.ptr_missing", subject, diag.Evidence{}))
	default:
		unknown(ptr)
	}
	if p.list == "" {
		return
	}
	zone := strings.TrimSuffix(strings.TrimSuffix(dns.ReverseName(p.client), ".in-addr.arpa"), ".ip6.arpa") + "." + p.list
	a := p.v.lookup(ctx, resolvers[0], zone, dns.A)
	ev := diag.Evidence{"list": p.list, "lists": []string{p.list}}
	for _, r := range a.Records {
		ev["answer"] = r.Value
	}
	switch {
	case !a.Outcome.Found():
		unknown(a)
	case len(a.Records) == 0:
		p.add(diag.New("explain.not_listed", subject, ev))
	case refuses(a.Records):
		p.add(diag.New("dnsbl.query_blocked", p.list, ev))
	default:
		p.add(diag.New("dnsbl.ip_listed", subject, ev))
	}
}

// refuses tells a list's answer that is none: it does not serve this resolver,
// or the resolver invents addresses.
func refuses(records []dns.Record) bool {
	return !slices.ContainsFunc(records, func(r dns.Record) bool {
		return r.Addr.IsLoopback() && !netip.MustParsePrefix("127.255.255.0/24").Contains(r.Addr)
	})
}
