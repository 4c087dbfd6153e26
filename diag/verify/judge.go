package verify

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailsrv/diag"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
)

// judge says what came of one cause, and which findings say so.
func (p *Plan) judge(d explain.Diagnosis) (verdict string, checked []string) {
	switch needs[d.Cause] {
	case needProgram:
		p.skip("explain.this_program", "", d.Cause, diag.Evidence{})
		return explain.Undetermined, []string{"explain.this_program"}
	case needSockets:
		return p.judgeSockets(d)
	}
	if verdict, checked, ok := p.judgeDNS(d); ok {
		return verdict, checked
	}
	verdict = ""
	for _, a := range p.asks {
		if a.report == nil || !slices.Contains(a.causes, d.Cause) {
			continue
		}
		v, ids := p.judgeTalk(a, d)
		// Several conversations: one that confirms it counts most, the first
		// one else.
		if verdict == "" || v == explain.Confirmed && verdict != v {
			verdict, checked = v, ids
		}
	}
	if verdict == "" {
		verdict = explain.Undetermined
		said := func(f diag.Finding) bool {
			list, _ := f.Evidence["causes"].([]string)
			return f.Status == diag.Skip && (list == nil || slices.Contains(list, d.Cause))
		}
		if !slices.ContainsFunc(p.found, said) && d.Cause != "unknown" {
			p.skip("explain.only_they", "", d.Cause, diag.Evidence{})
		}
	}
	return verdict, checked
}

// judgeSockets is about a port that a server on this machine wants.
func (p *Plan) judgeSockets(d explain.Diagnosis) (string, []string) {
	if held := p.withID("explain.port_held"); held != nil && d.Cause == "port-in-use" {
		return explain.Confirmed, held
	}
	if free := p.withID("explain.port_free"); free != nil && d.Cause == "port-in-use" {
		return explain.Rejected, free
	}
	p.skip("explain.no_target", "", d.Cause, diag.Evidence{"need": "doctor"})
	return explain.Undetermined, nil
}

// judgeDNS is about what DNS can say. It is not ok where a conversation has to.
func (p *Plan) judgeDNS(d explain.Diagnosis) (verdict string, checked []string, ok bool) {
	confirm := func(ids []string) bool {
		if ids != nil {
			verdict, checked, ok = explain.Confirmed, ids, true
		}
		return ids != nil
	}
	reject := func(ids []string) bool {
		if ids != nil {
			verdict, checked, ok = explain.Rejected, ids, true
		}
		return ids != nil
	}
	from, to := p.said(domainOf(d, p.sender())), p.said(domainOf(d, p.recipient()))
	mine := p.mine()
	switch d.Cause {
	case "dns-failure":
		_ = confirm(p.withID("explain.name_missing", "explain.name_unknown", "explain.resolvers_differ")) || reject(p.withID("explain.name_found")) ||
			confirm(trouble(to, "domain.", "dns.", "mx.")) || reject(having(to, "mx.ok"))
	case "sender-rejected":
		_ = mine || confirm(trouble(from, "domain.", "dns.", "mx.")) || reject(having(from, "mx.ok"))
	case "retry-expired":
		_ = mine || confirm(trouble(to, "domain.", "dns.", "mx."))
	case "user-unknown", "mail-loop":
		_ = mine || confirm(having(to, "domain.nxdomain", "mx.null", "mx.localhost", "mx.private_address"))
	case "ptr-missing":
		_ = confirm(p.withID("explain.ptr_missing")) || reject(p.withID("explain.ptr")) || confirm(trouble(from, "ptr."))
	case "blocklisted":
		_ = confirm(p.withID("dnsbl.ip_listed")) || reject(p.withID("explain.not_listed")) || confirm(having(from, "dnsbl.ip_listed", "dnsbl.policy_listed", "dnsbl.domain_listed"))
	case "spf-dkim-dmarc":
		_ = confirm(trouble(from, "spf.", "dmarc.missing", "dmarc.syntax", "dmarc.multiple", "dkim."))
	}
	return verdict, checked, ok
}

// trouble lists the fails and warnings of some families.
func trouble(fs []diag.Finding, prefixes ...string) []string {
	var out []string
	for _, id := range troubles(fs) {
		if slices.ContainsFunc(prefixes, func(x string) bool { return strings.HasPrefix(id, x) }) {
			out = append(out, id)
		}
	}
	return out
}

