// Package checkmx looks at a domain as another mail server sees it: its DNS,
// its mail hosts, its sender policies.
//
// A check has two halves that never mix. Collectors (collect*.go) measure into
// one plain struct, Facts. Judges (one file per family: mx.go, spf.go, ...)
// read the facts and give findings. A new check is a judge in the list of
// families, and a collector if it needs facts that nobody has measured yet.
//
// Two rules run through all judges: a cause is reported once and what follows
// from it is not, and what could not be asked is never reported as missing.
package checkmx

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
)

// Options say how to check. Resolvers are required.
type Options struct {
	Resolvers []string       // addr:port, asked in order
	Map       *dial.Map      // leads every connection but those to the resolvers elsewhere; nil: none
	Timeout   time.Duration  // of one network step; 0: 5 s. A domain ends within six of them
	RootCAs   *x509.CertPool // nil: the system's
	NoSMTP    bool           // ask the mail hosts nothing
	Authority bool           // ask each zone's own servers instead of a resolver's cache
	SMTPPort  int            // 0: 25
	Helo      string         // our name in EHLO; empty: this machine's
	Expect    []netip.Addr   // the addresses this server has in public
	Selectors []string       // DKIM selectors to try beside the common ones
	DNSBL     []string       // block lists to ask instead of the usual ones
	Only      []string       // families to check; empty: all
	Skip      []string       // families to leave out
	Now       time.Time      // zero: the present
}

// budget is the time a domain gets, in half time-outs.
const budget = 11

// What is kept for later domains of a bulk run, at most.
const (
	maxCached = 20000 // answers
	maxProbes = 2000  // mail hosts
)

// Checker checks domains and shares what it learnt between them. It is safe for
// concurrent use.
type Checker struct {
	opt    Options
	client *dns.Client // the resolvers
	lookup *dns.Cache  // the same, each question once
	dialer dial.Dialer // what is not a resolver
	direct *dns.Client // for questions to the domain's own servers
	random string      // a label that nobody has

	probes *shared[netip.AddrPort, *SMTP]
}

// New makes a Checker.
func New(opt Options) *Checker {
	if opt.Timeout <= 0 {
		opt.Timeout = 5 * time.Second
	}
	if opt.SMTPPort == 0 {
		opt.SMTPPort = 25
	}
	c := &Checker{opt: opt, dialer: dial.System, random: randomLabel(), probes: newShared[netip.AddrPort, *SMTP](maxProbes)}
	if opt.Map != nil {
		c.dialer = opt.Map
	}
	c.direct = &dns.Client{Dialer: c.dialer, Timeout: opt.Timeout}
	c.client = &dns.Client{Servers: opt.Resolvers, Timeout: opt.Timeout}
	c.lookup = dns.NewCache(c.client, maxCached)
	if opt.Authority {
		c.lookup = dns.NewCache(&authority{c: c, resolver: c.lookup, servers: newShared[string, []string](maxProbes)}, maxCached)
	}
	return c
}

// Close gives back what is kept for the next domain.
func (c *Checker) Close() { c.client.Close() }

// Check looks at one domain. It ends within six time-outs.
func (c *Checker) Check(ctx context.Context, domain string) *Report {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout*budget/2)
	defer cancel()
	return c.report(c.current(ctx, c.collect(ctx, domain, nil)))
}

// want tells whether a family is to be checked.
func (c *Checker) want(families ...string) bool {
	return slices.ContainsFunc(families, func(name string) bool {
		return (len(c.opt.Only) == 0 || slices.Contains(c.opt.Only, name)) && !slices.Contains(c.opt.Skip, name)
	})
}

func (c *Checker) now() time.Time {
	if c.opt.Now.IsZero() {
		return time.Now()
	}
	return c.opt.Now
}

// Report is the document of one domain.
type Report struct {
	Domain   string         `json:"domain"`
	MX       []MX           `json:"mx"`
	Records  []Record       `json:"records"`
	Findings []diag.Finding `json:"findings"`
	Publish  []Publish      `json:"publish"`
	Summary  diag.Summary   `json:"summary"`

	Facts *Facts `json:"-"`
}

// MX is one mail host of a report.
type MX struct {
	Host       string   `json:"host"`
	Preference uint16   `json:"preference"`
	Addresses  []string `json:"addresses,omitempty"`
	Banner     string   `json:"banner,omitempty"`
	TLS        string   `json:"tls,omitempty"`
}

// Record is one record that the check looked at.
type Record struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	TTL   uint32 `json:"ttl"`
	Value string `json:"value"`
}

// Publish is one record the domain should have. Finding names the id it
// answers, or the family's ok when it stands already.
type Publish struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Value   string `json:"value"`
	Why     string `json:"why"`
	Finding string `json:"finding"`
}

// Localize fills in the texts.
func (r *Report) Localize(lang codes.Lang) error {
	for i, p := range r.Publish {
		if t := codes.FindingOf(p.Finding); t != nil {
			r.Publish[i].Why = lang.Pick(t.En.Meaning, t.Ja.Meaning)
		}
	}
	return diag.Localize(r.Findings, lang)
}

// Unknown tells that nothing was found wrong, but not everything could be found
// out either.
func (r *Report) Unknown() bool {
	return r.Summary.Fail+r.Summary.Warn == 0 && r.Summary.Skip > 0
}

// Families are the names for Only and Skip, in the order of judging.
func Families() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// family is one group of findings. A judge that had nothing to look at says so
// by leaving j.ran false; one that found nothing wrong gets its family's ok.
type family struct {
	name  string
	judge func(j *judge)
}

