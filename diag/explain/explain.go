// Package explain reads what a person was shown when mail failed: a code in
// any spelling, a server's reply, the dialog of a mail program in one of eight
// languages, a line of a server's log. It says what the codes in it mean and
// ranks the likely causes of the whole combination.
//
// It goes in three steps. Readers (spell, codes, replies, fields, log_*, paste)
// take facts out of the text and have no opinion. The catalogue (package codes)
// knows what each fact means. The rules (rules.go) judge the facts together:
// the server's own words outrank the mail program's code; port, TLS and socket
// error together outrank each of them alone.
package explain

import (
	"mailsrv/codes"
	"mailsrv/diag"
)

// Kind is what an input turned out to be.
type Kind string

// The kinds of input.
const (
	KindCode      Kind = "code"
	KindDialog    Kind = "dialog" // a mail program's message, or a server's reply
	KindLog       Kind = "log"
	KindBounce    Kind = "bounce"
	KindARF       Kind = "arf"
	KindMDN       Kind = "mdn"
	KindAutoReply Kind = "autoreply"
	KindMail      Kind = "mail"
	KindText      Kind = "text"
	KindEmpty     Kind = "empty"
	KindBinary    Kind = "binary"
)

// MaxInput is how many bytes of one input are read. What lies beyond is not
// looked at, and Input.Error says so.
const MaxInput = 4 << 20

// Result is what one input means.
type Result struct {
	Input     Input               `json:"input"`
	Matches   []Match             `json:"matches,omitempty"`
	Context   *Context            `json:"context,omitempty"`
	Bounces   []Bounce            `json:"bounces,omitempty"`
	Diagnosis []Diagnosis         `json:"diagnosis,omitempty"`
	Log       *Log                `json:"log,omitempty"`       // of a log with several troubled lines
	Groups    []Group             `json:"groups,omitempty"`    // their causes, worst first
	Extracted map[string][]string `json:"extracted,omitempty"` // from pasted tool output: dns, gateway, listening, ...
	DidYou    []string            `json:"did_you_mean,omitempty"`

	Contacts []Contact      `json:"contacts,omitempty"` // what a live check spoke to; see package verify
	Findings []diag.Finding `json:"findings,omitempty"` // and what it found
	Summary  *diag.Summary  `json:"summary,omitempty"`

	Asked string `json:"-"` // a code that nothing is known of, as it was typed
}

// Input names what was explained.
type Input struct {
	Kind  Kind   `json:"kind,omitempty"`
	Name  string `json:"name,omitempty"`
	Error string `json:"error,omitempty"`
}

// Match is one thing of the text that the catalogue knows, or a code that
// stands there although the catalogue does not have it (then only Code, Raw and
// Family are set).
type Match struct {
	ID          string   `json:"id,omitempty"`
	Code        string   `json:"code"`
	Raw         string   `json:"raw,omitempty"`
	DerivedFrom string   `json:"derived_from,omitempty"`
	Family      string   `json:"family,omitempty"`
	Symbol      string   `json:"symbol,omitempty"`
	Title       string   `json:"title,omitempty"`
	Meaning     string   `json:"meaning,omitempty"`
	Causes      []string `json:"causes,omitempty"`
	Fixes       []string `json:"fixes,omitempty"`
	Who         string   `json:"who,omitempty"`
	Temporary   bool     `json:"temporary"`
	Related     []string `json:"related,omitempty"`
	References  []string `json:"references,omitempty"`

	cause string // what it comes down to
}

// Context are the facts a message states about the conversation that failed.
type Context struct {
	Account        string `json:"account,omitempty"`
	Server         string `json:"server,omitempty"`
	Protocol       string `json:"protocol,omitempty"` // SMTP, POP3, IMAP, HTTP, NNTP
	Port           int    `json:"port,omitempty"`
	TLS            *bool  `json:"tls,omitempty"`
	ServerResponse string `json:"server_response,omitempty"`
	ServerError    string `json:"server_error,omitempty"`
	SocketError    int    `json:"socket_error,omitempty"`
	ErrorNumber    string `json:"error_number,omitempty"`
	Recipient      string `json:"recipient,omitempty"`
	Sender         string `json:"sender,omitempty"`
	Subject        string `json:"subject,omitempty"`
	Client         string `json:"client,omitempty"`   // log lines: who connected
	QueueID        string `json:"queue_id,omitempty"` // log lines
}

// Bounce is a delivery that failed or waits, as a bounce mail or a log line
// states it.
type Bounce struct {
	Recipient         string `json:"recipient,omitempty"`
	OriginalRecipient string `json:"original_recipient,omitempty"`
	Reason            string `json:"reason,omitempty"`
	Status            string `json:"status,omitempty"`
	StatusSource      string `json:"status_source,omitempty"` // stated, derived, none
	ReplyCode         string `json:"reply_code,omitempty"`
	Diagnostic        string `json:"diagnostic,omitempty"`
	Command           string `json:"command,omitempty"`
	Action            string `json:"action,omitempty"` // failed, delayed
	RemoteHost        string `json:"remote_host,omitempty"`
	ReportingMTA      string `json:"reporting_mta,omitempty"`
	FeedbackType      string `json:"feedback_type,omitempty"`
	Source            string `json:"source,omitempty"` // dsn, arf, text
	Hard              bool   `json:"hard"`
	Time              string `json:"time,omitempty"`
	Cause             string `json:"-"` // what mailsrv's own notice says; the diagnosis has it
}

// Diagnosis is one likely cause, with what it rests on.
type Diagnosis struct {
	Cause      string     `json:"cause"`
	Confidence float64    `json:"confidence"`
	Who        string     `json:"who,omitempty"`
	Temporary  bool       `json:"temporary"`
	Title      string     `json:"title,omitempty"`
	Why        string     `json:"why,omitempty"`
	Evidence   []string   `json:"evidence,omitempty"`
	Fixes      []diag.Fix `json:"fixes,omitempty"`
	Verify     *Verify    `json:"verify,omitempty"`
	Verdict    string     `json:"verdict,omitempty"` // of a live check: confirmed, rejected, undetermined
	Checked    []string   `json:"checked,omitempty"` // ids of the findings that the verdict rests on
}

// Verify is the command that confirms a cause.
type Verify struct {
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// Recognised tells whether the input led anywhere: a catalogue entry, a cause,
// a report about a mail, or facts of a pasted tool output.
func (r *Result) Recognised() bool {
	for _, m := range r.Matches {
		if m.Title != "" {
			return true
		}
	}
	for _, d := range r.Diagnosis {
		if d.Cause != "none" && d.Cause != "unknown" {
			return true
		}
	}
	return len(r.Extracted)+len(r.Bounces) > 0
}

// Explain says what one input means. The caller limits raw to MaxInput.
func Explain(raw []byte, lang codes.Lang) Result {
	f := &facts{}
	if f.readMail(raw) { // before decoding: each part of a mail has its own character set
		return f.result(lang)
	}
	if isBinary(raw) {
		return Result{Input: Input{Kind: KindBinary}}
	}
	if f.text = clean(decode(raw)); f.text == "" {
		return Result{Input: Input{Kind: KindEmpty}}
	}
	if f.readBare() {
		f.kind = KindCode
	} else {
		f.readText()
		f = f.orEnd()
	}
	return f.result(lang)
}
