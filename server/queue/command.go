package queue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailsrv/server/deliver"
	"mailsrv/server/safeio"
	"mailsrv/server/store"
)

// Op is what can be done to messages in the queue.
type Op string

// The operations.
const (
	RetryNow Op = "retry"   // try now, whatever the schedule says
	Hold     Op = "hold"    // keep, and do not try
	Release  Op = "release" // take back a hold; tried at once
	Remove   Op = "remove"  // delete, telling nobody
	Pause    Op = "pause"   // try nothing at all
	Resume   Op = "resume"  // take back a pause
)

// Command asks for something to be done to the queue.
type Command struct {
	Op  Op       `json:"op"`
	IDs []string `json:"ids,omitempty"` // the messages; none for Pause and Resume
	All bool     `json:"all,omitempty"` // all messages
}

// Answer is what became of a command for one message.
type Answer struct {
	ID     string `json:"id"`
	Result string `json:"result"` // one of the words below, or what went wrong
}

// What an Answer can say.
const (
	Done       = "done"
	NotFound   = "not-found"
	Delivering = "delivering" // Remove: an attempt is under way; whoever it reaches keeps the message
)

// ErrNoAnswer means that a server runs and has not taken the command.
var ErrNoAnswer = errors.New("the server that runs on this data directory does not answer; look at its log")

// A command goes to the server as a file, commands/NAME.json, which the server
// looks for once a second and removes; the answer is NAME.answer in the same
// folder. This works the same on every system, needs no port and no more
// rights than the data directory itself does. A command that nobody took within
// maxWait means nothing any more.
const (
	maxWait    = 15 * time.Second // to be taken
	maxWork    = 10 * time.Minute // to be answered then
	askEvery   = 50 * time.Millisecond
	cmdSuffix  = ".json"
	doneSuffix = ".answer"
)

type request struct {
	Command
	At time.Time `json:"at"`
}

