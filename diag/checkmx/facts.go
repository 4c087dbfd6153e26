package checkmx

import (
	"net/netip"
	"slices"
	"sync"

	"mailsrv/probes/dns"
)

// Facts is everything measured about one domain. A nil answer was not asked
// for.
type Facts struct {
	Domain  string // lower case, no final dot, ASCII; as given when Invalid
	Invalid string // why it is no usable domain name; empty when it is

	MX           *dns.Answer
	Unchecked    *dns.Answer // MX with checking disabled, asked after SERVFAIL
	ResolverDead bool        // the resolver does not answer anything at all
	Resolver     string      // who answered the MX question
	Apex         *Host       // the domain's own addresses, looked up when it has no MX
	Hosts        []*Host     // mail hosts, each name once, best preference first
	Random       *dns.Answer // TXT of a random name below the domain
	RandomA      *dns.Answer // its A

	NS    *NS     // nil when the zone or its servers are not known
	Stale []Stale // where the resolver is behind; everything else here was measured with what holds now
	DS    *dns.Answer
	TXT   *dns.Answer // of the domain itself
	SPF   *SPFNode

	DMARC    *DMARC
	DKIM     []*DKIMKey
	MTASTS   *MTASTS
	TLSRPT   *dns.Answer // TXT at _smtp._tls
	BIMI     *dns.Answer // TXT at default._bimi
	Listings []*Listing
	Client   *Client

	OutOfTime bool // the domain's time was up before everything was asked
	mu        sync.Mutex
	Crashed   map[string]string // by family: what its collector died of
}

// Host is a mail host.
type Host struct {
	Name       string
	Preference uint16
	Times      int    // how often the MX set names it
	Implicit   bool   // no MX record: the domain's own address
	Form       string // why it cannot be a mail host: "address", "local", "name", "doubled"; empty when it can
	A, AAAA    *dns.Answer
	Owner      *dns.Answer // the registrable domain it lies in, asked when the host does not exist
	TLD        *dns.Answer // the top-level domain, likewise
	Literal    *Addr       // the address that stands where a name must
	Addrs      []*Addr     // IPv4 first
	TLSA       *dns.Answer // of port 25
}

// Addr is an address of mail hosts. Hosts that share one share the struct.
type Addr struct {
	IP   netip.Addr
	Kind string // "" is an ordinary public address, else what it is

	PTR     *dns.Answer
	Forward []*dns.Answer // the addresses of each PTR name, in the order of PTR.Records
	SMTP    *SMTP
}

// stopped tells that nothing beyond the domain's own DNS can be judged.
func (f *Facts) stopped() bool {
	return f.Invalid != "" || f.MX == nil || !f.MX.Outcome.Found() || f.MX.Outcome == dns.NXDomain
}

// null tells that the domain takes no mail, RFC 7505.
func (f *Facts) null() bool {
	return f.MX != nil && len(f.MX.Records) == 1 && f.MX.Records[0].Host == "."
}

// answered tells that both addresses of a host could be asked for, or one of
// them was found.
func (h *Host) resolved() bool {
	return len(h.Addrs) > 0 || h.A != nil && h.A.Outcome.Found() && h.AAAA.Outcome.Found()
}

// exists is false when the name is known not to exist.
func (h *Host) exists() bool {
	return h.A == nil || h.A.Outcome != dns.NXDomain && h.AAAA.Outcome != dns.NXDomain
}

// public are the addresses that another server can reach.
func (h *Host) public() []*Addr {
	return slices.DeleteFunc(slices.Clone(h.Addrs), func(a *Addr) bool { return a.Kind != "" })
}

// usable tells that mail for the domain can be delivered to the host as far as
// was measured.
func (f *Facts) usable(h *Host) bool {
	return h.Form == "" && h.deliverable(f.Domain)
}

// spare tells whether a host other than h is usable.
func (f *Facts) spare(h *Host) bool {
	return slices.ContainsFunc(f.Hosts, func(o *Host) bool { return o != h && f.usable(o) })
}

func (h *Host) row() MX {
	m := MX{Host: h.Name, Preference: h.Preference}
	for _, a := range h.Addrs {
		m.Addresses = append(m.Addresses, a.IP.String())
		if a.SMTP != nil && a.SMTP.Greeting != nil && m.Banner == "" {
			m.Banner = a.SMTP.Greeting.Reply.String()
			m.TLS = a.SMTP.row()
		}
	}
	return m
}

func strs(addrs []*Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.IP.String())
	}
	return out
}

// records lists what was looked at.
func (f *Facts) records() []Record {
	out := []Record{}
	seen := map[string]bool{}
	add := func(answers ...*dns.Answer) {
		for _, a := range answers {
			if a == nil {
				continue
			}
			for _, r := range slices.Concat(a.CNAMEs, a.Records) {
				rec := Record{Name: dot(r.Name), Type: string(r.Type), TTL: r.TTL, Value: r.Value}
				if k := rec.Name + " " + rec.Type + " " + rec.Value; !seen[k] {
					seen[k] = true
					out = append(out, rec)
				}
			}
		}
	}
	add(f.MX)
	for _, h := range f.Hosts {
		add(h.A, h.AAAA)
		for _, a := range h.Addrs {
			add(a.PTR)
		}
	}
	add(f.TXT)
	return out
}

// dot writes a name with its final dot, as zone files do.
func dot(name string) string {
	if name == "." {
		return name
	}
	return name + "."
}

// line is a zone-file line to paste.
func line(name, typ, data string) string { return dot(name) + " IN " + typ + " " + data }
