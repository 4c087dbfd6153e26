package checkmx

import (
	"cmp"
	"slices"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

func judgeDMARC(j *judge) {
	d := j.DMARC
	if d == nil {
		return
	}
	j.ran = true
	own := d.Steps[0]
	near := j.meant(own.Near)
	switch {
	case !own.Answer.Outcome.Found():
		j.policyLookup("DMARC", own.Answer)
	case len(own.Texts) > 1:
		j.dmarcMultiple(own)
	case own.Bad != nil:
		j.dmarcSyntax(own, own.Texts[0], own.Bad.Part, own.Bad.Why)
	case len(own.Texts) == 1:
		j.dmarcOwn(own)
	case len(near) > 0:
		j.dmarcSyntax(own, near[0], near[0], record.BadVersion)
	case d.Used != nil:
		j.dmarcInherited(d.Used)
	default:
		j.dmarcMissing(d)
	}
	if own.Record != nil && len(j.dmarcEdits) == 0 {
		j.publish("dmarc.ok", "_dmarc."+j.Domain, "TXT", dns.Quote(own.Record.String()))
	}
}

// meant are the texts that somebody put at a name and that were meant as a
// record: not those that a wildcard gives to every name below the domain.
func (f *Facts) meant(near []string) []string {
	if f.Random == nil {
		return near
	}
	return slices.DeleteFunc(slices.Clone(near), func(t string) bool {
		return slices.ContainsFunc(f.Random.Records, func(r dns.Record) bool { return r.Text == t })
	})
}

// dmarcFix gives the domain's record in its right form; empty gives none.
func (j *judge) dmarcFix(f *diag.Finding, text string) {
	fix := ""
	if text != "" {
		fix = line("_dmarc."+j.Domain, "TXT", dns.Quote(text))
		j.publish(f.ID, "_dmarc."+j.Domain, "TXT", dns.Quote(text))
	}
	*f = f.With("fix", fix)
}

func (j *judge) dmarcMultiple(own *DMARCStep) {
	var parsed []*record.DMARC
	for _, t := range own.Texts {
		if r, err := record.ParseDMARC(t); err == nil {
			parsed = append(parsed, r)
		}
	}
	f := j.add("dmarc.multiple", j.Domain, diag.Evidence{"records": own.Texts})
	keep := ""
	if len(parsed) > 0 {
		strictness := []string{"none", "quarantine", "reject"}
		best := slices.MaxFunc(parsed, func(a, b *record.DMARC) int {
			return cmp.Compare(slices.Index(strictness, a.P), slices.Index(strictness, b.P))
		})
		keep = best.String()
	}
	j.dmarcFix(f, keep)
}

func (j *judge) dmarcSyntax(own *DMARCStep, text, part, why string) {
	f := j.add("dmarc.syntax", j.Domain, diag.Evidence{"record": text, "part": part, "reason": why})
	j.dmarcFix(f, record.RepairDMARC(text))
}

func (j *judge) dmarcMissing(d *DMARC) {
	for _, s := range d.Steps {
		if !s.Answer.Outcome.Found() {
			j.policyLookup("DMARC", s.Answer)
			return
		}
	}
	if j.TXT != nil {
		for _, r := range j.TXT.Records {
			if record.IsDMARC(r.Text) {
				f := j.add("dmarc.wrong_place", j.Domain, diag.Evidence{"record": r.Text})
				*f = f.With("delete", j.txtLine(r.Text))
				j.dmarcFix(f, r.Text)
				return
			}
		}
	}
	f := j.add("dmarc.missing", j.Domain, nil)
	if j.null() {
		j.dmarcFix(f, "v=DMARC1; p=reject")
		return
	}
	j.dmarcFix(f, record.DMARCFor("quarantine", "postmaster@"+j.Domain))
}

func (j *judge) dmarcInherited(from *DMARCStep) {
	policy := from.Record.P
	if from.Record.SP != "" {
		policy = from.Record.SP
	}
	j.add("dmarc.inherited", j.Domain, diag.Evidence{"from": from.Domain, "policy": policy, "record": from.Texts[0]})
	if policy == "none" {
		f := j.add("dmarc.policy_none", j.Domain, diag.Evidence{"record": from.Texts[0], "at": from.Domain, "given": true})
		j.dmarcFix(f, record.DMARCFor("quarantine", "postmaster@"+j.Domain))
	}
}

// dmarcEdit says how the record must change because of a finding: see spfFix.
func (j *judge) dmarcEdit(f *diag.Finding, edit func(*record.DMARC) *record.DMARC) {
	j.mended = append(j.mended, f.ID)
	j.dmarcEdits = append(j.dmarcEdits, edit)
}

// set is the edit that gives a tag a value; an empty one takes it out.
func set(name, value string) func(*record.DMARC) *record.DMARC {
	return func(r *record.DMARC) *record.DMARC { return r.With(name, value) }
}

// dmarcOwn judges what the domain's own record does.
func (j *judge) dmarcOwn(own *DMARCStep) {
	r := own.Record
	text := own.Texts[0]
	if len(r.Ignored) > 0 {
		f := j.add("dmarc.syntax", j.Domain, diag.Evidence{"record": text, "part": strings.Join(r.Ignored, "; "), "reason": "ignored"})
		*f = f.As(diag.Warn)
		for _, part := range r.Ignored {
			name, _, _ := strings.Cut(part, "=")
			j.dmarcEdit(f, set(name, ""))
		}
	}
	switch {
	case r.P == "none":
		f := j.add("dmarc.policy_none", j.Domain, diag.Evidence{"record": text, "at": j.Domain, "given": r.HasP})
		j.dmarcEdit(f, func(r *record.DMARC) *record.DMARC { return r.With("p", "quarantine").With("sp", "").With("pct", "") })
	case r.SP == "none":
		f := j.add("dmarc.sp_weaker", j.Domain, diag.Evidence{"record": text, "policy": r.P})
		j.dmarcEdit(f, set("sp", ""))
	}
	if r.Pct < 100 {
		f := j.add("dmarc.partial", j.Domain, diag.Evidence{"record": text, "pct": r.Pct})
		j.dmarcEdit(f, set("pct", ""))
	}
	if len(r.Rua) == 0 && !j.null() {
		f := j.add("dmarc.no_rua", j.Domain, diag.Evidence{"record": text})
		j.dmarcEdit(f, set("rua", "mailto:postmaster@"+j.Domain))
	}
	j.dmarcReports(r)
	for _, edit := range j.dmarcEdits {
		r = edit(r)
	}
	j.finish("_dmarc."+j.Domain, r.String)
}

func (j *judge) dmarcReports(r *record.DMARC) {
	for _, to := range j.DMARC.Mail {
		switch {
		case to.Domain == "":
			f := j.add("dmarc.rua_invalid", j.Domain, diag.Evidence{"tag": to.Tag, "uri": to.URI})
			*f = f.With("fix", "")
			if list := repairURI(r, to); list != "" {
				j.dmarcEdit(f, set(to.Tag, list))
			}
		case !to.Takes:
			if to.Domain == j.Domain && !j.null() {
				continue // mx.none says it
			}
			j.add("dmarc.rua_no_mx", to.Domain, diag.Evidence{"tag": to.Tag, "uri": to.URI})
		case to.Auth != nil && to.Auth.Outcome.Found():
			if slices.ContainsFunc(to.Auth.Records, func(x dns.Record) bool { return record.IsDMARC(x.Text) }) {
				continue
			}
			f := j.add("dmarc.external_not_authorised", to.Domain, diag.Evidence{"tag": to.Tag, "uri": to.URI, "name": to.Auth.Name, "domain": j.Domain})
			*f = f.With("fix", line(to.Auth.Name, "TXT", dns.Quote("v=DMARC1")))
		}
	}
}

// repairURI is the list of addresses with a mailto: put before a bare one.
func repairURI(r *record.DMARC, bad *ReportTo) string {
	uri := "mailto:" + bad.URI[strings.LastIndexAny(bad.URI, ":/")+1:]
	if _, ok := record.MailtoDomain(uri); !ok {
		return ""
	}
	list := r.Rua
	if bad.Tag == "ruf" {
		list = r.Ruf
	}
	list = slices.Clone(list)
	for i, u := range list {
		if u == bad.URI {
			list[i] = uri
		}
	}
	return strings.Join(list, ",")
}