type response struct {
	Answers []Answer `json:"answers,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// Execute does a command on the queue of a data directory: the server there
// does it, or this process if none runs.
func Execute(ctx context.Context, dataDir string, c Command) ([]Answer, error) {
	lock, err := store.Acquire(dataDir)
	var locked *store.LockedError
	switch {
	case errors.As(err, &locked):
		return ask(ctx, Dir(dataDir), c)
	case err != nil:
		return nil, err
	}
	nowhere := func(string, string) deliver.Destination { return deliver.Destination{} }
	q, err := Open(dataDir, Options{Destination: nowhere})
	if err == nil {
		var answers []Answer
		answers, err = q.Do(c)
		return answers, errors.Join(err, lock.Release())
	}
	return nil, errors.Join(err, lock.Release())
}

// ask leaves a command for the server and waits for its answer.
func ask(ctx context.Context, dir string, c Command) ([]Answer, error) {
	start := time.Now()
	data, err := json.Marshal(request{c, start})
	if err != nil {
		return nil, err
	}
	path := filepath.Join((&folder{path: dir}).commands(), rand.Text())
	if err := safeio.WriteFile(path+cmdSuffix, data, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(path + doneSuffix)
	defer os.Remove(path + cmdSuffix)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		data, err := os.ReadFile(path + doneSuffix)
		if err == nil {
			var r response
			if err := json.Unmarshal(data, &r); err != nil {
				return nil, fmt.Errorf("%s: %w", path+doneSuffix, err)
			}
			if r.Error != "" {
				err = errors.New(r.Error)
			}
			return r.Answers, err
		}
		limit := maxWork
		if _, err := os.Stat(path + cmdSuffix); err == nil {
			limit = maxWait
		}
		if time.Since(start) > limit {
			return nil, ErrNoAnswer
		}
		select {
		case <-ctx.Done():
			return nil, ErrNoAnswer
		case <-tick.C:
		}
	}
}

// pollCommands starts what commands wait. Those that came before are still at
// work, perhaps: one after the other.
func (q *Queue) pollCommands(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.polling && q.running {
		q.polling = true
		q.tasks.Go(func() {
			q.doCommands(now)
			q.mu.Lock()
			q.polling = false
			q.mu.Unlock()
		})
	}
}

func (q *Queue) doCommands(now time.Time) {
	entries, err := os.ReadDir(q.folder.commands())
	if err != nil {
		q.opt().Log.Error("queue commands cannot be read", "error", err)
		return
	}
	for _, entry := range entries {
		path := filepath.Join(q.folder.commands(), entry.Name())
		name, ok := strings.CutSuffix(path, cmdSuffix)
		if !ok {
			// An answer that nobody fetched, or a file that was being written.
			if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > 2*maxWork {
				_ = os.Remove(path)
			}
			continue
		}
		r := q.answer(path, now)
		data, err := json.Marshal(r)
		if err == nil {
			err = safeio.WriteFile(name+doneSuffix, data, 0o600)
		}
		if err != nil {
			q.opt().Log.Error("queue command cannot be answered", "file", path, "error", err)
		}
	}
}

func (q *Queue) answer(path string, now time.Time) response {
	var c request
	data, err := os.ReadFile(path)
	if err == nil {
		err = removeFile(path)
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err == nil && now.Sub(c.At).Abs() > 2*maxWait {
		err = errors.New("the command is too old")
	}
	var r response
	if err == nil {
		r.Answers, err = q.Do(c.Command)
	}
	if err != nil {
		r.Error = err.Error()
		q.opt().Log.Error("queue command failed", "file", path, "error", err)
	}
	return r
}

var errUnreadable = errors.New("its envelope cannot be read; see the log")

// Do does a command.
func (q *Queue) Do(c Command) ([]Answer, error) {
	q.opt().Log.Info("queue command", "op", string(c.Op), "ids", strings.Join(c.IDs, " "), "all", c.All)
	var do func(*item) (string, error)
	switch c.Op {
	case Pause, Resume:
		return nil, q.pause(c.Op == Pause)
	case RetryNow:
		do = q.retryItem
	case Hold:
		do = func(it *item) (string, error) { return q.holdItem(it, true) }
	case Release:
		do = func(it *item) (string, error) { return q.holdItem(it, false) }
	case Remove:
		do = q.removeItem
	default:
		return nil, fmt.Errorf("queue: no operation %q", c.Op)
	}
	answers := []Answer{}
	for _, id := range q.selected(c) {
		q.mu.Lock()
		it := q.items[id]
		q.mu.Unlock()
		a := Answer{ID: id, Result: NotFound}
		var err error
		switch {
		case it != nil:
			a.Result, err = do(it)
		case c.Op == Remove && validID(id):
			a.Result, err = q.folder.removeDamaged(id)
		}
		if err != nil {
			a.Result = err.Error()
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (q *Queue) selected(c Command) []string {
	if !c.All {
		return c.IDs
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := make([]string, 0, len(q.items))
	for id := range q.items {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// retryItem makes everything of an item due now. While Run runs that is not
// written down: a restart tries soon enough.
func (q *Queue) retryItem(it *item) (string, error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if q.isGone(it) {
		return NotFound, nil
	}
	e := q.envelope(it)
	if e == nil {
		return "", errUnreadable
	}
	q.mu.Lock()
	running := q.running
	if running {
		q.plan(it, e, time.Now()) // it may have other destinations since
		for _, j := range it.jobs {
			j.force = j.state != active
			if j.state == timed {
				q.at(j, time.Now())
			}
		}
	}
	q.mu.Unlock()
	if running {
		q.forget(it)
		return Done, nil
	}
	return q.edit(it, func(e *Envelope) {
		for i := range e.Recipients {
			if r := &e.Recipients[i]; r.State == Waiting {
				r.NextTry = time.Now().UTC().Truncate(time.Second)
			}
		}
	})
}

func (q *Queue) holdItem(it *item, hold bool) (string, error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	return q.edit(it, func(e *Envelope) {
		e.Held = hold
		for i := range e.Recipients {
			if r := &e.Recipients[i]; !hold && r.State == Waiting {
				r.NextTry = time.Now().UTC().Truncate(time.Second)
			}
		}
	})
}

// edit changes an envelope. it.mu is held.
func (q *Queue) edit(it *item, change func(*Envelope)) (string, error) {
	if q.isGone(it) {
		return NotFound, nil
	}
	e := q.envelope(it)
	if e == nil {
		return "", errUnreadable
	}
	change(e)
	q.save(it, e)
	q.forget(it)
	q.mu.Lock()
	q.plan(it, e, time.Now())
	q.mu.Unlock()
	if it.dirty {
		return "", errors.New("its envelope cannot be written; see the log")
	}
	return Done, nil
}

// removeItem takes an item off the disk. An attempt that is under way goes on
// with the open text; what it comes to is not written down any more.
func (q *Queue) removeItem(it *item) (string, error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if q.isGone(it) {
		return NotFound, nil
	}
	e := q.envelope(it)
	if e == nil {
		return "", errUnreadable
	}
	q.discard(it, e)
	q.forget(it)
	switch {
	case it.dirty:
		return "", errors.New("it cannot be removed from the disk; see the log")
	case it.users > 0:
		return Delivering, nil
	}
	return Done, nil
}

// pause switches delivery off and on. The file keeps it so over a restart.
func (q *Queue) pause(on bool) error {
	var err error
	if on {
		err = safeio.WriteFile(q.folder.pauseFile(), []byte("Delivery is switched off: mailsrv queue resume switches it on.\n"), 0o600)
	} else if err = os.Remove(q.folder.pauseFile()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = on
	q.startAll()
	return nil
}