// families stand in the order nearest to the cause first.
var families = []family{
	{"domain", judgeDomain},
	{"dns", judgeDNS},
	{"dnssec", judgeDNSSEC},
	{"ns", judgeNS},
	{"mx", judgeMX},
	{"ptr", judgePTR},
	{"helo", judgeHELO},
	{"smtp", judgeSMTP},
	{"tls", judgeTLS},
	{"spf", judgeSPF},
	{"dmarc", judgeDMARC},
	{"dkim", judgeDKIM},
	{"mtasts", judgeMTASTS},
	{"tlsrpt", judgeTLSRPT},
	{"dane", judgeDANE},
	{"bimi", judgeBIMI},
	{"dnsbl", judgeDNSBL},
	{"client", judgeClient},
}

// judge collects the findings of one family.
type judge struct {
	*Facts
	opt *Options
	now time.Time
	ran bool
	out []diag.Finding
	pub []Publish

	// How the one record of the family must change, and the findings that say
	// so: see spfFix.
	mended     []string
	spfEdits   []func(*record.SPF) *record.SPF
	dmarcEdits []func(*record.DMARC) *record.DMARC
}

// add gives a finding with its usual status.
func (j *judge) add(id, subject string, ev diag.Evidence) *diag.Finding {
	j.ran = true
	for i := range j.out {
		if j.out[i].ID == id && j.out[i].Subject == subject { // one finding per id and subject
			return &j.out[i]
		}
	}
	j.out = append(j.out, diag.New(id, subject, ev))
	return &j.out[len(j.out)-1]
}

// publish says that the domain should have a record.
func (j *judge) publish(finding, name, typ, value string) {
	j.pub = append(j.pub, Publish{Name: dot(name), Type: typ, Value: value, Finding: finding})
}

// instead are notes that take the place of a family's ok: nothing is wrong, but
// there was nothing to look at either.
var instead = []string{"mx.null", "ns.unknown", "mtasts.missing", "tlsrpt.missing", "dane.missing", "dkim.none_found", "dnssec.unsigned", "client.srv_missing", "client.autoconfig_missing"}

// always are the families to judge even when the domain's MX could not be had.
var always = []string{"domain", "dns", "dnssec", "ns"}

// obstacles are those of them that can be why.
var obstacles = []string{"domain", "dns", "dnssec"}

func (c *Checker) report(f *Facts) *Report {
	r := &Report{Domain: f.Domain, MX: []MX{}, Records: f.records(), Findings: []diag.Finding{}, Publish: []Publish{}, Facts: f}
	for _, h := range f.Hosts {
		r.MX = append(r.MX, h.row())
	}
	for _, fam := range families {
		// What keeps all others from being judged is said even when it was not
		// asked for: a domain nothing is known about must not look healthy.
		unasked := !c.want(fam.name)
		if unasked && !(f.stopped() && slices.Contains(obstacles, fam.name)) || f.stopped() && !slices.Contains(always, fam.name) {
			continue
		}
		j := c.judge(f, fam)
		if unasked {
			j.out = slices.DeleteFunc(j.out, func(x diag.Finding) bool { return x.Status != diag.Fail && x.Status != diag.Skip })
		}
		r.Findings = append(r.Findings, j.out...)
		r.Publish = append(r.Publish, j.pub...)
	}
	if f.OutOfTime {
		r.Findings = append(r.Findings, diag.New("domain.out_of_time", f.Domain, diag.Evidence{"seconds": (c.opt.Timeout * budget / 2).Seconds()}))
	}
	diag.Sort(r.Findings)
	r.Summary = diag.Summarize(r.Findings)
	return r
}

// judge runs one family's judge, and survives it.
func (c *Checker) judge(f *Facts, fam family) (j *judge) {
	j = &judge{Facts: f, opt: &c.opt, now: c.now()}
	crashed := func(what string) {
		j.out = []diag.Finding{diag.New("domain.check_crashed", fam.name, diag.Evidence{"domain": f.Domain, "panic": what})}
		j.pub = nil
	}
	if what, ok := f.Crashed[fam.name]; ok {
		crashed(what)
		return j
	}
	defer func() {
		if p := recover(); p != nil {
			crashed(fmt.Sprint(p))
		}
	}()
	fam.judge(j)
	if j.ran && !slices.ContainsFunc(j.out, notOK) {
		j.out = append(j.out, diag.New(fam.name+".ok", f.Domain, nil))
	}
	return j
}

func notOK(f diag.Finding) bool {
	return f.Status != diag.Info || slices.Contains(instead, f.ID)
}

// Station is one line of the path that mail takes: a mail host and one of its
// addresses, with what stands behind it.
type Station struct {
	Host       string
	Preference uint16
	Address    string
	PTR        string
	TLS        string
}

// Path lists the stations in the order in which senders try them.
func (r *Report) Path() []Station {
	var out []Station
	for _, h := range r.Facts.Hosts {
		if len(h.Addrs) == 0 {
			out = append(out, Station{Host: h.Name, Preference: h.Preference})
		}
		for _, a := range h.Addrs {
			s := Station{Host: h.Name, Preference: h.Preference, Address: a.IP.String(), TLS: a.SMTP.row()}
			switch {
			case a.PTR == nil:
			case len(a.PTR.Records) > 0:
				s.PTR = a.PTR.Records[0].Host
			case a.PTR.Outcome.Found():
				s.PTR = "no PTR"
			default:
				s.PTR = string(a.PTR.Outcome)
			}
			out = append(out, s)
		}
	}
	return out
}
