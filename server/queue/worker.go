package queue

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/server/deliver"
)

// worker tries jobs of one destination, one after the other, over one
// connection.
type worker struct {
	q    *Queue
	d    *dest
	next chan *job // handed over while idle; room for one
	up   bool      // the last attempt reached the destination

	began time.Time
}

// steadyFor is how long a destination that has refused a connection gets no
// more of them than it then had.
const steadyFor = time.Minute

// turn is how long a destination's last worker goes on while others have none.
const turn = 30 * time.Second

func (w *worker) run(j *job) {
	q, d := w.q, w.d
	courier := q.opt().Courier(d.key)
	w.began = time.Now()
	for j != nil {
		w.attempt(j, courier)
		j = w.wait(courier.Connected())
	}
	courier.Close()
	q.mu.Lock()
	defer q.mu.Unlock()
	w.reached(false)
	d.workers--
	q.workers--
	q.feed() // before another worker for d: it may not be its turn
	if d.waits() {
		q.start(d)
	} else if d.workers == 0 {
		delete(q.dests, d.key)
	}
}

// wait returns the next job, nil when the worker is to go home. With an open
// connection it waits a while for one.
func (w *worker) wait(connected bool) *job {
	q, d := w.q, w.d
	q.mu.Lock()
	yield := q.starved && (d.workers > 1 || time.Since(w.began) >= turn)
	if !q.running || q.paused || d.workers > d.limit || yield {
		q.mu.Unlock()
		return nil
	}
	if d.waits() {
		j := d.pop()
		q.mu.Unlock()
		return j
	}
	if !connected || q.starved {
		q.mu.Unlock()
		return nil
	}
	d.idle = append(d.idle, w)
	closing := q.closing
	q.mu.Unlock()
	timer := time.NewTimer(q.opt().Linger)
	defer timer.Stop()
	select {
	case j := <-w.next:
		return j
	case <-timer.C:
	case <-closing:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range d.idle {
		if other == w {
			d.idle = append(d.idle[:i], d.idle[i+1:]...)
			return nil
		}
	}
	return <-w.next // handed over in this moment
}

// reached notes whether the destination was reached. q.mu is held.
func (w *worker) reached(up bool) {
	switch {
	case up && !w.up:
		w.d.up++
	case !up && w.up:
		w.d.up--
	}
	w.up = up
}

// attempt tries one job.
func (w *worker) attempt(j *job, courier Courier) {
	q, it := w.q, j.it
	it.mu.Lock()
	e, due := q.open(it, j)
	if len(due) == 0 {
		q.release(it, e, j)
		it.mu.Unlock()
		return
	}
	m := q.message(it, e, due)
	it.users++
	it.mu.Unlock()

	results := courier.Deliver(q.ctx, m)
	down := results[0].Down && results[0].Outcome == deliver.Deferred
	if down && w.crowded() {
		// Others are being served: this is about the number of connections.
		it.mu.Lock()
		it.users--
		q.forget(it)
		it.mu.Unlock()
		q.mu.Lock()
		w.d.limit, w.d.steady = max(1, w.d.workers-1), time.Now().Add(steadyFor)
		w.reached(false)
		q.enqueue(j) // for one of the others
		q.mu.Unlock()
		return
	}
	it.mu.Lock()
	it.users--
	q.apply(it, e, j, due, results)
	q.release(it, e, j)
	it.mu.Unlock()

	q.mu.Lock()
	w.reached(!results[0].Down)
	var others []*job
	if down {
		w.d.limit = min(startLimit, q.opt().PerDestination)
		for w.d.waits() {
			others = append(others, w.d.pop())
		}
	} else if w.d.limit < q.opt().PerDestination && !time.Now().Before(w.d.steady) {
		w.d.limit++
		q.start(w.d)
	}
	q.mu.Unlock()
	q.shareAll(others, results[0])
}

// sharing is how many messages are written down at once whose destination is
// out of reach. They share syncs.
const sharing = 16

// shareAll is share for all that waits for a destination.
func (q *Queue) shareAll(jobs []*job, r deliver.Result) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(sharing, len(jobs)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(jobs); i = int(next.Add(1)) - 1 {
				q.share(jobs[i], r)
			}
		})
	}
	wg.Wait()
}

// crowded tells whether other workers of the destination are being served.
func (w *worker) crowded() bool {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	up := w.d.up
	if w.up {
		up--
	}
	return up > 0 && w.q.running
}

// share gives a job the result of another one's attempt: the destination is
// out of reach.
func (q *Queue) share(j *job, r deliver.Result) {
	q.mu.Lock()
	if !q.running { // no time: the next start finds out itself
		q.at(j, time.Now())
		q.mu.Unlock()
		return
	}
	q.mu.Unlock()
	it := j.it
	it.mu.Lock()
	e, due := q.open(it, j)
	if len(due) > 0 {
		results := make([]deliver.Result, len(due))
		for i := range results {
			results[i] = r
		}
		q.apply(it, e, j, due, results)
	}
	q.release(it, e, j)
	it.mu.Unlock()
}

// soon is how much early a recipient may be tried together with another.
const soon = 5 * time.Second

// open reads an item's envelope for a job and returns which recipients it is
// to be tried for. it.mu is held.
func (q *Queue) open(it *item, j *job) (e *Envelope, due []int) {
	if q.isGone(it) {
		return nil, nil
	}
	q.mu.Lock()
	force := j.force
	q.mu.Unlock()
	e = q.envelope(it)
	if e == nil || e.Held {
		return e, nil
	}
	limit := time.Now().Add(soon)
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.State == Waiting && (force || r.NextTry.Before(limit)) && q.opt().Destination(e.Sender, r.Address) == j.dest {
			due = append(due, i)
		}
	}
	return e, due
}

// envelope returns the envelope, from memory or from the disk; nil when it
// cannot be had now. it.mu is held.
func (q *Queue) envelope(it *item) *Envelope {
	if it.env == nil {
		e, err := q.folder.load(it.id)
		if err != nil {
			q.unreadable(it, err)
			return nil
		}
		it.env = e
	}
	return it.env
}

// forget drops an envelope that nobody uses. it.mu is held.
func (q *Queue) forget(it *item) {
	if it.users == 0 && !it.dirty && !it.letter.inMemory() {
		it.env = nil
	}
}

// release ends a job's turn: it gets a new time, or is done. it.mu is held.
func (q *Queue) release(it *item, e *Envelope, j *job) {
	q.forget(it)
	q.mu.Lock()
	defer q.mu.Unlock()
	j.state, j.due, j.force = timed, time.Time{}, false
	if e != nil {
		q.plan(it, e, time.Now())
	}
}

// message is what a courier gets.
func (q *Queue) message(it *item, e *Envelope, due []int) *deliver.Message {
	m := &deliver.Message{Sender: e.Sender, Size: e.Size, EightBit: e.EightBit, UTF8: e.UTF8, Ret: e.Ret, EnvID: e.EnvID}
	for _, i := range due {
		r := &e.Recipients[i]
		m.Recipients = append(m.Recipients, deliver.Recipient{Address: r.Address, Notify: r.Notify, ORCPT: r.ORCPT})
	}
	m.Open = func() (io.ReadSeekCloser, error) { return q.keeper.open(it.id, it.letter) }
	return m
}
