package spoolfix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"mailsrv/diag/doctor"
	"mailsrv/probes/spool"
)

// What became of a lock.
const (
	Merged   = "merged"   // its mail is back in the spool, and it is gone
	Removed  = "removed"  // it is gone
	Repaired = "repaired" // it has the right owner and mode
	Kept     = "kept"     // it is as it was; Why says why
)

// Reasons for which a lock is left alone.
const (
	WhyLive       = "live"       // a process holds it
	WhyUnknown    = "unknown"    // it cannot be judged yet
	WhyOtherHost  = "other-host" // only that host can judge it
	WhyUnsafe     = "unsafe"     // it is no ordinary file
	WhyBusy       = "busy"       // another lock on the mailbox is held
	WhyChanged    = "changed"    // somebody changed it just now
	WhyPermission = "permission" // there is no right to change it
	WhyFailed     = "failed"     // it did not work; Error says why
)

// Action is what Clear did with a lock, or with DryRun would do.
type Action struct {
	User   string `json:"user"`
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Spool  string `json:"spool,omitempty"` // where the mail is now
	Action string `json:"action"`
	Why    string `json:"why,omitempty"`

	PID     int    `json:"pid,omitempty"`     // who holds it
	Program string `json:"program,omitempty"` // of PID
	Error   string `json:"error,omitempty"`

	// Messages in both files before, in the spool after, and how many of those
	// before were there twice. The hashes are those of the messages after.
	Before      int      `json:"before"`
	After       int      `json:"after"`
	Duplicates  int      `json:"duplicates"`
	Lost        int      `json:"lost"`
	Backup      string   `json:"backup,omitempty"`       // copy of the lock file
	SpoolBackup string   `json:"spool_backup,omitempty"` // copy of the spool as it was
	Hashes      []string `json:"hashes,omitempty"`
}

// Clear acts on what Scan finds, and looks again: the findings are those of the
// second look, or with DryRun of the first.
func Clear(ctx context.Context, opt Options) (*Report, error) {
	opt = opt.withDefaults()
	boxes, locks, rep, err := look(ctx, opt)
	if err != nil {
		return nil, err
	}
	if opt.Backup != "" && !opt.DryRun {
		if err := os.MkdirAll(opt.Backup, 0o700); err != nil {
			return nil, err
		}
	}
	actions := []Action{}
	for i, b := range boxes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		actions = append(actions, clearBox(ctx, boxes, b, locks[i], opt)...)
	}
	if !opt.DryRun && slices.ContainsFunc(actions, func(a Action) bool { return a.Action != Kept }) {
		if _, _, rep, err = look(ctx, opt); err != nil {
			return nil, err
		}
	}
	rep.Actions = actions
	return rep, nil
}

// clearBox deals with the locks of one mailbox. Dotlocks come first: while one
// is there, nothing else can be done.
func clearBox(ctx context.Context, boxes []spool.Mailbox, b spool.Mailbox, locks []judged, opt Options) []Action {
	var out []Action
	for _, pop := range []bool{false, true} {
		for _, j := range locks {
			if (j.Kind == spool.Qpopper) == pop {
				out = append(out, clearLock(ctx, boxes, b, locks, j, opt))
			}
		}
	}
	return out
}

func clearLock(ctx context.Context, boxes []spool.Mailbox, b spool.Mailbox, locks []judged, j judged, opt Options) Action {
	a := Action{User: b.User, Path: j.Path, Kind: j.Kind}
	shown := shown(j, opt.Now)
	kept := func(why string) Action {
		a.Action, a.Why = Kept, why
		if why == WhyLive {
			a.PID, a.Program = shown.PID, shown.Program
		}
		return a
	}
	d := opt.disk
	var err error
	switch id := j.id(); id {
	case "lock.qpopper_live", "lock.dotlock_live", "lock.kernel_live":
		return kept(WhyLive)
	case "lock.other_host":
		return kept(WhyOtherHost)
	case "lock.unsafe":
		return kept(WhyUnsafe)
	case "lock.unknown":
		return kept(WhyUnknown)
	case "lock.dotlock_stale", "lock.dovecot_stale":
		a.Action = Removed
		if !opt.DryRun {
			err = d.removeStale(j.Lock)
		}
	case "lock.qpopper_owner":
		a.Action = Repaired
		if j.Size == 0 && opt.Now.Sub(j.Modified) >= doctor.EmptyAge {
			a.Action = Removed
		}
		if !opt.DryRun {
			err = d.underLock(ctx, b, j, spoolPath(boxes, b), a.Action == Removed)
		}
	case "lock.qpopper_empty":
		a.Action = Removed
		if !opt.DryRun {
			err = d.underLock(ctx, b, j, spoolPath(boxes, b), true)
		}
	case "lock.qpopper_left", "lock.qpopper_newer", "lock.qpopper_partial":
		a.Action, a.Spool = Merged, spoolPath(boxes, b)
		if err = inTheWay(b, locks, a.Spool); err != nil {
			break
		}
		var m merged
		if opt.DryRun {
			m, err = preview(ctx, j.Path, a.Spool)
		} else {
			m, err = d.merge(ctx, j.Lock, a.Spool, opt.Backup, opt)
		}
		if err == nil {
			a.Before, a.After, a.Duplicates, a.Hashes = m.before, m.after, m.duplicates, m.hashes
		}
		a.Backup, a.SpoolBackup = m.backup, m.spoolBackup
	default:
		err = fmt.Errorf("finding %s: nothing is known to do", id)
	}
	if err != nil {
		a.fail(err)
	}
	return a
}

