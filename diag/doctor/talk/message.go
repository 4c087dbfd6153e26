package talk

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/smtp"
)

// What --throughput measures with, and what it thinks slow.
const (
	measuredBody = 32 << 10 // octets of the message that is sent
	measurable   = 8 << 10  // octets below which a message says nothing about speed
	slowPath     = 64       // kbit/s
)

// message is what --send sends. Its size is what the server is asked to take in
// any case.
func (s *steps) message() []byte {
	body := "mailsrv probe sent this message to try the server. It needs no answer."
	if s.opt.Throughput {
		const line = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopq\r\n"
		body += "\r\n\r\n" + strings.Repeat(line, measuredBody/len(line))
	}
	author := cmp.Or(s.opt.From, s.opt.To) // a message has an author even when its envelope has no sender
	return smtp.TestMessage(author, s.opt.To, "mailsrv probe", body)
}

// measured notes how fast a message went, if that was asked for and the message
// is large enough to say.
func (s *steps) measured(octets int, took time.Duration, err error) {
	if !s.opt.Throughput || err != nil || octets < measurable || took <= 0 {
		return
	}
	ms := float64(took.Microseconds()) / 1000
	s.r.Throughput = &Throughput{Octets: int64(octets), Ms: ms, KbitS: float64(int(float64(octets)*8/ms*10)) / 10}
}

// slow is the finding about a slow path, if it is one.
func (r *Report) slow(subject string) []diag.Finding {
	t := r.Throughput
	if t == nil || t.KbitS >= slowPath {
		return nil
	}
	return []diag.Finding{diag.New("probe.slow_path", subject, diag.Evidence{"kbit_s": t.KbitS, "octets": t.Octets})}
}

// errOldTLS is a version that worked here, but that the mail programs of today
// refuse (RFC 8996).
type errOldTLS string

func (e errOldTLS) Error() string { return "the server speaks " + string(e) + " at best" }

// Outcome is the word of the documents for it.
func (e errOldTLS) Outcome() string { return dial.Version }

func tooOld(t *smtp.TLS) error {
	if t == nil || t.VersionID >= tls.VersionTLS12 {
		return nil
	}
	return errOldTLS(t.Version)
}

// messages is a number of messages in words.
func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// octets is how much of a message came, and what ended it if that was not its
// end.
func octets(n int, err error) string {
	if f := failureOf("", err); err != nil && n > 0 {
		return fmt.Sprintf("%s, after %d octets", f.words(), n)
	} else if err != nil {
		return ""
	}
	return fmt.Sprintf("%d octets", n)
}
