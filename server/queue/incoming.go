package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mailsrv/server/safeio"
	"mailsrv/server/store"
	"mailsrv/server/store/journal"
)

// ErrLineEnds refuses a message with a CR or LF alone, or one whose last line
// does not end with CRLF. Other hosts would read it differently than it was meant.
var ErrLineEnds = errors.New("the message has lines that do not end with CRLF")

// minRoom is the free space, in octets, below which no message is begun: what
// is in memory may need files yet, and the folder may have to grow.
const minRoom = 128 << 10

// Incoming is a message that is being taken in. Either Commit or Abort ends
// it; Abort after Commit does nothing.
//
// As long as it is small it is kept in memory, as the record that the journal
// will get. When it grows it is the file ID.eml, which is synced.
type Incoming struct {
	q      *Queue
	env    Envelope
	record []byte // without a journal too; nil once it is a file
	f      safeio.File
	made   bool // the file of the text
	w      *bufio.Writer
	facts  facts
	err    error // of a Write
	state  incomingState
	letter *letter
}

type incomingState int

const (
	begun    incomingState = iota
	prepared               // ID.eml and ID.new are there
	ended
)

// Begin starts to take in a message. Of e the caller fills in ID, Sender, User,
// UTF8 (whether SMTPUTF8 was asked for), Ret, EnvID, Notice, and of each
// recipient Address, ORCPT and Notify. A recipient whose State is Delivered has
// the message in a mailbox here by the time of Commit; the queue only confirms
// that to the sender.
func (q *Queue) Begin(e Envelope) (*Incoming, error) {
	e.Accepted = time.Now().UTC().Truncate(time.Second)
	e.Recipients = append([]Recipient(nil), e.Recipients...)
	for i := range e.Recipients {
		r := &e.Recipients[i]
		if r.State == Delivered {
			r.LastTry, r.Status = e.Accepted, "2.0.0"
		} else {
			r.State, r.NextTry = Waiting, e.Accepted
		}
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.mu.Lock()
	twice := q.items[e.ID] != nil
	q.mu.Unlock()
	if twice {
		return nil, fmt.Errorf("queue: message %s: %w", e.ID, fs.ErrExist)
	}
	if err := q.keeper.room(); err != nil {
		return nil, err
	}
	return &Incoming{q: q, env: e, record: newRecord(recordMessage, 8<<10)}, nil
}

// room tells whether the disk takes what is in memory, and more.
func (k *Keeper) room() error {
	free, readOnly, ok := k.folder.fs.Room(k.folder.path)
	switch {
	case ok && readOnly:
		return store.ErrReadOnly
	case ok && free < minRoom+2*uint64(max(0, k.memory.Load())):
		return fmt.Errorf("%w: %d octets are free below %s", store.ErrFull, free, k.folder.path)
	}
	return nil
}

// ID is the message's name in the queue.
func (m *Incoming) ID() string { return m.env.ID }

// Write adds octets of the message, lines ended by CRLF.
func (m *Incoming) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	m.facts.look(p)
	m.env.Size += int64(len(p))
	if m.record != nil && m.env.Size <= journalMax {
		m.record = append(m.record, p...)
		return len(p), nil
	}
	if m.record != nil {
		m.err = m.spill()
	}
	n := 0
	if m.err == nil {
		m.err = m.q.folder.do("write text", func() (err error) {
			n, err = m.w.Write(p)
			return err
		})
	}
	return n, m.err
}

// spill goes on in a file.
func (m *Incoming) spill() error {
	err := m.create()
	if err == nil {
		m.record = nil
		m.w = bufio.NewWriterSize(m.f, 32<<10)
	}
	return err
}

