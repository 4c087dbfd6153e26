package checkmx

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"mailsrv/probes/dns"
)

// collect measures everything that the wanted families need. Independent
// questions are asked at the same time. The domain's name servers are taken as
// known when given.
func (c *Checker) collect(ctx context.Context, domain string, known *NS) *Facts {
	f := &Facts{}
	f.Domain, f.Invalid = normalize(domain)
	if f.Invalid != "" {
		return f
	}
	f.MX = c.lookup.Lookup(ctx, f.Domain, dns.MX)
	f.Resolver = f.MX.Server
	if !f.MX.Outcome.Found() {
		c.collectFailure(ctx, f)
		return f
	}
	if f.stopped() {
		return f
	}
	var wg sync.WaitGroup
	ask := func(family string, work func()) { f.guard(&wg, family, work) }
	ask("mx", func() {
		c.collectHosts(ctx, f)
		if c.want("dane") {
			ask("dane", func() { c.collectDANE(ctx, f) })
		}
		if c.want("dnsbl") {
			ask("dnsbl", func() { c.collectDNSBL(ctx, f) })
		}
		c.collectAddrs(ctx, f)
	})
	ask("dns", func() { f.Random = c.lookup.Lookup(ctx, c.random+"."+f.Domain, dns.TXT) })
	for _, t := range []struct {
		families []string
		work     func()
	}{
		{[]string{"ns", "dns"}, func() {
			if f.NS = known; known == nil {
				c.collectNS(ctx, f)
			}
		}},
		{[]string{"spf", "dmarc", "dns"}, func() { f.TXT = c.lookup.Lookup(ctx, f.Domain, dns.TXT) }},
		{[]string{"spf"}, func() { c.collectSPF(ctx, f) }},
		{[]string{"dmarc", "bimi"}, func() { c.collectDMARC(ctx, f) }},
		{[]string{"dkim"}, func() { c.collectDKIM(ctx, f) }},
		{[]string{"bimi"}, func() { f.BIMI = c.lookup.Lookup(ctx, "default._bimi."+f.Domain, dns.TXT) }},
		{[]string{"mtasts"}, func() { c.collectMTASTS(ctx, f) }},
		{[]string{"tlsrpt"}, func() { f.TLSRPT = c.lookup.Lookup(ctx, "_smtp._tls."+f.Domain, dns.TXT) }},
		{[]string{"client"}, func() { c.collectClient(ctx, f) }},
	} {
		if c.want(t.families...) && !(f.null() && slices.Contains(onlyForMail, t.families[0])) {
			ask(t.families[0], t.work)
		}
	}
	if c.want("dnssec") && !f.MX.AD {
		ask("dnssec", func() { f.DS = c.lookup.Lookup(ctx, f.Domain, dns.DS) })
	}
	wg.Wait()
	f.OutOfTime = over(ctx)
	return f
}

// onlyForMail are families that matter only to a domain that takes mail.
var onlyForMail = []string{"mtasts", "tlsrpt", "client"}

// guard does a piece of the work; if it crashes, that is noted and the others
// go on.
func (f *Facts) guard(wg *sync.WaitGroup, family string, work func()) {
	wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.Crashed == nil {
					f.Crashed = map[string]string{}
				}
				f.Crashed[family] = fmt.Sprint(p)
			}
		}()
		work()
	})
}

// collectFailure finds out why the domain's MX could not be asked for.
func (c *Checker) collectFailure(ctx context.Context, f *Facts) {
	switch f.MX.Outcome {
	case dns.ServFail:
		f.Unchecked = c.client.LookupQuestion(ctx, dns.Question{Name: f.Domain, Type: dns.MX, Recurse: true, NoCheck: true})
		if f.bogus() {
			return
		}
	case dns.Timeout, dns.Unreachable:
		if f.ResolverDead = c.dead(ctx, f.Domain); f.ResolverDead {
			return
		}
	default:
		return
	}
	if c.want("ns") {
		c.collectNS(ctx, f) // who is to blame
	}
}

// dead tells that the resolver answers nothing, whatever it is asked.
func (c *Checker) dead(ctx context.Context, domain string) bool {
	silent := func(name string) bool {
		a := c.lookup.Lookup(ctx, name, dns.NS)
		return a.Outcome == dns.Timeout || a.Outcome == dns.Unreachable
	}
	var top bool
	var wg sync.WaitGroup
	wg.Go(func() { top = silent(domain[strings.LastIndexByte(domain, '.')+1:]) })
	root := silent(".")
	wg.Wait()
	return root && top
}

