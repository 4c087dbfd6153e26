package explain

import (
	"cmp"
	"slices"
	"strings"

	"mailsrv/codes"
)

// result puts the facts, what the catalogue knows of them and the judgement
// together.
func (f *facts) result(lang codes.Lang) Result {
	r := Result{Input: Input{Kind: f.kind}, Extracted: f.tool}
	switch {
	case f.tally != nil:
		f.logResult(&r, lang)
	case f.bounces != nil:
		f.mailResult(&r, lang)
	default:
		r.Matches = f.matches(lang)
		r.Diagnosis = f.diagnoses(f.candidates(), lang)
		if f.ctx != (Context{}) {
			r.Context = &f.ctx
		}
	}
	if f.kind != KindCode {
		fittingFirst(r.Matches, r.Diagnosis)
	}
	switch {
	case f.kind == KindCode:
		r.Diagnosis = onlyErrors(f, r.Diagnosis)
		if len(r.Matches) == 0 || r.Matches[0].Title == "" {
			r.Asked = cmp.Or(f.near, f.text)
			r.DidYou = codes.Suggest(r.Asked, 4)
		}
	case len(r.Diagnosis) > 0, f.kind == KindDialog, len(r.Matches) > 0, f.bounces != nil && len(f.events) > 0:
		if len(r.Diagnosis) == 0 {
			r.Diagnosis = f.diagnoses([]candidate{{cause: "unknown", confidence: 0.1}}, lang)
		}
	default:
		r.Diagnosis = f.diagnoses([]candidate{{cause: "none", confidence: 1}}, lang)
	}
	return r
}

// onlyErrors drops the judgement on questions that are no errors: topics,
// settings, and numbered questions of a manual.
func onlyErrors(f *facts, ds []Diagnosis) []Diagnosis {
	for _, c := range f.codes {
		for _, e := range c.entries() {
			if e.Family == "topic" || e.Family == "setting" {
				return nil
			}
		}
	}
	return ds
}

// logResult says what the troubled lines of a log come down to, the worst first,
// and lists the deliveries that failed or wait.
func (f *facts) logResult(r *Result, lang codes.Lang) {
	t := f.tally
	seen := map[string]bool{}
	var others []candidate
	for _, e := range t.kept {
		cs := e.candidates()
		others = append(others, cs...)
		e.addMatches(r, seen, lang)
		if b, ok := e.bounce(cs); ok {
			r.Bounces = append(r.Bounces, b)
		}
	}
	r.Context = contextOf(t.kept)
	named := map[string]bool{}
	groups := t.worst()
	for _, g := range groups {
		if g.Cause != "unknown" || len(groups) == 1 {
			named[g.Cause] = true
			r.Diagnosis = append(r.Diagnosis, g.of.diagnoses([]candidate{g.merged(others)}, lang)...)
		}
	}
	for _, c := range rank(others) {
		if !named[c.cause] && len(r.Diagnosis) < max(maxDiagnoses, len(named)) {
			r.Diagnosis = append(r.Diagnosis, t.with(c.cause).diagnoses([]candidate{c}, lang)...)
		}
	}
	if t.log.Trouble > 1 {
		r.Log = &t.log
		for _, g := range groups {
			r.Groups = append(r.Groups, g.result(lang))
		}
	}
}

// merged is the judgement on the group's first line with the evidence of the
// others.
func (g *group) merged(all []candidate) candidate {
	x := g.best
	x.evidence = slices.Clone(x.evidence)
	x.spoken = x.spoken && g.Count == 1
	for _, c := range all {
		if c.cause != x.cause {
			continue
		}
		for _, e := range c.evidence {
			if len(x.evidence) < maxEvidence && !slices.ContainsFunc(x.evidence, func(have string) bool { return alike(have, e) }) {
				x.evidence = append(x.evidence, e)
			}
		}
	}
	return x
}

// alike tells words that differ in numbers only: the same message about another
// client or queue item.
func alike(a, b string) bool {
	letters := func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}
	return a == b || strings.Map(letters, a) == strings.Map(letters, b)
}

// with is the first troubled line that a cause is considered for.
func (t *tally) with(cause string) *facts {
	for _, e := range t.kept {
		if slices.ContainsFunc(e.candidates(), func(c candidate) bool { return c.cause == cause }) {
			return e
		}
	}
	return t.kept[0]
}

