// Package spool looks at mbox mail spools and at the locks of other mail
// programs in them: Qpopper's .user.pop, dotlocks, Dovecot's lock files, kernel
// locks. It only reads: nothing is locked, created or touched, not even for a
// try.
package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailsrv/probes/host"
)

// Kinds of lock. The words are part of the JSON documents.
const (
	Qpopper  = "qpopper"  // .user.pop: Qpopper's copy of the spool during a session
	Dotlock  = "dotlock"  // user.lock
	Procmail = "procmail" // user.lock that procmail wrote: its content is "0"
	Flock    = "flock"    // kernel lock by flock(2)
	Fcntl    = "fcntl"    // kernel lock by fcntl(2)
	Dovecot  = "dovecot"  // dovecot*.lock beside its indexes
)

// File is what the directory says of a file.
type File struct {
	Path     string
	Type     string // "file", "link", "directory", "other"
	Size     int64  // octets
	Owner    string // name or number; empty when unknown
	UID      int    // -1 when unknown
	Mode     fs.FileMode
	Links    int // names of the file; 0 when unknown
	Modified time.Time
}

// Mailbox is one user's spool file and what locks it.
type Mailbox struct {
	Dir   string
	User  string
	Spool *File // nil: the user has locks, but no spool
	// Messages in the spool; -1 when it was not read. It is read when there is
	// a lock to compare it with.
	Messages int
	Locks    []Lock
	// Holders are the processes that have the spool open for writing, where the
	// operating system tells.
	Holders []host.Process
}

// Lock is one lock on a mailbox.
type Lock struct {
	Kind string // Mailsrv, too
	File        // the lock file; for kernel locks the file that is locked

	PID     int          // named in the file, or holding the kernel lock; 0: none
	Host    string       // named in the file; empty: none, or this machine
	Process host.Process // of PID; zero when it does not run (any more)
	Alive   bool         // that process runs, and has since before the lock was made

	// Holders are the processes that have the file open for writing or hold a
	// kernel lock on it. HoldersKnown is false where the operating system does
	// not tell.
	Holders      []host.Process
	HoldersKnown bool

	Messages int      // Qpopper: messages in the file; -1: unreadable
	Compared Relation // Qpopper: how it relates to the spool
	Err      error    // why the file could not be read
}

// Options of a scan. The zero value works.
type Options struct {
	User string // only this user's mailbox
}

// UsualDirs are the places where spools lie on this system, those that exist,
// each once.
func UsualDirs() []string {
	var out []string
	for _, dir := range []string{"/var/mail", "/var/spool/mail", "/var/spool/pop"} {
		real, err := filepath.EvalSymlinks(dir)
		if info, serr := os.Stat(real); err != nil || serr != nil || !info.IsDir() || slices.Contains(out, real) {
			continue
		}
		out = append(out, real)
	}
	return out
}

// Scan looks through spool directories, flat ones and hashed ones
// (/var/spool/mail/t/taro). A directory that cannot be read is an error, what
// cannot be read inside it is not.
func Scan(ctx context.Context, dirs []string, opt Options) ([]Mailbox, error) {
	s := scanner{opt: opt, at: map[string]int{}}
	var errs []error
	for _, dir := range dirs {
		if err := s.dir(ctx, dir, 0); err != nil {
			errs = append(errs, err)
		}
	}
	s.pair()
	s.holders(ctx)
	for i := range s.boxes {
		if err := ctx.Err(); err != nil {
			return s.boxes, err
		}
		s.boxes[i].compare(ctx)
	}
	return s.boxes, errors.Join(errs...)
}

type scanner struct {
	opt   Options
	boxes []Mailbox
	at    map[string]int // dir and user to place in boxes
}

// maxHash is how deep hashed spools nest: /var/spool/mail/t/a/taro.
const maxHash = 2

func (s *scanner) dir(ctx context.Context, dir string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if isDataDir(entries) {
		s.dataDir(dir)
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		user, kind := classify(name)
		switch {
		case e.IsDir() && kind == "" && len(name) <= 2 && depth < maxHash && name[0] != '.':
			// A hashed part that is closed to us hides only itself.
			_ = s.dir(ctx, path, depth+1)
		case e.IsDir() && kind == "":
			s.below(path, name)
		case kind != "":
			s.lock(dir, user, kind, path)
		case user != "":
			s.spool(dir, user, path)
		}
	}
	return nil
}

// notSpools are endings of files that lie about in spool directories without
// being anybody's spool.
var notSpools = []string{".gz", ".bz2", ".xz", ".zip", ".bak", ".old", ".orig", ".tmp", ".new", ".save", "~"}

