package store

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A mailbox is listed without touching its files: the names tell the sizes. A
// folder that has not changed since the index was written is not even listed.
// Only files of other programs whose names do not tell their size with CRLF
// line ends are read once, and the index remembers.

// entry is one message while the list is made.
type entry struct {
	file
	parsed
}

// scan fills in messages and files.
func (m *mailbox) scan() error {
	idx := readIndex(m.indexFile())
	next := index{listed: time.Now()}
	listed := false
	// new first: a message that another program moves to cur meanwhile is
	// seen twice, not missed.
	for p := range parts {
		next.stamps[p] = stampOf(m.dir(p))
		if idx.fresh(p, next.stamps[p]) {
			continue
		}
		listed = true
		names, err := readNames(m.dir(p))
		if err != nil {
			return err
		}
		for _, name := range names {
			f := entry{file{part: p, name: name, measured: -1}, parseName(name)}
			f.crlf = f.raw == f.size
			next.entries = append(next.entries, f)
		}
	}
	if !listed {
		m.take(idx.entries)
		return nil
	}
	measured := m.measureAll(next.entries, idx)
	many := len(next.entries) >= indexFrom
	slices.SortFunc(next.entries, entry.compare)
	// Of a folder that has not changed, the index is what there is.
	old := make([]entry, 0, len(idx.entries))
	for _, e := range idx.entries {
		if idx.fresh(e.part, next.stamps[e.part]) {
			if strings.HasPrefix(e.name, e.uid) {
				e.order = orderOf(e.uid)
			} else {
				e.order = parseName(e.name).order
			}
			old = append(old, e)
		}
	}
	next.entries = merge(old, next.entries)
	m.take(next.entries)
	// A few messages in one folder are listed again sooner than all of them
	// written down.
	if measured || many {
		m.writeIndex(next)
	}
	return nil
}

// take makes entries the list of the session.
func (m *mailbox) take(entries []entry) {
	m.files = make([]file, len(entries))
	m.messages = make([]Message, len(entries))
	for i := range entries {
		m.files[i] = entries[i].file
		m.messages[i] = Message{UID: entries[i].uid, Size: entries[i].size}
	}
}

// compare orders entries by arrival. Of one message that was seen twice, the
// file in cur comes first: that is where it has gone.
func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.order[0], f.order[0]), cmp.Compare(e.order[1], f.order[1]), cmp.Compare(e.uid, f.uid), cmp.Compare(f.part, e.part))
}

// merge joins two sorted lists, and leaves out what is gone and the second of
// what was seen twice.
func merge(a, b []entry) []entry {
	out := make([]entry, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].compare(a[0]) < 0 {
			from = &b
		}
		e := (*from)[0]
		*from = (*from)[1:]
		if e.size >= 0 && (len(out) == 0 || out[len(out)-1].uid != e.uid) {
			out = append(out, e)
		}
	}
	return out
}

// measureAll counts the octets of the entries whose names do not tell, unless
// the index knows them. It tells whether there were any that it did not know.
func (m *mailbox) measureAll(entries []entry, idx *index) bool {
	var unknown []int
	for i := range entries {
		if entries[i].size < 0 {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return false
	}
	known := map[string]*entry{}
	for i := range idx.entries {
		if e := &idx.entries[i]; e.measured >= 0 {
			known[e.uid] = e
		}
	}
	unknown = slices.DeleteFunc(unknown, func(i int) bool {
		e := known[entries[i].uid]
		if e != nil {
			entries[i].size, entries[i].measured = e.size, e.measured
		}
		return e != nil
	})
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(len(unknown), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range work {
				e := &entries[i]
				e.size, e.measured = m.measure(e.file)
			}
		})
	}
	for _, i := range unknown {
		work <- i
	}
	close(work)
	wg.Wait()
	return len(unknown) > 0
}

// measure counts what Read will return for a file that another program wrote,
// and its octets as it is. One that cannot be read stays a message, of the size
// that the system tells: it must not keep the others from their owner. A file
// that is gone has the size -1.
func (m *mailbox) measure(f file) (size, raw int64) {
	r, err := os.Open(m.path(f))
	if err == nil {
		size, raw, err = wireSize(r)
		_ = r.Close()
	}
	if err != nil {
		info, statErr := os.Lstat(m.path(f))
		if statErr != nil {
			return -1, -1
		}
		size, raw = info.Size(), info.Size()
	}
	return size, raw
}

// readNames lists the files of a folder; one that does not exist yet is empty.
// Folders, links and pipes are not listed: none is a message, a pipe would hold
// up whoever opens it, and a link could lead out of the mailbox. Neither are
// names that begin with a point.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	for {
		entries, err := d.ReadDir(4096)
		names = slices.Grow(names, len(entries))
		for _, e := range entries {
			if name := e.Name(); e.Type().IsRegular() && name[0] != '.' {
				names = append(names, name)
			}
		}
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return names, err
		}
	}
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
