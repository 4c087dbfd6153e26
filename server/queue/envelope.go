package queue

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2"
)

// Envelope is what the queue knows of a message besides its text. On disk it is
// the file ID.toml, which a person can read and, while no server runs, edit.
type Envelope struct {
	ID         string      `toml:"id" json:"id"`
	Accepted   time.Time   `toml:"accepted" json:"accepted"`
	Sender     string      `toml:"sender" json:"sender"` // empty: the null sender
	User       string      `toml:"user" json:"user,omitempty"`
	Size       int64       `toml:"size" json:"size"` // octets
	EightBit   bool        `toml:"eight_bit" json:"eight_bit,omitempty"`
	UTF8       bool        `toml:"smtputf8" json:"smtputf8,omitempty"` // the header needs RFC 6531
	Ret        string      `toml:"ret" json:"ret,omitempty"`           // RFC 3461: FULL, HDRS
	EnvID      string      `toml:"envid" json:"envid,omitempty"`       // RFC 3461, in xtext
	Notice     Kind        `toml:"notice" json:"notice,omitempty"`     // a notice of this server itself
	Held       bool        `toml:"held" json:"held,omitempty"`
	Warned     time.Time   `toml:"warned" json:"warned,omitzero"` // when the sender was told of the delay
	Saved      int         `toml:"saved" json:"-"`                // how often it was written since the first time
	Count      int         `toml:"recipients" json:"-"`           // how many Recipients there must be
	Recipients []Recipient `toml:"recipient" json:"recipients"`
}

// Recipient is one recipient and how far its delivery has come.
type Recipient struct {
	Address string `toml:"address" json:"address"`
	ORCPT   string `toml:"orcpt" json:"orcpt,omitempty"`   // RFC 3461: "rfc822;" and xtext
	Notify  string `toml:"notify" json:"notify,omitempty"` // RFC 3461: NEVER, or of SUCCESS, FAILURE, DELAY
	State   State  `toml:"state" json:"state"`
	Told    bool   `toml:"told" json:"told,omitempty"`       // the sender knows, or need not
	Expired bool   `toml:"expired" json:"expired,omitempty"` // failed because time was up

	Tries   int       `toml:"tries" json:"tries"`
	LastTry time.Time `toml:"last_try" json:"last_try,omitzero"`
	NextTry time.Time `toml:"next_try" json:"next_try,omitzero"`

	// What came of the last try; see deliver.Result.
	Code    int    `toml:"code" json:"code,omitempty"`
	Status  string `toml:"status" json:"status,omitempty"`
	Reply   string `toml:"reply" json:"reply,omitempty"`
	Command string `toml:"command" json:"command,omitempty"`
	Cause   string `toml:"cause" json:"cause,omitempty"` // word of codes.CauseWords
	Host    string `toml:"host" json:"host,omitempty"`
	Addr    string `toml:"addr" json:"addr,omitempty"`
	TLS     string `toml:"tls" json:"tls,omitempty"`
}

// State is how far delivery to a recipient has come.
type State string

// The states.
const (
	Waiting   State = "waiting"
	Delivered State = "delivered"
	Failed    State = "failed"
)

// done tells whether nothing remains to be done for a recipient.
func (r *Recipient) done() bool { return r.State != Waiting && r.Told }

// finished tells whether the message can leave the queue.
func (e *Envelope) finished() bool {
	for i := range e.Recipients {
		if !e.Recipients[i].done() {
			return false
		}
	}
	return true
}

// encode writes the envelope for people: what is empty is left out.
func (e *Envelope) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The envelope of the message in %s.eml\n\n", e.ID)
	writeString(&b, "id", e.ID)
	writeTime(&b, "accepted", e.Accepted)
	b.WriteString("sender = " + quote(e.Sender) + "\n") // empty too: the null sender
	writeString(&b, "user", e.User)
	fmt.Fprintf(&b, "size = %d\n", e.Size)
	writeTrue(&b, "eight_bit", e.EightBit)
	writeTrue(&b, "smtputf8", e.UTF8)
	writeString(&b, "ret", e.Ret)
	writeString(&b, "envid", e.EnvID)
	writeString(&b, "notice", string(e.Notice))
	writeTrue(&b, "held", e.Held)
	writeTime(&b, "warned", e.Warned)
	if e.Saved > 0 {
		fmt.Fprintf(&b, "saved = %d\n", e.Saved)
	}
	fmt.Fprintf(&b, "recipients = %d\n", len(e.Recipients))
	for i := range e.Recipients {
		r := &e.Recipients[i]
		b.WriteString("\n[[recipient]]\n")
		writeString(&b, "address", r.Address)
		writeString(&b, "orcpt", r.ORCPT)
		writeString(&b, "notify", r.Notify)
		writeString(&b, "state", string(r.State))
		writeTrue(&b, "told", r.Told)
		writeTrue(&b, "expired", r.Expired)
		fmt.Fprintf(&b, "tries = %d\n", r.Tries)
		writeTime(&b, "last_try", r.LastTry)
		writeTime(&b, "next_try", r.NextTry)
		if r.Code != 0 {
			fmt.Fprintf(&b, "code = %d\n", r.Code)
		}
		writeString(&b, "status", r.Status)
		writeString(&b, "reply", r.Reply)
		writeString(&b, "command", r.Command)
		writeString(&b, "cause", r.Cause)
		writeString(&b, "host", r.Host)
		writeString(&b, "addr", r.Addr)
		writeString(&b, "tls", r.TLS)
	}
	return b.Bytes()
}