// collectHosts looks up the mail hosts and their addresses.
func (c *Checker) collectHosts(ctx context.Context, f *Facts) {
	byName := map[string]*Host{}
	for _, r := range f.MX.Records {
		if r.Host == "." {
			continue
		}
		h := byName[r.Host]
		if h == nil {
			h = &Host{Name: r.Host, Preference: r.Preference, Form: hostForm(r.Host, f.Domain)}
			byName[r.Host] = h
			f.Hosts = append(f.Hosts, h)
		}
		h.Times++
		h.Preference = min(h.Preference, r.Preference)
	}
	if len(f.MX.Records) == 0 {
		f.Apex = &Host{Name: f.Domain, Implicit: true, Times: 1}
		c.resolve(ctx, f.Apex)
		if f.Apex.exists() && (len(f.Apex.Addrs) > 0 || !f.Apex.resolved()) {
			f.Hosts = append(f.Hosts, f.Apex)
		}
	}
	slices.SortStableFunc(f.Hosts, func(a, b *Host) int {
		return cmp.Or(cmp.Compare(a.Preference, b.Preference), cmp.Compare(a.Name, b.Name))
	})
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		if h.A == nil && (h.Form == "" || h.Form == formName) {
			wg.Go(func() { c.resolve(ctx, h) })
		}
		if ip, ok := literal(h.Name, f.Domain); ok && h.Form == formAddress {
			h.Literal = &Addr{IP: ip, Kind: addressKind(ip, c.opt.Map)}
			wg.Go(func() { c.collectPTR(ctx, h.Literal) })
		}
	}
	wg.Wait()
	f.shareAddrs()
	for _, h := range f.Hosts {
		if !h.exists() {
			wg.Go(func() { c.collectOwner(ctx, h) })
		}
		if doubled(h.Name, f.Domain) && f.RandomA == nil {
			f.RandomA = c.lookup.Lookup(ctx, c.random+"."+f.Domain, dns.A)
		}
	}
	wg.Wait()
	for _, h := range f.Hosts {
		if h.Form == "" && doubled(h.Name, f.Domain) && f.wild(h) {
			h.Form = formDoubled // whoever has that address is not the mail host
		}
	}
}

// resolve looks up a host's addresses.
func (c *Checker) resolve(ctx context.Context, h *Host) {
	var wg sync.WaitGroup
	wg.Go(func() { h.AAAA = c.lookup.Lookup(ctx, h.Name, dns.AAAA) })
	h.A = c.lookup.Lookup(ctx, h.Name, dns.A)
	wg.Wait()
	for _, r := range slices.Concat(h.A.Records, h.AAAA.Records) {
		if r.Addr.IsValid() {
			h.Addrs = append(h.Addrs, &Addr{IP: r.Addr, Kind: addressKind(r.Addr, c.opt.Map)})
		}
	}
}

// shareAddrs makes hosts with an address in common share its struct.
func (f *Facts) shareAddrs() {
	byIP := map[netip.Addr]*Addr{}
	for _, h := range f.Hosts {
		for i, a := range h.Addrs {
			if had := byIP[a.IP]; had != nil {
				h.Addrs[i] = had
			} else {
				byIP[a.IP] = a
			}
		}
	}
}

// collectOwner asks whether the domain that a missing host lies in exists.
func (c *Checker) collectOwner(ctx context.Context, h *Host) {
	missing := missingName(h)
	owner, err := publicsuffix.EffectiveTLDPlusOne(missing)
	if err != nil {
		return
	}
	h.Owner = c.lookup.Lookup(ctx, owner, dns.NS)
	if h.Owner.Outcome == dns.NXDomain {
		suffix := owner[strings.IndexByte(owner, '.')+1:]
		h.TLD = c.lookup.Lookup(ctx, suffix, dns.NS)
	}
}

// missingName is the name that does not exist: the host, or what its CNAME
// leads to.
func missingName(h *Host) string {
	if h.A.Outcome == dns.NXDomain {
		return h.A.Canonical()
	}
	return h.AAAA.Canonical()
}
