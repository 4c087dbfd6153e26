package checkmx

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// DMARC is what the tree walk of RFC 9989 section 4.10 found.
type DMARC struct {
	Steps []*DMARCStep // the domain itself first, then its parents
	Used  *DMARCStep   // where the policy comes from; nil: none
	Mail  []*ReportTo  // where reports go, when the domain has its own record
}

// DMARCStep is one name of the walk.
type DMARCStep struct {
	Domain string      // without _dmarc.
	Answer *dns.Answer // TXT at _dmarc.
	Texts  []string    // the DMARC records there
	Near   []string    // what was meant as one, but is none
	Record *record.DMARC
	Bad    *record.SyntaxError
}

// ReportTo is one address that reports go to.
type ReportTo struct {
	Tag    string // rua or ruf
	URI    string
	Domain string // empty: not a usable mailto: URI
	Takes  bool   // the domain takes mail, or that could not be found out
	Auth   *dns.Answer
}

const (
	maxDMARCLabels  = 8  // longer names skip to their last seven labels, RFC 9989 section 4.10
	maxDMARCReports = 10 // URIs looked at
)

func (c *Checker) collectDMARC(ctx context.Context, f *Facts) {
	d := &DMARC{}
	f.DMARC = d
	own := c.dmarcAt(ctx, f.Domain)
	d.Steps = append(d.Steps, own)
	if own.Answer.Outcome.Found() && len(own.Texts) == 0 {
		for _, name := range parents(f.Domain) {
			s := c.dmarcAt(ctx, name)
			d.Steps = append(d.Steps, s)
			if s.Record != nil && s.Record.PSD != "" && s.Record.PSD != "u" {
				break
			}
		}
	}
	d.choose()
	if d.Used == own && own.Record != nil {
		c.collectReports(ctx, f.Domain, own.Record, d)
	}
}

func (c *Checker) dmarcAt(ctx context.Context, domain string) *DMARCStep {
	s := &DMARCStep{Domain: domain, Answer: c.lookup.Lookup(ctx, "_dmarc."+domain, dns.TXT)}
	for _, r := range s.Answer.Records {
		switch {
		case record.IsDMARC(r.Text):
			s.Texts = append(s.Texts, r.Text)
		case record.LooksLikeDMARC(r.Text):
			s.Near = append(s.Near, r.Text)
		}
	}
	if len(s.Texts) == 1 {
		var err error
		if s.Record, err = record.ParseDMARC(s.Texts[0]); err != nil {
			s.Record, s.Bad = nil, err.(*record.SyntaxError)
		}
	}
	return s
}

// parents are the names of the walk above a domain.
func parents(domain string) []string {
	labels := strings.Split(domain, ".")
	if len(labels) > maxDMARCLabels {
		labels = labels[len(labels)-maxDMARCLabels:]
	}
	var out []string
	for i := 1; i < len(labels); i++ {
		out = append(out, strings.Join(labels[i:], "."))
	}
	return out
}

// choose picks the step whose policy applies: the domain's own, else that of
// the organisational domain, else that of the public suffix above it.
func (d *DMARC) choose() {
	if len(d.Steps[0].Texts) > 0 {
		d.Used = d.Steps[0]
		return
	}
	for i, s := range d.Steps[1:] {
		if s.Record == nil {
			continue
		}
		if below := d.Steps[i]; s.Record.PSD == "y" && i > 0 && below.Record != nil {
			d.Used = below // the organisation is the name just below the suffix
			return
		}
		d.Used = s // the one with the fewest labels wins
	}
}

// collectReports looks at where reports go.
func (c *Checker) collectReports(ctx context.Context, domain string, r *record.DMARC, d *DMARC) {
	add := func(tag string, uris []string) {
		for _, u := range uris[:min(len(uris), maxDMARCReports)] {
			to := &ReportTo{Tag: tag, URI: u, Takes: true}
			to.Domain, _ = record.MailtoDomain(u)
			d.Mail = append(d.Mail, to)
		}
	}
	add("rua", r.Rua)
	add("ruf", r.Ruf)
	var wg sync.WaitGroup
	for _, to := range d.Mail {
		if to.Domain == "" {
			continue
		}
		wg.Go(func() { to.Takes = c.takesMail(ctx, to.Domain) })
		if !sameOrganisation(domain, to.Domain) {
			wg.Go(func() { to.Auth = c.lookup.Lookup(ctx, domain+"._report._dmarc."+to.Domain, dns.TXT) })
		}
	}
	wg.Wait()
}

// takesMail is false only when it is known that nothing takes the domain's
// mail.
func (c *Checker) takesMail(ctx context.Context, domain string) bool {
	mx := c.lookup.Lookup(ctx, domain, dns.MX)
	switch mx.Outcome {
	case dns.NXDomain:
		return false
	case dns.Answered:
		return len(mx.Records) > 1 || mx.Records[0].Host != "."
	case dns.NoData:
		h := &Host{Name: domain}
		c.resolve(ctx, h)
		return len(h.Addrs) > 0 || !h.resolved()
	}
	return true
}

// sameOrganisation tells that two domains belong together: one is below the
// other, or both are below one registered domain.
func sameOrganisation(a, b string) bool {
	if below(a, b) || below(b, a) {
		return true
	}
	oa, err1 := publicsuffix.EffectiveTLDPlusOne(a)
	ob, err2 := publicsuffix.EffectiveTLDPlusOne(b)
	return err1 == nil && err2 == nil && oa == ob
}
