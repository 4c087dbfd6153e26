package bounce

import "strings"

// complaints reads an abuse report (RFC 5965): one entry for each recipient of
// the message that was complained about, or one without when it names none.
func (m *message) complaints(n *notice) []Bounce {
	if n.json != nil {
		return n.json.bounces(m)
	}
	b := Bounce{Reason: "feedback", StatusSource: "none", Source: fromFeedback, Time: rfc3339(m.header.get("Date"))}
	var to []string
	for i := range m.parts {
		if m.parts[i].kind != feedbackPart {
			continue
		}
		h, _ := parseHeader(trimBlank(m.parts[i].content()))
		b.FeedbackType = strings.ToLower(h.get("Feedback-Type"))
		b.ReportingMTA = hostOf(h.get("Reporting-MTA"))
		b.RemoteHost = hostOf(h.get("Source-IP"))
		if t := rfc3339(h.get("Arrival-Date")); t != "" {
			b.Time = t
		} else if t := rfc3339(h.get("Received-Date")); t != "" {
			b.Time = t
		}
		for _, f := range h {
			switch strings.ToLower(string(f.name)) {
			case "original-rcpt-to", "removal-recipient":
				if a := addressOf(unfold(f.value)); a != "" && !containsFold(to, a) && len(to) < maxRecipients {
					to = append(to, a)
				}
			}
		}
	}
	if len(to) == 0 && n.original.To != "" {
		to = append(to, n.original.To)
	}
	if b.FeedbackType == "" {
		b.FeedbackType = "abuse"
	}
	b.Diagnostic = oneLine(clip(n.text, 300))
	if len(to) == 0 {
		return []Bounce{b}
	}
	out := make([]Bounce, 0, len(to))
	for _, a := range to {
		b.Recipient = a
		out = append(out, b)
	}
	return out
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\n' || b[0] == ' ') {
		b = b[1:]
	}
	return b
}
