package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"mailsrv/server/safeio"
	"mailsrv/server/store"
	"mailsrv/server/store/journal"
)

// Records in the journal, behind store.TenantMark and a letter:
//
//	M  a message: the length of its text in 4 octets, the text, the envelope
//	E  an envelope that takes the place of an earlier one
//	D  ids, one a line, of messages that are done
const (
	recordMessage  = 'M'
	recordEnvelope = 'E'
	recordDone     = 'D'

	markLen     = 2           // TenantMark, and what it is
	textAt      = markLen + 4 // where the text of a message begins
	journalMax  = 48 << 10    // octets of a text that goes into the journal
	envelopeMax = 32 << 10    // octets of an envelope that does
)

// memoryMax is how many octets of messages are kept in memory, because they
// may well be gone before they need files. What comes on top gets its files at
// once.
const memoryMax = 16 << 20

// letter is a message that lies in the journal. It needs no files as long as
// that keeps it: most messages are delivered before.
type letter struct {
	id   string
	k    *Keeper
	size int64 // octets in memory

	mu    sync.Mutex // nobody waits for the journal while holding it
	state letterState
	entry journal.Entry
	text  []byte // and env: nil once it is filed or gone
	env   []byte
}

type letterState int

const (
	unfiled letterState = iota
	filed               // the files are there, or were
	gone                // done before it was filed
)

// Key implements journal.Item.
func (l *letter) Key() string { return "queue/" + l.id }

// note is a record about messages whose files, if any, have been dealt with.
type note struct {
	ids  []string
	done bool
}

// Key implements journal.Item.
func (n *note) Key() string { return "queue/note" }

// Keeper keeps the queue's messages: in the journal, when it is given one, and
// in the queue's folder. It is the journal's owner for the queue's records, and
// so has to be there before the journal is opened:
//
//	k := queue.NewKeeper(dataDir)
//	maildirs.Tenant = k
//	err := maildirs.Start(log)
//	q, err := k.Open(maildirs.Journal(), options)
//
// A message is acknowledged when its record is durable. It is then tried at
// once, from memory. If that settles it, a note in the journal is all that is
// still written; a few of those share a record. Else it gets its files: when
// an envelope has to be saved, when it is half a second old, at the latest when
// the journal wants its space back. A saved envelope goes to the journal first
// and then, unsynced, to its file.
//
// After kill -9 the journal's marks tell which messages were filed or done:
// for those the files count. After a power cut all records that are durable
// are gone through again, in order, and the higher Envelope.Saved wins.
type Keeper struct {
	folder  *folder
	dir     *dirSync         // of folder
	journal *journal.Journal // nil: all is synced in its files
	memory  atomic.Int64     // octets of unfiled letters
	queue   atomic.Pointer[Queue]

	// repairing keeps envelopes from being replaced while Repair does that.
	repairing sync.RWMutex

	mu     sync.Mutex
	done   map[string]bool // by notes that were restored
	unborn map[string]bool // messages that could not be restored yet
}

// NewKeeper returns the keeper of a data directory's queue.
func NewKeeper(dataDir string) *Keeper {
	f := &folder{path: Dir(dataDir), fs: &safeio.OS{}}
	return &Keeper{folder: f, dir: &dirSync{sync: func() error { return f.fs.SyncDir(f.path) }}, done: map[string]bool{}, unborn: map[string]bool{}}
}

