package queue

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"mailsrv/server/deliver"
)

// item is a message in the queue.
type item struct {
	id     string
	letter *letter // nil: it lay in the folder from the first

	mu     sync.Mutex // guards the files and what follows
	env    *Envelope  // while attempts are under way, or while it could not be saved
	users  int        // attempts under way
	dirty  bool       // env is newer than the file
	tellAt time.Time  // no notice before

	// Guarded by Queue.mu.
	jobs   []*job
	chore  time.Time // when something other than an attempt is due; zero: nothing
	queued bool      // for the clerk
	gone   bool      // done or removed
}

// job is the part of a message that goes to one destination.
type job struct {
	it    *item
	dest  deliver.Destination
	state jobState
	due   time.Time
	force bool // try now, whatever the envelope says
}

type jobState int

const (
	timed   jobState = iota // waits for its time
	ready                   // waits for a connection
	active                  // under way
	dropped                 // not wanted any more, though a destination may still list it
)

// event is a time at which a job, or an item, wants attention. It means
// nothing if they have changed their mind since.
type event struct {
	at  time.Time
	it  *item
	job *job // nil: the item's chore
}

func (e event) valid() bool {
	if e.job != nil {
		return e.job.state == timed && e.job.due.Equal(e.at) && !e.it.gone
	}
	return e.it.chore.Equal(e.at) && !e.it.gone
}

type events []event

func (h events) Len() int           { return len(h) }
func (h events) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h events) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)        { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return x
}

// dest is what waits for a destination, and who works for it. It exists as
// long as there is either.
type dest struct {
	key     deliver.Destination
	ready   []*job
	workers int
	limit   int       // of workers
	steady  time.Time // limit does not grow before
	idle    []*worker // with an open connection and nothing to do
	up      int       // workers whose last attempt reached the destination
}

// startLimit is how many connections a destination gets before it has taken
// anything.
const startLimit = 3

// plan brings the schedule of an item in line with its envelope. q.mu is held.
func (q *Queue) plan(it *item, e *Envelope, now time.Time) {
	if it.gone {
		return
	}
	due := map[deliver.Destination]time.Time{}
	if !e.Held {
		for i := range e.Recipients {
			r := &e.Recipients[i]
			if r.State != Waiting {
				continue
			}
			d := q.opt().Destination(e.Sender, r.Address)
			if at, ok := due[d]; !ok || r.NextTry.Before(at) {
				due[d] = r.NextTry
			}
		}
	}
	it.jobs = slices.DeleteFunc(it.jobs, func(j *job) bool {
		at, wanted := due[j.dest]
		delete(due, j.dest)
		switch {
		case j.state == active: // planned anew when it ends
			return false
		case !wanted:
			j.state = dropped
		case j.state == timed && !j.due.Equal(at):
			q.at(j, at)
		}
		return !wanted
	})
	for d, at := range due {
		j := &job{it: it, dest: d}
		it.jobs = append(it.jobs, j)
		q.at(j, at)
	}
	at := q.choreAt(it, e, now)
	if !it.chore.Equal(at) {
		it.chore = at
		if !at.IsZero() {
			heap.Push(&q.events, event{at: at, it: it})
			q.kick()
		}
	}
}

// at sets the time of a job. q.mu is held.
func (q *Queue) at(j *job, at time.Time) {
	j.state, j.due = timed, at
	if q.running && !at.After(time.Now()) {
		q.enqueue(j)
		return
	}
	heap.Push(&q.events, event{at: at, it: j.it, job: j})
	if len(q.events) > 0 && q.events[0].job == j {
		q.kick()
	}
}

// due starts what is due and returns when something will be.
func (q *Queue) due(now time.Time) (next time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) > 0 {
		e := q.events[0]
		if e.valid() && e.at.After(now) {
			return e.at, true
		}
		heap.Pop(&q.events)
		switch {
		case !e.valid():
		case e.job != nil:
			q.enqueue(e.job)
		default:
			q.chore(e.it)
		}
	}
	return time.Time{}, false
}

// enqueue gives a job to an idle worker, or a new one, or lets it wait. q.mu
// is held.
func (q *Queue) enqueue(j *job) {
	d := q.dests[j.dest]
	if d == nil {
		d = &dest{key: j.dest, limit: min(startLimit, q.opt().PerDestination)}
		q.dests[j.dest] = d
	}
	if n := len(d.idle); n > 0 && !q.paused {
		w := d.idle[n-1]
		d.idle = d.idle[:n-1]
		j.state = active
		w.next <- j
		return
	}
	j.state = ready
	d.ready = append(d.ready, j)
	q.start(d)
}

// start gives a destination as many workers as it may have. q.mu is held.
func (q *Queue) start(d *dest) {
	for d.waits() && d.workers < d.limit && q.running && !q.paused {
		if q.workers >= q.opt().Connections {
			q.starved = true
			return
		}
		w := &worker{q: q, d: d, next: make(chan *job, 1)}
		j := d.pop()
		d.workers++
		q.workers++
		q.tasks.Go(func() { w.run(j) })
	}
}

// waits tells whether a job waits for a connection.
func (d *dest) waits() bool {
	for len(d.ready) > 0 && d.ready[0].state != ready {
		d.ready[0] = nil
		d.ready = d.ready[1:]
	}
	return len(d.ready) > 0
}

func (d *dest) pop() *job {
	j := d.ready[0]
	d.ready[0] = nil
	d.ready = d.ready[1:]
	j.state = active
	return j
}

// startAll starts what waits. q.mu is held.
func (q *Queue) startAll() {
	for _, d := range q.dests {
		q.start(d)
	}
}

// feed hands connections that have become free to the destinations that have
// the fewest. q.mu is held.
func (q *Queue) feed() {
	for q.starved && q.workers < q.opt().Connections {
		var best *dest
		for _, d := range q.dests {
			if d.waits() && d.workers < d.limit && (best == nil || d.workers < best.workers) {
				best = d
			}
		}
		if best == nil || !q.running || q.paused {
			q.starved = false
			return
		}
		was := q.workers
		limit := best.limit
		best.limit = best.workers + 1
		q.start(best)
		best.limit = limit
		q.starved = true
		if q.workers == was {
			return
		}
	}
}

// chore gives an item to the clerk. q.mu is held.
func (q *Queue) chore(it *item) {
	it.chore = time.Time{}
	if it.queued {
		return
	}
	it.queued = true
	q.chores = append(q.chores, it)
	q.startClerk()
}

// startClerk starts the clerk, one goroutine that does all chores, if there
// are any. q.mu is held.
func (q *Queue) startClerk() {
	if len(q.chores) > 0 && q.running && !q.clerking {
		q.clerking = true
		q.tasks.Go(q.clerk)
	}
}

func (q *Queue) clerk() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chores) > 0 && q.running {
		it := q.chores[0]
		q.chores = q.chores[1:]
		it.queued = false
		q.mu.Unlock()
		q.tend(it)
		q.mu.Lock()
	}
	q.clerking = false
}

// isGone tells whether an item is out of the queue. q.mu is not held.
func (q *Queue) isGone(it *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return it.gone
}

// remove takes an item out of the queue. q.mu is held.
func (q *Queue) remove(it *item) {
	it.gone = true
	delete(q.items, it.id)
}
