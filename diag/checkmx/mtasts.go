package checkmx

import (
	"errors"
	"mime"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/tlscert"
)

const shortMaxAge = 24 * time.Hour // under this a policy is forgotten before it helps

func judgeMTASTS(j *judge) {
	m := j.MTASTS
	if m == nil || j.null() {
		return
	}
	j.ran = true
	at := "_mta-sts." + j.Domain
	near := j.meant(m.Near)
	fixed := record.MTASTSFor(j.now)
	switch {
	case !m.Answer.Outcome.Found():
		j.policyLookup("MTA-STS", m.Answer)
	case len(m.Texts) > 1:
		f := j.add("mtasts.multiple", j.Domain, diag.Evidence{"records": m.Texts})
		*f = f.With("fix", line(at, "TXT", dns.Quote(m.Texts[0])))
	case len(m.Texts) == 0 && len(near) == 0:
		f := j.add("mtasts.missing", j.Domain, nil)
		*f = f.With("fix", line(at, "TXT", dns.Quote(fixed))).With("policy", j.policyFile("testing"))
		j.publish("mtasts.missing", at, "TXT", dns.Quote(fixed))
	default:
		text := slices.Concat(m.Texts, near)[0]
		valid := false
		if _, err := record.ParseMTASTS(text); err != nil {
			var bad *record.SyntaxError
			errors.As(err, &bad)
			f := j.add("mtasts.syntax", j.Domain, diag.Evidence{"record": text, "part": bad.Part, "reason": bad.Why})
			*f = f.With("fix", line(at, "TXT", dns.Quote(fixed)))
			j.publish("mtasts.syntax", at, "TXT", dns.Quote(fixed))
		} else {
			valid = true
			j.publish("mtasts.ok", at, "TXT", dns.Quote(text))
		}
		if len(m.Texts) == 1 {
			j.judgePolicy(m, valid)
		}
	}
}

// policyFile is the file that fits the domain's mail hosts.
func (j *judge) policyFile(mode string) string {
	var hosts []string
	for _, h := range j.Hosts {
		if j.usable(h) {
			hosts = append(hosts, h.Name)
		}
	}
	if len(hosts) == 0 {
		hosts = j.hostNames()
	}
	return strings.TrimSpace(record.PolicyFor(mode, hosts))
}

// judgePolicy is for the policy file: whether it can be had, and what it says.
// Only a valid record lets senders enforce it.
func (j *judge) judgePolicy(m *MTASTS, valid bool) {
	fetch := func(ev diag.Evidence) {
		ev["url"] = "https://" + m.Host.Name + policyPath
		f := j.add("mtasts.policy_fetch", m.Host.Name, ev)
		*f = f.With("policy", j.policyFile("testing"))
	}
	r := m.File
	switch {
	case r == nil && !m.Host.resolved():
		fetch(diag.Evidence{"outcome": string(lost(m.Host.A, m.Host.AAAA).Outcome)})
		return
	case r == nil:
		fetch(diag.Evidence{"outcome": "no-address", "exists": m.Host.exists()})
		return
	case r.Cert != nil && !r.Cert.Verified:
		ev := diag.Evidence{"fault": r.Cert.Fault, "names": r.Cert.Names, "not_after": day(r.Cert.NotAfter), "issuer": r.Cert.Issuer}
		j.add("mtasts.policy_tls", m.Host.Name, ev)
		return
	case r.Stage != "":
		fetch(diag.Evidence{"outcome": r.Outcome, "stage": r.Stage})
		return
	case r.Status != 200:
		ev := diag.Evidence{"outcome": "status", "status": r.Status}
		if r.Location != "" {
			ev["outcome"], ev["location"] = "redirect", r.Location
		}
		fetch(ev)
		return
	}
	if t, _, err := mime.ParseMediaType(r.ContentType); err != nil || t != "text/plain" {
		j.add("mtasts.content_type", m.Host.Name, diag.Evidence{"content_type": r.ContentType})
	}
	p, err := record.ParsePolicy(string(r.Body))
	var bad *record.SyntaxError
	if errors.As(err, &bad) {
		f := j.add("mtasts.policy_syntax", m.Host.Name, diag.Evidence{"part": bad.Part, "reason": bad.Why})
		*f = f.With("policy", j.policyFile("testing"))
		return
	}
	j.judgeMode(m, p, valid)
}

func (j *judge) judgeMode(m *MTASTS, p *record.Policy, valid bool) {
	switch p.Mode {
	case "none":
		j.add("mtasts.mode_none", j.Domain, nil)
		return
	case "testing":
		j.add("mtasts.testing", j.Domain, nil)
	}
	if p.MaxAge < shortMaxAge {
		j.add("mtasts.short_max_age", m.Host.Name, diag.Evidence{"seconds": int(p.MaxAge.Seconds())})
	}
	for _, h := range j.Hosts {
		if j.misnamed(h) {
			continue
		}
		if !p.Covers(h.Name) {
			f := j.add("mtasts.mx_mismatch", h.Name, diag.Evidence{"policy_mx": p.MX, "mode": p.Mode})
			if p.Mode == "testing" {
				*f = f.As(diag.Warn)
			}
			continue
		}
		if p.Mode == "enforce" && valid {
			j.judgeVerified(h)
		}
	}
}

