package spool

import (
	"bufio"
	"bytes"
	"io"
	"net/mail"
	"strings"
	"time"
)

// fromForm is the form of a From line's date, that of asctime(3).
const fromForm = "Mon Jan _2 15:04:05 2006"

// foundHead makes a message of text that belongs to none.
const foundHead = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nFrom: MAILER-DAEMON\nSubject: [mailsrv] Text without a header, found in the mailbox\n\n"

// MendedFrom is what must stand at the beginning of a message in place of its
// first skip octets so that every reader sees where it begins; empty for a good
// From line. It depends on the message alone: the same message is mended in the
// same way each time. A line whose date or address cannot be read is kept in
// the header field X-Damaged-From-Line.
func MendedFrom(src io.ReaderAt, m Message) (lead string, skip int64) {
	switch m.From {
	case FromGood:
		return "", 0
	case NoBeginning:
		return foundHead, 0
	}
	r := bufio.NewReaderSize(io.NewSectionReader(src, m.Offset, m.Length), 8<<10)
	var old string
	if m.From == FromDamaged {
		raw, err := r.ReadSlice('\n')
		if err != nil && err != io.EOF {
			return newFrom("", r), 0 // longer than any From line
		}
		skip = int64(len(raw))
		old = string(bytes.TrimRight(bytes.ReplaceAll(raw, []byte{0}, nil), "\r\n"))
	}
	if line, ok := restored(old); ok {
		return line + "\n", skip
	}
	lead = newFrom(old, r)
	if strings.Trim(old, "\x01> ") != "" {
		lead += "X-Damaged-From-Line: " + old + "\n"
	}
	return lead, skip
}

// restored undoes an escape or a cut.
func restored(line string) (string, bool) {
	rest := strings.TrimLeft(line, ">")
	for _, start := range []string{"From ", "From: ", "rom ", "om ", "m "} {
		if after, ok := strings.CutPrefix(rest, start); ok {
			if good := "From " + after; fromLine().MatchString(good) {
				return good, true
			}
		}
	}
	return "", false
}

// newFrom makes a From line of what is left of the old one, else of the header.
func newFrom(old string, header *bufio.Reader) string {
	sender, date := "", time.Time{}
	if words := strings.Fields(strings.TrimLeft(old, ">")); len(words) > 1 {
		sender = words[1]
		date = readDate(strings.Join(words[2:], " "))
	}
	var from, headerDate string
	for {
		raw, err := header.ReadSlice('\n')
		text := bytes.TrimRight(raw, "\r\n")
		if len(text) == 0 {
			break
		}
		if v, ok := field(text, "Return-Path:"); ok && from == "" {
			from = addressIn(string(v))
		}
		if v, ok := field(text, "From:"); ok && from == "" {
			from = addressIn(string(v))
		}
		if v, ok := field(text, "Date:"); ok && headerDate == "" {
			headerDate = string(v)
		}
		if err != nil {
			break
		}
	}
	if date.IsZero() {
		date = readDate(headerDate)
	}
	if !strings.Contains(sender, "@") && sender != "-" && sender != "MAILER-DAEMON" {
		if sender = from; sender == "" {
			sender = "MAILER-DAEMON"
		}
	}
	if date.IsZero() {
		date = time.Unix(0, 0)
	}
	line := "From " + sender + " " + date.UTC().Format(fromForm)
	if !fromLine().MatchString(line) {
		line = "From MAILER-DAEMON " + date.UTC().Format(fromForm)
	}
	return line + "\n"
}

func addressIn(s string) string {
	if a, err := mail.ParseAddress(s); err == nil && !strings.ContainsAny(a.Address, " \t\x00") {
		return a.Address
	}
	return ""
}

// dateForms are those that other systems write into From lines.
var dateForms = []string{
	time.RFC3339, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006/01/02 15:04:05", "2006/1/2 15:04",
	fromForm, "Mon Jan _2 15:04 2006", "Mon Jan _2 15:04:05 -0700 2006", "Mon Jan _2 2006 15:04:05", "02-Jan-2006 15:04:05", "Mon, Jan 2 2006 15:04:05",
}

// readDate returns the zero time for what is no date that a From line can hold.
func readDate(s string) time.Time {
	t, err := mail.ParseDate(s)
	for i := 0; err != nil && i < len(dateForms); i++ {
		t, err = time.Parse(dateForms[i], s)
	}
	if err != nil || t.UTC().Year() < 1000 || t.UTC().Year() > 9999 {
		return time.Time{}
	}
	return t
}
