// Package diag holds what all judges share: the Finding, the one shape for
// everything that mailsrv diagnoses, and its summary. The judges themselves
// live in the folders below: they take evidence (facts from probes, readers of
// the server's own files) and return findings.
package diag

import (
	"cmp"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailsrv/codes"
)

// Status is how a finding stands.
type Status string

// The statuses. Skip says that something could not be found out, and why: it is
// never shown as healthy and never as broken.
const (
	OK   Status = "ok"
	Info Status = "info"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Evidence are the facts a finding rests on. Keys are lower-case words; values
// are strings, numbers, booleans or lists of strings.
type Evidence map[string]any

// Finding is one result of a diagnosis. ID, Status, Subject, Evidence and Codes
// never depend on the language; the rest is filled in by Localize.
type Finding struct {
	ID         string   `json:"id"`
	Status     Status   `json:"status"`
	Subject    string   `json:"subject"`
	Title      string   `json:"title"`
	Detail     string   `json:"detail,omitempty"`
	Evidence   Evidence `json:"evidence,omitempty"`
	Causes     []string `json:"causes,omitempty"`
	Fixes      []Fix    `json:"fixes,omitempty"`
	Codes      []string `json:"codes,omitempty"`
	References []string `json:"references,omitempty"`

	// Text holds what only the texts need and no program should read, such as
	// the record to publish: templates see it beside the evidence.
	Text Evidence `json:"-"`
}

// Fix is one remedy. Auto means that doctor --fix does it.
type Fix struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Record  string `json:"record,omitempty"`
	Auto    bool   `json:"auto,omitempty"`
}

// New makes a finding with its usual status, codes and references from the
// catalogue. An id that the catalogue does not have is a programming error.
func New(id, subject string, ev Evidence) Finding {
	t := codes.FindingOf(id)
	if t == nil {
		panic("diag: no catalogue entry for finding " + id)
	}
	return Finding{ID: id, Status: Status(t.Status), Subject: subject, Evidence: ev, Codes: t.Codes, References: t.References}
}

// As returns the finding with another status than the usual one.
func (f Finding) As(s Status) Finding {
	f.Status = s
	return f
}

// With returns the finding with one more thing for its texts.
func (f Finding) With(key string, value any) Finding {
	text := Evidence{}
	for k, v := range f.Text {
		text[k] = v
	}
	text[key] = value
	f.Text = text
	return f
}

// Localize fills in title, detail, causes and fixes from the message catalogue.
// Templates see the evidence, the finding's Text, and "subject" and "status".
// It returns the first template error; the findings are usable all the same.
func Localize(fs []Finding, lang codes.Lang) error {
	var first error
	for i := range fs {
		f := &fs[i]
		t := codes.FindingOf(f.ID)
		if t == nil {
			continue
		}
		data := map[string]any{"subject": f.Subject, "status": string(f.Status)}
		for k, v := range f.Evidence {
			data[k] = v
		}
		for k, v := range f.Text {
			data[k] = v
		}
		r, err := t.Render(lang, data)
		if err != nil && first == nil {
			first = err
		}
		f.Title, f.Detail, f.Causes, f.Fixes = harmless(r.Title), harmless(r.Detail), nil, nil
		for _, c := range r.Causes {
			f.Causes = append(f.Causes, harmless(c))
		}
		for _, x := range r.Fixes {
			f.Fixes = append(f.Fixes, Fix{Text: harmless(x.Text), Command: onThisSystem(harmless(x.Command)), Record: harmless(x.Record), Auto: x.Auto})
		}
	}
	return first
}

// onThisSystem leaves out what Windows does not have: there the terminal itself
// is started as administrator.
func onThisSystem(command string) string {
	if runtime.GOOS == "windows" {
		return strings.TrimPrefix(command, "sudo ")
	}
	return command
}

// harmless replaces what could take over a terminal in texts that quote foreign
// servers and records: control characters, and those that turn the direction.
func harmless(s string) string {
	bad := func(r rune) bool {
		return r != '\n' && unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r)
	}
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return '�'
		}
		return r
	}, s)
}

// Summary counts findings by status.
type Summary struct {
	OK   int `json:"ok"`
	Info int `json:"info"`
	Warn int `json:"warn"`
	Fail int `json:"fail"`
	Skip int `json:"skip"`
}

// Summarize counts fs.
func Summarize(fs []Finding) Summary {
	var s Summary
	for _, f := range fs {
		switch f.Status {
		case OK:
			s.OK++
		case Info:
			s.Info++
		case Warn:
			s.Warn++
		case Fail:
			s.Fail++
		case Skip:
			s.Skip++
		}
	}
	return s
}

var weight = map[Status]int{Fail: 0, Warn: 1, Skip: 2, Info: 3, OK: 4}

// Sort puts findings in the order to read them: fail, warn, skip, info, ok.
// Among equals the order in which the judges gave them stays, which is the one
// nearest to the cause first.
func Sort(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int { return cmp.Compare(weight[a.Status], weight[b.Status]) })
}
