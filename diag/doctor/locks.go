package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/host"
	"mailsrv/probes/spool"
)

func init() {
	register(Check{Name: "locks", Stage: Local, Limit: 60 * time.Second, Run: locks})
}

// How long a lock without a holder is given before it counts as left behind.
const (
	EmptyAge   = 10 * time.Minute // an empty .user.pop, a Dovecot lock
	dotlockAge = 30 * time.Minute // a dotlock without a process id
	workingAge = 2 * time.Minute  // a .user.pop that somebody may be writing without a lock
)

// locks looks at the spools given by option, or the system's usual places.
func locks(ctx context.Context, c *Case) []diag.Finding {
	boxes, out := c.spools(ctx)
	for _, b := range boxes {
		for _, l := range b.Locks {
			out = append(out, JudgeLock(b, l, c.Now)...)
		}
	}
	return out
}

// spools scans, and says what it could not look at.
func (c *Case) spools(ctx context.Context) ([]spool.Mailbox, []diag.Finding) {
	dirs := c.Spools
	if len(dirs) == 0 {
		if dirs = spool.UsualDirs(); len(dirs) == 0 {
			return nil, []diag.Finding{nothing}
		}
	}
	boxes, err := spool.Scan(ctx, dirs, spool.Options{})
	if err == nil || ctx.Err() != nil {
		return boxes, nil
	}
	var out []diag.Finding
	for _, e := range unjoin(err) {
		var pe *fs.PathError
		if errors.As(e, &pe) {
			out = append(out, diag.New("env.admin_missing", pe.Path, diag.Evidence{"what": "spool", "path": pe.Path, "reason": pe.Err.Error()}))
		}
	}
	return boxes, out
}

func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// JudgeLock says what a lock means, at the given time: what `locks scan` and
// the locks check report.
func JudgeLock(b spool.Mailbox, l spool.Lock, now time.Time) []diag.Finding {
	j := lockJudge{b, l, now.Sub(l.Modified), evidence(b, l, now)}
	switch {
	case l.Kind == spool.Mailsrv && !l.HoldersKnown:
		j.ev["missing"] = "content"
		return j.one("lock.unknown")
	case l.Kind == spool.Flock || l.Kind == spool.Fcntl || l.Kind == spool.Mailsrv:
		return j.one("lock.kernel_live")
	case j.unsafe():
		return j.one("lock.unsafe")
	}
	switch l.Kind {
	case spool.Qpopper:
		return j.qpopper()
	case spool.Dovecot:
		return j.dovecot()
	}
	return j.dotlock()
}

type lockJudge struct {
	box  spool.Mailbox
	lock spool.Lock
	age  time.Duration
	ev   diag.Evidence
}

func evidence(b spool.Mailbox, l spool.Lock, now time.Time) diag.Evidence {
	ev := diag.Evidence{"user": b.User, "path": l.Path, "kind": l.Kind, "size": l.Size, "age_s": int64(now.Sub(l.Modified).Seconds())}
	if l.Kind == spool.Qpopper {
		if l.Messages >= 0 {
			ev["messages"] = l.Messages
		}
		if b.Messages >= 0 {
			ev["spool_messages"] = b.Messages
		}
		if l.Compared.Known {
			ev["newer"] = l.Compared.Newer
		}
		if l.Compared.Part != "" {
			ev["part"] = l.Compared.Part
		}
	}
	if b.Spool != nil {
		ev["spool"] = b.Spool.Path
	}
	if l.Owner != "" {
		ev["owner"] = l.Owner
	}
	if l.Host != "" && l.Kind != spool.Mailsrv {
		ev["host"] = l.Host
	}
	if l.PID > 0 {
		ev["pid"] = l.PID
		ev["alive"] = l.Alive
	}
	holder := l.Process
	if len(l.Holders) > 0 {
		holder = l.Holders[0]
		ev["alive"] = true
	}
	if holder.PID > 0 && (l.Alive || len(l.Holders) > 0) {
		ev["pid"] = holder.PID
		if holder.Program != "" {
			ev["program"] = holder.Program
		}
		if !holder.Started.IsZero() {
			ev["since"] = holder.Started.Format(time.RFC3339)
		}
	}
	return ev
}