func writeString(b *bytes.Buffer, key, value string) {
	if value != "" {
		b.WriteString(key + " = " + quote(value) + "\n")
	}
}

func writeTrue(b *bytes.Buffer, key string, value bool) {
	if value {
		b.WriteString(key + " = true\n")
	}
}

func writeTime(b *bytes.Buffer, key string, value time.Time) {
	if !value.IsZero() {
		b.WriteString(key + " = " + value.UTC().Format(time.RFC3339) + "\n")
	}
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "?") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// decode reads what encode wrote, or a person. It is strict: an envelope that
// says less or other than it should would lose mail.
func decode(data []byte) (*Envelope, error) {
	var e Envelope
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&e); err != nil {
		var pos *toml.DecodeError
		var strict *toml.StrictMissingError
		switch {
		case errors.As(err, &strict) && len(strict.Errors) > 0:
			line, _ := strict.Errors[0].Position()
			return nil, fmt.Errorf("line %d: unknown key %s", line, strings.Join(strict.Errors[0].Key(), "."))
		case errors.As(err, &pos):
			line, _ := pos.Position()
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		return nil, err
	}
	if e.Count != len(e.Recipients) {
		return nil, fmt.Errorf("recipients = %d, but there are %d", e.Count, len(e.Recipients))
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e, nil
}

// check holds an envelope against what can be delivered.
func (e *Envelope) check() error {
	if !validID(e.ID) {
		return fmt.Errorf("id %q is not 6 to 64 letters and digits", e.ID)
	}
	if e.Accepted.IsZero() {
		return errors.New("accepted is missing")
	}
	if !clean(e.Sender) {
		return fmt.Errorf("sender %q has characters that no address has", e.Sender)
	}
	if e.Size < 0 {
		return fmt.Errorf("size = %d", e.Size)
	}
	if e.Ret != "" && e.Ret != "FULL" && e.Ret != "HDRS" {
		return fmt.Errorf("ret %q is neither FULL nor HDRS", e.Ret)
	}
	if !xtext(e.EnvID) {
		return fmt.Errorf("envid %q is no xtext", e.EnvID)
	}
	if len(e.Recipients) == 0 {
		return errors.New("there is no recipient")
	}
	for i := range e.Recipients {
		if err := e.Recipients[i].check(); err != nil {
			return fmt.Errorf("recipient %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *Recipient) check() error {
	switch r.State {
	case Waiting, Delivered, Failed:
	default:
		return fmt.Errorf("state %q is not waiting, delivered or failed", r.State)
	}
	if r.Address == "" || !clean(r.Address) {
		return fmt.Errorf("address %q is none", r.Address)
	}
	if !xtext(strings.Replace(r.ORCPT, ";", "", 1)) {
		return fmt.Errorf("orcpt %q is not of the form rfc822;xtext", r.ORCPT)
	}
	if !validNotify(r.Notify) {
		return fmt.Errorf("notify %q is neither NEVER nor a list of SUCCESS, FAILURE and DELAY", r.Notify)
	}
	if r.Tries < 0 {
		return fmt.Errorf("tries = %d", r.Tries)
	}
	return nil
}

// validID keeps to what is a file name everywhere, also where letter case does
// not count and CON, NUL and COM1 are devices.
func validID(s string) bool {
	return len(s) >= 6 && len(s) <= 64 && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func clean(s string) bool { return !strings.ContainsFunc(s, unicode.IsControl) }

// xtext: RFC 3461 4. International characters are those of RFC 6533.
func xtext(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '=' || unicode.IsControl(r) })
}

func validNotify(s string) bool {
	if s == "" || s == "NEVER" {
		return true
	}
	for word := range strings.SplitSeq(s, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" {
			return false
		}
	}
	return true
}

// wants tells whether a recipient's sender asked to hear of an event (RFC 3461
// 4.1). Who asked for nothing hears of failure and delay.
func (r *Recipient) wants(event string) bool {
	if r.Notify == "" {
		return event != "SUCCESS"
	}
	for word := range strings.SplitSeq(r.Notify, ",") {
		if word == event {
			return true
		}
	}
	return false
}

// unxtext is the text that was written in xtext; ok is false for what is none.
func unxtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 > len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), clean(b.String())
}
