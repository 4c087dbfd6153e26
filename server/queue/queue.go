// Package queue holds the messages that still have to go out, tries them until
// they are delivered or time is up, and tells senders of failure and delay.
//
// A message is two files in DATA_DIR/queue: its text, ID.eml, octet for octet,
// and its envelope, ID.toml, which people can read. The envelope makes the
// message: it appears under its name, complete and synced, after the text is,
// and it goes first when the message is done. So a crash at any moment leaves
// a whole message or none. What cannot be read is moved to queue/damaged with
// the reason beside it, and the others go on.
//
// With the journal of the mailboxes beside it (see Keeper) a message is durable
// there first, with the same sync as the mail of all other sessions, and is
// tried from memory. Most are delivered before they need files.
//
//	q, err := queue.Open(dataDir, options) // reads what is there
//	go q.Run(ctx)                          // tries, until ctx ends
//	m, err := q.Begin(envelope)            // takes a message in ...
//	io.Copy(m, text)
//	err = m.Commit()                       // ... durably: now it may be acknowledged
//
// The truth is on the disk. In memory an older message is a few words: where it
// goes and when. Its envelope is read when its time comes and its text is streamed.
//
// Recipients of one message that share a destination are tried together, over
// connections that the destination's messages share. Each destination has its
// own few connections, so that a slow one holds up only itself; it begins with
// a few, gets more as it takes messages, and fewer when it refuses
// connections. When a destination cannot be reached at all, all that waits for
// it shares the one attempt.
//
// Other processes look with List and Show, which only read, and act with
// Execute, which hands its command to the server through a folder, or does it
// itself when no server runs.
package queue

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/codes"
	"mailsrv/server/deliver"
	"mailsrv/server/safeio"
	"mailsrv/server/store/journal"
)

// Options say how a queue works. Courier, Destination and Post are needed.
type Options struct {
	// Destination says where a recipient's mail goes, Courier who brings it
	// there: those of deliver.Client.
	Destination func(sender, recipient string) deliver.Destination
	Courier     func(deliver.Destination) Courier

	// Post takes in a notice for a sender, durably: into a mailbox here, or
	// into this queue. After an error it is called again later.
	Post func(Notice) error

	// DoubleBounce returns who is told when a message without a sender fails;
	// nobody when it returns "". It is not asked about notices of that kind
	// themselves. Nil: nobody.
	DoubleBounce func(*Envelope) string

	Lang     func(address string) codes.Lang // of notices; English when nil
	Hostname string                          // the reporting server
	Retry    Retry

	Connections    int           // in total; 200 when 0
	PerDestination int           // connections to one destination; 10 when 0
	Linger         time.Duration // how long a connection waits for a next message; 2 s when 0
	Grace          time.Duration // how long a stopping queue waits for attempts under way; 10 s when 0

	Log *slog.Logger // none when nil
}

// Retry is the section [retry] of the configuration.
type Retry struct {
	Schedule    []time.Duration // waits between tries; the last repeats; 10 min when empty
	WarnAfter   time.Duration   // 0: no warning
	GiveUpAfter time.Duration   // 5 days when 0
}

func (o Options) orDefault() *Options {
	if len(o.Retry.Schedule) == 0 {
		o.Retry.Schedule = []time.Duration{10 * time.Minute}
	}
	if o.Retry.GiveUpAfter == 0 {
		o.Retry.GiveUpAfter = 5 * 24 * time.Hour
	}
	if o.Lang == nil {
		o.Lang = func(string) codes.Lang { return codes.English }
	}
	if o.DoubleBounce == nil {
		o.DoubleBounce = func(*Envelope) string { return "" }
	}
	if o.Connections == 0 {
		o.Connections = 200
	}
	if o.PerDestination == 0 {
		o.PerDestination = 10
	}
	if o.Linger == 0 {
		o.Linger = 2 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &o
}

// Courier delivers messages to one destination. *deliver.Courier is one.
type Courier interface {
	Deliver(context.Context, *deliver.Message) []deliver.Result
	Connected() bool
	Close()
}

// Queue is the queue of one data directory, whose lock the caller holds.
type Queue struct {
	keeper  *Keeper
	folder  *folder // the keeper's
	options atomic.Pointer[Options]
	jitter  func() float64 // factor of a wait
	poll    time.Duration  // how often commands are looked for
	caps    noticeCaps
	counts  counters

	wake  chan struct{}
	tasks sync.WaitGroup  // goroutines of ours
	ctx   context.Context // ends the attempts under way

	mu       sync.Mutex
	items    map[string]*item
	events   events
	dests    map[deliver.Destination]*dest
	workers  int
	starved  bool // a destination waits for Options.Connections
	running  bool
	paused   bool
	chores   []*item       // for the clerk
	polling  bool          // somebody does commands
	clerking bool          // he is at it
	trash    []finished    // what is done
	fresh    []*item       // in the journal alone for less than fileAfter
	aged     []*item       // for longer
	filing   bool          // somebody writes files
	fileAt   time.Time     // when aged get theirs
	sweeping bool          // somebody is at it
	closing  chan struct{} // closed when Run ends
}

type counters struct{ delivered, deferred, failed, notices atomic.Int64 }

// Stats are numbers for a status page. The last four count since Open.
type Stats struct {
	Messages    int   `json:"messages"`    // in the queue
	Connections int   `json:"connections"` // attempts and idle connections
	Paused      bool  `json:"paused"`
	Delivered   int64 `json:"delivered"` // recipients
	Deferred    int64 `json:"deferred"`  // attempts
	Failed      int64 `json:"failed"`    // recipients
	Notices     int64 `json:"notices"`
}

// Stats returns the present numbers.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{
		Messages: len(q.items), Connections: q.workers, Paused: q.paused,
		Delivered: q.counts.delivered.Load(), Deferred: q.counts.deferred.Load(),
		Failed: q.counts.failed.Load(), Notices: q.counts.notices.Load(),
	}
}

