package queue

import (
	"container/heap"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"mailsrv/server/conn"
	"mailsrv/server/queue/dsn"
)

// Kind is what a notice is about.
type Kind string

// The kinds of notices.
const (
	Failure      Kind = "failure"
	Delay        Kind = "delay"
	Success      Kind = "success"       // handed to a host that sends no notice itself
	Arrival      Kind = "arrival"       // put into a mailbox here
	DoubleBounce Kind = "double-bounce" // a message without a sender has failed
)

// Notice is a mail that this server writes: from the null sender, to the
// sender of a message in the queue.
type Notice struct {
	ID    string // a fresh one
	Kind  Kind
	To    string
	About string // id of the message

	write func(io.Writer) error
}

// Write writes the text of the notice; lines end with CRLF.
func (n Notice) Write(w io.Writer) error { return n.write(w) }

// together is how long a failed recipient waits for the others of its message
// whose attempts are under way, so that one notice names them all.
const together = time.Minute

// choreAt is when an item wants the clerk; zero: never. it.mu and q.mu are
// held, or nobody knows the item yet.
func (q *Queue) choreAt(it *item, e *Envelope, now time.Time) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if it.dirty {
		sooner(now.Add(retryIn))
	}
	if since, ok := e.untold(); ok {
		if it.busy(nil) {
			since = since.Add(together)
		} else {
			since = now
		}
		sooner(latest(since, it.tellAt))
	}
	if warn, ok := q.warnAt(e, now); ok {
		sooner(latest(warn, it.tellAt))
	}
	return at
}

// busy tells whether a job other than self is on its way. q.mu is held.
func (it *item) busy(self *job) bool {
	for _, j := range it.jobs {
		if j != self && (j.state == ready || j.state == active) {
			return true
		}
	}
	return false
}

// warnAt is when the sender is to be warned of a delay. Shortly before the end
// there is nothing to warn of any more.
func (q *Queue) warnAt(e *Envelope, now time.Time) (at time.Time, ok bool) {
	retry := q.opt().Retry
	if retry.WarnAfter == 0 || !e.Warned.IsZero() || len(e.late()) == 0 || !now.Before(e.Accepted.Add(retry.GiveUpAfter)) {
		return time.Time{}, false
	}
	return e.Accepted.Add(retry.WarnAfter), true
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// untold tells whether senders have to be told of recipients, and when the
// first of these was tried last.
func (e *Envelope) untold() (since time.Time, ok bool) {
	for i := range e.Recipients {
		if r := &e.Recipients[i]; r.State != Waiting && !r.Told && (!ok || r.LastTry.Before(since)) {
			since, ok = r.LastTry, true
		}
	}
	return since, ok
}

// late returns the recipients whose delay is worth a warning.
func (e *Envelope) late() (out []int) {
	if e.Sender == "" || e.Held {
		return nil
	}
	for i := range e.Recipients {
		if r := &e.Recipients[i]; r.State == Waiting && r.Tries > 0 && r.wants("DELAY") {
			out = append(out, i)
		}
	}
	return out
}

// later gives an item a time for the clerk.
func (q *Queue) later(it *item, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it.chore = at
	heap.Push(&q.events, event{at: at, it: it})
	q.kick()
}

// tend does what is due for an item other than an attempt.
func (q *Queue) tend(it *item) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if q.isGone(it) {
		return
	}
	e := q.envelope(it)
	if e == nil {
		return
	}
	if it.dirty {
		q.save(it, e)
	}
	q.warn(it, e)
	q.settle(it, e, nil)
	q.forget(it)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.plan(it, e, time.Now())
}

// warn tells a sender of a delay, once. it.mu is held.
func (q *Queue) warn(it *item, e *Envelope) {
	now := time.Now()
	if at, ok := q.warnAt(e, now); !ok || now.Before(latest(at, it.tellAt)) {
		return
	}
	if q.tell(it, e, Delay, e.Sender, e.late()) {
		e.Warned = now.UTC().Truncate(time.Second)
		q.save(it, e)
	}
}

// settle tells what has to be told, and ends a message for which nothing
// remains to be done. self is the job that the caller is about to release.
// it.mu is held.
func (q *Queue) settle(it *item, e *Envelope, self *job) {
	q.mu.Lock()
	gone, busy := it.gone, it.busy(self)
	q.mu.Unlock()
	if gone {
		return
	}
	now := time.Now()
	if since, ok := e.untold(); ok && !now.Before(it.tellAt) && (!busy || !now.Before(since.Add(together))) {
		for _, kind := range []Kind{Failure, Success, Arrival} {
			q.tellKind(it, e, kind)
		}
	}
	if e.finished() && it.users == 0 {
		q.discard(it, e)
	}
}

// outcome is the kind of notice that what became of a recipient is worth.
func (r *Recipient) outcome() Kind {
	switch {
	case r.State == Failed:
		return Failure
	case r.State == Delivered && r.Tries == 0:
		return Arrival
	case r.State == Delivered:
		return Success
	}
	return ""
}

