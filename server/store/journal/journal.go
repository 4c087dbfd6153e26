// Package journal is a write-ahead log that many writers share. Append returns
// once a record is durable; what was appended meanwhile by others goes to disk
// with the same sync. The owner then does with the record what it is for (the
// store: makes Maildir files, unsynced) and says so with Placed. Checkpoints
// in the background make that durable and free the journal's space. After a
// crash Open has the owner do again what no checkpoint covers.
//
// The journal lies in a few segment files of fixed size, filled with zeros
// when they are made and used again and again, so that a sync has only data to
// write. While one segment fills, those before it are checkpointed: the owner
// settles its items, then the segment's header is overwritten, durably, and all
// records in it are void. Appending waits when every segment is in use.
//
// A failed sync is never repeated on the same file: its result would mean
// nothing. The records concerned are refused, and the segment is given up.
package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/server/safeio"
)

// Owner is whose records the journal keeps. Its methods are not called at the
// same time, but beside Append.
type Owner interface {
	// Restore does what a record of an earlier run asks for, unless that is
	// done already. placed tells that it was, while this machine has been up:
	// what is no longer there was taken away since, and must not come back.
	Restore(data []byte, placed bool) (Item, error)

	// Settle makes durable what was done for items.
	Settle(items []Item) error

	// Repair does for item again, from data, what Settle could not make
	// durable, and makes it so.
	Repair(item Item, data []byte) error
}

// Item is what the owner needs to know of a record to settle it. Key names the
// record for Settled.
type Item interface{ Key() string }

// Errors of Append. In each case the record will not be restored, or once at
// most, from a segment that could not be written.
var (
	ErrClosed = errors.New("journal: closed")
	ErrTooBig = errors.New("journal: record too big for a segment")
	ErrStuck  = errors.New("journal: no room, and checkpoints fail")
)

// Options of a journal.
type Options struct {
	FS    safeio.FS
	Dir   string
	Owner Owner
	Log   *slog.Logger

	// Size is how large to make a segment, in octets, when there are n.
	// 0 means that there is no room.
	Size func(n int) int64

	// Segments is how many there may be, at least two.
	Segments int

	// Every is how long a record waits for a checkpoint at most, and how long
	// after a failed checkpoint it is tried again.
	Every time.Duration

	// Machine names the time for which what is written stays readable even
	// without a sync: the boot, and the mount. Empty when it is not known.
	Machine string
}

// Journal is an opened journal.
type Journal struct {
	opt Options

	mu      sync.Mutex
	changed sync.Cond // something below has changed

	queue   []*request
	writing bool // one of those who append writes, for all
	closed  bool // no more requests
	rotate  bool // the active segment is to be closed, for a checkpoint

	active *segment // only who writes changes what is in it
	free   []*segment
	full   []*segment // closed, oldest first
	stuck  error      // of the last checkpoint
	last   int        // number of the newest segment file
	total  int        // segments that exist
	live   map[string]int
	since  time.Time // the first record in active

	placed *placed
	seq    atomic.Uint64 // of the last record
	buf    []byte        // of who writes
	nudge  chan struct{} // wakes the checkpointer from a pause
	wg     sync.WaitGroup
}

type request struct {
	record []byte // header and payload; who writes completes the header
	item   Item
	off    int64
	entry  Entry
	err    error
	turn   chan bool // true: write; false: it has been done
}

// Entry is a record in the journal.
type Entry struct {
	seg  *segment
	salt uint64 // of seg when the record was written
	seq  uint64
}

// Headroom is how many octets of a record's buffer Append needs in front.
const Headroom = recordHeader

// Append makes a record durable. buf is Headroom octets, which Append
// overwrites, and then the data. Without an error the caller does what the
// record is for, not before, and then calls Placed, also when it has given up.
func (j *Journal) Append(item Item, buf []byte) (Entry, error) {
	r := &request{record: buf, item: item, turn: make(chan bool, 1)}
	sumData(buf)
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return Entry{}, ErrClosed
	}
	j.queue = append(j.queue, r)
	wait := j.writing
	j.writing = true
	j.mu.Unlock()
	if wait {
		if !<-r.turn {
			return r.entry, r.err
		}
		j.gather()
	}
	j.write()
	return r.entry, r.err
}

