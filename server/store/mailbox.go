package store

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailsrv/server/safeio"
)

// mailbox is an opened Maildir.
type mailbox struct {
	s        *Maildirs
	box      Box
	messages []Message
	files    []file
	closed   bool
}

// file is where a message lies.
type file struct {
	part, name string // "new" or "cur"
	crlf       bool   // the name promises CRLF line ends
}

// Open implements Store. The lock is the process's own memory: it ends with
// the session, and with the process.
func (s *Maildirs) Open(box Box, holder string) (Mailbox, error) {
	s.mu.Lock()
	if other := s.open[box]; other != nil {
		s.mu.Unlock()
		return nil, other
	}
	s.open[box] = &InUseError{Box: box, Holder: holder, Since: s.now()}
	s.mu.Unlock()
	m := &mailbox{s: s, box: box}
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

// scan lists the messages without touching their files where the names tell
// the size.
func (m *mailbox) scan() error {
	type found struct {
		file
		parsed
	}
	var all []found
	seen := map[string]bool{}
	// new first: a message that another program moves to cur meanwhile is
	// seen twice, not missed.
	for _, part := range []string{"new", "cur"} {
		names, err := readNames(m.s.maildir(m.box, part))
		if err != nil {
			return err
		}
		for _, name := range names {
			p := parseName(name)
			if strings.HasPrefix(name, ".") || seen[p.uid] {
				continue
			}
			f := found{file{part, name, p.size >= 0}, p}
			if p.size < 0 {
				var there bool
				if f.size, there = m.measure(f.file); !there {
					continue
				}
			}
			seen[p.uid] = true
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.order[0], b.order[0]), cmp.Compare(a.order[1], b.order[1]), cmp.Compare(a.uid, b.uid))
	})
	for _, f := range all {
		m.files = append(m.files, f.file)
		m.messages = append(m.messages, Message{UID: f.uid, Size: f.size})
	}
	return nil
}

// readNames lists the files of a folder; one that does not exist yet is empty.
// Folders, links and pipes are not listed: none is a message, a pipe would hold
// up whoever opens it, and a link could lead out of the mailbox.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// tmpAge is how old a file in tmp must be to be nobody's any more; the Maildir
// rules leave it to readers to remove it.
const tmpAge = 36 * time.Hour

// sweepTmp removes what deliveries that were killed have left. What fails is
// tried again next time.
func (m *mailbox) sweepTmp() {
	tmp := m.s.maildir(m.box, "tmp")
	names, _ := readNames(tmp)
	for _, name := range names {
		path := filepath.Join(tmp, name)
		if info, err := os.Lstat(path); err == nil && m.s.now().Sub(info.ModTime()) > tmpAge {
			_ = os.Remove(path)
		}
	}
}

func (m *mailbox) path(f file) string { return filepath.Join(m.s.maildir(m.box, f.part), f.name) }

// measure counts what Read will return for a file that another program wrote.
// One that cannot be read stays a message, of the size that the system tells:
// it must not keep the others from their owner.
func (m *mailbox) measure(f file) (size int64, there bool) {
	r, err := os.Open(m.path(f))
	if err == nil {
		size, err = io.Copy(io.Discard, newCRLF(r))
		_ = r.Close()
	}
	if err != nil {
		var info fs.FileInfo
		if info, err = os.Lstat(m.path(f)); err == nil {
			size = info.Size()
		}
	}
	return size, !errors.Is(err, fs.ErrNotExist)
}

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
	// A file that was changed in place may have lost its CRLF too.
	if info, err := f.Stat(); m.files[i].crlf && err == nil && info.Size() == m.messages[i].Size {
		return f, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{newCRLF(f), f}, nil
}

// locate looks for a message that another program has moved: it may have gone
// from new to cur, or have got other flags.
func (m *mailbox) locate(i int) bool {
	for _, part := range []string{"cur", "new"} {
		names, err := readNames(m.s.maildir(m.box, part))
		if err != nil {
			continue
		}
		for _, name := range names {
			if parseName(name).uid == m.messages[i].UID {
				m.files[i].part, m.files[i].name = part, name
				return true
			}
		}
	}
	return false
}

// Delete implements Mailbox.
func (m *mailbox) Delete(messages []int) error {
	var errs []error
	touched := map[string]bool{}
	for _, i := range messages {
		err := os.Remove(m.path(m.files[i]))
		if errors.Is(err, fs.ErrNotExist) && m.locate(i) {
			err = os.Remove(m.path(m.files[i]))
		}
		switch {
		case err == nil:
			touched[m.files[i].part] = true
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("message %d: %w", i+1, DiskError(err)))
		}
	}
	for part := range touched {
		if err := safeio.SyncDir(m.s.maildir(m.box, part)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// crlf reads a file whose lines may end with LF alone as mail that goes over
// the wire: CRLF everywhere, also at the end.
type crlf struct {
	r    *bufio.Reader
	last byte
	any  bool
	held []byte // still to be returned
	err  error
}

func newCRLF(r io.Reader) *crlf { return &crlf{r: bufio.NewReaderSize(r, 32<<10)} }

func (c *crlf) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(c.held) > 0 {
			k := copy(p[n:], c.held)
			c.held, n = c.held[k:], n+k
			continue
		}
		if c.err != nil || n > 0 && c.r.Buffered() == 0 {
			break
		}
		b, err := c.r.ReadByte()
		switch {
		case err != nil:
			c.err = err
			if err == io.EOF && c.any && c.last != '\n' {
				c.held = []byte("\r\n")
				c.last = '\n'
			}
			continue
		case b == '\n' && c.last != '\r':
			c.held = []byte("\r\n")
		default:
			p[n] = b
			n++
		}
		c.last, c.any = b, true
	}
	if n == 0 && len(p) > 0 {
		return 0, c.err
	}
	return n, nil
}