// judgeTalk is about a conversation that was held.
func (p *Plan) judgeTalk(a *ask, d explain.Diagnosis) (string, []string) {
	if a.says(d.Cause) && !p.aside(a) {
		return explain.Confirmed, troubles(a.report.Findings)
	}
	if v, ids, ok := p.special(a, d); ok {
		return v, ids
	}
	failed, outcome := a.failed()
	need := needOf(d.Cause, a.protocol)
	stages := talk.StagesOf(a.protocol)
	switch at := slices.Index(stages, failed); {
	case p.aside(a) && at >= 0 && at <= slices.Index(stages, need):
		p.needsLogin(a, d.Cause)
		return explain.Undetermined, []string{"explain.needs_login"}
	case at >= 0 && at < slices.Index(stages, need) && !(need == needTLS && a.report.TLS != nil):
		return p.notReached(a, d.Cause, failed, outcome)
	case at >= 0 && need != needLogin && need != needData && need != needTLS:
		return explain.Rejected, troubles(a.report.Findings) // something else is wrong there
	}
	switch need {
	case needLogin:
		p.needsLogin(a, d.Cause)
		return explain.Undetermined, []string{"explain.needs_login"}
	case needData:
		p.skip("explain.needs_message", a.subject(), d.Cause, diag.Evidence{"command": a.command(" --from SENDER --to RECIPIENT --send")})
		return explain.Undetermined, []string{"explain.needs_message"}
	case needTLS:
		if a.report.TLS == nil {
			return p.notReached(a, d.Cause, firstOf(failed, "tls"), outcome)
		}
	}
	if a.asksNobody(d.Cause) {
		p.skip("explain.needs_recipient", a.subject(), d.Cause, diag.Evidence{"command": a.command(" --from SENDER --to RECIPIENT")})
		return explain.Undetermined, []string{"explain.needs_recipient"}
	}
	// These come at any moment of a conversation, most often late: while a
	// large message is on its way.
	if d.Cause == "connection-reset" || d.Cause == "server-timeout" {
		p.afterwards(a, d.Cause)
		return explain.Undetermined, []string{"explain.well_so_far"}
	}
	return explain.Rejected, []string{"probe.ok"}
}

// says tells whether the conversation itself leads to that cause: before all
// others, or as surely as the first. Without a password nothing is said about
// logins but what comes first.
func (a *ask) says(cause string) bool {
	const near = 0.8
	ds := a.report.Diagnosis
	i := slices.IndexFunc(ds, func(x explain.Diagnosis) bool { return x.Cause == cause })
	return i == 0 || i > 0 && needs[cause] != needLogin && ds[i].Confidence >= near*ds[0].Confidence
}

// failed is the stage at which the conversation ended, and how.
func (a *ask) failed() (stage, outcome string) {
	for _, s := range a.report.Stages {
		if s.Status == diag.Fail {
			stage = s.Stage
			break
		}
	}
	for _, f := range a.report.Findings {
		if o, ok := f.Evidence["outcome"].(string); ok {
			outcome = o
		}
	}
	return stage, outcome
}

func (a *ask) subject() string { return a.protocol + " " + a.hostPort() }

// aside tells a refusal that comes of how we ask, not of what is wrong: without
// a login, in the clear, or with an empty sender.
func (p *Plan) aside(a *ask) bool {
	stage, _ := a.failed()
	if stage != needMail && stage != needRcpt || len(a.report.Diagnosis) == 0 {
		return false
	}
	own := []string{"auth-required", "tls-required"}
	if a.protocol == talk.Submission {
		own = append(own, "relay-denied", "pop-before-smtp")
	}
	if a.from == "" {
		own = append(own, "sender-rejected")
	}
	if !p.mine() { // we are not the server that was refused
		own = append(own, "blocklisted", "ptr-missing", "policy", "relay-denied", "rate-limit")
	}
	cause := a.report.Diagnosis[0].Cause
	return slices.Contains(own, cause) && !slices.Contains(a.causes, cause)
}

// byTheWay tells a finding of a conversation that is no finding here.
func (p *Plan) byTheWay(a *ask, f diag.Finding) bool {
	if p.aside(a) && (f.ID == "probe.mail" || f.ID == "probe.rcpt") {
		return true
	}
	if f.ID == "probe.name" && trouble(p.found, "explain.name_", "explain.resolvers_") != nil {
		return true // the same, said with the resolvers
	}
	return p.blockedHere(a) && f.ID == "probe.tcp"
}

