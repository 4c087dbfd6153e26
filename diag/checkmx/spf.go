package checkmx

import (
	"fmt"
	"net/netip"
	"slices"

	"mailsrv/diag"
	"mailsrv/diag/checkmx/record"
	"mailsrv/probes/dns"
)

// Limits of RFC 7208 section 4.6.4.
const (
	spfLookups = 10
	spfVoid    = 2
)

const maxTXT = 512 // octets of an answer that every resolver and path can carry

func judgeSPF(j *judge) {
	n := j.SPF
	if n == nil {
		return
	}
	j.ran = true
	if !n.Answer.Outcome.Found() {
		j.policyLookup("SPF", n.Answer)
		return
	}
	if len(n.Texts) > 1 {
		j.spfMultiple(n)
		return
	}
	if len(n.Texts) == 0 && n.Near == "" {
		if !j.null() {
			value := record.SPFFor(true)
			f := j.add("spf.missing", j.Domain, nil)
			*f = f.With("fix", j.txtLine(value))
			j.publish("spf.missing", j.Domain, "TXT", dns.Quote(value))
		} else {
			j.publish("mx.null", j.Domain, "TXT", dns.Quote(record.SPFFor(false)))
			j.ran = false
		}
		return
	}
	j.spfBasic(n)
	if n.Record != nil {
		j.spfAdvice(n)
	}
	j.spfFinish(n.Record)
	if len(j.mended) == 0 && n.Record != nil {
		j.publish("spf.ok", j.Domain, "TXT", dns.Quote(n.Record.String()))
	}
}

// policyLookup says that a policy could not be asked for, which is never the
// same as its being missing.
func (j *judge) policyLookup(policy string, a *dns.Answer) {
	ev := diag.Evidence{"policy": policy, "type": string(a.Type), "outcome": string(a.Outcome), "resolver": a.Server}
	if a.Outcome == dns.TruncatedNoTCP {
		j.add("dns.truncated_no_tcp", a.Name, ev)
		return
	}
	j.add("dns.txt_lookup_failed", a.Name, ev)
}

func (j *judge) txtLine(text string) string { return line(j.Domain, "TXT", dns.Quote(text)) }

// spfFix says how the domain's own record must change because of a finding. In
// the end each of them shows the one record that mends them all, so that nobody
// pastes one fault back with the remedy of another.
func (j *judge) spfFix(f *diag.Finding, edit func(*record.SPF) *record.SPF) {
	j.mended = append(j.mended, f.ID)
	j.spfEdits = append(j.spfEdits, edit)
}

func (j *judge) spfFinish(r *record.SPF) {
	for _, edit := range j.spfEdits {
		r = edit(r)
	}
	j.finish(j.Domain, func() string { return r.String() })
}

// finish gives the mended record to all findings that ask for a change of it.
func (j *judge) finish(name string, text func() string) {
	for i := range j.out {
		f := &j.out[i]
		if slices.Contains(j.mended, f.ID) && f.Subject == j.Domain {
			*f = f.With("fix", line(name, "TXT", dns.Quote(text())))
		}
	}
	if len(j.mended) > 0 {
		j.publish(j.mended[0], name, "TXT", dns.Quote(text()))
	}
}

func (j *judge) spfMultiple(n *SPFNode) {
	var all []*record.SPF
	for _, t := range n.Texts {
		if r, err := record.ParseSPF(t); err == nil {
			all = append(all, r)
		}
	}
	f := j.add("spf.multiple", n.Domain, diag.Evidence{"records": n.Texts, "domain": j.Domain})
	*f = f.With("fix", "")
	if n.Domain == j.Domain && len(all) > 0 {
		j.spfFix(f, func(*record.SPF) *record.SPF { return record.Merge(all) })
		j.spfFinish(nil)
	}
}

// spfBasic gives the most basic of the faults that make the whole record
// useless (permerror).
func (j *judge) spfBasic(n *SPFNode) {
	switch {
	case j.spfSyntax(n), j.spfLoop(n), j.spfTooMany(n), j.spfMissing(n), j.spfVoid(n):
	}
	n.walk(func(owner *SPFNode, t *SPFTerm) {
		if t.Failed != "" && t.Child != nil {
			j.policyLookup("SPF", t.Child.Answer)
		}
	})
}

// walk visits every term of the tree, nearest first.
func (n *SPFNode) walk(see func(owner *SPFNode, t *SPFTerm)) {
	for _, t := range n.Terms {
		see(n, t)
	}
	for _, t := range n.Terms {
		if t.Child != nil {
			t.Child.walk(see)
		}
	}
}

