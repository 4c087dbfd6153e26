package explain

import (
	"bytes"
	"cmp"
	"strings"

	"mailsrv/diag/explain/bounce"
)

// readMail recognises a mail by its header and leaves the reading to package
// bounce. Each failure it tells of is judged like a line of a log. Mail that is
// no report is no error, whatever words are in it.
func (f *facts) readMail(raw []byte) bool {
	if !isMail(raw) {
		return false
	}
	m := bounce.Parse(raw)
	f.kind = Kind(m.Kind)
	f.bounces = []Bounce{}
	for _, b := range m.Bounces {
		f.bounces = append(f.bounces, Bounce(b))
		if m.Kind != bounce.Report || b.Action == "delivered" || b.Action == "relayed" || b.Action == "expanded" {
			continue
		}
		e := event{line: b.Diagnostic, host: b.ReportingMTA, recipient: b.Recipient, relay: b.RemoteHost, status: b.Status, reply: b.Diagnostic, command: b.Command, outcome: failed}
		if b.Action == "delayed" {
			e.outcome = deferred
		}
		if b.StatusSource != "stated" || b.Action == "delayed" && strings.HasSuffix(b.Status, ".4.7") { // a warning is not the end that x.4.7 says
			e.status = ""
		}
		x := eventFacts(e)
		x.ctx.Sender, x.ctx.Subject = cmp.Or(m.Original.From, m.To), m.Original.Subject
		x.reason, x.cause = b.Reason, b.Cause
		if b.Action == "delayed" && b.Reason == "expired" {
			x.reason = "systemerror" // the time is not up yet: it waits
		}
		f.events = append(f.events, x)
	}
	return true
}

// maxHeader is how much of a mail is looked at to find its header, knownFields
// how many fields of a mail must stand there: a dialog has labels as well.
const (
	maxHeader   = 64 << 10
	knownFields = 2
)

var mailFields = wordSet(`from to cc subject date received message-id return-path mime-version content-type delivered-to reply-to
	x-failed-recipients auto-submitted x-mailer user-agent x-original-to envelope-to authentication-results dkim-signature`)

// isMail tells a mail from other text: it begins with a header.
func isMail(raw []byte) bool {
	head := bytes.TrimLeft(raw[:min(len(raw), maxHeader)], "\r\n\ufeff")
	known := 0
	for i := 0; len(head) > 0; i++ {
		end := bytes.IndexAny(head, "\r\n")
		line := head
		if end >= 0 {
			line, head = head[:end], bytes.TrimPrefix(head[end+1:], []byte("\n"))
		} else {
			head = nil
		}
		if i == 0 && bytes.HasPrefix(line, []byte("From ")) || len(line) > 0 && (line[0] == ' ' || line[0] == '\t') && i > 0 {
			continue
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t'\"<>()[]") {
			break
		}
		if _, ok := mailFields[string(bytes.ToLower(name))]; ok {
			known++
		}
	}
	return known >= knownFields
}
