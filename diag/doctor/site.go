package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"mailsrv/probes/mta"
	"mailsrv/server/config"
)

// site is what a machine without a configuration of mailsrv is a mail server
// for: what its own mail server says.
type site struct {
	product  string
	hostname string
	domains  []string
	receives bool             // it takes mail for the domains, from others
	listener *config.Listener // where others reach its SMTP; nil: nowhere
}

// siteChecks are those that need to know the site.
var siteChecks = []string{"resolver", "hostname", "domains", "reach"}

// findSite asks the mail servers of other makers, where mailsrv has no
// configuration of its own and the stage looks beyond this machine.
func (c *Case) findSite(ctx context.Context) {
	find := c.Foreign
	if find == nil {
		find = mta.System{Now: c.Now}.Find
	}
	all := sync.OnceValue(func() []mta.Server { return find(ctx) })
	c.Foreign = func(context.Context) []mta.Server { return all() }
	wanted := c.Stage >= Internet || slices.ContainsFunc(c.Only, func(name string) bool { return slices.Contains(siteChecks, name) })
	if c.Host != "" || c.Config.File != "" || !c.Readable() || !wanted || slices.Contains(c.Skip, "foreign") {
		return
	}
	for _, s := range all() {
		if s.Product != mta.Dovecot && s.Running && s.Complaint == "" && (c.site == nil || c.site.listener == nil) {
			c.site = siteOf(s)
		}
	}
}

// siteOf reads a mail server's settings: the domains it takes mail for, or, of
// one that has none in DNS, the domain that its own name lies in.
func siteOf(s mta.Server) *site {
	w := &site{product: s.Product, hostname: strings.ToLower(s.Hostname)}
	for _, d := range s.Domains {
		host := d == w.hostname || slices.ContainsFunc(s.Domains, func(o string) bool { return strings.HasSuffix(d, "."+o) })
		if inDNS(d) && !host {
			w.domains = append(w.domains, d)
		}
	}
	for _, h := range s.Listen {
		ip := h.Local.Addr()
		if h.Local.Port() != 25 || ip.IsLoopback() {
			continue
		}
		l := config.Listener{Service: config.SMTP, Addr: ":25"}
		if !ip.IsUnspecified() {
			l.Addr = netip.AddrPortFrom(ip, 25).String()
		}
		if w.listener == nil || ip.IsUnspecified() {
			w.listener = &l
		}
	}
	w.receives = w.listener != nil && len(w.domains) > 0
	if len(w.domains) == 0 && inDNS(w.hostname) {
		if top, err := publicsuffix.EffectiveTLDPlusOne(w.hostname); err == nil {
			w.domains = []string{top}
		}
	}
	return w
}

// hostSetting is where each of them is told its name.
var hostSetting = map[string]string{mta.Postfix: "myhostname", mta.Exim: "primary_hostname", mta.Sendmail: "$j"}

// inDNS tells whether a name can be one of the public DNS.
func inDNS(name string) bool {
	return len(judgeHostname(name, true)) == 0 && !strings.HasPrefix(name, "localhost.")
}

// domains are those to look at: given by option, configured, or the site's.
func (c *Case) domains() []string {
	switch {
	case len(c.Domains) > 0:
		return c.Domains
	case c.site != nil:
		return c.site.domains
	}
	return c.Config.Domains
}

// hostname is the name under which this machine's mail server greets.
func (c *Case) hostname() string {
	if c.site != nil {
		return c.site.hostname
	}
	return c.Config.Hostname
}

// sends tells whether mail goes out from here.
func (c *Case) sends() bool { return c.site != nil || c.Config.Relay.Allow }

// expected are the addresses that the MX of the domains must lead to: none when
// this machine is not known to take their mail.
func (c *Case) expected() []netip.Addr {
	if c.site != nil && !c.site.receives || c.site == nil && c.Config.File == "" {
		return c.Expect
	}
	return c.public()
}