// create makes the file of the text, with what there is of it.
func (m *Incoming) create() error {
	f := m.q.folder
	err := f.do("create text", func() (err error) {
		m.f, err = f.fs.OpenFile(f.text(m.env.ID), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		m.made = err == nil
		return err
	})
	if err == nil {
		err = f.do("write text", func() error {
			_, err := m.f.Write(m.text())
			return err
		})
	}
	return err
}

func (m *Incoming) text() []byte { return m.record[journal.Headroom+textAt:] }

// check ends the writing.
func (m *Incoming) check() error {
	if m.state == ended {
		return errors.New("queue: message ended already")
	}
	if m.err == nil && !m.facts.wellFormed() {
		m.err = ErrLineEnds
	}
	m.env.EightBit = m.facts.eightBit
	m.env.UTF8 = m.env.UTF8 && m.facts.eightBitHeader
	return m.err
}

// Prepare writes everything that needs room, but not yet as part of the queue.
// Commit after it has only a name to change, and a sync: for a message that
// goes elsewhere too, and has to go to both or to neither.
func (m *Incoming) Prepare() error {
	err := m.check()
	if err == nil {
		err = m.write(m.record == nil || m.q.keeper.journal == nil)
	}
	if err != nil {
		m.Abort()
		return err
	}
	m.state = prepared
	return nil
}

// write writes the text and the envelope. Both are synced at once.
func (m *Incoming) write(synced bool) error {
	f := m.q.folder
	if m.record != nil {
		if err := m.create(); err != nil {
			return err
		}
	} else if err := f.do("flush text", m.w.Flush); err != nil {
		return err
	}
	text := make(chan error, 1)
	if synced {
		if err := f.do("sync text", func() error {
			go func() { text <- m.f.Sync() }()
			return nil
		}); err != nil {
			return err
		}
	} else {
		text <- nil
	}
	err := f.do("write envelope", func() error { return f.write(f.unborn(m.env.ID), m.env.encode(), os.O_EXCL, synced) })
	err = errors.Join(<-text, err)
	if closeErr := m.f.Close(); err == nil {
		err = closeErr
	}
	m.f = nil
	return err
}

// Commit makes the message a durable part of the queue, or not and returns
// why. It is tried at once.
func (m *Incoming) Commit() error {
	var err error
	if m.state != prepared {
		err = m.check()
	}
	if err == nil {
		if err = m.commitJournal(); errors.Is(err, errNoJournal) {
			err = m.commitSynced()
		}
	}
	if err != nil {
		m.Abort()
		return err
	}
	m.state, m.record = ended, nil
	m.q.added(&m.env, m.letter)
	return nil
}

var errNoJournal = errors.New("queue: not for the journal")

// commitJournal has the message durable in the journal.
func (m *Incoming) commitJournal() error {
	k := m.q.keeper
	if m.record == nil || k.journal == nil {
		return errNoJournal
	}
	n := len(m.text())
	env := m.env.encode()
	if len(env) > envelopeMax {
		return errNoJournal
	}
	l, err := k.take(&m.env, append(m.record, env...), n)
	if err != nil {
		// The files, then. Should the record come back all the same, it is the
		// same message under the same name.
		return errNoJournal
	}
	m.letter = l
	if m.state == prepared {
		f := m.q.folder
		err = f.do("place envelope", func() error { return f.fs.Rename(f.unborn(l.id), f.envelope(l.id)) })
		l.mu.Lock()
		l.leave(filed)
		l.mu.Unlock()
		k.journal.Placed(l.entry, true)
		if err != nil {
			// The sender will come again: the record must not come back.
			err = errors.Join(err, k.forget([]string{l.id}))
		}
		return err
	}
	k.journal.Placed(l.entry, false)
	if k.memory.Load() > memoryMax {
		// When there is no room for it now, the journal asks again.
		_ = k.file(l)
	}
	return nil
}

// commitSynced has the message durable in its own files.
func (m *Incoming) commitSynced() error {
	f, id := m.q.folder, m.env.ID
	if m.state != prepared {
		if err := m.write(true); err != nil {
			return err
		}
	} else if m.record != nil && m.q.keeper.journal != nil {
		if err := errors.Join(f.sync(f.text(id)), f.sync(f.unborn(id))); err != nil {
			return err
		}
	}
	err := f.do("place envelope", func() error { return f.fs.Rename(f.unborn(id), f.envelope(id)) })
	if err == nil {
		if err = f.do("sync folder", m.q.keeper.dir.do); err != nil {
			_ = f.fs.Remove(f.envelope(id)) // the sender will come again: nothing may stay
		}
	}
	return err
}

// Abort drops the message.
func (m *Incoming) Abort() {
	if m.state == ended {
		return
	}
	m.state = ended
	if m.f != nil {
		_ = m.f.Close()
	}
	if !m.made {
		return
	}
	// What cannot be removed now is removed at the next start.
	_ = m.q.folder.fs.Remove(m.q.folder.unborn(m.env.ID))
	_ = m.q.folder.fs.Remove(m.q.folder.text(m.env.ID))
}

// added takes a new message into the schedule.
func (q *Queue) added(e *Envelope, l *letter) {
	to := make([]string, 0, 10)
	for i := range e.Recipients {
		if i == cap(to)-1 && len(e.Recipients) > cap(to) {
			to = append(to, fmt.Sprintf("and %d more", len(e.Recipients)-i))
			break
		}
		to = append(to, e.Recipients[i].Address)
	}
	q.opt().Log.Info("message queued", "id", e.ID, "from", e.Sender, "to", strings.Join(to, " "), "octets", e.Size)
	it := &item{id: e.ID, letter: l}
	bare := l.inMemory()
	if bare {
		it.env = e
	}
	q.mu.Lock()
	q.items[e.ID] = it
	file := bare && (!q.running || q.paused) // nobody tries it soon
	if bare && !file {
		if q.fresh = append(q.fresh, it); len(q.fresh) == 1 {
			q.kick()
		}
	}
	q.plan(it, e, time.Now())
	q.mu.Unlock()
	if file {
		q.fileThem([]*item{it})
	}
}

// facts are what has to be known of a text to send it.
type facts struct {
	eightBit       bool
	eightBitHeader bool
	bare           bool // a CR or LF alone
	inBody         bool
	cr             bool // the last octet was CR
	line           int  // octets in the present line so far
}

func (s *facts) look(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexAny(p, "\r\n")
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if s.cr && (len(part) > 0 || i == 0 && p[0] != '\n') {
			s.bare = true
		}
		if !s.eightBit || !s.eightBitHeader && !s.inBody {
			for _, c := range part {
				if c >= 0x80 {
					s.eightBit, s.eightBitHeader = true, s.eightBitHeader || !s.inBody
					break
				}
			}
		}
		s.line += len(part)
		if i < 0 {
			s.cr = false
			return
		}
		if p[i] == '\r' {
			s.cr = true
		} else {
			s.bare = s.bare || !s.cr || len(part) > 0
			s.inBody = s.inBody || s.line == 0
			s.line, s.cr = 0, false
		}
		p = p[i+1:]
	}
}

func (s *facts) wellFormed() bool { return !s.bare && !s.cr && s.line == 0 }