// mailResult merges what the recipients of a bounce have in common. Causes that
// more of them speak of come first.
func (f *facts) mailResult(r *Result, lang codes.Lang) {
	var all []candidate
	recipients := map[string]int{}
	seen := map[string]bool{}
	of := map[string]*facts{}
	r.Bounces = f.bounces
	for _, e := range f.events {
		cs := e.candidates()
		if len(cs) > 0 {
			recipients[cs[0].cause]++
		}
		for _, c := range cs {
			if of[c.cause] == nil {
				of[c.cause] = e
			}
		}
		all = append(all, cs...)
		e.addMatches(r, seen, lang)
	}
	all = rank(all)
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(recipients[b.cause], recipients[a.cause]) })
	for _, c := range all {
		r.Diagnosis = append(r.Diagnosis, of[c.cause].diagnoses([]candidate{c}, lang)...)
	}
	r.Context = contextOf(f.events)
}

// maxMatches limits the codes listed of one log or mail.
const maxMatches = 100

func (f *facts) addMatches(r *Result, seen map[string]bool, lang codes.Lang) {
	for _, m := range f.matches(lang) {
		if !seen[m.Code] && len(r.Matches) < maxMatches {
			seen[m.Code] = true
			r.Matches = append(r.Matches, m)
		}
	}
}

// contextOf is the context of the first event that names a recipient, else of
// the last that names a server.
func contextOf(events []*facts) *Context {
	var out *Context
	for _, e := range events {
		if e.ctx.Recipient != "" {
			return &e.ctx
		}
		if e.ctx.Server != "" || out == nil {
			out = &e.ctx
		}
	}
	return out
}

// bounce is the delivery that a log line tells of, if it names a recipient.
func (f *facts) bounce(cs []candidate) (Bounce, bool) {
	e := f.event
	if e.recipient == "" || e.outcome == unclear && e.status == "" {
		return Bounce{}, false
	}
	b := Bounce{Recipient: e.recipient, StatusSource: "none", Diagnostic: cut(oneLine(e.reply), 1000), Command: e.command, RemoteHost: e.relay,
		ReportingMTA: e.host, Source: "text", Action: "failed", Hard: true, Time: e.time, Reason: "undefined"}
	if e.outcome == deferred {
		b.Action, b.Hard = "delayed", false
	}
	for _, c := range f.codes {
		switch {
		case c.kind == kindReply && b.ReplyCode == "":
			b.ReplyCode = c.canon
		case c.kind == kindEnhanced && c.from == "" && b.Status == "":
			b.Status, b.StatusSource = c.canon, "stated"
		}
	}
	if strings.HasPrefix(b.Status, "4.") || b.Status == "" && strings.HasPrefix(b.ReplyCode, "4") {
		b.Hard = false
	}
	for _, w := range f.words {
		if w.entry != nil && w.entry.Reason != "" {
			b.Reason = w.entry.Reason
			return b, true
		}
	}
	if len(cs) > 0 {
		b.Reason = cmp.Or(reasonOf[cs[0].cause], b.Reason)
	}
	return b, true
}

// reasonOf is the bounce reason that a cause comes down to where the words of
// the reply name none of their own.
var reasonOf = map[string]string{
	"user-unknown": "userunknown", "dns-failure": "hostunknown", "account-blocked": "suspend", "mailbox-full": "mailboxfull",
	"message-too-large": "mesgtoobig", "rate-limit": "speeding", "blocklisted": "blocked", "ptr-missing": "requireptr",
	"sender-rejected": "rejected", "spf-dkim-dmarc": "authfailure", "policy": "policyviolation", "spam-content": "spamdetected",
	"relay-denied": "norelaying", "auth-required": "securityerror", "auth-failed": "securityerror", "auth-method": "securityerror",
	"tls-required": "securityerror", "tls-cert": "failedstarttls", "tls-version": "failedstarttls", "tls-mismatch": "failedstarttls",
	"connect-refused": "networkerror", "connect-timeout": "networkerror", "connection-reset": "networkerror", "server-timeout": "networkerror",
	"network-unreachable": "networkerror", "mail-loop": "networkerror", "port25-blocked": "networkerror", "retry-expired": "expired",
	"server-temporary": "systemerror", "disk-full-server": "systemfull", "syntax-error": "syntaxerror", "greylisted": "blocked",
}
