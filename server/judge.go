package server

import (
	"io"
	"slices"
	"strings"

	"mailsrv/server/config"
	"mailsrv/server/policy"
	"mailsrv/server/smtp"
)

// markField is the header field in which rules and checks say what they found.
const markField = "X-Mailsrv-Mark"

// noted keeps what the rules found in mail that they let through.
func (t *transaction) noted(d policy.Decision) {
	for _, r := range d.Rules {
		if r.Matched && (r.Action == config.Mark || r.Action == config.LogOnly || r.Action == config.Allow) && !slices.Contains(t.found, r) {
			t.found = append(t.found, r)
			t.log.Info("rule matched", "rule", r.Rule, "action", string(r.Action), "why", r.Why, "from", d.Sender.String())
		}
	}
	for _, m := range d.Marks {
		if !slices.Contains(t.marks, m) {
			t.marks = append(t.marks, m)
		}
	}
	t.spared = t.spared || d.Allowed
}

// judge holds the header against the rules for it, and passes it on with the
// marks on top. What is refused is not written any further.
func (m *message) judge() error {
	defer m.header.release()
	t := m.t
	if t.policy.NeedsHeader() {
		var fields []policy.Field
		m.header.fields(func(name, value string) { fields = append(fields, policy.Field{Name: name, Value: value}) })
		d := t.policy.Header(t.request, t.accepted, t.spared, fields)
		t.noted(d)
		if d.Verdict != policy.Accept {
			smtp.Refusals.Add(1, t.request.Listener, d.Rule)
			t.log.Warn("message refused", "from", t.request.Sender.String(), "rule", d.Rule, "why", d.Why(), "reply", d.Reply())
			refusal := reply(d)
			m.refused = &refusal
			return nil
		}
	}
	if m.refused = t.goesRound(&m.header); m.refused != nil {
		smtp.Refusals.Add(1, t.request.Listener, "forward.circle")
		return nil
	}
	for _, mark := range t.marks {
		line := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?'
			}
			return r
		}, markField+": "+mark.Rule+" ("+mark.Why+")")
		if _, err := io.WriteString(passer{m}, line[:min(len(line), 900)]+"\r\n"); err != nil {
			return err
		}
	}
	_, err := m.pass(m.header.octets)
	return err
}

// passer writes behind the header.
type passer struct{ m *message }

func (p passer) Write(b []byte) (int, error) { return p.m.pass(b) }