// newRecord begins a record with room for n octets.
func newRecord(kind byte, n int) []byte {
	b := make([]byte, journal.Headroom, journal.Headroom+textAt+n)
	b = append(b, store.TenantMark, kind)
	if kind == recordMessage {
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

var errRecord = errors.New("queue: journal record that is none of the queue's")

// message takes a record's data apart.
func parseMessage(data []byte) (text, env []byte, err error) {
	if len(data) < textAt || data[1] != recordMessage {
		return nil, nil, errRecord
	}
	n := uint64(binary.LittleEndian.Uint32(data[markLen:]))
	if data = data[textAt:]; n > uint64(len(data)) {
		return nil, nil, errRecord
	}
	return data[:n], data[n:], nil
}

// take makes a message durable that lies in record, whose text is n octets
// long. Without an error it is in the queue's keeping.
func (k *Keeper) take(e *Envelope, record []byte, n int) (*letter, error) {
	binary.LittleEndian.PutUint32(record[journal.Headroom+markLen:], uint32(n))
	text := record[journal.Headroom+textAt:]
	l := &letter{id: e.ID, k: k, size: int64(len(record)), text: text[:n:n], env: text[n:]}
	entry, err := k.journal.Append(l, record)
	if err != nil {
		return nil, err
	}
	l.entry = entry // the journal asks for l only after Placed
	k.memory.Add(l.size)
	return l, nil
}

// open opens a message's text. l is nil when it lies in the folder from the
// first.
func (k *Keeper) open(id string, l *letter) (io.ReadSeekCloser, error) {
	if l != nil {
		l.mu.Lock()
		text := l.text
		l.mu.Unlock()
		if text != nil {
			return memoryText{bytes.NewReader(text)}, nil
		}
	}
	return os.Open(k.folder.text(id))
}

type memoryText struct{ *bytes.Reader }

func (memoryText) Close() error { return nil }

// inMemory tells whether a letter has no files.
func (l *letter) inMemory() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == unfiled
}

// file writes the files of a letter that has none.
func (k *Keeper) file(l *letter) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != unfiled {
		return nil
	}
	f := k.folder
	write := func() error {
		err := f.do("file text", func() error { return f.write(f.text(l.id), l.text, os.O_TRUNC, false) })
		if err == nil {
			err = f.save(l.id, l.env, false)
		}
		return err
	}
	err := write()
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed the folder
		if err = f.fs.MkdirAll(f.path, 0o700); err == nil {
			err = write()
		}
	}
	if err != nil {
		return store.DiskError(err)
	}
	k.journal.Mark(l.entry)
	l.leave(filed)
	return nil
}

// leave lets go of the memory. l.mu is held.
func (l *letter) leave(to letterState) {
	l.state, l.text, l.env = to, nil, nil
	l.k.memory.Add(-l.size)
}

// drop notes that a letter is done, so that a restart of the server knows it;
// true when there are no files to remove.
func (k *Keeper) drop(l *letter) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == unfiled {
		k.journal.Mark(l.entry)
		l.leave(gone)
	}
	return l.state == gone
}

// save replaces an envelope durably. l has been filed.
func (k *Keeper) save(e *Envelope) error {
	e.Saved++
	data := e.encode()
	if k.journal == nil || len(data) > envelopeMax {
		return k.place(e.ID, data, true)
	}
	entry, err := k.journal.Append(&note{ids: []string{e.ID}}, append(newRecord(recordEnvelope, len(data)), data...))
	if err != nil {
		return k.place(e.ID, data, true)
	}
	err = k.place(e.ID, data, false)
	k.journal.Placed(entry, err == nil)
	return err
}

func (k *Keeper) place(id string, data []byte, synced bool) error {
	k.repairing.RLock()
	defer k.repairing.RUnlock()
	return k.folder.save(id, data, synced)
}

// forget makes durable that messages are done.
func (k *Keeper) forget(ids []string) error {
	const each = 1000
	for len(ids) > 0 {
		some := ids[:min(each, len(ids))]
		ids = ids[len(some):]
		err := journal.ErrClosed
		if k.journal != nil {
			var entry journal.Entry
			text := strings.Join(some, "\n")
			if entry, err = k.journal.Append(&note{ids: some, done: true}, append(newRecord(recordDone, len(text)), text...)); err == nil {
				k.journal.Placed(entry, true)
			}
		}
		if err != nil {
			if err := k.folder.do("sync folder", k.dir.do); err != nil {
				return err
			}
		}
	}
	return nil
}
