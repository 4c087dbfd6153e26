package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ErrLineEnds refuses a message with a CR or LF alone, or one whose last line
// does not end with CRLF. Other hosts would read it differently than it was meant.
var ErrLineEnds = errors.New("the message has lines that do not end with CRLF")

// Incoming is a message that is being taken in. Either Commit or Abort ends
// it; Abort after Commit does nothing.
type Incoming struct {
	q        *Queue
	env      Envelope
	f        *os.File
	w        *bufio.Writer
	facts    facts
	err      error // of a Write
	prepared bool
	done     bool
}

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
	m := &Incoming{q: q, env: e}
	err := q.folder.do("create text", func() (err error) {
		m.f, err = os.OpenFile(q.folder.text(e.ID), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.w = bufio.NewWriterSize(m.f, 32<<10)
	return m, nil
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
	var n int
	m.err = m.q.folder.do("write text", func() (err error) {
		n, err = m.w.Write(p)
		return err
	})
	return n, m.err
}

// Prepare makes everything durable but not yet part of the queue. Commit after
// it has only a name to change: for a message that goes elsewhere too, and has
// to go to both or to neither.
func (m *Incoming) Prepare() error {
	if m.done {
		return errors.New("queue: message ended already")
	}
	err := m.err
	if err == nil && !m.facts.wellFormed() {
		err = ErrLineEnds
	}
	if err == nil {
		err = m.write()
	}
	if err != nil {
		m.Abort()
		return err
	}
	m.prepared = true
	return nil
}

// write syncs the text and the envelope, both at once.
func (m *Incoming) write() error {
	m.env.EightBit = m.facts.eightBit
	m.env.UTF8 = m.env.UTF8 && m.facts.eightBitHeader
	f := m.q.folder
	if err := f.do("flush text", m.w.Flush); err != nil {
		return err
	}
	text := make(chan error, 1)
	if err := f.do("sync text", func() error {
		go func() { text <- m.f.Sync() }()
		return nil
	}); err != nil {
		return err
	}
	err := f.do("write envelope", func() error { return writeSynced(f.unborn(m.env.ID), m.env.encode()) })
	err = errors.Join(<-text, err)
	if closeErr := m.f.Close(); err == nil {
		err = closeErr
	}
	m.f = nil
	return err
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Commit makes the message a durable part of the queue, or not and returns
// why. It is tried at once.
func (m *Incoming) Commit() error {
	if !m.prepared {
		if err := m.Prepare(); err != nil {
			return err
		}
	}
	f, id := m.q.folder, m.env.ID
	err := f.do("place envelope", func() error { return os.Rename(f.unborn(id), f.envelope(id)) })
	if err == nil {
		if err = f.do("sync folder", m.q.sync.do); err != nil {
			_ = os.Remove(f.envelope(id)) // the sender will come again: nothing may stay
		}
	}
	if err != nil {
		m.Abort()
		return err
	}
	m.done = true
	m.q.added(&m.env)
	return nil
}

// Abort drops the message.
func (m *Incoming) Abort() {
	if m.done {
		return
	}
	m.done = true
	if m.f != nil {
		_ = m.f.Close()
	}
	// What cannot be removed now is removed at the next start.
	_ = os.Remove(m.q.folder.unborn(m.env.ID))
	_ = os.Remove(m.q.folder.text(m.env.ID))
}

// added takes a new message into the schedule.
func (q *Queue) added(e *Envelope) {
	to := make([]string, 0, 10)
	for i := range e.Recipients {
		if i == cap(to)-1 && len(e.Recipients) > cap(to) {
			to = append(to, fmt.Sprintf("and %d more", len(e.Recipients)-i))
			break
		}
		to = append(to, e.Recipients[i].Address)
	}
	q.opt().Log.Info("message queued", "id", e.ID, "from", e.Sender, "to", strings.Join(to, " "), "octets", e.Size)
	q.mu.Lock()
	it := &item{id: e.ID}
	q.items[e.ID] = it
	q.plan(it, e, time.Now())
	q.mu.Unlock()
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
