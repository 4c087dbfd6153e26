package checkmx

import (
	"fmt"
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
	if len(j.out) == 0 {
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

// fix gives the domain's own record in its right form, if there is one.
func (j *judge) spfFix(f *diag.Finding, r *record.SPF) {
	text := ""
	if r != nil {
		text = j.txtLine(r.String())
		j.publish(f.ID, j.Domain, "TXT", dns.Quote(r.String()))
	}
	*f = f.With("fix", text)
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
		j.spfFix(f, record.Merge(all))
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
				j.spfFix(f, r)
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
			j.spfFix(f, n.Record.Without(func(x record.Term) bool { return x.Text == t.Text }))
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
	j.spfFix(f, n.flatter())
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

// flatter is the record with addresses in place of its a and mx terms, if that
// brings it within the limit.
func (n *SPFNode) flatter() *record.SPF {
	out := &record.SPF{}
	left := n.Lookups
	for _, t := range n.Terms {
		if (t.Name == "a" || t.Name == "mx") && t.Qualifier == '+' && !t.Macro && t.Failed == "" && len(t.Prefixes) > 0 {
			left--
			for _, p := range t.Prefixes {
				ip := record.IPTerm(p)
				if !slices.ContainsFunc(out.Terms, func(x record.Term) bool { return x.Text == ip.Text }) {
					out.Terms = append(out.Terms, ip)
				}
			}
			continue
		}
		if (t.Name == "a" || t.Name == "mx") && t.Void {
			left--
			continue
		}
		out.Terms = append(out.Terms, t.Term)
	}
	if left > spfLookups {
		return nil
	}
	return out
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
			r := n.Record.Without(func(x record.Term) bool { return x.Text == t.Text })
			if r.All() == nil && r.Redirect() == nil {
				r = r.Ending("~all")
			}
			j.spfFix(f, r)
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
	j.spfFix(f, n.Record.Without(func(x record.Term) bool {
		return slices.ContainsFunc(n.Terms, func(t *SPFTerm) bool { return t.Void && t.Text == x.Text })
	}))
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
	own := func(r *record.SPF, id string, ev diag.Evidence) {
		f := j.add(id, j.Domain, ev)
		j.spfFix(f, r)
	}
	last := n.last()
	all := last.Record.All()
	switch open, via := n.passesAll(0); {
	case open:
		ev := diag.Evidence{"term": via, "record": n.Record.String()}
		f := j.add("spf.plus_all", j.Domain, ev)
		*f = f.With("fix", "")
		if slices.ContainsFunc(n.Record.Terms, func(t record.Term) bool { return t.Text == via }) {
			j.spfFix(f, n.Record.Without(func(t record.Term) bool { return t.Name != "redirect" && t.Text == via }).Ending("~all"))
		}
	case all != nil && all.Qualifier == '?':
		ev := diag.Evidence{"record": last.Record.String(), "at": last.Domain}
		f := j.add("spf.neutral_all", j.Domain, ev)
		*f = f.With("fix", "")
		if last == n {
			j.spfFix(f, n.Record.Ending("~all"))
		}
	case all == nil && !slices.ContainsFunc(last.Terms, func(t *SPFTerm) bool { return t.Name == "redirect" }):
		f := j.add("spf.no_all", j.Domain, diag.Evidence{"record": last.Record.String(), "at": last.Domain})
		*f = f.With("fix", "")
		if last == n {
			j.spfFix(f, n.Record.Ending("~all"))
		}
	}
	if ignored := n.Record.Ignored(); len(ignored) > 0 {
		var terms []string
		for _, t := range ignored {
			terms = append(terms, t.Text)
		}
		all := n.Record.All().Text
		own(n.Record.Ending(all), "spf.after_all", diag.Evidence{"terms": terms, "all": all})
	}
	for _, x := range []*SPFNode{n, last} {
		if slices.ContainsFunc(x.Terms, func(t *SPFTerm) bool { return t.Name == "ptr" }) {
			own(n.Record.Without(func(t record.Term) bool { return t.Name == "ptr" }), "spf.ptr", diag.Evidence{"record": x.Record.String()})
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
