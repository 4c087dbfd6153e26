package checkmx

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
	"mailsrv/probes/https"
)

// dkimSelectors are the names that keys commonly stand at.
var dkimSelectors = []string{
	"default", "mail", "dkim", "s1", "s2", "k1", "k2", "k3", "google", "selector1", "selector2", "smtp", "mx", "key1", "fm1", "fm2", "fm3",
	"protonmail", "protonmail2", "protonmail3", "mxvault", "everlytickey1", "everlytickey2", "20230601", "mailsrv",
}

// DKIMKey is what stands at one selector.
type DKIMKey struct {
	Selector string
	Answer   *dns.Answer // TXT at SELECTOR._domainkey.DOMAIN
}

func (c *Checker) collectDKIM(ctx context.Context, f *Facts) {
	names := slices.Concat(c.opt.Selectors, dkimSelectors)
	seen := map[string]bool{}
	for _, n := range names {
		if n = dns.Name(n); !seen[n] {
			seen[n] = true
			f.DKIM = append(f.DKIM, &DKIMKey{Selector: n})
		}
	}
	var wg sync.WaitGroup
	for _, k := range f.DKIM {
		wg.Go(func() { k.Answer = c.lookup.Lookup(ctx, k.Selector+"._domainkey."+f.Domain, dns.TXT) })
	}
	wg.Wait()
}

// MTASTS is what stands at _mta-sts, and the policy file it announces.
type MTASTS struct {
	Answer *dns.Answer
	Texts  []string
	Near   []string
	Host   *Host         // mta-sts.DOMAIN
	File   *https.Result // nil when there was nothing to fetch
}

const policyPath = "/.well-known/mta-sts.txt"

func (c *Checker) collectMTASTS(ctx context.Context, f *Facts) {
	m := &MTASTS{Answer: c.lookup.Lookup(ctx, "_mta-sts."+f.Domain, dns.TXT)}
	f.MTASTS = m
	m.Texts, m.Near = sortTexts(m.Answer, record.IsMTASTS, record.LooksLikeMTASTS)
	if len(m.Texts) != 1 {
		return
	}
	m.Host = &Host{Name: "mta-sts." + f.Domain}
	c.resolve(ctx, m.Host)
	if len(m.Host.public()) == 0 {
		return
	}
	opt := https.Options{Dialer: c.dialer, Timeout: c.opt.Timeout, RootCAs: c.opt.RootCAs, Now: c.opt.Now}
	for _, a := range m.Host.public() {
		opt.Addrs = append(opt.Addrs, a.IP)
	}
	m.File = https.Get(ctx, m.Host.Name, policyPath, opt)
}

// sortTexts separates the records of one kind from those that were meant as
// such.
func sortTexts(a *dns.Answer, is, near func(string) bool) (texts, nears []string) {
	for _, r := range a.Records {
		switch {
		case is(r.Text):
			texts = append(texts, r.Text)
		case near(r.Text):
			nears = append(nears, r.Text)
		}
	}
	return texts, nears
}

// collectDANE looks up the TLSA records of the mail hosts. Where the host is an
// alias, the name it stands for is asked, too, RFC 7672 section 2.2.2.
func (c *Checker) collectDANE(ctx context.Context, f *Facts) {
	var wg sync.WaitGroup
	for _, h := range f.Hosts {
		if h.Form != "" || len(h.public()) == 0 {
			continue
		}
		wg.Go(func() {
			h.TLSA = c.lookup.Lookup(ctx, tlsaName(h.Name), dns.TLSA)
			if h.TLSA.Outcome.Found() && len(h.TLSA.Records) == 0 && len(h.A.Chain) > 0 {
				h.TLSA = c.lookup.Lookup(ctx, tlsaName(h.A.Canonical()), dns.TLSA)
			}
		})
	}
	wg.Wait()
}

func tlsaName(host string) string { return "_25._tcp." + host }

