package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/server/safeio"
	"mailsrv/server/store/journal"
)

// Maildirs is the Store of a data directory.
type Maildirs struct {
	// Keep is how long deleted mail can be brought back; 0: not at all. It is
	// set before the store is used.
	Keep time.Duration

	// Tenant owns the records in the journal that begin with TenantMark, of
	// which the tenant itself appends some to Journal. It is set before Start.
	Tenant journal.Owner

	dataDir string
	fs      safeio.FS // of the writing side
	names   *namer
	now     func() time.Time
	journal *journal.Journal // nil before Start
	syncs   dirSyncs
	turns   chan struct{} // see New
	made    sync.Map      // by Box: Maildir, as a string, that is known to exist
	coming  atomic.Int32  // messages that are being taken in

	mu   sync.Mutex
	open map[Box]*InUseError
}

// New returns the store below dataDir. Nothing is read or created yet. Without
// Start each message is synced by itself.
func New(dataDir string) *Maildirs {
	s := &Maildirs{dataDir: dataDir, fs: &safeio.OS{}, names: newNamer(), now: time.Now, open: map[Box]*InUseError{},
		// The system lets one at a time change a folder. More of them in system
		// calls would be threads that wait for each other.
		turns: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
	}
	s.syncs.sync = s.fs.SyncDir
	return s
}

// Dir is the folder of a mailbox; the Maildir lies in it.
func Dir(dataDir string, box Box) string {
	return filepath.Join(dataDir, "mail", safeio.FileName(strings.ToLower(box.Domain)), safeio.FileName(strings.ToLower(box.Name)))
}

func (s *Maildirs) maildir(box Box, part string) string {
	maildir, ok := s.made.Load(box)
	if !ok {
		return filepath.Join(Dir(s.dataDir, box), "Maildir", part)
	}
	return maildir.(string) + string(filepath.Separator) + part
}

func (s *Maildirs) make(box Box) error {
	if _, ok := s.made.Load(box); ok {
		return nil
	}
	domain := filepath.Dir(Dir(s.dataDir, box))
	if err := s.fs.MkdirAll(domain, 0o700); err != nil {
		return DiskError(err)
	}
	safeio.Spread(domain)
	for _, part := range []string{"tmp", "new", "cur"} {
		if err := s.fs.MkdirAll(s.maildir(box, part), 0o700); err != nil {
			return DiskError(err)
		}
	}
	s.made.Store(box, filepath.Join(Dir(s.dataDir, box), "Maildir"))
	return nil
}

// Remove implements Store.
func (s *Maildirs) Remove(box Box) error {
	s.made.Delete(box)
	return RemoveBox(s.dataDir, box)
}

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
