package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mailsrv/server/store/journal"
)

// JournalDir is the folder of the journal in a data directory.
func JournalDir(dataDir string) string { return filepath.Join(dataDir, "journal") }

// DamagedDir is the folder in it for what could not be read after a crash.
const DamagedDir = journal.DamagedDir

const (
	// Segments of the journal: the first is small, for a server that gets a
	// message now and then; under load bigger ones join it.
	segments   = 4
	segmentMin = 256 << 10
	segmentMax = 16 << 20

	// settleEvery is how long a message is in the journal as well as in its
	// file.
	settleEvery = 10 * time.Second
)

// Start opens the journal, and puts into the mailboxes what a server that was
// killed, or lost its power, has left there. Close ends it.
func (s *Maildirs) Start(log *slog.Logger) error {
	r := &replay{s: s, seen: map[Box]map[string]string{}}
	j, err := journal.Open(journal.Options{
		FS: s.fs, Dir: JournalDir(s.dataDir), Owner: &shared{r, s.Tenant}, Log: log,
		Size: s.segmentSize, Segments: segments, Every: settleEvery, Machine: s.fs.Machine(s.dataDir),
	})
	r.seen = nil // from now on the mailboxes change
	if err != nil {
		return DiskError(err)
	}
	s.journal = j
	return nil
}

// Journal is the journal after Start, for the tenant's records.
func (s *Maildirs) Journal() *journal.Journal { return s.journal }

// Close implements Store.
func (s *Maildirs) Close() error {
	if s.journal == nil {
		return nil
	}
	err := s.journal.Close()
	if c, ok := s.fs.(interface{ Close() }); ok {
		c.Close()
	}
	return err
}

func (s *Maildirs) segmentSize(n int) int64 {
	size := int64(2<<20) << min(n, 3)
	if free, readOnly, ok := s.fs.Room(s.dataDir); ok {
		if readOnly {
			return 0
		}
		size = min(size, int64(min(free, 1<<40)/16)&^4095)
	}
	if size < segmentMin {
		return 0
	}
	return min(size, segmentMax)
}

// settled makes sure that none of the messages with these UIDs can come back
// from the journal: to be called before they are deleted or moved for good.
// Their files are durable then.
func (s *Maildirs) settled(uids []string) error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Settled(uids)
}

// item is a message in the journal.
type item struct {
	name  string // of the file, up to ",S="
	size  int64
	boxes []Box
}

func (i *item) Key() string { return uidOf(i.name) }

// appendHead adds what stands before the message in a record: its name, and
// its mailboxes, each string behind its length.
func appendHead(b []byte, name string, boxes []Box) []byte {
	add := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	add(name)
	b = binary.AppendUvarint(b, uint64(len(boxes)))
	for _, box := range boxes {
		add(box.Name)
		add(box.Domain)
	}
	return b
}

var errNotOurs = errors.New("store: journal record that is no message")

func parseRecord(data []byte) (*item, []byte, error) {
	bad := false
	number := func() uint64 {
		n, k := binary.Uvarint(data)
		if k <= 0 || n > uint64(len(data)) {
			bad = true
			return 0
		}
		data = data[k:]
		return n
	}
	text := func() string {
		n := number()
		if n > uint64(len(data)) {
			bad = true
			return ""
		}
		s := string(data[:n])
		data = data[n:]
		return s
	}
	i := &item{name: text()}
	for n := number(); n > 0 && !bad; n-- {
		i.boxes = append(i.boxes, Box{text(), text()})
	}
	if bad || len(i.boxes) == 0 || i.name == "" || strings.ContainsAny(i.name, "/\\:\x00") || strings.HasPrefix(i.name, ".") {
		return nil, nil, errNotOurs
	}
	i.size = int64(len(data))
	return i, data, nil
}

// replay is the journal's owner.
type replay struct {
	s *Maildirs

	// seen caches, during Start, where the messages of a mailbox are by the
	// first part of their names; nil later.
	seen map[Box]map[string]string
}

