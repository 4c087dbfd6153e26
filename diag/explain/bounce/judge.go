package bounce

import (
	"strings"

	"mailsrv/codes"
)

// judge turns a claim into a bounce: the server's own words first, then its
// codes, then the words of the notice around them.
func (c *claim) judge(n *notice, only bool) Bounce {
	words := joinReply(oneLine(clip(c.diagnostic, maxDiagnostic)))
	prose := joinReply(oneLine(clip(c.prose, maxDiagnostic)))
	b := Bounce{
		Recipient: c.recipient, OriginalRecipient: differing(c.original, c.recipient),
		Action: c.action, RemoteHost: c.remote, ReportingMTA: c.reporting, Source: c.source, Time: c.time, Cause: c.cause,
	}
	rest := "" // the whole notice, where it can only speak of this recipient
	if only {
		rest = n.text
	}
	said := c.readCodes(&b, words, prose, rest)
	b.Diagnostic = said
	b.Command = c.commandOf(words, prose, restOf(n, only))
	b.Reason = c.reason(&b, said, words, prose, n, only)
	if b.Action == "" && b.Source == fromText {
		b.Action = "failed"
		if only && saysDelayed(n.folded()) {
			b.Action = "delayed"
		}
	}
	b.Hard = hard(b.Reason) && (b.ReplyCode != "" || !strings.HasPrefix(b.Status, "4"))
	return b
}

// readCodes fills in reply code and status and returns the words to show. The
// report's diagnostic comes first; what ends with "retried for too long" gives
// way to the error that was retried.
func (c *claim) readCodes(b *Bounce, words, prose, rest string) (said string) {
	a, ok := findAnswer(words)
	said = words[a.at:]
	before := quoteBefore(words, a.at)
	status := a.status
	if status == "" {
		status = findStatus(words)
	}
	if extra, found := findAnswer(prose); found {
		switch {
		case !ok, fullerReply(prose[extra.at:], words, a.at), strings.HasSuffix(status, ".4.7") && extra.status != "" && extra.status != status:
			if words == "" || !ok || strings.HasSuffix(status, ".4.7") || extra.code == a.code {
				a, ok = extra, true
				if s := firstNonEmpty(extra.status, findStatus(prose)); s != "" {
					status = s
				}
				said, before = prose[extra.at:], quoteBefore(prose, extra.at)
			}
		}
	}
	if !ok && status == "" && said == "" {
		said = prose
		status = findStatus(prose)
	}
	if !ok && rest != "" && (words == "" || c.local) {
		if lines, command := replyLines(rest); lines != "" {
			if x, found := findAnswer(lines); found {
				a, ok = x, true
				status = firstNonEmpty(status, x.status, findStatus(lines))
				c.command = firstNonEmpty(c.command, command)
				if words == "" {
					said, before = lines[x.at:], quoteBefore(lines, x.at)
				}
			}
		}
	}
	if said == "" {
		said = firstNonEmpty(prose, c.comment)
	}
	if ok {
		said = withoutTrailer(said, before)
	}
	b.ReplyCode = a.code
	b.Status, b.StatusSource = chooseStatus(status, c.stated, a.code)
	return said
}

// quoteBefore returns the bracket or quote that opens right before i.
func quoteBefore(s string, i int) byte {
	if i > 0 && strings.IndexByte("<[('\"", s[i-1]) >= 0 {
		return s[i-1]
	}
	return 0
}

// withoutTrailer drops what the reporting program adds behind a server's
// reply: the quote's end, qmail's and Postfix's remarks.
func withoutTrailer(s string, open byte) string {
	closing := map[byte]string{'<': ">", '[': "]", '(': ")", '\'': "'", '"': "\""}[open]
	switch i := strings.LastIndex(s, closing); {
	case closing == "" || i <= 0:
	case unbalanced(s, string(open), closing), open == '\'' && i == len(s)-1: // one more of them is an apostrophe
		s = s[:i]
	}
	for _, t := range []string{" Giving up on ", " I'm not going to try again", " (in reply to ", " ##"} {
		if i := strings.Index(s, t); i > 0 {
			s = s[:i]
		}
	}
	return strings.TrimSpace(s)
}

func unbalanced(s, open, closing string) bool {
	if open == closing {
		return strings.Count(s, closing)%2 != 0
	}
	return strings.Count(s, closing) > strings.Count(s, open)
}