// blockedHere tells that port 25 of a foreign server does not answer us, which
// is usual in networks of homes and offices and says nothing about it.
func (p *Plan) blockedHere(a *ask) bool {
	stage, outcome := a.failed()
	return !p.mine() && a.port == 25 && stage == needTCP && outcome != dial.Refused && !slices.ContainsFunc(a.causes, func(c string) bool { return needs[c] == needTCP })
}

func (p *Plan) notReached(a *ask, cause, stage, outcome string) (string, []string) {
	id := "explain.not_reached"
	if p.blockedHere(a) {
		id = "explain.not_from_here"
	}
	p.skip(id, a.subject(), cause, diag.Evidence{"stage": stage, "outcome": outcome, "host": a.host, "port": a.port})
	return explain.Undetermined, []string{id}
}

func (p *Plan) needsLogin(a *ask, cause string) {
	p.skip("explain.needs_login", a.subject(), cause, diag.Evidence{"host": a.host, "port": a.port, "command": a.command(" --user NAME --password-stdin")})
}

// afterwards notes that all is well up to where a password or a message would
// be needed.
func (p *Plan) afterwards(a *ask, cause string) {
	options := " --user NAME --password-stdin"
	if a.protocol == talk.SMTP || a.protocol == talk.Submission {
		options += " --from SENDER --to RECIPIENT --send"
	}
	p.skip("explain.well_so_far", a.subject(), cause, diag.Evidence{"host": a.host, "port": a.port, "command": a.command(options)})
}

// asksNobody tells that the cause is about a recipient or sender that the text
// does not name.
func (a *ask) asksNobody(cause string) bool {
	switch cause {
	case "sender-rejected":
		return a.from == ""
	case "relay-denied", "pop-before-smtp", "user-unknown", "mailbox-full", "greylisted", "policy", "mail-loop", "spf-dkim-dmarc":
		return a.to == "" || a.to == "postmaster"
	}
	return false
}

// special judges causes that the stages alone do not tell.
func (p *Plan) special(a *ask, d explain.Diagnosis) (verdict string, checked []string, ok bool) {
	stage, outcome := a.failed()
	works := func(yes func(talk.Alternative) bool) bool {
		return slices.ContainsFunc(a.report.Alternatives, func(x talk.Alternative) bool { return x.Status == diag.OK && yes(x) })
	}
	switch d.Cause {
	case "antivirus-proxy":
		return p.scanner(a, stage)
	case "port25-blocked":
		other := works(func(x talk.Alternative) bool { return x.Port != 25 })
		if stage == needTCP && (outcome == dial.Timeout || outcome == dial.Unreachable) && other {
			return explain.Confirmed, p.withID("probe.tcp", "probe.alternative_works"), true
		}
		if stage == needTCP && outcome != dial.Refused {
			verdict, checked = p.notReached(a, d.Cause, stage, outcome)
			return verdict, checked, true
		}
	case "tls-mismatch":
		if a.tls != talk.Auto && stage != "" && works(func(x talk.Alternative) bool { return x.Port == a.port }) {
			return explain.Confirmed, p.withID("probe.tls", "probe.greeting", "probe.alternative_works"), true
		}
	case "tls-required":
		if slices.ContainsFunc(a.report.Capabilities, noPlainLogin(a)) && a.report.TLS == nil {
			p.add(diag.New("explain.plain_login_off", a.subject(), diag.Evidence{"host": a.host, "port": a.port}))
			return explain.Confirmed, []string{"explain.plain_login_off"}, true
		}
		if a.report.TLS == nil && stage == "" && a.loginsInTheClear() {
			return explain.Rejected, []string{"probe.ok"}, true
		}
	case "auth-required", "pop-before-smtp": // may be what would help
		if a.says("relay-denied") {
			p.needsLogin(a, d.Cause)
			return explain.Undetermined, []string{"explain.needs_login"}, true
		}
	case "auth-method":
		offered := mechanisms(a.report.Capabilities)
		if slices.Contains(offered, "PLAIN") || slices.Contains(offered, "LOGIN") || a.report.Capabilities == nil || stage != "" && stage != needMail && stage != needRcpt {
			return "", nil, false
		}
		if len(offered) > 0 {
			p.add(diag.New("explain.auth_methods", a.subject(), diag.Evidence{"mechanisms": offered}))
			return explain.Confirmed, []string{"explain.auth_methods"}, true
		}
	case "rate-limit":
		for _, c := range a.report.Capabilities {
			if s, found := strings.CutPrefix(strings.ToUpper(c), "LOGIN-DELAY "); found {
				p.add(diag.New("explain.login_delay", a.subject(), diag.Evidence{"seconds": strings.Fields(s + " ?")[0]}))
				return explain.Confirmed, []string{"explain.login_delay"}, true
			}
		}
		if a.protocol == talk.POP3 && strings.Contains(strings.Join(d.Evidence, " "), "LOGIN-DELAY") && stage == "" {
			p.needsLogin(a, d.Cause)
			return explain.Undetermined, []string{"explain.needs_login"}, true
		}
	case "message-too-large":
		if limit := sizeLimit(a.report.Capabilities); limit > 0 {
			f := diag.New("explain.size_limit", a.subject(), diag.Evidence{"octets": limit, "tiny": limit < 100_000})
			if limit < 100_000 {
				p.add(f.As(diag.Fail))
				return explain.Confirmed, []string{f.ID}, true
			}
			p.add(f)
			p.skip("explain.needs_message", a.subject(), d.Cause, diag.Evidence{"command": a.command(" --from SENDER --to RECIPIENT --send")})
			return explain.Undetermined, []string{f.ID}, true
		}
	}
	return "", nil, false
}