// Restore implements journal.Owner.
func (r *replay) Restore(data []byte, placed bool) (journal.Item, error) {
	i, body, err := parseRecord(data)
	if err != nil {
		return nil, err
	}
	for _, box := range i.boxes {
		if placed {
			break
		}
		if _, err := r.s.fs.ReadNames(r.s.maildir(box, "tmp")); errors.Is(err, fs.ErrNotExist) {
			continue // the mailbox has been removed since: its folders were durable before the message came
		}
		path, err := r.where(box, i.name)
		if err != nil {
			return nil, err
		}
		if path != "" {
			// The name may be older than the octets.
			if have, err := r.s.fs.ReadFile(path); err == nil && bytes.Equal(have, body) {
				continue
			}
		} else {
			path = r.s.final(box, i.name, i.size)
		}
		if err := r.write(box, i.name, path, body, false); err != nil {
			return nil, err
		}
		if r.seen != nil {
			r.seen[box][i.name] = path
		}
	}
	return i, nil
}

// where is the path of a message, "" if it is not there.
func (r *replay) where(box Box, name string) (string, error) {
	if at, ok := r.seen[box]; ok {
		return at[name], nil
	}
	at := map[string]string{}
	for _, part := range []string{"new", "cur"} {
		dir := r.s.maildir(box, part)
		names, err := r.s.fs.ReadNames(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, file := range names {
			unique, _, _ := strings.Cut(file, ",")
			unique, _, _ = strings.Cut(unique, ":2")
			unique, _, _ = strings.Cut(unique, ";2")
			at[unique] = filepath.Join(dir, file)
		}
	}
	if r.seen != nil {
		r.seen[box] = at
	}
	return at[name], nil
}

// write puts a message in its place.
func (r *replay) write(box Box, name, path string, body []byte, synced bool) error {
	tmp := r.s.tmp(box, name)
	f, err := r.s.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return DiskError(err)
	}
	_, err = f.Write(body)
	if err == nil && synced {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = r.s.fs.Rename(tmp, path)
	}
	if err == nil && synced {
		err = r.s.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = r.s.fs.Remove(tmp)
	}
	return DiskError(err)
}

// Settle implements journal.Owner.
func (r *replay) Settle(items []journal.Item) error {
	dirs := map[string]bool{}
	for _, i := range items {
		for _, box := range i.(*item).boxes {
			dirs[r.s.maildir(box, "new")] = true
		}
	}
	list := make([]string, 0, len(dirs))
	for dir := range dirs {
		list = append(list, dir)
	}
	if ok, err := r.s.fs.SyncFS(list); ok || len(list) == 0 {
		return err
	}
	if err := r.syncFiles(items); err != nil {
		return err
	}
	for _, dir := range list {
		if err := r.s.fs.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFiles is for systems that cannot sync a whole file system: each file by
// itself, a few at a time.
func (r *replay) syncFiles(items []journal.Item) error {
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	work := make(chan *item)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				for _, box := range i.boxes {
					if err := r.syncFile(box, i); err != nil {
						mu.Lock()
						failed = err
						mu.Unlock()
					}
				}
			}
		})
	}
	for _, i := range items {
		work <- i.(*item)
	}
	close(work)
	wg.Wait()
	return failed
}

func (r *replay) syncFile(box Box, i *item) error {
	path := r.s.final(box, i.name, i.size)
	f, err := r.s.fs.OpenFile(path, os.O_RDWR, 0) // Windows flushes only what may be written
	if errors.Is(err, fs.ErrNotExist) {
		if path, err = r.where(box, i.name); err != nil || path == "" {
			return err // deleted by another program
		}
		f, err = r.s.fs.OpenFile(path, os.O_RDWR, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Repair implements journal.Owner.
func (r *replay) Repair(it journal.Item, data []byte) error {
	i, body, err := parseRecord(data)
	if err != nil {
		return err
	}
	for _, box := range i.boxes {
		path, err := r.where(box, i.name)
		if err == nil && path != "" {
			err = r.write(box, i.name, path, body, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
