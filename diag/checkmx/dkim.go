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
	keys := j.DKIM
	if wild := j.wildKey(); wild != nil {
		keys = []*DKIMKey{wild}
	}
	for _, k := range keys {
		switch {
		case !k.Answer.Outcome.Found():
			unknown++
		case j.Random != nil && len(j.Random.Chain) > 0 && answerSet(k.Answer) == answerSet(j.Random):
			// a wildcard alias gives it to every name
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

// wildKey stands for all selectors when they have one answer in common: what a
// wildcard below _domainkey says is said once.
func (j *judge) wildKey() *DKIMKey {
	first := j.DKIM[0].Answer
	if len(j.DKIM) < 5 || len(first.Records) == 0 || len(first.Chain) > 0 {
		return nil
	}
	for _, k := range j.DKIM {
		if len(k.Answer.Chain) > 0 || answerSet(k.Answer) != answerSet(first) {
			return nil
		}
	}
	a := *first
	a.Name = "*._domainkey." + j.Domain
	return &DKIMKey{Selector: "*", Answer: &a}
}

// dkimKey judges the key at one selector; false when there is none.
func (j *judge) dkimKey(k *DKIMKey) bool {
	var texts []string
	for _, r := range k.Answer.Records {
		if record.IsDKIM(r.Text) || len(j.meant([]string{r.Text})) > 0 {
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
