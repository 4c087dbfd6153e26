// Package mailbox looks at single messages where they lie, without downloading
// them: who sent what, and how big it is; and deletes the one that no mail
// program can fetch. The mailbox is a local one of mailsrv, or one on any POP3
// or IMAP server.
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mailsrv/diag/explain/bounce"
	"mailsrv/probes/dial"
)

// Message is one message of a mailbox.
type Message struct {
	Number  int    `json:"number"`        // counted from 1, as POP3 and IMAP do
	UID     string `json:"uid,omitempty"` // stays the same; POP3: UIDL, IMAP: UID
	Size    int64  `json:"size"`          // octets
	From    string `json:"from,omitempty"`
	Subject string `json:"subject,omitempty"`
	Date    string `json:"date,omitempty"` // RFC 3339
	// Error says why the header could not be read; Outcome is the word for it:
	// silent, reset, permanent, ...
	Error   string `json:"error,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

// Box is an open mailbox.
type Box interface {
	// List returns the messages with their sizes, oldest first.
	List(ctx context.Context) ([]Message, error)

	// Head returns the header of a message, and some lines of its body. The
	// error is ErrNoHead when the server cannot do that without handing out the
	// whole message, and a *MessageError when it cannot for this one.
	Head(ctx context.Context, m Message, lines int) ([]byte, error)

	// Copy writes the octets of a message.
	Copy(ctx context.Context, m Message, w io.Writer) error

	// Delete deletes messages for good.
	Delete(ctx context.Context, ms []Message) error

	Close() error
}

// ErrNoHead says that the server does not know TOP.
var ErrNoHead = errors.New("the server does not hand out headers without the whole message (no TOP)")

// MessageError says what is wrong with one message; others may be fine.
type MessageError struct {
	Number int
	Err    error
}

func (e *MessageError) Error() string { return fmt.Sprintf("message %d: %v", e.Number, e.Err) }
func (e *MessageError) Unwrap() error { return e.Err }

// Heads fills in sender, subject and date. A message whose header cannot be
// read gets an Error, and the others are read all the same. progress, if any, is
// called after each.
func Heads(ctx context.Context, box Box, ms []Message, progress func(done int)) error {
	for i := range ms {
		head, err := box.Head(ctx, ms[i], 0)
		var one *MessageError
		switch {
		case errors.As(err, &one):
			ms[i].Error, ms[i].Outcome = Clean(one.Err.Error()), dial.Outcome(one.Err)
		case err != nil:
			return err
		default:
			ms[i].read(head)
		}
		if progress != nil {
			progress(i + 1)
		}
	}
	return nil
}

// read takes what a list shows from a header.
func (m *Message) read(head []byte) {
	parsed := bounce.Parse(head)
	m.From, m.Subject = Clean(parsed.From), Clean(parsed.Subject)
	if msg, err := mail.ReadMessage(strings.NewReader(string(head) + "\r\n\r\n")); err == nil {
		if t, err := msg.Header.Date(); err == nil {
			m.Date = t.Format(time.RFC3339)
		}
		if m.From == "" { // a script or a printer: at least who handed it in
			m.From = Clean(msg.Header.Get("Return-Path"))
		}
	}
}

// Clean makes foreign text safe to show on one line: no control characters,
// nothing that turns the writing direction, valid UTF-8.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n':
			return ' '
		case r == '\r':
			return -1
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// Find returns the messages that words name: by number, or by unique id. A word
// that could be both must be written "uid:WORD" or "number:WORD".
func Find(ms []Message, words []string) ([]Message, error) {
	var out []Message
	for _, w := range words {
		i, err := find(ms, w)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(m Message) bool { return m.Number == ms[i].Number }) {
			out = append(out, ms[i])
		}
	}
	return out, nil
}

func find(ms []Message, word string) (int, error) {
	uid, onlyUID := strings.CutPrefix(word, "uid:")
	number, onlyNumber := strings.CutPrefix(word, "number:")
	byUID, byNumber := -1, -1
	if !onlyNumber {
		byUID = slices.IndexFunc(ms, func(m Message) bool { return m.UID != "" && m.UID == uid })
	}
	n, err := strconv.Atoi(number)
	if err == nil && !onlyUID {
		byNumber = slices.IndexFunc(ms, func(m Message) bool { return m.Number == n })
	}
	switch {
	case byUID >= 0 && byNumber >= 0 && byUID != byNumber:
		return 0, fmt.Errorf("%q is the number of one message and the id of another: write number:%[1]s or uid:%[1]s", word)
	case byUID >= 0:
		return byUID, nil
	case byNumber >= 0:
		return byNumber, nil
	case err == nil && !onlyUID:
		return 0, fmt.Errorf("there is no message %d: the mailbox has %d", n, len(ms))
	}
	return 0, fmt.Errorf("there is no message with the id %q", uid)
}
