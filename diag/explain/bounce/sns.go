package bounce

import (
	"encoding/json"
	"strings"
)

// snsNotice is an event of Amazon SES as its notification service mails it:
// JSON in the text.
type snsNotice struct {
	Type   string `json:"notificationType"`
	Event  string `json:"eventType"`
	Bounce struct {
		Type       string `json:"bounceType"`
		SubType    string `json:"bounceSubType"`
		Recipients []struct {
			Address    string `json:"emailAddress"`
			Action     string `json:"action"`
			Status     string `json:"status"`
			Diagnostic string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
		Time         string `json:"timestamp"`
		ReportingMTA string `json:"reportingMTA"`
	} `json:"bounce"`
	Complaint struct {
		Recipients []struct {
			Address string `json:"emailAddress"`
		} `json:"complainedRecipients"`
		Time     string `json:"timestamp"`
		Feedback string `json:"complaintFeedbackType"`
	} `json:"complaint"`
	Delivery struct {
		Recipients   []string `json:"recipients"`
		Time         string   `json:"timestamp"`
		Response     string   `json:"smtpResponse"`
		ReportingMTA string   `json:"reportingMTA"`
	} `json:"delivery"`
}

// readSNS reads the event, or returns nil when text is none. Mail servers
// break its long line with "!" and a line end.
func readSNS(text string) *snsNotice {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") || !strings.Contains(text[:min(len(text), 4096)], `"notificationType"`) && !strings.Contains(text[:min(len(text), 4096)], `"eventType"`) && !strings.Contains(text[:min(len(text), 4096)], `"Message"`) {
		return nil
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "!\n ", ""), "\n", " ")
	var n snsNotice
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&n); err != nil {
		return nil
	}
	if n.Type == "" {
		n.Type = n.Event
	}
	if n.Type == "" { // the envelope of the notification service itself
		var outer struct{ Message string }
		if json.NewDecoder(strings.NewReader(text)).Decode(&outer) != nil || outer.Message == "" || json.Unmarshal([]byte(outer.Message), &n) != nil {
			return nil
		}
		if n.Type == "" {
			n.Type = n.Event
		}
	}
	switch n.Type {
	case "Bounce", "Complaint", "Delivery":
		return &n
	}
	return nil
}

func (n *snsNotice) kind() Kind {
	if n.Type == "Complaint" {
		return Feedback
	}
	return Report
}

// bounceSubTypes are the words of SES for what it judged itself.
var bounceSubTypes = map[string]string{
	"NoEmail": "userunknown", "Suppressed": "suppressed", "OnAccountSuppressionList": "suppressed", "MailboxFull": "mailboxfull",
	"MessageTooLarge": "mesgtoobig", "ContentRejected": "contenterror", "AttachmentRejected": "policyviolation",
}

func (n *snsNotice) bounces(m *message) []Bounce {
	date := rfc3339(m.header.get("Date"))
	var out []Bounce
	switch n.Type {
	case "Complaint":
		for _, r := range n.Complaint.Recipients {
			out = append(out, Bounce{Recipient: r.Address, Reason: "feedback", StatusSource: "none", FeedbackType: firstNonEmpty(strings.ToLower(n.Complaint.Feedback), "abuse"), Source: fromFeedback, Time: firstNonEmpty(n.Complaint.Time, date)})
		}
	case "Delivery":
		for _, a := range n.Delivery.Recipients {
			c := claim{recipient: a, action: "delivered", diagnostic: n.Delivery.Response, reporting: hostOf(n.Delivery.ReportingMTA), source: fromReport, time: firstNonEmpty(n.Delivery.Time, date)}
			out = append(out, c.judge(&notice{}, false))
		}
	default:
		for _, r := range n.Bounce.Recipients {
			typ, words := splitDiagnostic(r.Diagnostic)
			status, _ := splitStatus(r.Status)
			c := claim{recipient: addressOf(r.Address), action: strings.ToLower(r.Action), stated: status, diagnosticType: typ, diagnostic: words, reporting: hostOf(n.Bounce.ReportingMTA), source: fromReport, time: firstNonEmpty(n.Bounce.Time, date)}
			b := c.judge(&notice{}, false)
			if w := bounceSubTypes[n.Bounce.SubType]; w == "suppressed" || w != "" && (b.Reason == "onhold" || b.Reason == "undefined") {
				b.Reason, b.Hard = w, hard(w)
			}
			out = append(out, b)
		}
	}
	return out
}
