package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mailsrv/diag"
)

// Fixed is one thing that --fix has done, or with --dry-run would do.
type Fixed struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	Did     string `json:"did"`              // in words
	Backup  string `json:"backup,omitempty"` // where the state before is kept, when something was replaced

	apply func() error
	kept  *string // set by apply: what becomes Backup
}

// Fixers are the things that doctor may change; cmd hands them in.
type Fixers struct {
	// Forward makes address a role address that leads to target.
	Forward func(address, target string) error
	// ClearLock clears what is left of a lock on the user's mailbox, and returns
	// where the copies are, if it replaced anything.
	ClearLock func(path, user string) (backup string, err error)
}

// Plan lists what could be repaired of the findings of a localized report: those
// whose fix is marked auto, where all that is needed is known.
func Plan(r *Report, by Fixers) []Fixed {
	var out []Fixed
	for _, f := range r.Findings {
		did := autoText(f)
		if did == "" || f.Status == diag.OK || f.Status == diag.Skip {
			continue
		}
		switch f.ID {
		case "mailbox.tmp_leftover":
			tmp := fmt.Sprint(f.Evidence["path"])
			out = append(out, Fixed{ID: f.ID, Subject: f.Subject, Did: did, apply: func() error { return clearTmp(tmp, time.Now()) }})
		case "env.data_dir_open", "config.secret_readable", "cert.key_readable":
			path := f.Subject
			out = append(out, Fixed{ID: f.ID, Subject: f.Subject, Did: did, apply: func() error { return closeToOthers(path) }})
		case "lock.qpopper_empty", "lock.qpopper_left", "lock.qpopper_newer", "lock.qpopper_partial", "lock.qpopper_owner", "lock.dotlock_stale", "lock.dovecot_stale":
			path, user, kept := fmt.Sprint(f.Evidence["path"]), fmt.Sprint(f.Evidence["user"]), new(string)
			out = append(out, Fixed{ID: f.ID, Subject: f.Subject, Did: f.Title + ": " + did, kept: kept, apply: func() (err error) {
				*kept, err = by.ClearLock(path, user)
				return err
			}})
		case "account.no_postmaster", "account.no_abuse":
			to, _ := f.Evidence["to"].(string)
			if to == "" {
				continue // nobody knows whose mail it should be
			}
			out = append(out, Fixed{ID: f.ID, Subject: f.Subject, Did: did, apply: func() error { return by.Forward(f.Subject, to) }})
		}
	}
	return out
}

// closeToOthers takes a file's rights from all but its owner and group.
func closeToOthers(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^0o007)
}

// autoText is the text of the fix that doctor does itself.
func autoText(f diag.Finding) string {
	for _, x := range f.Fixes {
		if x.Auto {
			return x.Text
		}
	}
	return ""
}

// Apply does what was planned and examines again. What could not be done is in
// the error; the rest is done all the same.
func Apply(ctx context.Context, opt Options, plan []Fixed) (*Report, error) {
	var errs []error
	var done []Fixed
	for _, p := range plan {
		if err := p.apply(); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", p.ID, p.Subject, err))
			continue
		}
		if p.kept != nil {
			p.Backup = *p.kept
		}
		done = append(done, p)
	}
	r, err := Run(ctx, opt)
	if err != nil {
		return nil, err
	}
	r.Fixed = done
	return r, errors.Join(errs...)
}
