package bounce

import (
	"bytes"
	"strings"

	"mailsrv/codes"
)

// report is a message/delivery-status body, RFC 3464.
type report struct {
	reportingMTA string
	arrival      string
	recipients   []reported
}

// reported is one per-recipient group of a report.
type reported struct {
	final, original, actual string // addresses; empty when what stands there is none
	action                  string
	status                  string // as far as it is one
	comment                 string // what stands behind the status: PowerMTA's and PMDF's own words
	remote                  string
	diagnosticType          string // smtp, x-unix, x-postfix, ...
	diagnostic              string
	lastAttempt             string
	category                string // X-PowerMTA-BounceCategory
	cause                   string // X-Mailsrv-Cause
}

// maxRecipients bounds the recipients of one mail.
const maxRecipients = 1000

// readReport reads the fields of a report. Groups are told apart by empty
// lines; software that forgets them repeats a field instead.
func readReport(b []byte) report {
	var out report
	for len(b) > 0 && len(out.recipients) < maxRecipients {
		b = bytes.TrimLeft(b, "\n")
		fields, rest := reportGroup(b)
		if len(rest) == len(b) { // a line that is no field
			_, rest = cutLine(b)
		}
		b = rest
		var r reported
		some := false
		for _, f := range fields {
			some = out.read(&r, strings.ToLower(string(f.name)), f.value) || some
		}
		if some {
			out.recipients = append(out.recipients, r)
		}
	}
	return out
}

// reportGroup returns the fields up to an empty line or to the first recipient
// or action field that comes again.
func reportGroup(b []byte) (fields header, rest []byte) {
	fields, rest = parseHeader(b)
	seen := map[string]bool{}
	for i := range fields {
		name := strings.ToLower(string(fields[i].name))
		if (name == "final-recipient" || name == "action") && seen[name] {
			return fields[:i], b[cap(b)-cap(fields[i].name):] // the name is a piece of b
		}
		seen[name] = true
	}
	return fields, rest
}

// read takes one field over and tells whether it belongs to a recipient.
func (out *report) read(r *reported, name string, raw []byte) bool {
	v := unfold(raw)
	switch name {
	case "reporting-mta":
		out.reportingMTA = hostOf(v)
	case "arrival-date":
		out.arrival = v
	case "final-recipient":
		r.final = reportAddress(v)
	case "original-recipient":
		r.original = reportAddress(v)
	case "x-actual-recipient":
		r.actual = reportAddress(v)
	case "action":
		v, _, _ = strings.Cut(v, "(")
		r.action = strings.ToLower(strings.TrimSpace(v))
	case "status":
		r.status, r.comment = splitStatus(v)
	case "remote-mta":
		r.remote = hostOf(v)
	case "diagnostic-code":
		if r.diagnostic == "" {
			r.diagnosticType, r.diagnostic = splitDiagnostic(v)
			if strings.EqualFold(r.diagnosticType, "x-notes") { // folds in the middle of words
				_, r.diagnostic = splitDiagnostic(strings.ReplaceAll(string(raw), "\n ", ""))
			}
		}
	case "last-attempt-date":
		r.lastAttempt = v
	case "x-mailsrv-cause":
		if v = strings.ToLower(v); v != "unknown" && v != "none" && codes.CauseOf(v) != nil {
			r.cause = v
		}
	case "x-powermta-bouncecategory":
		r.category = strings.ToLower(v)
	default:
		return false
	}
	return name != "reporting-mta" && name != "arrival-date"
}

// reportAddress reads "rfc822; user@example.com". A pipe, a path or a bare
// name is no address.
func reportAddress(v string) string {
	if _, a, ok := strings.Cut(v, ";"); ok {
		v = a
	}
	v = strings.TrimSpace(v)
	if i := strings.IndexByte(v, '<'); i >= 0 && strings.HasSuffix(v, ">") {
		v = v[i+1 : len(v)-1]
	}
	if !isAddress(v) {
		return ""
	}
	return v
}

// splitStatus reads "5.1.1 (comment)".
func splitStatus(v string) (status, comment string) {
	status, comment, _ = strings.Cut(v, " ")
	status = strings.TrimSuffix(status, ";")
	if n, ok := enhancedAt(status, 0); !ok || n != len(status) {
		return "", v
	}
	return status, strings.Trim(comment, " ()")
}

// splitDiagnostic reads "smtp; 550 ...". Some write no type.
func splitDiagnostic(v string) (typ, text string) {
	head, rest, ok := strings.Cut(v, ";")
	head = strings.TrimSpace(head)
	if !ok || head == "" || len(head) > 32 || strings.ContainsAny(head, " :,<>()") {
		return "", strings.TrimSpace(v)
	}
	return strings.ToLower(head), strings.TrimSpace(rest)
}

// hostOf reads "dns; mx.example.com (192.0.2.1)".
func hostOf(v string) string {
	if _, h, ok := strings.Cut(v, ";"); ok {
		v = h
	}
	v = strings.TrimSpace(v)
	if i := strings.IndexAny(v, " \t("); i >= 0 {
		v = v[:i]
	}
	return strings.ToLower(strings.TrimRight(v, "."))
}

// reports returns what the mail's report parts say. A mail that says it is a
// report but has lost its structure carries the fields in its text.
func (m *message) reports(n *notice) report {
	var out report
	for i := range m.parts {
		if p := &m.parts[i]; p.kind == reportPart {
			x := readReport(p.content())
			if out.reportingMTA == "" {
				out.reportingMTA, out.arrival = x.reportingMTA, x.arrival
			}
			out.recipients = append(out.recipients, x.recipients...)
		}
	}
	if len(out.recipients) == 0 {
		if i := fieldsInText(n.text + "\n" + n.below); i >= 0 {
			out = readReport([]byte((n.text + "\n" + n.below)[i:]))
		}
	}
	return out
}

// fieldsInText returns where report fields begin in prose, or -1.
func fieldsInText(s string) int {
	i := strings.Index(s, "\nFinal-Recipient:")
	if i < 0 {
		i = strings.Index(s, "\nFinal-recipient:")
	}
	if i < 0 {
		return -1
	}
	if j := strings.Index(s, "\nReporting-MTA:"); j >= 0 && j < i {
		return j + 1
	}
	if j := strings.LastIndex(s[:i], "\n\n"); j >= 0 {
		return j + 2
	}
	return i + 1
}
