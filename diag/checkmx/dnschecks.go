package checkmx

import (
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// Limits between which a TTL needs no word, seconds.
const (
	ttlLow  = 60
	ttlHigh = 24 * 60 * 60
)

// bogus tells that the resolver fails because signatures do not validate: it
// says so (RFC 8914), or it answers as soon as it need not check.
func (f *Facts) bogus() bool {
	for _, code := range f.MX.EDE {
		if code >= 5 && code <= 12 { // DNSSEC Indeterminate to NSEC Missing
			return true
		}
	}
	return f.Unchecked != nil && f.Unchecked.Outcome.Found()
}

// judgeWildcard looks for texts at a name that nobody made: they stand in for
// the policies of _dmarc, _mta-sts and the selectors.
func (j *judge) judgeWildcard() {
	if j.Random == nil || len(j.Random.Records) == 0 {
		return
	}
	var texts []string
	for _, r := range j.Random.Records {
		texts = append(texts, r.Text)
	}
	harmless := func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), "v=spf1 -all") }
	if j.sendsNothing() && !slices.ContainsFunc(texts, func(t string) bool { return !harmless(t) }) {
		return // no name of a domain that is out of use may send: that is what it says
	}
	owner := "*." + j.Domain
	f := j.add("dns.wildcard", owner, diag.Evidence{"texts": texts, "asked": j.Random.Name})
	*f = f.With("delete", line(owner, string(dns.TXT), dns.Quote(texts[0])))
}

// sendsNothing tells that the domain takes no mail, or says that it sends none.
func (f *Facts) sendsNothing() bool {
	return f.null() || f.TXT != nil && slices.ContainsFunc(f.TXT.Records, func(r dns.Record) bool {
		return strings.EqualFold(strings.TrimSpace(r.Text), record.SPFFor(false))
	})
}

func (j *judge) judgeTTL() {
	for _, a := range j.ttlAnswers() {
		for _, r := range a.Records {
			ev := diag.Evidence{"name": r.Name, "type": string(r.Type), "ttl": int(r.TTL)}
			switch {
			case r.TTL < ttlLow:
				j.add("dns.ttl_low", r.Name, ev)
			case r.TTL > ttlHigh:
				j.add("dns.ttl_high", r.Name, ev)
			}
		}
	}
}

// ttlAnswers are the answers whose life matters to mail. A resolver counts a
// TTL down, so what the domain's own servers say is taken where it is known.
func (f *Facts) ttlAnswers() []*dns.Answer {
	if f.NS != nil {
		if ends := f.NS.answering(); len(ends) > 0 {
			return slices.DeleteFunc(slices.Clone(ends[0].Mail), func(a *dns.Answer) bool { return a.Type == dns.TXT })
		}
	}
	out := []*dns.Answer{f.MX}
	for _, h := range f.Hosts {
		for _, a := range []*dns.Answer{h.A, h.AAAA} {
			if a != nil && below(h.Name, f.Domain) {
				out = append(out, a)
			}
		}
	}
	return out
}