// tellKind tells of the recipients with one outcome. it.mu is held.
func (q *Queue) tellKind(it *item, e *Envelope, kind Kind) {
	to := e.Sender
	var about []int
	for i := range e.Recipients {
		if r := &e.Recipients[i]; r.outcome() == kind && !r.Told {
			about = append(about, i)
		}
	}
	if len(about) == 0 {
		return
	}
	told := true
	if to == "" {
		// Nobody gets a bounce for a bounce.
		if to = q.opt().DoubleBounce(e); to == "" || e.Notice == DoubleBounce || kind != Failure {
			to = ""
		}
		kind = DoubleBounce
	}
	if to != "" {
		told = q.tell(it, e, kind, to, about)
	}
	if told {
		for _, i := range about {
			e.Recipients[i].Told = true
		}
		if !e.finished() || it.users > 0 {
			q.save(it, e)
		}
	}
}

// tell posts a notice; false when that has to wait. it.mu is held.
func (q *Queue) tell(it *item, e *Envelope, kind Kind, to string, about []int) bool {
	o, now := q.opt(), time.Now()
	if wait := q.caps.take(to, now); wait > 0 {
		it.tellAt = now.Add(wait)
		o.Log.Warn("notice put off: there have been too many", "id", e.ID, "kind", string(kind), "to", to, "until", it.tellAt.Format(time.RFC3339))
		return false
	}
	n := Notice{ID: conn.NewID(), Kind: kind, To: to, About: e.ID}
	n.write = func(w io.Writer) error { return q.writeNotice(w, n, it, e, about) }
	if err := o.Post(n); err != nil {
		it.tellAt = now.Add(retryIn)
		o.Log.Error("notice cannot be posted; that is tried again", "id", e.ID, "kind", string(kind), "to", to, "error", err)
		return false
	}
	q.counts.notices.Add(1)
	o.Log.Info("notice posted", "id", e.ID, "notice", n.ID, "kind", string(kind), "to", to)
	return true
}

// fullBelow is up to which size a message is returned whole whose sender asked
// for neither the whole nor the header.
const fullBelow = 50_000

func (q *Queue) writeNotice(w io.Writer, n Notice, it *item, e *Envelope, about []int) error {
	text, err := q.keeper.open(it.id, it.letter)
	if err != nil {
		return err
	}
	defer text.Close()
	o := q.opt()
	r := &dsn.Report{
		Hostname: o.Hostname, ID: n.ID, To: n.To, About: e.ID, Sender: e.Sender, Arrival: e.Accepted.Local(), Now: time.Now(),
		Lang: o.Lang(n.To), Message: text,
	}
	r.EnvID, _ = unxtext(e.EnvID)
	switch n.Kind {
	case Delay:
		r.Action, r.Until = dsn.Delayed, e.Accepted.Local().Add(o.Retry.GiveUpAfter)
	case Success:
		r.Action = dsn.Relayed
	case Arrival:
		r.Action = dsn.Delivered
	default:
		r.Action = dsn.Failed
		r.Full = e.Ret == "FULL" || e.Ret == "" && e.Size <= fullBelow
	}
	for _, i := range about {
		to := &e.Recipients[i]
		d := dsn.Recipient{
			Address: to.Address, Expired: to.Expired, Code: to.Code, Status: to.Status, Reply: to.Reply, Command: to.Command,
			Cause: to.Cause, Host: to.Host, LastTry: to.LastTry.Local(),
		}
		d.Addr, _ = netip.ParseAddrPort(to.Addr)
		d.Original, _ = unxtext(to.ORCPT)
		r.Recipients = append(r.Recipients, d)
	}
	if err := r.Write(w); err != nil {
		return fmt.Errorf("notice about %s: %w", e.ID, err)
	}
	return nil
}

// Caps on notices. A burst goes out at once; what is beyond comes at the given
// pace, so that a storm of failing mail fills no mailbox within minutes.
const (
	capOne      = 100 // to one address
	capOneEvery = 10 * time.Second
	capAll      = 1000
	capAllEvery = time.Second
)

// noticeCaps are buckets of notices that may still be sent, one for each
// address and one for all.
type noticeCaps struct {
	mu  sync.Mutex
	all bucket
	one map[string]bucket
}

// bucket gets a token every so often, up to a burst.
type bucket struct {
	empty time.Time // when it would have been empty, filling since
}

// take returns how long to wait; 0: now.
func (c *noticeCaps) take(to string, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.one[to]
	if wait := max(one.wait(now, capOneEvery), c.all.wait(now, capAllEvery)); wait > 0 {
		return wait
	}
	if c.one == nil {
		c.one = map[string]bucket{}
	}
	if len(c.one) > 10*capAll {
		for a, b := range c.one {
			if now.Sub(b.empty) >= capOne*capOneEvery {
				delete(c.one, a) // full again
			}
		}
	}
	one.take(now, capOne, capOneEvery)
	c.one[to] = one
	c.all.take(now, capAll, capAllEvery)
	return 0
}

func (b *bucket) wait(now time.Time, every time.Duration) time.Duration {
	return every - now.Sub(b.empty)
}

func (b *bucket) take(now time.Time, burst int, every time.Duration) {
	if fullSince := now.Add(-time.Duration(burst) * every); b.empty.Before(fullSince) {
		b.empty = fullSince
	}
	b.empty = b.empty.Add(every)
}