// Placed ends what Append began. done tells that a restore may take the
// record for done; that can also be said later, with Mark.
func (j *Journal) Placed(e Entry, done bool) {
	if done {
		j.Mark(e)
	}
	j.mu.Lock()
	e.seg.pending--
	if e.seg.pending == 0 {
		j.changed.Broadcast()
	}
	j.mu.Unlock()
}

// Mark tells that a restore may take the record for done, as long as this
// machine is up.
func (j *Journal) Mark(e Entry) { j.placed.mark(e.salt, e.seq) }

// Settled returns when none of the records with these keys can be restored
// any more. It costs nothing unless one of them is recent.
func (j *Journal) Settled(keys []string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	recent := func() bool {
		for _, k := range keys {
			if j.live[k] > 0 {
				return true
			}
		}
		return false
	}
	if !recent() {
		return nil
	}
	j.stuck = nil
	j.wantRotation()
	j.wake()
	for recent() {
		if j.stuck != nil {
			return fmt.Errorf("journal: checkpoint: %w", j.stuck)
		}
		if j.closed {
			return ErrClosed
		}
		j.changed.Wait()
	}
	return nil
}

// wake has everybody look again. j.mu is held.
func (j *Journal) wake() {
	j.changed.Broadcast()
	select {
	case j.nudge <- struct{}{}:
	default:
	}
}

// Close ends the journal after a last checkpoint. What that cannot settle is
// restored by the next Open.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	if !j.writing {
		j.retire()
	}
	j.wake()
	j.mu.Unlock()
	j.wg.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.placed.close()
	for _, s := range append(j.free, j.full...) {
		_ = s.f.Close() // nothing is unwritten in it
	}
	if len(j.full) > 0 {
		return fmt.Errorf("journal: the last checkpoint failed; the next start will repeat what is left: %w", j.stuck)
	}
	return err
}

// gather lets those run who are about to append, as long as any of them does.
// A session alone never comes here, so nobody waits for nothing.
func (j *Journal) gather() {
	for n, last := 1, 0; n > last; {
		runtime.Gosched()
		j.mu.Lock()
		n, last = len(j.queue), n
		j.mu.Unlock()
	}
}

// write takes what has gathered in the queue, whose first request is the
// caller's, and writes as much of it as fits into a segment. Then it is the
// turn of whoever has come first meanwhile: nobody writes on after his own
// request, since others may need him to make room.
func (j *Journal) write() {
	j.mu.Lock()
	batch := j.queue
	j.queue = nil
	j.mu.Unlock()
	n := j.writeSome(batch)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue = append(batch[n:], j.queue...)
	if j.writing = len(j.queue) > 0; j.writing {
		j.queue[0].turn <- true
	}
	if j.rotate || j.closed && !j.writing {
		j.retire()
		j.wake()
	}
}

// wantRotation closes the active segment as soon as nothing is being written
// to it. j.mu is held.
func (j *Journal) wantRotation() {
	if j.rotate = true; !j.writing {
		j.retire()
	}
}

// retire closes the active segment, if there is one. j.mu is held.
func (j *Journal) retire() {
	j.rotate = false
	switch s := j.active; {
	case s == nil:
		return
	case len(s.entries) == 0 && !s.failed:
		j.free = append(j.free, s)
	default:
		j.full = append(j.full, s)
	}
	j.active = nil
	j.wake()
}

