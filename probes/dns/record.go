package dns

import (
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
)

// Type is a record type by its name: "MX".
type Type string

// The types probes ask for.
const (
	A      Type = "A"
	AAAA   Type = "AAAA"
	CNAME  Type = "CNAME"
	DNSKEY Type = "DNSKEY"
	DS     Type = "DS"
	MX     Type = "MX"
	NS     Type = "NS"
	PTR    Type = "PTR"
	SOA    Type = "SOA"
	SRV    Type = "SRV"
	TLSA   Type = "TLSA"
	TXT    Type = "TXT"
)

// Record is one resource record. Names are lower case without the final dot;
// the root is ".". Fields that the type has not are zero.
type Record struct {
	Name  string
	Type  Type
	TTL   uint32 // seconds
	Value string // the data in zone-file form
	Len   int    // octets of the data

	Host       string     // MX, NS, CNAME, PTR, SRV: the name it leads to
	Preference uint16     // MX; SRV: priority
	Weight     uint16     // SRV
	Port       uint16     // SRV
	Addr       netip.Addr // A, AAAA
	Text       string     // TXT: the strings joined, unescaped
	Serial     uint32     // SOA
	Minimum    uint32     // SOA: how long "no such record" may be kept, seconds
	Usage      uint8      // TLSA
	Selector   uint8      // TLSA
	Matching   uint8      // TLSA
	Hex        string     // TLSA, DS: the data, lower-case hex
	KeyTag     uint16     // DS, DNSKEY
	Algorithm  uint8      // DS, DNSKEY
}

// Name puts a name into the form of Record: lower case, no final dot.
func Name(s string) string {
	if s == "." || s == "" {
		return "."
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// ReverseName is where the PTR record of an address stands.
func ReverseName(a netip.Addr) string {
	s, err := mdns.ReverseAddr(a.Unmap().WithZone("").String())
	if err != nil {
		return "."
	}
	return Name(s)
}

// record translates one of the library's; ok is false for EDNS and the like.
func record(rr mdns.RR) (Record, bool) {
	h := rr.Header()
	if h.Rrtype == mdns.TypeOPT {
		return Record{}, false
	}
	r := Record{Name: Name(h.Name), Type: Type(mdns.Type(h.Rrtype).String()), TTL: h.Ttl, Len: int(h.Rdlength)}
	switch x := rr.(type) {
	case *mdns.A:
		r.Addr, _ = netip.AddrFromSlice(x.A)
		r.Addr = r.Addr.Unmap()
	case *mdns.AAAA:
		r.Addr, _ = netip.AddrFromSlice(x.AAAA) // stays IPv6 even when it maps an IPv4 address
	case *mdns.MX:
		r.Host, r.Preference = Name(x.Mx), x.Preference
	case *mdns.NS:
		r.Host = Name(x.Ns)
	case *mdns.CNAME:
		r.Host = Name(x.Target)
	case *mdns.PTR:
		r.Host = Name(x.Ptr)
	case *mdns.SRV:
		r.Host, r.Preference, r.Weight, r.Port = Name(x.Target), x.Priority, x.Weight, x.Port
	case *mdns.TXT:
		var b strings.Builder
		for _, s := range x.Txt {
			unescape(&b, s)
		}
		r.Text = b.String()
	case *mdns.SOA:
		r.Host, r.Serial, r.Minimum = Name(x.Ns), x.Serial, x.Minttl
	case *mdns.TLSA:
		r.Usage, r.Selector, r.Matching, r.Hex = x.Usage, x.Selector, x.MatchingType, strings.ToLower(x.Certificate)
	case *mdns.DS:
		r.KeyTag, r.Algorithm, r.Hex = x.KeyTag, x.Algorithm, strings.ToLower(x.Digest)
	case *mdns.DNSKEY:
		r.KeyTag, r.Algorithm = x.KeyTag(), x.Algorithm
	}
	if r.Type != TXT { // a text's zone-file form is made where it is wanted
		r.Value = strings.TrimPrefix(rr.String(), h.String())
	} else {
		r.Value = Quote(r.Text)
	}
	return r, true
}

// unescape undoes the zone-file escapes the library keeps texts in.
func unescape(b *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) && digit(s[i+1]) && digit(s[i+2]) && digit(s[i+3]) {
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
			i += 3
			continue
		}
		i++
		b.WriteByte(s[i])
	}
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// Quote writes a text as zone-file data: quoted, split at 255 octets.
func Quote(text string) string {
	var b strings.Builder
	for first := true; first || text != ""; first = false {
		if !first {
			b.WriteByte(' ')
		}
		n := min(len(text), 255)
		b.WriteByte('"')
		for i := 0; i < n; i++ {
			switch c := text[i]; {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c > '~':
				b.WriteString("\\" + string([]byte{'0' + c/100, '0' + c/10%10, '0' + c%10}))
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('"')
		text = text[n:]
	}
	return b.String()
}
