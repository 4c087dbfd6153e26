package mailbox

import (
	"context"
	"fmt"
	"time"

	"mailsrv/diag/explain/bounce"
	"mailsrv/server/store"
)

// State is what has become of a message that the history tells of.
type State string

// States of a message.
const (
	Kept      State = "kept"       // deleted, can be brought back
	Gone      State = "gone"       // removed for good
	InMailbox State = "in_mailbox" // brought back; or deleting it did not come to its end
)

// Event is one line of the history of a local mailbox, or one deleted message
// that can be brought back. From and Subject are decoded.
type Event struct {
	Number int        `json:"number,omitempty"` // what undelete takes, counted from 1; 0 when it cannot be brought back
	State  State      `json:"state"`
	Until  *time.Time `json:"until,omitempty"` // when a kept message is removed for good
	store.Event
}

// History is what was deleted in a local mailbox and brought back, oldest
// first.
type History struct {
	Events  []Event
	Damaged int     // lines of the history that cannot be read
	Kept    []Event // what can be brought back; also what no event tells of
	Octets  int64   // of what is kept

	box  store.Box
	s    *store.Maildirs
	kept []store.Kept
}

// ReadHistory reads what the mailbox says of itself. A server may run on it
// meanwhile.
func ReadHistory(s *store.Maildirs, box store.Box) (*History, error) {
	h := &History{s: s, box: box}
	var err error
	if h.kept, err = s.Kept(box); err != nil {
		return nil, err
	}
	numbers := map[string]int{}
	for i, k := range h.kept {
		e := Event{Number: i + 1, State: Kept, Until: &k.Until, Event: store.Event{Time: k.Deleted, What: store.Deleted, UID: k.UID, Size: k.Size, By: k.By, Fields: decoded(k.Fields)}}
		h.Kept = append(h.Kept, e)
		h.Octets += k.Size
		numbers[k.UID] = i + 1
	}
	events, damaged, err := s.History(box)
	if err != nil {
		return nil, err
	}
	h.Damaged = damaged
	here, err := s.UIDs(box)
	if err != nil {
		return nil, err
	}
	latest := map[string]int{}
	for i, e := range events {
		if e.What == store.Deleted {
			latest[e.UID] = i
		}
	}
	for i, e := range events {
		e.Fields = decoded(e.Fields)
		out := Event{Event: e, State: Gone}
		switch n := numbers[e.UID]; {
		case here[e.UID]:
			out.State = InMailbox
		case n > 0:
			out.State = Kept
			if latest[e.UID] == i {
				out.Number, out.Until = n, h.Kept[n-1].Until
			}
		}
		h.Events = append(h.Events, out)
	}
	return h, nil
}

func decoded(f store.Fields) store.Fields {
	head := func(name, value string) string { return name + ": " + value + "\r\n" }
	m := bounce.Parse([]byte(head("From", f.From) + head("To", f.To) + head("Subject", f.Subject) + "\r\n"))
	f.From, f.To, f.Subject = Clean(m.From), Clean(m.To), Clean(m.Subject)
	f.Date, f.MessageID = Clean(f.Date), Clean(f.MessageID)
	return f
}

// Select returns the kept messages that words name, by number or UID as Find
// does, and those that were deleted at since or later, unless it is zero.
func (h *History) Select(words []string, since time.Time) ([]Event, error) {
	var ms []Message
	for _, e := range h.Kept {
		ms = append(ms, Message{Number: e.Number, UID: e.UID})
	}
	for _, w := range words {
		if _, err := find(ms, w); err != nil {
			return nil, fmt.Errorf("%s is not among the %d deleted messages that can be brought back", w, len(ms))
		}
	}
	named, err := Find(ms, words)
	if err != nil {
		return nil, err
	}
	wanted := map[int]bool{}
	for _, m := range named {
		wanted[m.Number] = true
	}
	var out []Event
	for _, e := range h.Kept {
		if wanted[e.Number] || !since.IsZero() && !e.Time.Before(since) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Restore brings messages of Kept back.
func (h *History) Restore(ctx context.Context, events []Event, by store.By) error {
	var kept []store.Kept
	for _, e := range events {
		kept = append(kept, h.kept[e.Number-1])
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.s.Restore(h.box, kept, by)
}
