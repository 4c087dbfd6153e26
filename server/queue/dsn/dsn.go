// Package dsn writes delivery status notifications (RFC 3464): what a mail
// server sends to a message's sender when delivery fails, takes long, or is to
// be confirmed.
//
// A report has three parts: words for people, in English or Japanese, from the
// templates beside this file and the catalogue of causes; the same for
// programs, with what the other host said, word for word; and the message, or
// its header. A notice is plain 7-bit text as long as the message is.
package dsn

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"net/netip"
	"strings"
	"time"

	"mailsrv/codes"
)

// Action is what became of a message for a recipient (RFC 3464 2.3.3).
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered" // put into a mailbox here
	Relayed   Action = "relayed"   // handed to a host that does not report itself
)

// Report is what a notice says. All its recipients have one Action.
type Report struct {
	Hostname string // the reporting server
	ID       string // of this notice, for its Message-ID
	To       string // address the notice goes to
	About    string // the message's name in our log
	EnvID    string // RFC 3461, decoded
	Sender   string // of the message; differs from To when that is a postmaster
	Arrival  time.Time
	Now      time.Time
	Lang     codes.Lang
	Action   Action
	Until    time.Time // how long it is tried

	Recipients []Recipient

	Message io.ReadSeeker // lines end with CRLF
	Full    bool          // return all of it, not only the header
}

// Recipient is what became of the message for one recipient.
type Recipient struct {
	Address  string
	Original string // RFC 3461 ORCPT, decoded, with its type: "rfc822;a@example.com"
	Expired  bool   // failed because time was up
	Code     int    // of the SMTP reply; 0 when there was none
	Status   string // enhanced status code; may be empty
	Reply    string // the reply, or what happened instead, on one line
	Command  string // that was answered
	Cause    string // word of codes.CauseWords; empty for success
	Host     string
	Addr     netip.AddrPort
	LastTry  time.Time
}

// global tells whether the notice itself may be international (RFC 6533),
// which only its reader can: one with an international address.
func (r *Report) global() bool { return !isASCII(r.To) }

// Write writes the notice.
func (r *Report) Write(w io.Writer) error {
	original, err := r.original()
	if err != nil {
		return err
	}
	text, err := r.text(original)
	if err != nil {
		return err
	}
	b := &writer{w: bufio.NewWriter(w)}
	boundary := "=_" + rand.Text()
	b.field("From", r.name()+" <MAILER-DAEMON@"+r.Hostname+">")
	b.field("To", "<"+r.To+">")
	b.field("Subject", encodeWords(r.subject(original)))
	b.field("Date", r.Now.Format(time.RFC1123Z))
	b.field("Message-ID", "<"+r.ID+"@"+r.Hostname+">")
	if original.messageID != "" {
		b.field("References", original.messageID)
	}
	b.field("Auto-Submitted", "auto-replied")
	b.field("MIME-Version", "1.0")
	b.field("Content-Type", "multipart/report; report-type=delivery-status;\r\n\tboundary=\""+boundary+"\"")
	if original.eightBit {
		b.field("Content-Transfer-Encoding", "8bit")
	}
	b.line("")
	b.line("--" + boundary)
	b.text(text)
	b.line("--" + boundary)
	b.field("Content-Description", "Delivery report")
	if r.global() {
		b.field("Content-Type", "message/global-delivery-status")
		b.field("Content-Transfer-Encoding", "8bit")
	} else {
		b.field("Content-Type", "message/delivery-status")
	}
	b.line("")
	r.status(b)
	b.line("--" + boundary)
	if err := r.returned(b, original); err != nil {
		return err
	}
	b.line("--" + boundary + "--")
	return b.flush()
}

// status is the part for programs: RFC 3464 2.2 and 2.3.
func (r *Report) status(b *writer) {
	b.field("Reporting-MTA", "dns; "+r.Hostname)
	if r.EnvID != "" {
		b.field("Original-Envelope-Id", r.escape(r.EnvID))
	}
	b.field("X-Mailsrv-Queue-ID", r.About)
	if r.Sender != "" {
		b.field("X-Mailsrv-Sender", r.address(r.Sender))
	}
	b.field("Arrival-Date", r.Arrival.Format(time.RFC1123Z))
	for i := range r.Recipients {
		to := &r.Recipients[i]
		b.line("")
		if kind, addr, ok := strings.Cut(to.Original, ";"); ok {
			if isASCII(addr) {
				addr = kind + "; " + r.escape(addr)
			} else {
				addr = r.address(addr)
			}
			b.field("Original-Recipient", addr)
		}
		b.field("Final-Recipient", r.address(to.Address))
		b.field("Action", string(r.Action))
		b.field("Status", to.status(r.Action))
		if to.Host != "" {
			b.field("Remote-MTA", "dns; "+r.escape(to.Host))
		}
		switch {
		case to.Reply == "":
		case to.Code > 0:
			b.field("Diagnostic-Code", fold("smtp; "+r.escape(to.Reply)))
		default:
			b.field("Diagnostic-Code", fold("X-mailsrv; "+r.escape(to.Reply)))
		}
		if to.Cause != "" && to.Cause != "unknown" {
			b.field("X-Mailsrv-Cause", to.Cause)
		}
		if !to.LastTry.IsZero() {
			b.field("Last-Attempt-Date", to.LastTry.Format(time.RFC1123Z))
		}
		if r.Action == Delayed && !r.Until.IsZero() {
			b.field("Will-Retry-Until", r.Until.Format(time.RFC1123Z))
		}
	}
	b.line("")
}

// status is the code that was stated, of the class that the action has. Where
// none was, only the class is known.
func (to *Recipient) status(a Action) string {
	class := byte('2')
	switch {
	case a == Delayed:
		class = '4'
	case a == Failed:
		class = '5'
		if to.Expired && (to.Status == "" || to.Status[0] == '4') {
			class = '4' // given up, not refused: RFC 3463 2
		}
	}
	switch {
	case to.Status != "":
		return string(class) + to.Status[1:]
	case to.Expired:
		return "4.4.7"
	}
	return string(class) + ".0.0"
}

// address is an address with its type: RFC 3464 2.3, RFC 6533 3.
func (r *Report) address(a string) string {
	if isASCII(a) {
		return "rfc822; " + a
	}
	return "utf-8; " + r.escape(a)
}

// escape makes text fit for this report: where only ASCII may stand, RFC 6533's
// \x{...} stands for the rest.
func (r *Report) escape(s string) string {
	if r.global() || isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}

// encodeWords writes a header text in encoded words where it needs them (RFC
// 2047), one to a line.
func encodeWords(s string) string {
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// fold breaks a long field body at blanks.
func fold(s string) string {
	var b strings.Builder
	width := len("Diagnostic-Code: ")
	for i, word := range strings.Split(s, " ") {
		switch {
		case i == 0:
		case width+1+len(word) > 76 && word != "":
			b.WriteString("\r\n\t")
			width = 8
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
