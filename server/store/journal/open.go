package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mailsrv/server/safeio"
)

const prefix = "segment-"

// DamagedDir is where, below the journal's folder, segments are kept in which
// something that was durable cannot be read any more.
const DamagedDir = "damaged"

// Open opens the journal in opt.Dir, which need not exist, and has the owner
// restore what no checkpoint covers. What cannot be restored now, as on a full
// disk, is tried again until it can.
func Open(opt Options) (*Journal, error) {
	j := &Journal{opt: opt, live: map[string]int{}, nudge: make(chan struct{}, 1)}
	j.changed.L = &j.mu
	if err := opt.FS.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, err
	}
	names, err := opt.FS.ReadNames(opt.Dir)
	if err != nil {
		return nil, err
	}
	var was map[uint64]bool
	j.placed, was = openPlaced(opt.FS, filepath.Join(opt.Dir, "placed"), opt.Machine)
	for _, name := range names {
		number, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		path := filepath.Join(opt.Dir, name)
		n, err := strconv.Atoi(number)
		if err != nil {
			if strings.HasSuffix(name, ".new") {
				_ = opt.FS.Remove(path) // being made when the server was killed
			}
			continue
		}
		s, seq, err := j.openSegment(path)
		if err != nil {
			return nil, errors.Join(err, j.abandon())
		}
		j.last = max(j.last, n)
		j.seq.Store(max(j.seq.Load(), seq))
		j.total++
		if len(s.entries) == 0 && !s.damaged {
			j.free = append(j.free, s)
		} else {
			j.full = append(j.full, s)
		}
	}
	sortBySeq(j.full)
	restored, failed := 0, 0
	for _, s := range j.full {
		a, b, err := j.restore(s, was)
		restored, failed = restored+a, failed+b
		if err != nil {
			opt.Log.Error("journal: messages cannot be restored yet", "file", s.path, "messages", b, "error", err)
		}
	}
	if restored+failed > 0 {
		opt.Log.Info("journal replayed", "messages", restored, "failed", failed)
	}
	j.wg.Go(j.checkpoints)
	return j, nil
}

// Unsettled tells whether the journal in a folder may hold what the next Open
// restores: a server that ends by itself leaves nothing. It only reads.
func Unsettled(dir string) (bool, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, entry := range names {
		number, ok := strings.CutPrefix(entry.Name(), prefix)
		if _, err := strconv.Atoi(number); !ok || err != nil {
			continue
		}
		f, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return false, err
		}
		head := make([]byte, segmentHeader)
		_, _ = io.ReadFull(f, head) // what cannot be read is no header
		_ = f.Close()
		if h, ok := parseHeader(head); !ok || h.state != stateFree {
			return true, nil
		}
	}
	return false, nil
}

// abandon closes what an Open that failed has opened.
func (j *Journal) abandon() error {
	err := j.placed.close()
	for _, s := range append(j.free, j.full...) {
		_ = s.f.Close()
	}
	return err
}

func sortBySeq(segments []*segment) {
	first := func(s *segment) uint64 {
		if len(s.entries) == 0 {
			return 0
		}
		return s.entries[0].seq
	}
	for i := 1; i < len(segments); i++ {
		for k := i; k > 0 && first(segments[k]) < first(segments[k-1]); k-- {
			segments[k], segments[k-1] = segments[k-1], segments[k]
		}
	}
}

// openSegment reads a segment's records, if it holds any. seq is the highest
// that it knows of.
func (j *Journal) openSegment(path string) (s *segment, seq uint64, err error) {
	f, err := j.opt.FS.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	s = &segment{path: path, f: f, end: segmentHeader}
	s.size, err = f.Size()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	head := make([]byte, segmentHeader)
	_, _ = f.ReadAt(head, 0) // what cannot be read is no header
	h, ok := parseHeader(head)
	if ok && h.state == stateFree {
		return s, h.seq, nil
	}
	b := make([]byte, s.size)
	s.salt, s.used, s.suspect = h.salt, true, h.state == stateSuspect
	if n, err := f.ReadAt(b, 0); n < len(b) {
		j.opt.Log.Error("journal segment cannot be read to its end; it will be kept aside", "file", path, "offset", n, "error", err)
		s.damaged = true
	}
	if !ok {
		// Better some messages twice than one lost: what stands there is
		// taken for live.
		j.opt.Log.Error("journal segment has no readable header; it will be kept aside", "file", path)
		s.damaged = true
		s.salt, _ = firstSalt(b)
	}
	records, end, bad := read(b, s.salt)
	for _, d := range bad {
		j.opt.Log.Error("journal segment is damaged; it will be kept aside", "file", path, "offset", d.from, "octets", d.to-d.from)
		s.damaged = true
	}
	s.end, seq = end, h.seq
	for _, r := range records {
		s.entries = append(s.entries, entry{r.off, recordHeader + len(r.data), r.seq, nil})
		seq = max(seq, r.seq)
	}
	return s, seq, nil
}

// restore has the owner restore the entries of s that are not yet. A record
// that the owner cannot take does not keep back those behind it.
func (j *Journal) restore(s *segment, was map[uint64]bool) (restored, failed int, err error) {
	for i := range s.entries {
		e := &s.entries[i]
		if e.item != nil {
			continue
		}
		data, readErr := j.data(s, *e)
		if readErr != nil {
			failed, err = failed+1, readErr
			continue
		}
		item, restoreErr := j.opt.Owner.Restore(data, was[mark(s.salt, e.seq)])
		if restoreErr != nil {
			failed, err = failed+1, restoreErr
			continue
		}
		restored++
		j.placed.mark(s.salt, e.seq)
		j.mu.Lock()
		e.item = item
		j.live[item.Key()]++
		j.mu.Unlock()
	}
	return restored, failed, err
}

// data reads an entry's data back.
func (j *Journal) data(s *segment, e entry) ([]byte, error) {
	b := make([]byte, e.len)
	if n, err := s.f.ReadAt(b, e.off); n < len(b) {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	r, ok := parseRecord(b, s.salt)
	if !ok {
		return nil, fmt.Errorf("%s: record at %d has changed", s.path, e.off)
	}
	return r.data, nil
}

// create makes a free segment of size octets, durably. It is filled with zeros:
// later syncs then have no blocks to allocate.
func create(fsys safeio.FS, dir string, number int, size int64) (*segment, error) {
	path := filepath.Join(dir, prefix+strconv.Itoa(number))
	f, err := fsys.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		_ = fsys.Remove(path + ".new")
		f, err = fsys.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, f: f, size: size, end: segmentHeader}
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size && err == nil; off += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
	}
	if err == nil {
		err = s.writeHeader(stateFree, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr // Windows renames no file that is open
	}
	if err == nil {
		err = fsys.Rename(path+".new", path)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err == nil {
		s.f, err = fsys.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		_ = fsys.Remove(path + ".new")
		_ = fsys.Remove(path)
		return nil, err
	}
	return s, nil
}
