package checkmx

import (
	"crypto"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// Setup is a mail server for which DNS records are recommended.
type Setup struct {
	Domain, Hostname string // as DNS has them, without a final dot
	Addresses        []netip.Addr
	Services         []ServicePort
	DMARC            string // policy: quarantine or reject
	Reports          string // mail address that gets the reports; empty: postmaster@Domain
	Selector         string // DKIM; empty without
	Key              crypto.PublicKey
	MTASTS           string // mode: testing or enforce; empty without
	Now              time.Time
}

// ServicePort is where mail programs reach a service: "imaps", 993.
type ServicePort struct {
	Name string
	Port int
}

// Places where a recommended record is entered.
const (
	PlaceZone     = "zone"     // of the domain
	PlaceHost     = "host"     // the zone of the mail host, another domain
	PlaceProvider = "provider" // of the address
	PlaceReports  = "reports"  // the domain that gets the reports
)

// Recommended are the records that a domain should have, and the files that go
// with them.
type Recommended struct {
	Domain  string         `json:"domain"`
	Publish []RecordAdvice `json:"publish"`
	Files   []File         `json:"files,omitempty"`
}

// RecordAdvice is one record. Value is the data of a zone-file line.
type RecordAdvice struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	Why   string `json:"why"`
	Place string `json:"place"`

	kind string
}

// Line is the record as a zone-file line.
func (r RecordAdvice) Line() string { return r.Name + " IN " + r.Type + " " + r.Value }

// File is what a web server must serve.
type File struct {
	URL     string `json:"url"`
	Content string `json:"content"`
}

// Localize fills in why each record is there.
func (r *Recommended) Localize(lang codes.Lang) {
	for i, p := range r.Publish {
		r.Publish[i].Why = codes.RecordWhy(p.kind, lang)
	}
}

// Recommend writes the records for a server. What it recommends, check-mx finds
// nothing wrong with.
func Recommend(s Setup) (*Recommended, error) {
	reports := s.Reports
	if reports == "" {
		reports = "postmaster@" + s.Domain
	}
	if a, err := mail.ParseAddress(reports); err != nil || a.Address != reports {
		return nil, fmt.Errorf("%q is no mail address", reports)
	}
	reportsTo, err := DomainName(reports[strings.LastIndexByte(reports, '@')+1:])
	if err != nil {
		return nil, err
	}
	out := &Recommended{Domain: s.Domain}
	add := func(place, kind, name, typ, value string) {
		out.Publish = append(out.Publish, RecordAdvice{Name: dot(name), Type: typ, Value: value, Place: place, kind: kind})
	}
	text := func(place, kind, name, value string) { add(place, kind, name, "TXT", dns.Quote(value)) }
	hostPlace := PlaceHost
	if below(s.Hostname, s.Domain) {
		hostPlace = PlaceZone
	}
	add(PlaceZone, "mx", s.Domain, "MX", "10 "+dot(s.Hostname))
	for _, a := range s.Addresses {
		add(hostPlace, "address", s.Hostname, addressType(a), a.String())
	}
	text(PlaceZone, "spf", s.Domain, record.SPFFor(true))
	if s.Hostname != s.Domain {
		text(hostPlace, "spf-helo", s.Hostname, record.SPFHost())
	}
	if s.Selector != "" {
		key, err := record.DKIMFor(s.Key)
		if err != nil {
			return nil, err
		}
		text(PlaceZone, "dkim", s.Selector+"._domainkey."+s.Domain, key)
	}
	text(PlaceZone, "dmarc", "_dmarc."+s.Domain, record.DMARCFor(s.DMARC, reports))
	if !sameOrganisation(reportsTo, s.Domain) {
		text(PlaceReports, "dmarc-report", s.Domain+"._report._dmarc."+reportsTo, "v=DMARC1")
	}
	text(PlaceZone, "tlsrpt", "_smtp._tls."+s.Domain, record.TLSRPTFor(reports))
	if s.MTASTS != "" {
		host := "mta-sts." + s.Domain
		for _, a := range s.Addresses {
			add(PlaceZone, "mta-sts-host", host, addressType(a), a.String())
		}
		text(PlaceZone, "mta-sts", "_mta-sts."+s.Domain, record.MTASTSFor(s.Now))
		out.Files = append(out.Files, File{"https://" + host + "/.well-known/mta-sts.txt", record.PolicyFor(s.MTASTS, []string{s.Hostname})})
	}
	for _, p := range s.Services {
		add(PlaceZone, "srv", "_"+p.Name+"._tcp."+s.Domain, "SRV", fmt.Sprintf("0 1 %d %s", p.Port, dot(s.Hostname)))
	}
	for _, a := range s.Addresses {
		add(PlaceProvider, "ptr", dns.ReverseName(a), "PTR", dot(s.Hostname))
	}
	return out, nil
}

// Check says what keeps a server from being recommended: an address nobody
// can reach, a name that is none.
func (s *Setup) Check() error {
	host, err := DomainName(s.Hostname)
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if !strings.Contains(host, ".") || privateName(host) != "" {
		return fmt.Errorf("host name %q: no other server can look it up; name a public one, such as mail.%s", s.Hostname, s.Domain)
	}
	s.Hostname = host
	if len(s.Addresses) == 0 {
		return errors.New("the public address of this server is missing")
	}
	if !slices.ContainsFunc(s.Addresses, netip.Addr.Is4) {
		return errors.New("no IPv4 address: many servers cannot deliver to IPv6 alone")
	}
	for _, a := range s.Addresses {
		// Addresses reserved for documentation pass: examples are written with them.
		if kind := addressKind(a, nil); kind != "" && kind != "documentation" {
			return fmt.Errorf("address %s: is not reachable from the Internet (%s)", a, kind)
		}
	}
	return nil
}
