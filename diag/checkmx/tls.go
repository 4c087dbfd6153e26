package checkmx

import (
	"crypto/tls"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/tlscert"
)

const (
	certSoon   = 14 * 24 * time.Hour // a certificate that ends sooner is worth a word
	weakRSA    = 2048                // bits
	dateLayout = "2006-01-02"
)

// cert are the facts of the certificate an address shows, for the name of host.
func (j *judge) cert(h *Host, a *Addr) *tlscert.Facts {
	if a.SMTP == nil || a.SMTP.TLS == nil {
		return nil
	}
	f := tlscert.Inspect(a.SMTP.TLS.Chain, h.Name, j.opt.RootCAs, j.now)
	return &f
}

func judgeTLS(j *judge) {
	for _, h := range j.Hosts {
		if h.Form != "" {
			continue
		}
		for _, a := range h.public() {
			cert := j.cert(h, a)
			if cert == nil {
				continue
			}
			j.ran = true
			ev := diag.Evidence{
				"address": a.IP.String(), "not_after": cert.NotAfter.Format(dateLayout), "not_before": cert.NotBefore.Format(dateLayout),
				"names": cert.Names, "issuer": cert.Issuer, "subject_name": cert.Subject, "fault": cert.Fault,
			}
			if id := certFinding(cert, j.now); id != "" {
				ev["days"] = int(cert.NotAfter.Sub(j.now).Hours() / 24)
				j.add(id, h.Name, ev)
			}
			if cert.Key == "RSA" && cert.KeyBits < weakRSA {
				j.add("tls.weak_key", h.Name, diag.Evidence{"address": a.IP.String(), "bits": cert.KeyBits})
			}
			if a.SMTP.TLS.VersionID < tls.VersionTLS12 {
				j.add("tls.old_version", h.Name, diag.Evidence{"address": a.IP.String(), "version": a.SMTP.TLS.Version})
			}
		}
	}
}

// certFinding is the one finding about a certificate, the most basic first.
func certFinding(c *tlscert.Facts, now time.Time) string {
	switch c.Fault {
	case tlscert.Expired, tlscert.NotYetValid:
		return "tls.expired"
	case tlscert.WrongName:
		return "tls.name_mismatch"
	case tlscert.SelfSigned:
		return "tls.self_signed"
	case tlscert.Untrusted:
		return "tls.untrusted"
	}
	if c.NotAfter.Sub(now) < certSoon {
		return "tls.expires_soon"
	}
	return ""
}
