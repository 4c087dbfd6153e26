package checkmx

import (
	"errors"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

const (
	dkimLeast = 1024 // bits of an RSA key that verifiers accept, RFC 8301 section 3.2
	dkimGood  = 2048
)

func judgeDKIM(j *judge) {
	if len(j.DKIM) == 0 {
		return
	}
	found, unknown := 0, 0
	for _, k := range j.DKIM {
		switch {
		case !k.Answer.Outcome.Found():
			unknown++
		case k.Answer.Outcome == dns.NXDomain && len(k.Answer.Chain) > 0:
			found++
			f := j.add("dkim.dangling", k.Answer.Name, diag.Evidence{"selector": k.Selector, "target": k.Answer.Canonical()})
			*f = f.With("delete", line(k.Answer.Name, "CNAME", dot(k.Answer.Chain[0])))
		case j.dkimKey(k):
			found++
		}
	}
	switch {
	case found > 0:
		j.ran = true
	case unknown == 0:
		var tried []string
		for _, k := range j.DKIM {
			tried = append(tried, k.Selector)
		}
		j.add("dkim.none_found", j.Domain, diag.Evidence{"tried": tried})
	}
}

// dkimKey judges the key at one selector; false when there is none.
func (j *judge) dkimKey(k *DKIMKey) bool {
	var texts []string
	for _, r := range k.Answer.Records {
		if record.IsDKIM(r.Text) || !j.wildcardText() {
			texts = append(texts, r.Text)
		}
	}
	if len(texts) == 0 {
		return false
	}
	ev := diag.Evidence{"selector": k.Selector}
	if len(texts) > 1 {
		ev["count"] = len(texts)
		j.add("dkim.multiple", k.Answer.Name, ev)
		return true
	}
	key, err := record.ParseDKIM(texts[0])
	var bad *record.SyntaxError
	switch {
	case errors.As(err, &bad):
		ev["part"], ev["reason"], ev["record"] = bad.Part, bad.Why, texts[0]
		j.add("dkim.syntax", k.Answer.Name, ev)
		return true
	case key.Revoked:
		j.add("dkim.revoked", k.Answer.Name, ev)
		return true
	case key.Type == "rsa" && key.Bits < dkimLeast:
		ev["bits"] = key.Bits
		j.add("dkim.short_key", k.Answer.Name, ev)
	case key.Type == "rsa" && key.Bits < dkimGood:
		ev["bits"] = key.Bits
		j.add("dkim.key_1024", k.Answer.Name, ev)
	}
	if len(j.out) == 0 || j.out[len(j.out)-1].Subject != k.Answer.Name {
		j.publish("dkim.ok", k.Answer.Name, "TXT", dns.Quote(texts[0]))
	}
	if key.Testing {
		j.add("dkim.testing", k.Answer.Name, diag.Evidence{"selector": k.Selector})
	}
	return true
}