// nodes lists the tree's records, nearest first.
func (n *SPFNode) nodes() []*SPFNode {
	out := []*SPFNode{n}
	n.walk(func(_ *SPFNode, t *SPFTerm) {
		if t.Child != nil {
			out = append(out, t.Child)
		}
	})
	return out
}

func (j *judge) spfSyntax(n *SPFNode) bool {
	for _, x := range n.nodes() {
		switch {
		case x.Bad != nil || len(x.Texts) == 0 && x.Near != "":
			text, part, why := x.Near, x.Near, record.BadVersion
			if len(x.Texts) > 0 {
				text = x.Texts[0]
			}
			if x.Bad != nil {
				part, why = x.Bad.Part, x.Bad.Why
			}
			f := j.add("spf.syntax", x.Domain, diag.Evidence{"record": text, "part": part, "reason": why, "domain": j.Domain})
			*f = f.With("fix", "")
			if fixed := record.RepairSPF(text); fixed != "" && x.Domain == j.Domain {
				r, _ := record.ParseSPF(fixed)
				j.spfFix(f, func(*record.SPF) *record.SPF { return r })
			}
			return true
		case len(x.Texts) > 1:
			j.spfMultiple(x)
			return true
		}
	}
	return false
}

func (j *judge) spfLoop(n *SPFNode) bool {
	found := false
	n.walk(func(owner *SPFNode, t *SPFTerm) {
		if found || t.Child == nil || !t.Child.Loop {
			return
		}
		found = true
		f := j.add("spf.include_loop", j.Domain, diag.Evidence{"term": t.Text, "at": owner.Domain, "back_to": t.Child.Domain})
		*f = f.With("fix", "")
		if owner == n {
			j.spfFix(f, dropped(t.Text))
		}
	})
	return found
}

func (j *judge) spfTooMany(n *SPFNode) bool {
	if n.Lookups <= spfLookups {
		return false
	}
	largest, cut := "", 0
	for _, t := range n.Terms {
		if t.Lookups > cut {
			largest, cut = t.Text, t.Lookups
		}
	}
	f := j.add("spf.too_many_lookups", j.Domain, diag.Evidence{"lookups": n.Lookups, "tree": n.tree(""), "largest": largest, "largest_lookups": cut})
	*f = f.With("fix", "")
	if flat, left := n.flatter(); left <= spfLookups {
		j.spfFix(f, flat)
	}
	return true
}

// tree lists the terms that cost look-ups, with counts.
func (n *SPFNode) tree(indent string) []string {
	var out []string
	for _, t := range n.Terms {
		if !t.Counts {
			continue
		}
		out = append(out, fmt.Sprintf("%s%s %d", indent, t.Text, t.Lookups))
		if t.Child != nil {
			out = append(out, t.Child.tree(indent+"  ")...)
		}
	}
	return out
}

// flatter puts addresses in place of a and mx terms, and tells how many look-ups
// are left then.
func (n *SPFNode) flatter() (edit func(*record.SPF) *record.SPF, left int) {
	left = n.Lookups
	flat := map[string][]netip.Prefix{}
	for _, t := range n.Terms {
		if (t.Name == "a" || t.Name == "mx") && t.Qualifier == '+' && !t.Macro && !t.Unasked && t.Failed == "" {
			flat[t.Text] = t.Prefixes
			left--
		}
	}
	return func(r *record.SPF) *record.SPF {
		out := &record.SPF{}
		for _, t := range r.Terms {
			prefixes, ok := flat[t.Text]
			if !ok {
				out.Terms = append(out.Terms, t)
			}
			for _, p := range prefixes {
				ip := record.IPTerm(p)
				if !slices.ContainsFunc(out.Terms, func(x record.Term) bool { return x.Text == ip.Text }) {
					out.Terms = append(out.Terms, ip)
				}
			}
		}
		return out
	}, left
}

// without is the edit that takes terms out.
func without(drop func(record.Term) bool) func(*record.SPF) *record.SPF {
	return func(r *record.SPF) *record.SPF { return r.Without(drop) }
}

// dropped is the edit that takes one term out, and does not leave the record
// without an end.
func dropped(text string) func(*record.SPF) *record.SPF {
	return func(r *record.SPF) *record.SPF {
		r = r.Without(func(x record.Term) bool { return x.Text == text })
		if r.All() == nil && r.Redirect() == nil {
			r = r.Ending("~all")
		}
		return r
	}
}

// ending is the edit that gives the record another end.
func ending(all string) func(*record.SPF) *record.SPF {
	return func(r *record.SPF) *record.SPF { return r.Ending(all) }
}

