package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mailsrv/server/safeio"
)

// mailbox is an opened Maildir.
type mailbox struct {
	s        *Maildirs
	box      Box
	by       By
	messages []Message
	files    []file
	moved    *listing // where messages are that are not where they were
	closed   bool
}

// file is where a message lies.
type file struct {
	part     part
	name     string
	crlf     bool  // the name promises CRLF line ends
	measured int64 // octets of the file when its Size was counted; -1 when the name tells it
}

// part is one of the two folders of a Maildir that hold messages.
type part byte

const (
	inNew part = iota
	inCur
	parts // how many there are
)

func (p part) String() string { return [parts]string{"new", "cur"}[p] }

// Open implements Store. The lock is the process's own memory: it ends with
// the session, and with the process.
func (s *Maildirs) Open(box Box, by By) (Mailbox, error) {
	s.mu.Lock()
	if other := s.open[box]; other != nil {
		s.mu.Unlock()
		return nil, other
	}
	s.open[box] = &InUseError{Box: box, Holder: by.Client, Since: s.now()}
	s.mu.Unlock()
	m := &mailbox{s: s, box: box, by: by}
	m.sweepTmp()
	if err := m.scan(); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

func (m *mailbox) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	m.s.mu.Lock()
	delete(m.s.open, m.box)
	m.s.mu.Unlock()
	return nil
}

func (m *mailbox) Messages() []Message { return m.messages }

func (m *mailbox) dir(p part) string { return m.s.maildir(m.box, p.String()) }

func (m *mailbox) path(f file) string { return filepath.Join(m.dir(f.part), f.name) }

// Read implements Mailbox.
func (m *mailbox) Read(i int) (io.ReadCloser, error) {
	f, err := os.Open(m.path(m.files[i]))
	if errors.Is(err, fs.ErrNotExist) && m.locate(i) {
		f, err = os.Open(m.path(m.files[i]))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	// A file that was changed in place may have lost its CRLF too.
	if m.files[i].crlf && info.Size() == m.messages[i].Size {
		return f, nil
	}
	if n := m.files[i].measured; n >= 0 && n != info.Size() {
		m.dropIndex() // it was changed in place: next time it is counted anew
	}
	return struct {
		io.Reader
		io.Closer
	}{newCRLF(f), f}, nil
}

// locate looks for a message that another program has moved: it may have gone
// from new to cur, or have got other flags. The folders are listed once for
// all messages, and again only when they have changed since.
func (m *mailbox) locate(i int) bool {
	if m.moved == nil || m.moved.stale(m) {
		m.moved = newListing(m)
	}
	f, ok := m.moved.byUID[m.messages[i].UID]
	if ok {
		m.files[i].part, m.files[i].name = f.part, f.name
	}
	return ok
}

// listing is what the folders held at one time.
type listing struct {
	stamps [parts]stamp
	began  time.Time
	byUID  map[string]file
}

func newListing(m *mailbox) *listing {
	l := &listing{began: time.Now(), byUID: map[string]file{}}
	for p := range parts {
		l.stamps[p] = stampOf(m.dir(p))
		names, _ := readNames(m.dir(p)) // what cannot be listed is not found
		for _, name := range names {
			l.byUID[parseName(name).uid] = file{part: p, name: name}
		}
	}
	return l
}

func (l *listing) stale(m *mailbox) bool {
	for p := range parts {
		if now := stampOf(m.dir(p)); now != l.stamps[p] || now != 0 && !now.settled(l.began) {
			return true
		}
	}
	return false
}

// Delete implements Mailbox: the history first, so that what is gone is always
// told of, then the messages.
func (m *mailbox) Delete(messages []int) error {
	if len(messages) == 0 {
		return nil
	}
	uids := make([]string, len(messages))
	for k, i := range messages {
		uids[k] = m.messages[i].UID
	}
	if err := m.s.settled(uids); err != nil {
		return DiskError(err)
	}
	now := m.s.now()
	var events []Event
	for _, i := range messages {
		e := Event{Time: now.UTC(), What: Deleted, UID: m.messages[i].UID, Size: m.messages[i].Size, By: m.by}
		e.Fields = m.fields(i)
		events = append(events, e)
	}
	var errs []error
	// On a full disk deleting must still work, and make room: the log has what
	// the history cannot take, and nothing is kept.
	err := m.s.record(m.box, events)
	full := errors.Is(err, ErrFull)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the mailbox was removed, and all in it
	}
	if err != nil && !full {
		return fmt.Errorf("history: %w", err)
	}
	var bin bin
	if !full {
		if bin, err = m.s.bin(m.box, now); err != nil {
			return err
		}
	}
	touched := [parts]bool{}
	for _, i := range messages {
		err := bin.take(m.path(m.files[i]), m.files[i].name)
		if errors.Is(err, fs.ErrNotExist) && m.locate(i) {
			err = bin.take(m.path(m.files[i]), m.files[i].name)
		}
		switch {
		case err == nil:
			touched[m.files[i].part] = true
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("message %d: %w", i+1, DiskError(err)))
		}
	}
	// Where a message went is synced before the place that it came from, so
	// that no power cut loses it.
	errs = append(errs, bin.sync())
	for p := range parts {
		if touched[p] {
			errs = append(errs, safeio.SyncDir(m.dir(p)))
		}
	}
	return errors.Join(errs...)
}