// writeSome writes as many requests as fit into the active segment, syncs it,
// and answers them. It says how many that were, at least one.
func (j *Journal) writeSome(batch []*request) int {
	s, err := j.room(len(batch[0].record))
	if err != nil {
		batch[0].err = err
		return 1
	}
	n := 0
	buf := j.buf[:0]
	for _, r := range batch {
		off := s.end + int64(len(buf))
		if off+padded(len(r.record)) > s.size {
			break
		}
		seq := j.seq.Add(1)
		r.entry, r.off = Entry{s, s.salt, seq}, off
		completeHeader(r.record, s.salt, seq, s.end)
		buf = append(buf, r.record...)
		buf = append(buf, make([]byte, padded(len(r.record))-int64(len(r.record)))...)
		n++
	}
	if !s.used {
		err = s.writeHeader(stateUsed, j.seq.Load())
	}
	if err == nil {
		_, err = s.f.WriteAt(buf, s.end)
	}
	if err == nil {
		err = s.f.SyncData()
	}
	if j.buf = buf; cap(buf) > 1<<20 {
		j.buf = nil // after a rush
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// What of this has reached the disk cannot be known.
		j.opt.Log.Error("journal segment cannot be written and is given up", "file", s.path, "offset", s.end, "records", n, "error", err)
		s.failed = true
		j.retire()
	} else {
		s.used = true
		if len(s.entries) == 0 {
			j.since = time.Now()
			j.wake() // its time runs from now
		}
		s.end += int64(len(buf))
	}
	for i, r := range batch[:n] {
		if r.err = err; err == nil {
			s.entries = append(s.entries, entry{r.off, len(r.record), r.entry.seq, r.item})
			s.pending++
			j.live[r.item.Key()]++
		}
		if i > 0 { // the first is the caller's
			r.turn <- false
		}
	}
	return n
}

// room returns the segment that takes a record of n octets next, and waits
// for one if need be.
func (j *Journal) room(n int) (*segment, error) {
	var createErr error
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if s := j.active; s != nil {
			if s.end+padded(n) <= s.size {
				return s, nil
			}
			if len(s.entries) == 0 {
				return nil, ErrTooBig
			}
			j.retire()
		}
		if len(j.free) > 0 {
			j.active, j.free = j.free[0], j.free[1:]
			j.active.begin()
			continue
		}
		if j.total < j.opt.Segments && createErr == nil {
			size := j.opt.Size(j.total)
			if size == 0 {
				createErr = errNoRoom
				continue
			}
			j.last++
			number := j.last
			j.mu.Unlock()
			s, err := create(j.opt.FS, j.opt.Dir, number, size)
			j.mu.Lock()
			if createErr = err; err == nil {
				j.total++
				j.free = append(j.free, s)
			}
			continue // others may have become free meanwhile
		}
		if j.total == 0 {
			return nil, createErr
		}
		// All are in use.
		if j.stuck != nil {
			return nil, ErrStuck
		}
		j.changed.Wait()
	}
}

var errNoRoom = errors.New("journal: no room for a segment")

// entry is a record that no checkpoint covers yet.
type entry struct {
	off  int64
	len  int
	seq  uint64
	item Item // nil: not restored yet
}

// segment is one file of the journal.
type segment struct {
	path string
	f    safeio.File
	size int64

	salt    uint64
	used    bool  // the header says so
	suspect bool  // the files of its records are to be written again
	failed  bool  // must not be used again
	damaged bool  // to be kept aside
	end     int64 // where the next record goes
	entries []entry
	pending int // of the entries, those that are not Placed
}

// doubt has the files of all records written again. The mark in the header need
// not outlast a power cut, after which the files are read anyway.
func (s *segment) doubt() {
	if !s.suspect {
		s.suspect = true
		_ = s.writeHeader(stateSuspect, 0)
	}
}

// begin makes a free segment ready for records. The salt tells them from
// those of its earlier lives, and from what somebody put into a message.
func (s *segment) begin() {
	var b [8]byte
	rand.Read(b[:])
	s.salt = binary.LittleEndian.Uint64(b[:])
	s.used, s.end, s.entries, s.pending = false, segmentHeader, nil, 0
}