// scanner judges whether a mail scanner stands in between, or is missing where
// the account still leads to it.
func (p *Plan) scanner(a *ask, stage string) (string, []string, bool) {
	if !ours(a.host) {
		return "", nil, false
	}
	for _, f := range p.found {
		if f.ID != "explain.port_held" || f.Subject != a.hostPort() {
			continue
		}
		switch f.Evidence["kind"] {
		case "mail-shield":
			return explain.Confirmed, []string{f.ID}, true
		case nil:
			p.skip("explain.unknown_holder", a.hostPort(), "antivirus-proxy", diag.Evidence{"program": f.Evidence["program"]})
			return explain.Undetermined, []string{f.ID}, true
		}
		return explain.Rejected, []string{f.ID}, true
	}
	if stage == needTCP {
		return explain.Confirmed, p.withID("probe.tcp", "explain.port_free"), true
	}
	return "", nil, false
}

// noPlainLogin finds the sign that logins need TLS first: LOGINDISABLED (RFC
// 9051 section 6.2.3).
func noPlainLogin(a *ask) func(string) bool {
	return func(c string) bool { return a.protocol == talk.IMAP && strings.EqualFold(c, "LOGINDISABLED") }
}

// loginsInTheClear tells that a login without TLS would be heard: POP3 takes the
// user's name, IMAP does not say LOGINDISABLED.
func (a *ask) loginsInTheClear() bool {
	switch a.protocol {
	case talk.IMAP:
		return a.report.Capabilities != nil
	case talk.POP3:
		return slices.ContainsFunc(a.report.Stages, func(s talk.Stage) bool { return s.Stage == needLogin && s.Status == diag.OK })
	}
	return false
}

// mechanisms lists what a server offers for the login: "AUTH PLAIN LOGIN",
// "SASL PLAIN", "AUTH=PLAIN".
func mechanisms(capabilities []string) []string {
	var out []string
	for _, c := range capabilities {
		c = strings.ToUpper(c)
		for _, prefix := range []string{"AUTH ", "SASL "} {
			if rest, ok := strings.CutPrefix(c, prefix); ok {
				out = append(out, strings.Fields(rest)...)
			}
		}
		if m, ok := strings.CutPrefix(c, "AUTH="); ok {
			out = append(out, m)
		}
	}
	return out
}

var sizeWords = regexp.MustCompile(`(?i)^SIZE (\d+)$`)

// sizeLimit is the largest message that a server takes, in octets; 0 when it
// does not say (RFC 1870).
func sizeLimit(capabilities []string) int {
	for _, c := range capabilities {
		if m := sizeWords.FindStringSubmatch(strings.TrimSpace(c)); m != nil {
			n, err := strconv.Atoi(m[1])
			if err == nil {
				return n
			}
		}
	}
	return 0
}
