package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"mailsrv/server/safeio"
	"mailsrv/server/store/journal"
)

// A message may have so many octets to go through the journal. A bigger one is
// not written twice: its own file is synced. Measured with bench/serve, the
// journal is 1.1 to 2 times as fast for 24 KiB, both are even for 48 KiB, and
// from 100 KiB on the file wins, except for a message that comes alone: there
// the journal is 1.4 times as fast.
const (
	journalMax  = 48 << 10
	journalLone = 256 << 10
)

// minRoom is the free space, in octets, below which no message is begun: each
// needs a file, and the folders may have to grow.
const minRoom = 128 << 10

// incoming is a message that is being taken in. As long as it is small it is
// kept in memory: the journal makes it durable, and its file is then written
// without a sync of its own. When it grows, or the journal cannot take it, it
// is a file in tmp of the first mailbox, which is synced. Either way it then
// appears under its final name in new of every mailbox.
type incoming struct {
	s     *Maildirs
	boxes []Box
	name  string
	size  int64
	buf   *[]byte // the record for the journal, room for its header in front
	body  int     // where the message begins in buf
	f     safeio.File
	w     *bufio.Writer
	done  bool
}

var records = sync.Pool{New: func() any { return new([]byte) }}

// Begin implements Store.
func (s *Maildirs) Begin(id string, boxes []Box) (Incoming, error) {
	if len(boxes) == 0 {
		return nil, errors.New("store: a message for nobody")
	}
	if free, readOnly, ok := s.fs.Room(s.dataDir); ok && (readOnly || free < minRoom) {
		if readOnly {
			return nil, ErrReadOnly
		}
		return nil, fmt.Errorf("%w: %d octets are free below %s", ErrFull, free, s.dataDir)
	}
	for _, box := range boxes {
		if err := s.make(box); err != nil {
			return nil, err
		}
	}
	s.coming.Add(1)
	m := &incoming{s: s, boxes: boxes, name: s.names.next(id), buf: records.Get().(*[]byte)}
	*m.buf = appendHead(append((*m.buf)[:0], make([]byte, journal.Headroom)...), m.name, boxes)
	m.body = len(*m.buf)
	return m, nil
}

func (s *Maildirs) tmp(box Box, name string) string {
	return s.maildir(box, "tmp") + string(filepath.Separator) + name
}

func (s *Maildirs) final(box Box, name string, size int64) string {
	n := strconv.FormatInt(size, 10)
	return s.maildir(box, "new") + string(filepath.Separator) + name + ",S=" + n + ",W=" + n
}

func (m *incoming) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	if m.f == nil {
		if m.size <= journalMax || m.size <= journalLone && m.s.coming.Load() == 1 {
			*m.buf = append(*m.buf, p...)
			return len(p), nil
		}
		if err := m.spill(); err != nil {
			return 0, err
		}
	}
	n, err := m.w.Write(p)
	if err != nil {
		err = DiskError(err)
	}
	return n, err
}

// spill goes on in a file.
func (m *incoming) spill() error {
	f, err := m.s.createTmp(m.boxes[0], m.name)
	if err != nil {
		return DiskError(err)
	}
	m.f, m.w = f, bufio.NewWriterSize(f, 32<<10)
	_, err = m.w.Write((*m.buf)[m.body:])
	m.release()
	return err
}

func (m *incoming) release() {
	if m.buf != nil {
		records.Put(m.buf)
		m.buf = nil
	}
}

// createTmp makes a file in tmp of a mailbox.
func (s *Maildirs) createTmp(box Box, name string) (safeio.File, error) {
	const flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := s.fs.OpenFile(s.tmp(box, name), flag, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		// The folder was there once, and somebody has removed it.
		s.made.Delete(box)
		if err = s.make(box); err == nil {
			f, err = s.fs.OpenFile(s.tmp(box, name), flag, 0o600)
		}
	}
	return f, err
}

// Commit implements Incoming. What can fail for want of space happens in tmp,
// before the message appears in any mailbox.
func (m *incoming) Commit() error {
	if m.done {
		return errors.New("store: message ended already")
	}
	var err error
	if m.f != nil || m.s.journal == nil {
		err = m.commitSynced()
	} else {
		err = m.commitJournal()
	}
	if err != nil {
		m.Abort()
		return DiskError(err)
	}
	m.end()
	return nil
}