func (j *judge) spfMissing(n *SPFNode) bool {
	found := false
	n.walk(func(owner *SPFNode, t *SPFTerm) {
		c := t.Child
		if found || c == nil || c.Answer == nil || !c.Answer.Outcome.Found() || len(c.Texts) > 0 || c.Near != "" {
			return
		}
		found = true
		f := j.add("spf.include_missing", j.Domain, diag.Evidence{"term": t.Text, "at": owner.Domain, "target": c.Domain, "exists": c.Answer.Outcome != dns.NXDomain})
		*f = f.With("fix", "")
		if owner == n {
			j.spfFix(f, dropped(t.Text))
		}
	})
	return found
}

func (j *judge) spfVoid(n *SPFNode) bool {
	if n.Void <= spfVoid {
		return false
	}
	var terms []string
	n.walk(func(_ *SPFNode, t *SPFTerm) {
		if t.Void {
			terms = append(terms, t.Text)
		}
	})
	f := j.add("spf.void_lookups", j.Domain, diag.Evidence{"terms": terms, "count": n.Void})
	*f = f.With("fix", "")
	own := 0
	for _, t := range n.Terms {
		if t.Void {
			own++
		}
	}
	if n.Void-own <= spfVoid {
		j.spfFix(f, without(func(x record.Term) bool {
			return slices.ContainsFunc(n.Terms, func(t *SPFTerm) bool { return t.Void && t.Text == x.Text })
		}))
	}
	return true
}

// last is the record whose ending counts: the one that redirects lead to.
func (n *SPFNode) last() *SPFNode {
	for _, t := range n.Terms {
		if t.Name == "redirect" && t.Child != nil && t.Child.Record != nil {
			return t.Child.last()
		}
	}
	return n
}

// spfAdvice is for what a record that works does.
func (j *judge) spfAdvice(n *SPFNode) {
	permerror := slices.ContainsFunc(j.out, func(f diag.Finding) bool { return f.Status == diag.Fail })
	last := n.last()
	all := last.Record.All()
	switch open, via := n.passesAll(0); {
	case open:
		ev := diag.Evidence{"term": via, "record": n.Record.String()}
		f := j.add("spf.plus_all", j.Domain, ev)
		*f = f.With("fix", "")
		if slices.ContainsFunc(n.Record.Terms, func(t record.Term) bool { return t.Text == via }) {
			j.spfFix(f, func(r *record.SPF) *record.SPF {
				r = r.Without(func(t record.Term) bool { return t.Text == via || t.Name == "all" || n.huge(t.Text) })
				if len(r.Terms) == 0 && !j.null() {
					r = record.SPFMail() // without any sender not even the domain's own mail would pass
				}
				return r.Ending("~all")
			})
		}
	case all != nil && all.Qualifier == '?':
		ev := diag.Evidence{"record": last.Record.String(), "at": last.Domain}
		f := j.add("spf.neutral_all", j.Domain, ev)
		*f = f.With("fix", "")
		if last == n {
			j.spfFix(f, ending("~all"))
		}
	case all == nil && !slices.ContainsFunc(last.Terms, func(t *SPFTerm) bool { return t.Name == "redirect" }):
		f := j.add("spf.no_all", j.Domain, diag.Evidence{"record": last.Record.String(), "at": last.Domain})
		*f = f.With("fix", "")
		if last == n {
			j.spfFix(f, ending("~all"))
		}
	}
	if ignored := n.Record.Ignored(); len(ignored) > 0 {
		var terms []string
		for _, t := range ignored {
			terms = append(terms, t.Text)
		}
		all := n.Record.All().Text
		f := j.add("spf.after_all", j.Domain, diag.Evidence{"terms": terms, "all": all})
		j.spfFix(f, func(r *record.SPF) *record.SPF { return r.Ending(r.All().Text) })
	}
	for _, x := range []*SPFNode{n, last} {
		if slices.ContainsFunc(x.Terms, func(t *SPFTerm) bool { return t.Name == "ptr" }) {
			f := j.add("spf.ptr", j.Domain, diag.Evidence{"record": x.Record.String()})
			j.spfFix(f, without(func(t record.Term) bool { return t.Name == "ptr" }))
		}
	}
	j.spfPrivate(n)
	if size := answerSize(n.Answer); size > maxTXT {
		var others []string
		for _, r := range n.Answer.Records {
			if !record.IsSPF(r.Text) {
				others = append(others, shortText(r.Text))
			}
		}
		j.add("spf.too_long", j.Domain, diag.Evidence{"size": size, "spf_size": len(n.Texts[0]), "others": others})
	}
	if !permerror {
		j.spfCovers(n)
	}
}