// classify tells a lock from a spool by its name. An empty user means neither.
func classify(name string) (user, kind string) {
	if rest, ok := strings.CutPrefix(name, "."); ok {
		if user, ok := strings.CutSuffix(rest, ".pop"); ok && user != "" {
			return user, Qpopper
		}
		return "", ""
	}
	if user, ok := strings.CutSuffix(name, ".lock"); ok && user != "" {
		if strings.HasPrefix(name, "dovecot.") || strings.HasPrefix(name, "dovecot-") || user == "dovecot" {
			return user, Dovecot
		}
		return user, Dotlock
	}
	for _, end := range notSpools {
		if strings.HasSuffix(name, end) {
			return "", ""
		}
	}
	if strings.HasPrefix(name, "dovecot.") || strings.HasPrefix(name, "dovecot-") {
		return "", ""
	}
	return name, ""
}

// below looks for Dovecot's locks in a user's directory (a Maildir in the
// spool's place, or the indexes of an mbox).
func (s *scanner) below(dir, user string) {
	for _, sub := range []string{dir, filepath.Join(dir, ".imap"), filepath.Join(dir, ".imap", "INBOX")} {
		entries, err := os.ReadDir(sub)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if _, kind := classify(e.Name()); kind == Dovecot {
				s.lock(dir, user, kind, filepath.Join(sub, e.Name()))
			}
		}
	}
}

func (s *scanner) box(dir, user string) *Mailbox {
	if s.opt.User != "" && user != s.opt.User {
		return nil
	}
	key := dir + "\x00" + user
	i, ok := s.at[key]
	if !ok {
		i = len(s.boxes)
		s.at[key] = i
		s.boxes = append(s.boxes, Mailbox{Dir: dir, User: user, Messages: -1})
	}
	return &s.boxes[i]
}

func (s *scanner) spool(dir, user, path string) {
	f, err := stat(path)
	if err != nil || f.Type != "file" {
		return
	}
	if b := s.box(dir, user); b != nil {
		b.Spool = &f
	}
}

func (s *scanner) lock(dir, user, kind, path string) {
	b := s.box(dir, user)
	if b == nil {
		return
	}
	f, err := stat(path)
	if err != nil {
		return // gone since the directory was read
	}
	l := Lock{Kind: kind, File: f, Messages: -1}
	if f.Type == "file" && kind != Qpopper {
		l.readPID()
	}
	b.Locks = append(b.Locks, l)
}

// pair gives locks without a spool beside them the spool of that user in
// another of the directories: Qpopper may keep its copies apart.
func (s *scanner) pair() {
	for i := range s.boxes {
		b := &s.boxes[i]
		if b.Spool != nil || len(b.Locks) == 0 {
			continue
		}
		for _, other := range s.boxes {
			if other.User == b.User && other.Spool != nil {
				b.Spool = other.Spool
				break
			}
		}
	}
}

func stat(path string) (File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Type: "other", Size: info.Size(), Mode: info.Mode(), Modified: info.ModTime(), UID: -1}
	switch {
	case info.Mode().IsRegular():
		f.Type = "file"
	case info.IsDir():
		f.Type = "directory"
	case info.Mode()&fs.ModeSymlink != 0:
		f.Type = "link"
	}
	f.system(info)
	return f, nil
}

// pidLine is what programs write into lock files: "412", "412\n",
// "412:mail.example.com", "412 mail.example.com".
var pidLine = lazily(`^\s*(\d{1,9})(?:[\s:@]+([A-Za-z0-9._-]+))?\s*$`)

func (l *Lock) readPID() {
	f, err := os.Open(l.Path)
	if err != nil {
		l.Err = err
		return
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		l.Err = err
		return
	}
	if l.Kind == Dotlock && string(b) == "0" {
		l.Kind = Procmail
		return
	}
	m := pidLine().FindSubmatch(b)
	if m == nil {
		return
	}
	l.PID, _ = strconv.Atoi(string(m[1]))
	if name := string(m[2]); name != "" && !isThisHost(name) {
		l.Host = name
		return
	}
	if p, ok := host.ProcessOf(l.PID); ok {
		l.Process = p
		l.Alive = p.RunningSince(l.Modified)
	}
}

// isThisHost compares host names by their first labels when one of them has no
// domain.
func isThisHost(name string) bool {
	own, err := host.Name()
	if err != nil {
		return false
	}
	if strings.EqualFold(name, own) || strings.EqualFold(name, "localhost") {
		return true
	}
	short := func(s string) string { s, _, _ = strings.Cut(s, "."); return s }
	return (!strings.Contains(name, ".") || !strings.Contains(own, ".")) && strings.EqualFold(short(name), short(own))
}