// chooseStatus prefers the code in the server's own words to the report's
// field, which the reporting system may have made up, unless the field is the
// more specific one.
func chooseStatus(said, field, reply string) (status, source string) {
	switch {
	case said != "" && (field == "" || !unspecific(said) || unspecific(field)):
		return said, "stated"
	case field != "":
		return field, "stated"
	case reply != "":
		return reply[:1] + ".0.0", "derived"
	}
	return "", "none"
}

func unspecific(status string) bool { return strings.HasSuffix(status, ".0.0") }

// fullerReply tells whether the notice quotes the report's reply at greater
// length: sendmail's reports keep only its first line.
func fullerReply(prose, words string, at int) bool {
	if len(words) < at+8 || len(prose) <= len(words)-at {
		return false
	}
	head := words[at:]
	head = head[:min(len(head), 40)]
	return strings.HasPrefix(prose, head)
}

// replyLines returns the line of a notice that quotes a refusal, with the
// lines that carry it on, and the SMTP command that stands above it.
func replyLines(text string) (words, command string) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		a, ok := findAnswer(trimmed)
		if !ok || a.code[0] == '2' || a.status == "" && a.at > 0 && !sureReply(trimmed, a.at) && !codes.Refuses(trimmed[a.at+3:]) {
			continue
		}
		out := trimmed
		for _, more := range lines[i+1:] {
			more = strings.TrimSpace(more)
			if more == "" || len(out) > maxDiagnostic || strings.HasPrefix(more, "---") || strings.HasPrefix(more, ">>>") || strings.Contains(more, "--> ") {
				break // the dialogue goes on
			}
			out += " " + more
		}
		if i > 0 {
			command = commandOnLine(lines[i-1])
		}
		return joinReply(oneLine(out)), command
	}
	return "", ""
}

// commandOnLine returns the SMTP command that a line of a dialogue ends with:
// "--> RCPT To:<user@example.com>", "hMailServer sent: DATA".
func commandOnLine(line string) string {
	low := strings.ToLower(strings.TrimSpace(line))
	for _, c := range []struct{ words, command string }{{"rcpt to", "RCPT"}, {"mail from", "MAIL"}, {" ehlo ", "EHLO"}, {" helo ", "EHLO"}} {
		if strings.Contains(low, c.words) {
			return c.command
		}
	}
	if strings.HasSuffix(low, " data") || low == "data" {
		return "DATA"
	}
	return ""
}

// sureReply asks more of a bare code in the middle of a line of prose.
func sureReply(line string, at int) bool {
	before := strings.ToLower(strings.TrimRight(line[:at], " "))
	for _, w := range []string{"said:", "reason:", "was:", "<<<", "returned", "response:", "failure:", ": smtp;", "error:", "server:", "],", "received >>>", "[", "'", "<--", "returned:", "replied:"} {
		if strings.HasSuffix(before, w) {
			return true
		}
	}
	return false
}

// commandOf returns the SMTP command that failed, as the mail tells it.
func (c *claim) commandOf(words, prose, rest string) string {
	for _, s := range []string{words, prose} {
		if cmd := codes.CommandIn(codes.Fold(s)); cmd != "" {
			return cmd
		}
	}
	if c.command != "" {
		return c.command
	}
	return codes.CommandIn(rest)
}

// reason judges the words of the server, then those around them.
func (c *claim) reason(b *Bounce, said, words, prose string, n *notice, only bool) string {
	if delivered(b) {
		return "delivered"
	}
	f := codes.ReasonFacts{
		Text: codes.Fold(said), Status: b.Status, Reply: b.ReplyCode, Command: b.Command,
		Hosts: []string{b.RemoteHost, b.ReportingMTA, domainOf(b.Recipient)},
		Said:  b.ReplyCode != "",
	}
	if b.StatusSource != "stated" {
		f.Status = ""
	}
	if c.diagnosticType == "x-unix" {
		f.Command = "PIPE"
	}
	first := c.after(codes.ReasonOf(f), b)
	if r := first.Word; r != "" && !first.Weak && r != "userunknown" && r != "filtered" {
		return r
	}
	around := []string{c.comment, words, prose}
	if only {
		around = append(around, paragraphs(n.text)...)
	}
	for _, s := range around {
		if s == "" || s == said {
			continue
		}
		f.Text, f.Status, f.Reply, f.Said = codes.Fold(s), "", "", false
		m := c.after(codes.ReasonOf(f), b)
		if m.Word == "" || m.Weak || m.Words == "" || m.Word == "expired" && first.Word != "" {
			continue
		}
		if first.Word == "" || first.Weak && first.Words == "" || moreTelling(m.Word) {
			if b.Diagnostic == "" {
				b.Diagnostic = clip(s, maxDiagnostic)
			}
			return m.Word
		}
	}
	return c.lastResort(b, first, said, only, n)
}

