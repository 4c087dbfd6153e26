package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/server/queue"
)

func init() {
	register(Check{Name: "queue", Stage: Local, Limit: 30 * time.Second, Run: needsData("queue", outgoing)})
}

const (
	bigQueue    = 10_000 // messages
	grownTo     = 500    // messages from which sudden growth is a word worth
	stormFrom   = 20     // messages from which a share of bounces means anything
	triedTwice  = 2
	defaultWait = 4 * time.Hour // retry.warn_after when no warning is wanted
)

// outgoing looks at what has not gone out yet, and why.
func outgoing(ctx context.Context, c *Case) []diag.Finding {
	l, err := queue.List(c.Config.DataDir)
	if err != nil {
		dir := queue.Dir(c.Config.DataDir)
		return []diag.Finding{diag.New("env.admin_missing", dir, diag.Evidence{"what": "own-queue", "path": dir, "reason": err.Error()})}
	}
	if len(l.Messages)+len(l.Damaged) == 0 && !l.Paused {
		return nil
	}
	out := damagedItems(l)
	out = append(out, c.destinations(l)...)
	out = append(out, held(l)...)
	return append(out, c.shape(l)...)
}

// destination is where messages wait to go to.
type destination struct {
	domain  string
	waiting int
	oldest  time.Time
	tries   int
	last    queue.Recipient // the last try
	causes  map[string]int
}

// destinations judges what waits, by the domain it goes to.
func (c *Case) destinations(l queue.Listing) []diag.Finding {
	all := map[string]*destination{}
	var order []*destination
	for _, m := range l.Messages {
		if m.Held {
			continue
		}
		for _, r := range m.Recipients {
			if r.State != queue.Waiting {
				continue
			}
			_, domain, _ := cutLast(r.Address, "@")
			domain = strings.ToLower(domain)
			d := all[domain]
			if d == nil {
				d = &destination{domain: domain, oldest: m.Accepted, causes: map[string]int{}}
				all[domain] = d
				order = append(order, d)
			}
			d.waiting++
			if m.Accepted.Before(d.oldest) {
				d.oldest = m.Accepted
			}
			d.tries = max(d.tries, r.Tries)
			if r.Cause != "" {
				d.causes[r.Cause]++
			}
			if r.LastTry.After(d.last.LastTry) {
				d.last = r
			}
		}
	}
	late := c.Config.Retry.WarnAfter
	if late == 0 {
		late = defaultWait
	}
	var out []diag.Finding
	for _, d := range order {
		switch {
		case c.Now.Sub(d.oldest) >= late:
			out = append(out, c.waits("queue.stuck", d))
		case d.tries >= triedTwice:
			out = append(out, c.waits("queue.deferred", d))
		}
	}
	slices.SortStableFunc(out, func(a, b diag.Finding) int {
		return cmp.Or(strings.Compare(b.ID, a.ID), cmp.Compare(b.Evidence["messages"].(int), a.Evidence["messages"].(int)))
	})
	return out
}

func (c *Case) waits(id string, d *destination) diag.Finding {
	cause := d.cause()
	n, unit := ageOf(c.Now.Sub(d.oldest))
	ev := diag.Evidence{"messages": d.waiting, "since": d.oldest.UTC().Format(time.RFC3339), "tries": d.tries, "cause": cause, "running": c.Running}
	for key, value := range map[string]string{"reply": printable(d.last.Reply), "host": d.last.Host, "status": d.last.Status, "command": d.last.Command} {
		if value != "" {
			ev[key] = value
		}
	}
	f := diag.New(id, d.domain, ev).With("age_n", n).With("age_unit", unit).With("q_reply", shellWord(printable(d.last.Reply)))
	en, ja := "", ""
	if t := codes.CauseOf(cause); t != nil && cause != "unknown" {
		en, ja = t.En.Title, t.Ja.Title
	}
	return f.With("cause_en", en).With("cause_ja", ja)
}

// cause is what most of the last tries say.
func (d *destination) cause() string {
	best := "unknown"
	for word, n := range d.causes {
		if n > d.causes[best] || n == d.causes[best] && word < best {
			best = word
		}
	}
	return best
}

// queueSays tells whether the queue check, which ran before, names that cause.
func (c *Case) queueSays(cause string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.found, func(f diag.Finding) bool {
		return strings.HasPrefix(f.ID, "queue.") && f.Evidence["cause"] == cause
	})
}

const maxShown = 10

func damagedItems(l queue.Listing) []diag.Finding {
	if len(l.Damaged) == 0 {
		return nil
	}
	var items []string
	for _, d := range l.Damaged[:min(maxShown, len(l.Damaged))] {
		items = append(items, d.ID+": "+printable(d.Why))
	}
	first := l.Damaged[0]
	return []diag.Finding{diag.New("queue.damaged", first.ID, diag.Evidence{"count": len(l.Damaged), "items": items, "folder": first.Folder}).With("several", len(l.Damaged) > 1)}
}

// held are messages that wait because somebody said so.
func held(l queue.Listing) []diag.Finding {
	n := 0
	for _, m := range l.Messages {
		if m.Held {
			n++
		}
	}
	if n == 0 && !l.Paused {
		return nil
	}
	return []diag.Finding{diag.New("queue.held", "", diag.Evidence{"messages": n, "paused": l.Paused}).With("any", n > 0)}
}

// shape looks at the queue as a whole: how big, how fast it grew, what it is
// made of.
func (c *Case) shape(l queue.Listing) []diag.Finding {
	total, before, bounces := len(l.Messages), 0, 0
	senders := map[string]int{}
	for _, m := range l.Messages {
		if c.Now.Sub(m.Accepted) > time.Hour {
			before++
		}
		if m.Sender == "" {
			bounces++
		} else {
			senders[m.Sender]++
		}
	}
	grown := before > 0 && total >= 10*before && total >= grownTo
	ev := diag.Evidence{"messages": total, "hour_ago": before, "bounces": bounces}
	if most := busiest(senders); most != "" {
		ev["sender"] = most
	}
	var out []diag.Finding
	if total > bigQueue || grown {
		out = append(out, diag.New("queue.big", "", ev).With("grown", grown))
	}
	if total >= stormFrom && 2*bounces > total {
		out = append(out, diag.New("queue.bounce_storm", "", diag.Evidence{"messages": total, "bounces": bounces}))
	}
	return out
}

// busiest is the sender of most messages, "taro@example.com (412)".
func busiest(senders map[string]int) string {
	best := ""
	for s, n := range senders {
		if best == "" || n > senders[best] || n == senders[best] && s < best {
			best = s
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("%s (%d)", best, senders[best])
}
