package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mailsrv/server/safeio"
)

// Maildirs is the Store of a data directory.
type Maildirs struct {
	// Keep is how long deleted mail can be brought back; 0: not at all. It is
	// set before the store is used.
	Keep time.Duration

	dataDir string
	names   *namer
	now     func() time.Time

	mu   sync.Mutex
	open map[Box]*InUseError
}

// New returns the store below dataDir. Nothing is read or created yet.
func New(dataDir string) *Maildirs {
	return &Maildirs{dataDir: dataDir, names: newNamer(), now: time.Now, open: map[Box]*InUseError{}}
}

// Dir is the folder of a mailbox; the Maildir lies in it.
func Dir(dataDir string, box Box) string {
	return filepath.Join(dataDir, "mail", safeio.FileName(strings.ToLower(box.Domain)), safeio.FileName(strings.ToLower(box.Name)))
}

func (s *Maildirs) maildir(box Box, part string) string {
	return filepath.Join(Dir(s.dataDir, box), "Maildir", part)
}

func (s *Maildirs) make(box Box) error {
	for _, part := range []string{"tmp", "new", "cur"} {
		if err := safeio.MkdirAll(s.maildir(box, part), 0o700); err != nil {
			return DiskError(err)
		}
	}
	return nil
}

// incoming is written to tmp of the first mailbox, synced, and then appears
// under its final name in new of every mailbox.
type incoming struct {
	s     *Maildirs
	boxes []Box
	name  string
	f     *os.File
	w     *bufio.Writer
	size  int64
	done  bool
}

// Begin implements Store.
func (s *Maildirs) Begin(id string, boxes []Box) (Incoming, error) {
	if len(boxes) == 0 {
		return nil, errors.New("store: a message for nobody")
	}
	for _, box := range boxes {
		if err := s.make(box); err != nil {
			return nil, err
		}
	}
	m := &incoming{s: s, boxes: boxes, name: s.names.next(id)}
	f, err := os.OpenFile(m.tmp(boxes[0]), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, DiskError(err)
	}
	m.f, m.w = f, bufio.NewWriterSize(f, 32<<10)
	return m, nil
}

func (m *incoming) tmp(box Box) string { return filepath.Join(m.s.maildir(box, "tmp"), m.name) }

func (m *incoming) final(box Box) string {
	return filepath.Join(m.s.maildir(box, "new"), fmt.Sprintf("%s,S=%d,W=%d", m.name, m.size, m.size))
}

func (m *incoming) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.size += int64(n)
	if err != nil {
		err = DiskError(err)
	}
	return n, err
}

// Commit implements Incoming. All that can fail for want of space happens in
// tmp, before the message appears anywhere.
func (m *incoming) Commit() error {
	if m.done {
		return errors.New("store: message ended already")
	}
	err := m.w.Flush()
	if err == nil {
		err = m.f.Sync()
	}
	if closeErr := m.f.Close(); err == nil {
		err = closeErr
	}
	m.f = nil
	for i := 1; i < len(m.boxes) && err == nil; i++ {
		err = linkOrCopy(m.tmp(m.boxes[0]), m.tmp(m.boxes[i]))
	}
	placed := 0
	for ; placed < len(m.boxes) && err == nil; placed++ {
		box := m.boxes[placed]
		if err = os.Rename(m.tmp(box), m.final(box)); err != nil {
			break
		}
	}
	for i := 0; i < placed && err == nil; i++ {
		err = safeio.SyncDir(m.s.maildir(m.boxes[i], "new"))
	}
	if err != nil {
		for _, box := range m.boxes[:placed] {
			_ = os.Remove(m.final(box)) // the sender will try again: nothing may stay
		}
		m.Abort()
		return DiskError(err)
	}
	m.done = true
	return nil
}

// Abort implements Incoming.
func (m *incoming) Abort() {
	if m.done {
		return
	}
	m.done = true
	if m.f != nil {
		_ = m.f.Close()
	}
	for _, box := range m.boxes {
		_ = os.Remove(m.tmp(box)) // what stays in tmp is harmless
	}
}

// linkOrCopy makes one file appear a second time without writing its octets
// again where the file system can.
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(DiskError(err), ErrFull) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Remove implements Store.
func (s *Maildirs) Remove(box Box) error { return RemoveBox(s.dataDir, box) }

// RemoveBox deletes a mailbox and all mail in it. A mailbox that does not
// exist is no error.
func RemoveBox(dataDir string, box Box) error {
	dir := Dir(dataDir, box)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return safeio.SyncDir(filepath.Dir(dir))
}