// Listing is what one block list says about an address or the domain.
type Listing struct {
	Zone    string
	About   string // the address, or the domain
	Domain  bool
	Answer  *dns.Answer
	Reason  *dns.Answer // TXT, asked when listed
	Control *dns.Answer // the point that must never be listed, asked when listed
}

// Block lists asked unless the caller names others.
var (
	ipLists     = []string{"zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com"}
	domainLists = []string{"dbl.spamhaus.org"}
)

func (c *Checker) collectDNSBL(ctx context.Context, f *Facts) {
	ips, domains := ipLists, domainLists
	if len(c.opt.DNSBL) > 0 {
		ips, domains = c.opt.DNSBL, c.opt.DNSBL
	}
	f.addrsOnce(func(_ *Host, a *Addr) {
		for _, z := range ips {
			f.Listings = append(f.Listings, &Listing{Zone: z, About: a.IP.String()})
		}
	})
	for _, z := range domains {
		f.Listings = append(f.Listings, &Listing{Zone: z, About: f.Domain, Domain: true})
	}
	var wg sync.WaitGroup
	for _, l := range f.Listings {
		wg.Go(func() { c.askList(ctx, l) })
	}
	wg.Wait()
}

// askList asks a list, and when it says yes, whether it says yes to everything.
func (c *Checker) askList(ctx context.Context, l *Listing) {
	name, control := l.About, "invalid" // RFC 5782 section 5
	if !l.Domain {
		name, control = listName(netip.MustParseAddr(l.About)), listName(netip.MustParseAddr("127.0.0.1"))
	}
	l.Answer = c.lookup.Lookup(ctx, name+"."+l.Zone, dns.A)
	if len(l.Answer.Records) > 0 {
		l.Reason = c.lookup.Lookup(ctx, name+"."+l.Zone, dns.TXT)
		l.Control = c.lookup.Lookup(ctx, control+"."+l.Zone, dns.A)
	}
}

// listName is an address the way block lists are asked for it.
func listName(a netip.Addr) string {
	name := dns.ReverseName(a)
	for _, suffix := range []string{".in-addr.arpa", ".ip6.arpa"} {
		if n := len(name) - len(suffix); n > 0 && name[n:] == suffix {
			return name[:n]
		}
	}
	return name
}

// Client is what mail programs look for when they set themselves up.
type Client struct {
	SRV  []*Service
	Auto []*Host // autoconfig, autodiscover
}

// Service is one SRV name.
type Service struct {
	Name    string
	Answer  *dns.Answer
	Targets map[string]*Host
}

var (
	clientServices = []string{"_submissions._tcp", "_submission._tcp", "_imaps._tcp", "_imap._tcp", "_pop3s._tcp", "_pop3._tcp", "_autodiscover._tcp"}
	clientHosts    = []string{"autoconfig", "autodiscover"}
)

func (c *Checker) collectClient(ctx context.Context, f *Facts) {
	k := &Client{}
	f.Client = k
	var wg sync.WaitGroup
	for _, name := range clientServices {
		s := &Service{Name: name + "." + f.Domain, Targets: map[string]*Host{}}
		k.SRV = append(k.SRV, s)
		wg.Go(func() {
			s.Answer = c.lookup.Lookup(ctx, s.Name, dns.SRV)
			for _, r := range s.Answer.Records {
				if r.Host != "." && s.Targets[r.Host] == nil {
					h := &Host{Name: r.Host}
					c.resolve(ctx, h)
					s.Targets[r.Host] = h
				}
			}
		})
	}
	for _, label := range clientHosts {
		h := &Host{Name: label + "." + f.Domain}
		k.Auto = append(k.Auto, h)
		wg.Go(func() { c.resolve(ctx, h) })
	}
	wg.Wait()
}

// day is how a date stands in texts.
func day(t time.Time) string { return t.UTC().Format(dateLayout) }