// end lets go of what the message has in memory.
func (m *incoming) end() {
	m.done = true
	m.s.coming.Add(-1)
	m.release()
}

// commitJournal has the message durable once, in the journal, and then makes
// its files. The record comes first, so that a hundred sessions wait for one
// sync; should the files fail, the message is refused, and a crash before the
// next checkpoint may still bring it.
func (m *incoming) commitJournal() error {
	e, err := m.s.journal.Append(&item{m.name, m.size, m.boxes}, *m.buf)
	if err != nil {
		// The file itself, then. Should the record come back all the same, it
		// is the same message under the same name.
		return m.commitSynced()
	}
	m.s.turns <- struct{}{}
	if err = m.spread(false); err == nil {
		err = m.show(false)
	}
	<-m.s.turns
	m.s.journal.Placed(e, err == nil)
	return err
}

// commitSynced has the message durable in its own file.
func (m *incoming) commitSynced() error {
	if err := m.spread(true); err != nil {
		return err
	}
	return m.show(true)
}

// spread writes the message to tmp of all mailboxes.
func (m *incoming) spread(synced bool) (err error) {
	if m.f == nil {
		if m.f, err = m.s.createTmp(m.boxes[0], m.name); err != nil {
			return err
		}
		_, err = m.f.Write((*m.buf)[m.body:])
	} else {
		err = m.w.Flush()
	}
	if err == nil && synced {
		err = m.f.Sync()
	}
	if closeErr := m.f.Close(); err == nil {
		err = closeErr
	}
	m.f = nil
	for i := 1; i < len(m.boxes) && err == nil; i++ {
		err = m.s.linkOrCopy(m.s.tmp(m.boxes[0], m.name), m.s.tmp(m.boxes[i], m.name), synced)
	}
	return err
}

// show gives the message its final name everywhere, or nowhere.
func (m *incoming) show(synced bool) (err error) {
	s, placed := m.s, 0
	for ; placed < len(m.boxes) && err == nil; placed++ {
		box := m.boxes[placed]
		if err = s.fs.Rename(s.tmp(box, m.name), s.final(box, m.name, m.size)); err != nil {
			break
		}
	}
	for i := 0; i < placed && err == nil && synced; i++ {
		err = s.syncs.do(s.maildir(m.boxes[i], "new"))
	}
	if err != nil {
		for _, box := range m.boxes[:placed] {
			_ = s.fs.Remove(s.final(box, m.name, m.size)) // the sender will try again: nothing may stay
		}
	}
	return err
}

// Abort implements Incoming.
func (m *incoming) Abort() {
	if m.done {
		return
	}
	m.end()
	if m.f != nil {
		_ = m.f.Close()
	}
	for _, box := range m.boxes {
		_ = m.s.fs.Remove(m.s.tmp(box, m.name)) // what stays in tmp is harmless
	}
}

// linkOrCopy makes one file appear a second time without writing its octets
// again where the file system can.
func (s *Maildirs) linkOrCopy(from, to string, synced bool) error {
	err := s.fs.Link(from, to)
	if err == nil || errors.Is(DiskError(err), ErrFull) {
		return err
	}
	in, err := s.fs.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return err
	}
	out, err := s.fs.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(in, 0, size))
	if err == nil && synced {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

// dirSyncs makes names in folders durable: one sync for all who wait for the
// same folder.
type dirSyncs struct {
	sync func(dir string) error

	mu   sync.Mutex
	next map[string]*dirSync // not begun yet
	work map[string]*sync.Mutex
}

type dirSync struct {
	done chan struct{}
	err  error
}

// do returns after a sync that began after the call.
func (d *dirSyncs) do(dir string) error {
	d.mu.Lock()
	if d.next == nil {
		d.next, d.work = map[string]*dirSync{}, map[string]*sync.Mutex{}
	}
	s := d.next[dir]
	if s != nil {
		d.mu.Unlock()
		<-s.done
		return s.err
	}
	s = &dirSync{done: make(chan struct{})}
	d.next[dir] = s
	work := d.work[dir]
	if work == nil {
		work = &sync.Mutex{}
		d.work[dir] = work
	}
	d.mu.Unlock()
	work.Lock()
	d.mu.Lock()
	delete(d.next, dir)
	d.mu.Unlock()
	s.err = d.sync(dir)
	work.Unlock()
	close(s.done)
	return s.err
}