// inTheWay says who works on a spool at present.
func inTheWay(b spool.Mailbox, locks []judged, spoolPath string) error {
	for _, j := range locks {
		switch j.id() {
		case "lock.dotlock_live", "lock.kernel_live", "lock.other_host", "lock.unknown", "lock.unsafe":
			if j.Path == spoolPath+".lock" || j.Path == spoolPath {
				return &BusyError{Path: j.Path, PID: j.Process.PID, Program: j.Process.Program}
			}
		}
	}
	if len(b.Holders) > 0 {
		return &BusyError{Path: spoolPath, PID: b.Holders[0].PID, Program: b.Holders[0].Program}
	}
	return nil
}

// fail makes a kept one of the action.
func (a *Action) fail(err error) {
	a.Action, a.Error, a.Why = Kept, err.Error(), WhyFailed
	var busy *BusyError
	switch {
	case errors.As(err, &busy):
		a.Why, a.PID, a.Program = WhyBusy, busy.PID, busy.Program
	case errors.Is(err, errChanged):
		a.Why = WhyChanged
	case errors.Is(err, errUnsafe):
		a.Why = WhyUnsafe
	case errors.Is(err, fs.ErrPermission):
		a.Why = WhyPermission
	}
}

// spoolPath is where a user's mail belongs: beside the lock or, when nobody has
// mail there (Qpopper can keep its copies in a directory of their own), in the
// directory where others have theirs.
func spoolPath(boxes []spool.Mailbox, b spool.Mailbox) string {
	if b.Spool != nil {
		return b.Spool.Path
	}
	elsewhere := ""
	for _, other := range boxes {
		switch {
		case other.Spool == nil || filepath.Dir(other.Spool.Path) != other.Dir:
		case other.Dir == b.Dir:
			return filepath.Join(b.Dir, b.User)
		case elsewhere == "":
			elsewhere = other.Dir
		}
	}
	if elsewhere == "" || strings.HasPrefix(elsewhere, b.Dir+string(filepath.Separator)) || strings.HasPrefix(b.Dir, elsewhere+string(filepath.Separator)) {
		elsewhere = b.Dir
	}
	return filepath.Join(elsewhere, b.User)
}

// removeStale removes a lock file that is still the one that was judged. It is
// put aside first: what somebody made in the last moment is put back.
func (d *disk) removeStale(l spool.Lock) error {
	f, err := open(l.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != l.Size || !info.ModTime().Equal(l.Modified) {
		return fmt.Errorf("%s: %w", l.Path, errChanged)
	}
	aside := filepath.Join(filepath.Dir(l.Path), newName(filepath.Base(l.Path)))
	d.step("aside")
	if runtime.GOOS == "windows" { // which renames no open file
		f.Close()
	}
	if err := os.Rename(l.Path, aside); err != nil {
		return err
	}
	if moved, err := os.Lstat(aside); err != nil || !os.SameFile(moved, info) {
		// Somebody was faster: it is a new lock.
		if err := os.Link(aside, l.Path); err == nil || errors.Is(err, fs.ErrExist) {
			d.discard(aside)
		}
		return fmt.Errorf("%s: %w", l.Path, errChanged)
	}
	d.step("remove " + filepath.Base(l.Path))
	if err := os.Remove(aside); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(l.Path))
}

// underLock removes an empty .user.pop, or gives a foreign one to the user of
// the mailbox.
func (d *disk) underLock(ctx context.Context, b spool.Mailbox, j judged, spoolPath string, remove bool) error {
	h, err := d.lock(ctx, spoolPath)
	if err != nil {
		return err
	}
	defer h.release()
	f, err := open(j.Path)
	if err != nil {
		return err
	}
	if err := h.kernel(ctx, f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != j.Size || !info.ModTime().Equal(j.Modified) {
		return fmt.Errorf("%s: %w", j.Path, errChanged)
	}
	if remove {
		return d.remove(j.Path, f)
	}
	d.step("owner")
	if uid := doctor.OwnerID(b); uid >= 0 && uid != j.UID {
		if err := f.Chown(uid, -1); err != nil {
			return err
		}
	}
	return f.Chmod(info.Mode().Perm()&0o660 | 0o600)
}