// judgeVerified says which mail host a sender that verifies would not deliver
// to, and because of what.
func (j *judge) judgeVerified(h *Host) {
	for _, a := range h.public() {
		s := a.SMTP
		if s == nil || s.Ehlo == nil || s.Ehlo.Outcome != "ok" {
			continue // not asked, or the host is down: that is said elsewhere
		}
		because := ""
		switch cert := j.cert(h, a); {
		case s.Hello == "HELO":
			because = "smtp.no_ehlo"
		case !s.Offers:
			because = "smtp.no_starttls"
		case cert == nil:
			because = "smtp.starttls_broken"
			if s.StartTLS.Outcome == dial.Temporary {
				continue // tried again later
			}
		case cert.Fault != tlscert.None:
			because = certFinding(cert, j.now)
		}
		if because != "" {
			j.add("mtasts.mx_tls", h.Name, diag.Evidence{"address": a.IP.String(), "because": because})
		}
	}
}

func judgeTLSRPT(j *judge) {
	a := j.TLSRPT
	if a == nil || j.null() {
		return
	}
	j.ran = true
	at := "_smtp._tls." + j.Domain
	texts, near := sortTexts(a, record.IsTLSRPT, record.LooksLikeTLSRPT)
	near = j.meant(near)
	good := record.TLSRPTFor("postmaster@" + j.Domain)
	switch {
	case !a.Outcome.Found():
		j.policyLookup("TLS-RPT", a)
	case len(texts) > 1:
		f := j.add("tlsrpt.multiple", j.Domain, diag.Evidence{"records": texts})
		one := record.MergeTLSRPT(texts)
		*f = f.With("fix", line(at, "TXT", dns.Quote(one)))
		j.publish("tlsrpt.multiple", at, "TXT", dns.Quote(one))
	case len(texts) == 0 && len(near) == 0:
		f := j.add("tlsrpt.missing", j.Domain, nil)
		*f = f.With("fix", line(at, "TXT", dns.Quote(good)))
		j.publish("tlsrpt.missing", at, "TXT", dns.Quote(good))
	default:
		text := append(texts, near...)[0]
		_, err := record.ParseTLSRPT(text)
		var bad *record.SyntaxError
		if !errors.As(err, &bad) {
			j.publish("tlsrpt.ok", at, "TXT", dns.Quote(text))
			return
		}
		if fixed := record.RepairTLSRPT(text); fixed != "" {
			good = fixed
		}
		f := j.add("tlsrpt.syntax", j.Domain, diag.Evidence{"record": text, "part": bad.Part, "reason": bad.Why})
		*f = f.With("fix", line(at, "TXT", dns.Quote(good)))
		j.publish("tlsrpt.syntax", at, "TXT", dns.Quote(good))
	}
}

func judgeBIMI(j *judge) {
	a := j.BIMI
	if a == nil {
		return
	}
	texts, near := sortTexts(a, record.IsBIMI, record.LooksLikeBIMI)
	near = j.meant(near)
	if len(texts) == 0 && len(near) == 0 {
		return // not published, or not to be had: nothing depends on it
	}
	j.ran = true
	text := append(texts, near...)[0]
	declined, err := record.ParseBIMI(text)
	var bad *record.SyntaxError
	switch {
	case errors.As(err, &bad):
		j.add("bimi.syntax", a.Name, diag.Evidence{"record": text, "part": bad.Part, "reason": bad.Why})
	case len(texts) > 1:
		j.add("bimi.syntax", a.Name, diag.Evidence{"record": strings.Join(texts, " | "), "part": text, "reason": record.Repeated})
	case !declined && j.DMARC != nil && j.DMARC.known():
		if policy, full := j.DMARC.policy(); policy == "none" || !full {
			j.add("bimi.dmarc_not_enforced", j.Domain, diag.Evidence{"policy": policy})
		}
	}
}

// known tells that every name of the tree walk could be asked.
func (d *DMARC) known() bool {
	for _, s := range d.Steps {
		if !s.Answer.Outcome.Found() {
			return false
		}
	}
	return true
}

// policy is what holds for the domain, and whether it does for all mail and all
// names below it.
func (d *DMARC) policy() (policy string, full bool) {
	if d.Used == nil || d.Used.Record == nil {
		return "none", false
	}
	r := d.Used.Record
	policy = r.P
	if d.Used != d.Steps[0] && r.SP != "" {
		policy = r.SP
	}
	return policy, r.Pct == 100 && r.SP != "none"
}
