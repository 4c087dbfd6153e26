// Package bounce reads mail that reports on other mail: delivery reports
// (RFC 3464), the prose that servers without them write, abuse reports (RFC
// 5965), and automatic answers. It says for each recipient why delivery failed
// or waits, in the vocabulary of bounce reasons; what is no report (a
// newsletter, a ticket, a read receipt, a reply that quotes a bounce) stays
// what it is.
//
// The way of a mail: header and parts are cut out without trusting their form
// (mime.go), the kind is decided (kind.go), the machine-readable report
// (report.go) and the notice for people (notice.go, transcript.go) are read
// into claims, one per recipient, and each claim is judged: reply code, status
// and command from the server's own words (reply.go), the reason from the
// rules in codes (judge.go).
//
// The readers never fail: what cannot be read is left empty. They are bounded
// by the size of the mail, which the caller limits.
package bounce

import (
	"bytes"
	"strings"
)

// Kind is what a mail turned out to be. The words are those of explain.
type Kind string

// The kinds of mail.
const (
	Report    Kind = "bounce" // tells of a delivery: failed, delayed, or made
	Feedback  Kind = "arf"
	Receipt   Kind = "mdn"
	AutoReply Kind = "autoreply"
	Other     Kind = "mail"
)

// Mail is what one mail says.
type Mail struct {
	Kind    Kind
	Bounces []Bounce

	From, To, Subject string // of the mail itself, decoded; From and To are addresses
	Text              string // the notice for people without the returned message
	Original          Original
}

// Original is the message that a report is about, as far as it was returned.
type Original struct {
	From, To, Subject string
}

// Bounce is what became of a message for one recipient.
type Bounce struct {
	Recipient         string
	OriginalRecipient string
	Reason            string // word of the bounce reasons
	Status            string // enhanced status code, RFC 3463; empty when none is known
	StatusSource      string // stated, derived (from the reply code), none
	ReplyCode         string // SMTP reply code, RFC 5321 section 4.2
	Diagnostic        string // the server's own words on one line
	Command           string // the SMTP command that was answered
	Action            string // failed, delayed, delivered, relayed, expanded, expired
	RemoteHost        string
	ReportingMTA      string
	FeedbackType      string // abuse reports, RFC 5965 section 3.5
	Source            string // dsn, arf, text
	Hard              bool   // sending again to this address cannot help
	Time              string // RFC 3339: the last attempt, else the report's date
	Cause             string // word of the list of causes, where the report is mailsrv's own and says it
}

// Where a bounce was read.
const (
	fromReport   = "dsn"
	fromFeedback = "arf"
	fromText     = "text"
)

// maxNested is how deep a report inside a report is followed.
const maxNested = 3

// Parse reads one mail, or an mbox file with a few. Line ends may be of any
// kind. It never fails.
func Parse(raw []byte) Mail {
	var out Mail
	for i, m := range split(raw) {
		x := parse(newMessage(m), 0)
		if i == 0 {
			out = x
			continue
		}
		if out.Kind == Other && x.Kind != Other {
			x.Bounces = append(out.Bounces, x.Bounces...)
			out = x
			continue
		}
		out.Bounces = append(out.Bounces, x.Bounces...)
	}
	return out
}

func parse(m *message, nested int) Mail {
	out := Mail{
		From:    addressOf(m.header.get("From")),
		To:      addressOf(m.header.get("To")),
		Subject: decodeWords(m.header.get("Subject")),
	}
	m.readParts()
	n := readNotice(m)
	out.Text, out.Original = n.text, n.original
	out.Kind = m.kind(n)
	switch out.Kind {
	case Report:
		out.Bounces = m.failures(n)
		if len(out.Bounces) == 0 && nested < maxNested {
			if inner, ok := m.wrapped(nested); ok {
				return inner
			}
		}
		if len(out.Bounces) == 0 {
			out.Kind = Other
		}
	case Feedback:
		out.Bounces = m.complaints(n)
	case AutoReply:
		out.Bounces = m.absence(n)
	}
	return out
}

// wrapped reads the report that another program packed into its own notice
// without naming a recipient of its own.
func (m *message) wrapped(nested int) (Mail, bool) {
	for _, p := range m.parts {
		if p.kind != originalPart {
			continue
		}
		if inner := parse(newMessage(p.content()), nested+1); len(inner.Bounces) > 0 {
			return inner, true
		}
	}
	return Mail{}, false
}

// split cuts an mbox file into its mails, and brings line ends to "\n". A file
// that does not begin with an mbox "From " line is one mail.
func split(raw []byte) [][]byte {
	raw = lineEnds(raw)
	raw = bytes.TrimLeft(raw, "\n")
	if !bytes.HasPrefix(raw, []byte("From ")) {
		return [][]byte{raw}
	}
	var out [][]byte
	start := 0
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte("\nFrom "))
		if i < 0 {
			break
		}
		at += i + 1
		if before := raw[:at-1]; endsMail(before[bytes.LastIndexByte(before, '\n')+1:]) && mboxLine(raw[at:]) {
			out = append(out, raw[start:at])
			start = at
		}
	}
	return append(out, raw[start:])
}

// lineEnds makes every line end "\n". CR alone ends a line too.
func lineEnds(raw []byte) []byte {
	i := bytes.IndexByte(raw, '\r')
	if i < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i >= 0 {
		out = append(append(out, raw[:i]...), '\n')
		raw = raw[i+1:]
		if len(raw) > 0 && raw[0] == '\n' {
			raw = raw[1:]
		}
		i = bytes.IndexByte(raw, '\r')
	}
	return append(out, raw...)
}

// oneLine joins words with single spaces.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
