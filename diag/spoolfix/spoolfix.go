// Package spoolfix clears what other mail programs left behind in mail spools,
// and repairs damaged mailboxes in mbox form, without losing a message.
//
// Scan says what there is, as findings. Clear acts on them: it brings the mail
// of Qpopper's .user.pop back, removes locks whose process is gone, and leaves
// alone what somebody holds or nobody can judge. Repair mends a mailbox that
// POP servers refuse ("Unable to process From lines").
//
// A mailbox is changed in one way only: locked as the other mail programs lock
// it (dotlock, fcntl, flock), copied, written anew beside itself, read back and
// compared message by message, and renamed. Whoever stops that at any point
// leaves all mail where it was or where it belongs, and the next run goes on.
package spoolfix

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/probes/spool"
)

// Options of Scan and Clear.
type Options struct {
	Dirs   []string // spool directories; there is at least one
	User   string   // only this user's mailbox
	Backup string   // where copies are kept; empty: beside the mailbox
	DryRun bool     // Clear only says what it would do
	Now    time.Time

	disk *disk // tests
}

// Report is the document of locks scan and locks clear.
type Report struct {
	DryRun   bool           `json:"dry_run,omitempty"`
	Spools   []Spool        `json:"spools"`
	Actions  []Action       `json:"actions"`
	Findings []diag.Finding `json:"findings"`
	Summary  diag.Summary   `json:"summary"`
}

// Spool is one user's mailbox with its locks.
type Spool struct {
	Dir   string `json:"dir"`
	User  string `json:"user"`
	Spool *File  `json:"spool,omitempty"`
	Locks []Lock `json:"locks"`
}

// File is the mailbox file.
type File struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	Messages *int   `json:"messages,omitempty"` // nil: not read (no lock, and very large)
	Owner    string `json:"owner,omitempty"`
}

// States of a lock.
const (
	Live    = "live"    // a process holds it
	Stale   = "stale"   // its process is gone
	Empty   = "empty"   // a .user.pop without mail that nobody holds
	Partial = "partial" // it or the spool holds only a part of the other's mail
	Unknown = "unknown" // cannot be judged (yet, or here)
	Unsafe  = "unsafe"  // a link, a folder, another user's file
)

// Lock is one lock on a mailbox.
type Lock struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	State    string `json:"state"`
	Size     int64  `json:"size"`
	AgeS     int64  `json:"age_s"`
	Messages *int   `json:"messages,omitempty"`
	PID      int    `json:"pid,omitempty"`
	Program  string `json:"program,omitempty"`
	Alive    bool   `json:"alive"`
	Host     string `json:"host,omitempty"`
}

// states are those that the findings stand for.
var states = map[string]string{
	"lock.qpopper_live": Live, "lock.dotlock_live": Live, "lock.kernel_live": Live,
	"lock.qpopper_empty": Empty, "lock.qpopper_partial": Partial,
	"lock.qpopper_left": Stale, "lock.qpopper_newer": Stale, "lock.qpopper_owner": Stale,
	"lock.dotlock_stale": Stale, "lock.dovecot_stale": Stale,
	"lock.other_host": Unknown, "lock.unknown": Unknown, "lock.unsafe": Unsafe,
}

// judged is a lock with what the judge says of it. The last finding is the one
// to act on: the one before it, if any, is about the owner.
type judged struct {
	spool.Lock
	findings []diag.Finding
}

func (j judged) id() string { return j.findings[len(j.findings)-1].ID }

// look scans and judges.
func look(ctx context.Context, opt Options) (boxes []spool.Mailbox, locks [][]judged, rep *Report, err error) {
	boxes, err = spool.Scan(ctx, opt.Dirs, spool.Options{User: opt.User})
	rep = &Report{DryRun: opt.DryRun, Spools: []Spool{}, Actions: []Action{}, Findings: []diag.Finding{}}
	if ctx.Err() != nil {
		return nil, nil, nil, ctx.Err()
	}
	for _, e := range errorsIn(err) {
		var pe *fs.PathError
		if errors.As(e, &pe) {
			rep.Findings = append(rep.Findings, diag.New("env.admin_missing", pe.Path, diag.Evidence{"what": "spool", "path": pe.Path, "reason": pe.Err.Error()}))
		}
	}
	budget := int64(256 << 20)
	for _, b := range boxes {
		var here []judged
		if b.Spool != nil && b.Messages < 0 && b.Spool.Size <= budget {
			budget -= b.Spool.Size
			b.Messages = countMessages(ctx, b.Spool.Path)
		}
		s := Spool{Dir: b.Dir, User: b.User, Locks: []Lock{}}
		if b.Spool != nil {
			s.Spool = &File{Path: b.Spool.Path, Size: b.Spool.Size, Owner: b.Spool.Owner, Messages: known(b.Messages)}
		}
		for _, l := range b.Locks {
			j := judged{l, doctor.JudgeLock(b, l, opt.Now)}
			here = append(here, j)
			rep.Findings = append(rep.Findings, j.findings...)
			s.Locks = append(s.Locks, shown(j, opt.Now))
		}
		locks = append(locks, here)
		rep.Spools = append(rep.Spools, s)
	}
	bad := diag.Summarize(rep.Findings)
	if bad.Fail+bad.Warn+bad.Skip == 0 {
		rep.Findings = append(rep.Findings, diag.New("locks.ok", "", diag.Evidence{"spools": len(boxes)}))
	}
	diag.Sort(rep.Findings)
	rep.Summary = diag.Summarize(rep.Findings)
	return boxes, locks, rep, nil
}

// countMessages is -1 for a mailbox that cannot be read.
func countMessages(ctx context.Context, path string) int {
	f, err := os.Open(path)
	if err != nil {
		return -1
	}
	defer f.Close()
	s, err := spool.ReadSource(ctx, f)
	if err != nil {
		return -1
	}
	return len(s.Messages)
}

func shown(j judged, now time.Time) Lock {
	l := Lock{
		Path: j.Path, Kind: j.Kind, State: states[j.id()], Size: j.Size, AgeS: int64(now.Sub(j.Modified).Seconds()),
		PID: j.PID, Program: j.Process.Program, Alive: j.Alive, Host: j.Host,
	}
	if j.Kind == spool.Qpopper {
		l.Messages = known(j.Messages)
	}
	if len(j.Holders) > 0 {
		l.PID, l.Program, l.Alive = j.Holders[0].PID, j.Holders[0].Program, true
	}
	return l
}

func known(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}

func errorsIn(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// Scan looks at spools and their locks and changes nothing.
func Scan(ctx context.Context, opt Options) (*Report, error) {
	_, _, rep, err := look(ctx, opt.withDefaults())
	return rep, err
}

func (opt Options) withDefaults() Options {
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	if opt.disk == nil {
		opt.disk = &disk{}
	}
	return opt
}

// ExitCode agrees with the report: 1 for a failure (and with strict for a
// warning), 3 when something could not be judged.
func (r *Report) ExitCode(strict bool) int {
	switch {
	case r.Summary.Fail > 0, strict && r.Summary.Warn > 0:
		return doctor.ExitFailed
	case r.Summary.Warn == 0 && r.Summary.Skip > 0:
		return doctor.ExitUnknown
	}
	return doctor.ExitHealthy
}

// CheckDirs makes sure that all are directories that exist.
func CheckDirs(dirs []string) error {
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if err == nil && !info.IsDir() {
			return &fs.PathError{Op: "open", Path: dir, Err: errors.New("is a file: name the directory " + filepath.Dir(dir) + " and the mailbox with --user " + filepath.Base(dir))}
		}
	}
	return nil
}