// paragraphs returns the paragraphs of a notice on one line each.
func paragraphs(text string) []string {
	var out []string
	var words []string
	for line := range strings.Lines(clip(text, maxNotice)) {
		if line = strings.TrimSpace(line); line != "" {
			words = append(words, line)
			continue
		}
		if len(words) > 0 {
			out = append(out, oneLine(strings.Join(words, " ")))
		}
		words = nil
	}
	if len(words) > 0 {
		out = append(out, oneLine(strings.Join(words, " ")))
	}
	return out
}

// lastResort decides when no words are sure: what the sending software made of
// it, the action, the weak match.
func (c *claim) lastResort(b *Bounce, first codes.ReasonMatch, said string, only bool, n *notice) string {
	if r := categories[c.category]; r != "" && (first.Weak || first.Word == "" || first.Word == "filtered") {
		return r
	}
	waiting := b.Action == "delayed" || b.Action == "expired" || only && b.Action == "" && saysDelayed(n.folded())
	switch {
	case waiting && (first.Word == "" || first.Weak && first.Words == ""):
		return "expired"
	case first.Word != "":
		return first.Word
	case said == "" && b.Status == "" && b.ReplyCode == "":
		return "undefined"
	}
	return "onhold"
}

// after turns "no such user" into "filtered" where the words were no answer to
// RCPT: the server had accepted the recipient before, and refuses after all.
func (c *claim) after(m codes.ReasonMatch, b *Bounce) codes.ReasonMatch {
	if m.Accepted == "" || b.Command == "RCPT" || b.Command == "" && m.Free || c.local || len(b.Status) > 3 && b.Status[2] == '1' && b.StatusSource == "stated" {
		return m
	}
	m.Word = m.Accepted
	return m
}

// moreTelling are the reasons that outrank "no such user", which servers say
// when they want to tell no more.
func moreTelling(word string) bool {
	switch word {
	case "suspend", "mailboxfull", "hasmoved", "notaccept", "exceedlimit":
		return true
	}
	return false
}

// categories are PowerMTA's bounce categories.
var categories = map[string]string{
	"bad-domain": "hostunknown", "bad-mailbox": "userunknown", "inactive-mailbox": "suspend", "quota-issues": "mailboxfull",
	"message-expired": "expired", "no-answer-from-host": "networkerror", "routing-errors": "networkerror", "bad-connection": "networkerror",
	"policy-related": "policyviolation", "spam-related": "spamdetected", "spam-block": "blocked", "virus-related": "virusdetected",
	"relaying-issues": "norelaying", "content-related": "contenterror", "protocol-errors": "networkerror", "bad-configuration": "systemerror",
	"invalid-sender": "rejected",
}

func delivered(b *Bounce) bool {
	switch b.Action {
	case "delivered", "relayed", "expanded", "deliverable":
		return true
	}
	return strings.HasPrefix(b.Status, "2.")
}

// hard tells the reasons that lie in the address itself.
func hard(reason string) bool {
	switch reason {
	case "userunknown", "hostunknown", "hasmoved", "notaccept":
		return true
	}
	return false
}

func saysDelayed(folded string) bool {
	for _, s := range []string{"warning message only", "this is a warning only", "is only a notification about a delay", "only a temporary failure report", "has been delayed", "will be retried", "will keep trying", "is delayed for more than", "has not yet been delivered", "no action is required on your part", "temporary delivery problem", "is not necessary to resend"} {
		if strings.Contains(folded, s) {
			return true
		}
	}
	return false
}

func restOf(n *notice, only bool) string {
	if !only {
		return ""
	}
	return n.folded()
}

func domainOf(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return strings.ToLower(address[i+1:])
	}
	return ""
}

func differing(a, b string) string {
	if strings.EqualFold(a, b) {
		return ""
	}
	return a
}

func firstNonEmpty(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