// Open reads the queue of a data directory and clears away what a crash has
// left. Nothing is tried before Run.
func Open(dataDir string, o Options) (*Queue, error) { return NewKeeper(dataDir).Open(nil, o) }

// Open is the package's Open with the journal that the keeper owns a part of.
// Nil: without one.
func (k *Keeper) Open(j *journal.Journal, o Options) (*Queue, error) {
	f := k.folder
	k.journal = j
	for _, dir := range []string{f.path, f.damaged(), f.commands()} {
		if err := safeio.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	closing := make(chan struct{})
	close(closing)
	q := &Queue{
		keeper: k, folder: f, poll: time.Second,
		jitter: func() float64 { return 0.9 + 0.2*rand.Float64() },
		wake:   make(chan struct{}, 1), closing: closing,
		items: map[string]*item{}, dests: map[deliver.Destination]*dest{},
	}
	q.options.Store(o.orDefault())
	if _, err := os.Stat(f.pauseFile()); err == nil {
		q.paused = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := q.scan(); err != nil {
		return nil, err
	}
	k.queue.Store(q)
	return q, nil
}

// scan finds what lies on the disk. The clerk reads it once Run runs, so that
// a long queue does not hold up the start.
func (q *Queue) scan() error {
	ids, err := q.folder.clear()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		it := &item{id: id}
		q.items[id] = it
		q.chore(it)
	}
	return nil
}

// Configure replaces the options; attempts under way end with the old ones.
func (q *Queue) Configure(o Options) {
	q.options.Store(o.orDefault())
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items {
		q.chore(it)
	}
}

func (q *Queue) opt() *Options { return q.options.Load() }

// Run tries what is due until ctx ends. Attempts under way then get
// Options.Grace to finish. It returns when nothing of them is left; messages
// can still be taken in, and wait for the next Run.
func (q *Queue) Run(ctx context.Context) {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	q.mu.Lock()
	q.ctx, q.running, q.closing = attempts, true, make(chan struct{})
	q.startAll()
	q.startClerk()
	q.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	nextPoll := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(nextPoll) {
			q.pollCommands(now)
			nextPoll = now.Add(q.poll)
		}
		next := nextPoll
		if at, ok := q.fileOld(now); ok && at.Before(next) {
			next = at
		}
		if at, ok := q.due(now); ok && at.Before(next) {
			next = at
		}
		timer.Reset(max(time.Until(next), time.Millisecond))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-q.wake:
		}
	}
	q.mu.Lock()
	q.running = false
	close(q.closing)
	q.mu.Unlock()
	grace := time.AfterFunc(q.opt().Grace, cancel)
	defer grace.Stop()
	q.tasks.Wait()
	q.fileAll()
}

// fileOld sees to it that messages which are not settled within fileAfter get
// their files, and returns when to come again.
func (q *Queue) fileOld(now time.Time) (next time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.fresh) == 0 && len(q.aged) == 0 || q.filing {
		return time.Time{}, false
	}
	if q.fileAt.IsZero() {
		q.fileAt = now.Add(fileAfter)
	}
	if now.Before(q.fileAt) {
		return q.fileAt, true
	}
	q.fileAt = time.Time{}
	old := q.aged
	q.aged, q.fresh = q.fresh, nil
	q.filing = true
	q.tasks.Go(func() {
		q.fileThem(old)
		q.mu.Lock()
		q.filing = false
		q.mu.Unlock()
		q.kick()
	})
	return time.Time{}, false
}

// fileAll writes the files of all messages in memory.
func (q *Queue) fileAll() {
	q.mu.Lock()
	all := append(q.aged, q.fresh...)
	q.aged, q.fresh = nil, nil
	q.mu.Unlock()
	q.fileThem(all)
}

func (q *Queue) fileThem(items []*item) {
	for _, it := range items {
		if !it.letter.inMemory() {
			continue
		}
		it.mu.Lock()
		if err := q.keeper.file(it.letter); err != nil {
			q.opt().Log.Error("message cannot be written to the queue's folder; it stays in the journal for now", "id", it.id, "error", err)
		}
		q.forget(it)
		it.mu.Unlock()
	}
}

// kick makes Run look again. It never waits.
func (q *Queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Dir is the queue's folder in a data directory.
func Dir(dataDir string) string { return filepath.Join(dataDir, "queue") }