func (j lockJudge) one(id string) []diag.Finding {
	n, unit := ageOf(j.age)
	f := diag.New(id, j.lock.Path, j.ev).With("age_n", n).With("age_unit", unit)
	dirs := shellWord(j.box.Dir)
	if s := j.box.Spool; s != nil && filepath.Dir(s.Path) != filepath.Clean(j.box.Dir) {
		dirs = shellWord(filepath.Dir(s.Path)) + " " + dirs
	}
	return []diag.Finding{f.With("q_path", shellWord(j.lock.Path)).With("q_dir", dirs).With("q_user", shellWord(j.box.User))}
}

// ageOf is an age in the unit that people would use: s, min, h or d.
func ageOf(d time.Duration) (n int, unit string) {
	switch {
	case d < time.Minute:
		return int(d.Seconds()), "s"
	case d < 2*time.Hour:
		return int(d.Minutes()), "min"
	case d < 48*time.Hour:
		return int(d.Hours()), "h"
	}
	return int(d.Hours() / 24), "d"
}

// unsafe tells what no lock should be: somebody may have put it there to have
// another file overwritten.
func (j lockJudge) unsafe() bool {
	l := j.lock
	if l.Type != "file" {
		return true
	}
	// A dotlock is often made by linking, by its owner; a .user.pop with a second
	// name that belongs to somebody else than the spool is a trap.
	return l.Links > 1 && j.box.Spool != nil && l.UID >= 0 && j.box.Spool.UID >= 0 && l.UID != j.box.Spool.UID && l.UID != 0
}

func (j lockJudge) qpopper() []diag.Finding {
	l := j.lock
	switch {
	case len(l.Holders) > 0:
		return j.one("lock.qpopper_live")
	case !l.HoldersKnown:
		j.ev["missing"] = "holders"
		return j.one("lock.unknown")
	}
	var out []diag.Finding
	if j.foreign() {
		out = j.one("lock.qpopper_owner")
	}
	switch {
	case l.Size == 0 && j.age < EmptyAge, l.Size > 0 && j.age < workingAge:
		if len(out) == 0 {
			j.ev["missing"] = "age"
			out = j.one("lock.unknown")
		}
		return out
	case l.Size == 0:
		if len(out) > 0 {
			return out
		}
		return j.one("lock.qpopper_empty")
	case l.Err != nil || !l.Compared.Known:
		if len(out) == 0 {
			j.ev["missing"] = "content"
			out = j.one("lock.unknown")
		}
		return out
	case l.Compared.Part != "":
		return append(out, j.one("lock.qpopper_partial")...)
	case j.box.Messages > 0:
		return append(out, j.one("lock.qpopper_newer")...)
	}
	return append(out, j.one("lock.qpopper_left")...)
}

// foreign tells whether the POP server, which works as the user, is kept out of
// its own file.
func (j lockJudge) foreign() bool {
	l := j.lock
	want := OwnerID(j.box)
	if l.UID < 0 || want < 0 {
		return false
	}
	j.ev["expected_owner"] = host.UserName(want)
	return l.UID != want || l.Mode.Perm()&0o600 != 0o600
}

// OwnerID is who a user's mail must belong to: the owner of the spool, or the
// account of that name; -1 when neither is known.
func OwnerID(b spool.Mailbox) int {
	if b.Spool != nil && b.Spool.UID >= 0 {
		return b.Spool.UID
	}
	if u, err := user.Lookup(b.User); err == nil {
		if id, err := strconv.Atoi(u.Uid); err == nil {
			return id
		}
	}
	return -1
}

func (j lockJudge) dovecot() []diag.Finding {
	l := j.lock
	switch {
	case l.Host != "":
		return j.one("lock.other_host")
	case l.Alive || len(l.Holders) > 0:
		return j.one("lock.dotlock_live")
	case j.age < EmptyAge && l.PID == 0:
		j.ev["missing"] = "age"
		return j.one("lock.unknown")
	case l.PID == 0 && !l.HoldersKnown:
		j.ev["missing"] = "holders"
		return j.one("lock.unknown")
	}
	return j.one("lock.dovecot_stale")
}

func (j lockJudge) dotlock() []diag.Finding {
	l := j.lock
	switch {
	case l.Host != "":
		return j.one("lock.other_host")
	case l.Alive || len(l.Holders) > 0:
		return j.one("lock.dotlock_live")
	case l.PID > 0:
		return j.one("lock.dotlock_stale")
	case j.age < dotlockAge:
		j.ev["missing"] = "age"
		return j.one("lock.unknown")
	}
	return j.one("lock.dotlock_stale")
}
