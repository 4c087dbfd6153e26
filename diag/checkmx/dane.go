package checkmx

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"

	"mailsrv/diag"
	"mailsrv/probes/dns"
	"mailsrv/probes/tlscert"
)

// judgeDANE compares the TLSA records with the certificates seen, RFC 7672.
func judgeDANE(j *judge) {
	published, asked := false, false
	for _, h := range j.Hosts {
		if h.TLSA == nil {
			continue
		}
		asked = true
		if o := h.TLSA.Outcome; !o.Found() {
			if o != dns.ServFail && o != dns.Timeout {
				asked = false // a resolver that does not know the type
				break
			}
			j.add("dane.lookup_failed", h.TLSA.Name, diag.Evidence{"host": h.Name, "outcome": string(o)})
			continue
		}
		if len(h.TLSA.Records) > 0 {
			published, j.ran = true, true
			j.daneHost(h)
		}
	}
	if asked && !published && len(j.out) == 0 {
		f := j.add("dane.missing", j.Domain, diag.Evidence{"signed": j.MX.AD})
		fix := ""
		if h := j.Hosts[0]; j.MX.AD && h.A != nil && h.A.AD {
			fix = j.tlsaLine(h) // only where it would have an effect
		}
		*f = f.With("fix", fix)
	}
}

func (j *judge) daneHost(h *Host) {
	a := h.TLSA
	ev := func() diag.Evidence {
		var values []string
		for _, r := range a.Records {
			values = append(values, r.Value)
		}
		return diag.Evidence{"host": h.Name, "records": values}
	}
	fix := j.tlsaLine(h)
	var usable []dns.Record
	bad := false
	for _, r := range a.Records {
		if why := tlsaFault(r); why != "" {
			e := ev()
			e["reason"], e["record"] = why, r.Value
			f := j.add("dane.syntax", a.Name, e)
			*f = f.With("fix", fix)
			bad = true
			continue
		}
		if r.Usage >= 2 {
			usable = append(usable, r)
		}
	}
	switch {
	case bad && len(usable) == 0:
	case !a.AD:
		f := j.add("dane.insecure", a.Name, ev())
		*f = f.With("delete", line(a.Name, "TLSA", a.Records[0].Value))
	case len(usable) == 0:
		f := j.add("dane.bad_usage", a.Name, ev())
		*f = f.With("fix", fix)
	default:
		j.daneSeen(h, usable, ev, fix)
	}
}

// daneSeen compares with what the host shows.
func (j *judge) daneSeen(h *Host, usable []dns.Record, ev func() diag.Evidence, fix string) {
	for _, a := range h.public() {
		s := a.SMTP
		if s == nil || s.Ehlo == nil || s.Ehlo.Outcome != "ok" {
			continue
		}
		e := ev()
		e["address"] = a.IP.String()
		cert := j.cert(h, a)
		switch {
		case !s.Offers:
			j.add("dane.no_starttls", h.Name, e)
		case cert == nil:
			continue // smtp.starttls_broken says it
		case !slices.ContainsFunc(usable, func(r dns.Record) bool { return j.tlsaFits(r, cert, h) }):
			f := j.add("dane.mismatch", h.TLSA.Name, e)
			*f = f.With("fix", fix)
		}
	}
}

// tlsaFault says what is wrong with a record by itself; empty when nothing is.
func tlsaFault(r dns.Record) string {
	length := map[uint8]int{1: sha256.Size, 2: sha512.Size}
	switch {
	case r.Usage > 3:
		return "usage"
	case r.Selector > 1:
		return "selector"
	case r.Matching > 2:
		return "matching"
	case r.Matching > 0 && len(r.Hex) != 2*length[r.Matching]:
		return "length"
	case r.Matching == 0 && len(r.Hex) < 64:
		return "length"
	}
	return ""
}

// tlsaFits tells whether a record fits the chain seen. Usage 3 names the
// certificate itself, whatever it says; usage 2 an authority in the chain, and
// then name and dates count as well, RFC 7672 section 3.1.
func (j *judge) tlsaFits(r dns.Record, cert *tlscert.Facts, h *Host) bool {
	if r.Usage == 3 {
		return tlsaData(r.Selector, r.Matching, cert.Chain[0]) == r.Hex
	}
	if cert.Fault == tlscert.Expired || cert.Fault == tlscert.NotYetValid || cert.Fault == tlscert.WrongName {
		return false
	}
	return slices.ContainsFunc(cert.Chain, func(c *x509.Certificate) bool { return tlsaData(r.Selector, r.Matching, c) == r.Hex })
}

func tlsaData(selector, matching uint8, c *x509.Certificate) string {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return hex.EncodeToString(data)
}

// tlsaLine is the record for the certificate seen at a host, the kind that
// RFC 7672 section 3.1.1 advises; empty when none was seen.
func (j *judge) tlsaLine(h *Host) string {
	for _, a := range h.public() {
		if cert := j.cert(h, a); cert != nil && len(cert.Chain) > 0 {
			return line(h.TLSA.Name, "TLSA", fmt.Sprintf("3 1 1 %s", tlsaData(1, 1, cert.Chain[0])))
		}
	}
	return ""
}
