package policy

import (
	"fmt"
	"strings"

	"mailsrv/server/address"
	"mailsrv/server/config"
)

// Field is a field of a message's header, unfolded.
type Field struct{ Name, Value string }

// ownRules asks the administrator's rules that need no header.
func (p *Policy) ownRules(d *Decision, r *Request) {
	for i := range p.Rules {
		rule := &p.Rules[i]
		if len(rule.Headers) > 0 || rule.Action == config.Off {
			continue
		}
		why, ok := p.holds(rule, r, []address.Address{r.Recipient})
		if p.apply(d, rule, why, ok, r) {
			return
		}
	}
}

// apply notes what became of a rule and tells whether it was the last to ask.
func (p *Policy) apply(d *Decision, rule *config.Rule, why string, holds bool, r *Request) (last bool) {
	name := "rule." + rule.Name
	if !holds {
		d.passed(name, why)
		return false
	}
	refusal := reject(550, "5.7.1", "Refused by a rule of this server ("+rule.Name+")")
	switch {
	case rule.Action == config.Unknown:
		refusal = noSuchUser(r)
	case rule.Reply != (config.Reply{}):
		refusal = reject(rule.Reply.Code, rule.Reply.Enhanced, rule.Reply.Text)
	}
	d.found(name, why, rule.Action, refusal)
	d.Allowed = d.Allowed || rule.Action == config.Allow
	return d.Allowed || d.Verdict != Accept
}

// holds tells whether all conditions of a rule but those of the header hold, for
// any of the recipients.
func (p *Policy) holds(rule *config.Rule, r *Request, recipients []address.Address) (why string, ok bool) {
	var reasons []string
	if rule.For != "all" && (rule.For == "strangers") != p.stranger(r) {
		return "is for " + rule.For + " only", false
	}
	if len(rule.Clients) > 0 {
		n, ok := contains(rule.Clients, r.Client)
		if !ok {
			return fmt.Sprintf("%s is not among its clients", r.Client.Unmap()), false
		}
		reasons = append(reasons, fmt.Sprintf("client %s is in %s", r.Client.Unmap(), n))
	}
	if len(rule.HELO) > 0 {
		found := ""
		for _, p := range rule.HELO {
			if p.MatchText(r.HELO) {
				found = p.String()
				break
			}
		}
		if found == "" {
			return "HELO " + r.HELO + " is not among its names", false
		}
		reasons = append(reasons, "HELO "+r.HELO+" matches "+found)
	}
	if len(rule.Senders) > 0 {
		found := matching(rule.Senders, r.Sender)
		if found == "" {
			return "<" + r.Sender.String() + "> is not among its senders", false
		}
		reasons = append(reasons, "sender <"+r.Sender.String()+"> matches "+found)
	}
	if len(rule.Recipients) > 0 {
		found := ""
		for _, to := range recipients {
			if found = matching(rule.Recipients, to); found != "" {
				reasons = append(reasons, "recipient <"+to.String()+"> matches "+found)
				break
			}
		}
		if found == "" {
			return "the recipient is not among its own", false
		}
	}
	return strings.Join(reasons, ", "), true
}

// Header judges a message by its header, for the recipients that were accepted.
// allowed tells that a rule has spared it that.
func (p *Policy) Header(r Request, recipients []address.Address, allowed bool, fields []Field) Decision {
	d := *accept("2.0.0", "Ok")
	d.Sender, d.Recipient = r.Sender, r.Recipient
	if allowed {
		return d
	}
	for i := range p.Rules {
		rule := &p.Rules[i]
		if len(rule.Headers) == 0 || rule.Action == config.Off {
			continue
		}
		why, ok := p.holds(rule, &r, recipients)
		if ok {
			var field string
			if field, ok = fieldMatching(rule.Headers, fields); ok {
				why = strings.TrimPrefix(why+", "+field, ", ")
			} else {
				why = "no header field matches"
			}
		}
		if p.apply(&d, rule, why, ok, &r) {
			return d
		}
	}
	if p.Checks.MessageID != config.Off && p.Checks.MessageID != "" && p.stranger(&r) {
		if why := badMessageID(fields); why != "" {
			d.found("check.message_id", why, p.Checks.MessageID, reject(550, "5.6.0", "Message-ID is missing or malformed"))
		} else {
			d.passed("check.message_id", "the Message-ID is one")
		}
	}
	return d
}

// NeedsHeader tells whether Header has anything to look at.
func (p *Policy) NeedsHeader() bool {
	for _, r := range p.Rules {
		if len(r.Headers) > 0 && r.Action != config.Off {
			return true
		}
	}
	return p.Checks.MessageID != config.Off && p.Checks.MessageID != ""
}

func fieldMatching(patterns []config.HeaderPattern, fields []Field) (string, bool) {
	for _, f := range fields {
		for _, p := range patterns {
			if strings.EqualFold(f.Name, p.Field) && p.Value.MatchText(f.Value) {
				return "header field " + p.Field + " matches " + p.Value.String(), true
			}
		}
	}
	return "", false
}

// badMessageID says what is wrong with the Message-ID: "" when it is
// "<left@right>" (RFC 5322 3.6.4).
func badMessageID(fields []Field) string {
	for _, f := range fields {
		if !strings.EqualFold(f.Name, "Message-ID") {
			continue
		}
		inner, ok := strings.CutPrefix(strings.TrimSpace(f.Value), "<")
		inner, closed := strings.CutSuffix(inner, ">")
		left, right, at := strings.Cut(inner, "@")
		if !ok || !closed || !at || left == "" || right == "" || strings.ContainsAny(inner, " \t<>") {
			return "the Message-ID is none"
		}
		return ""
	}
	return "there is no Message-ID"
}
