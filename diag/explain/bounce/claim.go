package bounce

import "strings"

// claim is what a mail says about one recipient before it is judged: the words
// of the report and of the notice side by side.
type claim struct {
	recipient, original string
	action              string
	stated              string // the report's Status field
	comment             string
	diagnosticType      string
	diagnostic          string
	prose               string // the notice's words about this recipient
	command             string
	remote              string
	reporting           string
	category            string
	cause               string
	source              string
	time                string
	local               bool // nobody but the reporting system was asked
}

// failures reads and judges what the mail says of each recipient.
func (m *message) failures(n *notice) []Bounce {
	if n.json != nil {
		return n.json.bounces(m)
	}
	claims := m.claims(n)
	out := make([]Bounce, 0, len(claims))
	for i := range claims {
		out = append(out, claims[i].judge(n, len(claims) == 1))
	}
	return out
}

// claims brings the report's groups and the notice's entries together.
func (m *message) claims(n *notice) []claim {
	r := m.reports(n)
	entries := m.entries(n)
	failed := m.failedRecipients()
	date := ""
	if len(r.recipients) == 0 || r.recipients[0].lastAttempt == "" {
		date = rfc3339(m.header.get("Date"))
	}

	var out []claim
	for i := range r.recipients {
		x := &r.recipients[i]
		c := claim{
			action: x.action, stated: x.status, comment: x.comment, diagnosticType: x.diagnosticType, diagnostic: x.diagnostic,
			remote: x.remote, reporting: r.reportingMTA, category: x.category, cause: x.cause, source: fromReport, time: rfc3339(x.lastAttempt),
		}
		if c.time == "" {
			c.time = date
		}
		c.recipient, c.original = x.final, x.original
		for _, a := range []string{x.original, x.actual} {
			if c.recipient == "" {
				c.recipient = a
			}
		}
		if c.recipient == "" && len(r.recipients) == 1 {
			c.recipient = firstOf(failed, entryAddress(entries), n.original.To)
		}
		if e := entryFor(entries, x, len(r.recipients) == 1); e != nil {
			c.take(e)
		}
		if c.recipient != "" || c.diagnostic != "" || c.stated != "" {
			out = append(out, c)
		}
	}
	if len(out) > 0 {
		return out
	}
	return m.spoken(n, entries, failed, r.reportingMTA, date)
}

// spoken makes claims of a notice that has no report beside it.
func (m *message) spoken(n *notice, entries []entry, failed []string, reporting, date string) []claim {
	var out []claim
	if len(failed) > 0 { // Exim says who failed: what else stands at a line's start is not one
		kept := entries[:0:0]
		for _, e := range entries {
			if containsFold(failed, e.address) {
				kept = append(kept, e)
			}
		}
		for _, f := range failed {
			if entryOf(kept, f) == nil && len(kept) < maxRecipients {
				kept = append(kept, entry{address: f})
			}
		}
		entries = kept
	}
	for i := range entries {
		c := claim{recipient: entries[i].address, reporting: reporting, source: fromText, time: date}
		c.take(&entries[i])
		if c.prose == "" {
			c.prose = n.rejectedLocally()
		}
		out = append(out, c)
	}
	if len(out) == 0 && n.original.To != "" && !m.has(originalPart) {
		out = append(out, claim{recipient: n.original.To, reporting: reporting, source: fromText, time: date})
	}
	if len(out) == 1 && strings.EqualFold(firstWord(n.folded()), "delayed") {
		out[0].action = "delayed"
	}
	return out
}

func (c *claim) take(e *entry) {
	c.prose, c.command, c.local = e.text, e.command, e.local
	if c.remote == "" {
		c.remote = strings.ToLower(e.host)
	}
}

// failedRecipients reads Exim's X-Failed-Recipients.
func (m *message) failedRecipients() []string {
	var out []string
	for a := range strings.SplitSeq(m.header.get("X-Failed-Recipients"), ",") {
		if a = strings.Trim(a, " <>"); isAddress(a) && len(out) < maxRecipients {
			out = append(out, a)
		}
	}
	return out
}

// entryFor returns the notice's entry about a group of the report.
func entryFor(entries []entry, r *reported, only bool) *entry {
	for _, a := range []string{r.final, r.actual, r.original} {
		if e := entryOf(entries, a); a != "" && e != nil {
			return e
		}
	}
	if only && len(entries) == 1 {
		return &entries[0]
	}
	return nil
}

func entryOf(entries []entry, address string) *entry {
	for i := range entries {
		if strings.EqualFold(entries[i].address, address) {
			return &entries[i]
		}
	}
	return nil
}

func entryAddress(entries []entry) []string {
	if len(entries) == 0 {
		return nil
	}
	return []string{entries[0].address}
}

func firstOf(a, b []string, c string) string {
	if len(a) > 0 {
		return a[0]
	}
	if len(b) > 0 {
		return b[0]
	}
	return c
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

func firstWord(s string) string {
	w, _, _ := strings.Cut(s, " ")
	return w
}
