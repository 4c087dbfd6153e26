package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

func init() {
	register(Check{Name: "hostname", Stage: Local, Limit: 30 * time.Second, After: []string{"resolver"}, Run: needsConfig("hostname", hostname)})
}

func hostname(ctx context.Context, c *Case) []diag.Finding {
	name := c.hostname()
	if name == "" || c.site != nil && c.site.listener == nil {
		return []diag.Finding{nothing} // config.no_hostname, or nobody is greeted
	}
	out := judgeHostname(name, c.site != nil || c.Config.Open())
	for _, f := range out {
		if c.site != nil {
			f.Evidence["server"], f.Evidence["setting"] = c.site.product, hostSetting[c.site.product]
		}
	}
	if len(out) > 0 || c.Stage < Internet || c.LocalOnly() || c.Has(deadResolver...) != "" {
		return out
	}
	return c.hostnameInDNS(ctx, name)
}

// judgeHostname looks at the form of the name in greetings. Only the most basic
// fault is reported.
func judgeHostname(name string, open bool) []diag.Finding {
	one := func(id string, ev diag.Evidence) []diag.Finding {
		ev["hostname"], ev["setting"] = name, "hostname"
		return []diag.Finding{diag.New(id, name, ev)}
	}
	lower := strings.ToLower(strings.TrimSuffix(name, "."))
	if bad := badCharacters(name); len(bad) > 0 && !bareAddress(strings.Trim(name, "[]")) {
		return one("hostname.bad_characters", diag.Evidence{"characters": bad})
	}
	switch {
	case name == "":
		return nil
	case bareAddress(strings.Trim(name, "[]")):
		return one("hostname.is_address", diag.Evidence{})
	case lower == "localhost":
		f := one("hostname.localhost", diag.Evidence{"open": open})
		if open {
			f[0].Status = diag.Fail
		}
		return f
	case !strings.Contains(lower, "."):
		return one("hostname.not_fqdn", diag.Evidence{})
	}
	for _, suffix := range []string{".local", ".lan", ".home", ".internal", ".localdomain", ".home.arpa"} {
		if strings.HasSuffix(lower, suffix) {
			return one("hostname.private_suffix", diag.Evidence{"suffix": suffix})
		}
	}
	return nil
}

// badCharacters lists what must not stand in a host name, each with its
// position, counted from 1.
func badCharacters(name string) []string {
	var out []string
	for i, r := range []rune(name) {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && r != '-' && r != '.' {
			out = append(out, fmt.Sprintf("%d: %q (%U)", i+1, r, r))
		}
	}
	return out
}

// deadResolver are the findings after which the DNS says nothing.
var deadResolver = []string{"env.no_address", "resolver.none", "resolver.unreachable", "resolver.silent", "resolver.servfail", "resolver.refused"}

// hostnameInDNS asks where the host name leads.
func (c *Case) hostnameInDNS(ctx context.Context, name string) []diag.Finding {
	client := &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}
	defer client.Close()
	var found []string
	var elsewhere bool
	for _, t := range []dns.Type{dns.A, dns.AAAA} {
		a := client.Lookup(ctx, name, t)
		if !a.Outcome.Found() {
			return nil // the resolver check and check-mx say what is wrong
		}
		for _, r := range a.Records {
			found = append(found, r.Addr.String())
		}
	}
	if len(found) == 0 {
		return []diag.Finding{diag.New("hostname.not_resolving", name, diag.Evidence{"hostname": name})}
	}
	mine := c.public()
	elsewhere = len(mine) > 0 && !slices.ContainsFunc(mine, func(a netip.Addr) bool { return slices.Contains(found, a.String()) })
	if !elsewhere {
		return nil
	}
	return []diag.Finding{diag.New("hostname.elsewhere", name, diag.Evidence{"hostname": name, "addresses": found, "own": texts(mine)})}
}

// public are the addresses under which others reach this server, as far as they
// are known: given by option, or this machine's own that are not private.
func (c *Case) public() []netip.Addr {
	if len(c.Expect) > 0 {
		return c.Expect
	}
	return slices.DeleteFunc(slices.Clone(c.Addresses), func(a netip.Addr) bool { return !routable(a) })
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: between a provider and its customers

func routable(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) }

func texts(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}
