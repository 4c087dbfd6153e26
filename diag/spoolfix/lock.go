package spoolfix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailsrv/probes/host"
)

// errHeld: another process has the lock.
var errHeld = errors.New("another process has locked it")

// BusyError says which lock of others stands in the way.
type BusyError struct {
	Path    string
	PID     int    // 0: unknown
	Program string // of PID
}

func (e *BusyError) Error() string {
	switch {
	case e.Program != "":
		return fmt.Sprintf("%s is held by process %d (%s)", e.Path, e.PID, e.Program)
	case e.PID > 0:
		return fmt.Sprintf("%s is held by process %d", e.Path, e.PID)
	}
	return e.Path + " is held by another program"
}

// hold is a mailbox that is locked against all who lock in one of the usual
// ways.
type hold struct {
	d       *disk
	dotlock string
	own     os.FileInfo // the dotlock as we made it
	files   []*os.File
}

// lock makes the dotlock of a spool, which Dovecot, procmail, Postfix and
// Qpopper respect. A lock of others is waited for, not broken.
func (d *disk) lock(ctx context.Context, spool string) (*hold, error) {
	path := spool + ".lock"
	deadline := time.Now().Add(d.wait())
	for {
		d.step("lock")
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o644)
		if err == nil {
			h := &hold{d: d, dotlock: path}
			_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
			if h.own, _ = f.Stat(); h.own == nil {
				err = errors.Join(err, errChanged)
			}
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				d.discard(path)
				return nil, err
			}
			d.dotlock, d.touched = path, time.Now()
			return h, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, heldBy(path)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (d *disk) wait() time.Duration {
	if d.patience > 0 {
		return d.patience
	}
	return 3 * time.Second
}

// pause waits a moment before the next try.
func pause(ctx context.Context) error {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// heldBy reads who made a dotlock.
func heldBy(path string) error {
	e := &BusyError{Path: path}
	if f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0); err == nil {
		defer f.Close()
		b, _ := io.ReadAll(io.LimitReader(f, 100))
		if words := strings.Fields(string(b)); len(words) == 1 {
			if pid, err := strconv.Atoi(words[0]); err == nil && pid > 0 {
				if p, ok := host.ProcessOf(pid); ok {
					e.PID, e.Program = pid, p.Program
				}
			}
		}
	}
	return e
}

// kernel adds the kernel's locks on an open file, which the hold closes.
func (h *hold) kernel(ctx context.Context, f *os.File) error {
	h.files = append(h.files, f)
	deadline := time.Now().Add(h.d.wait())
	for {
		err := tryKernelLock(f)
		if err == nil {
			return nil
		}
		kernelUnlock(f) // one of two may have been ours
		if !errors.Is(err, errHeld) {
			return fmt.Errorf("%s: lock: %w", f.Name(), err)
		}
		if time.Now().After(deadline) {
			return &BusyError{Path: f.Name()}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// release lets the others in again.
func (h *hold) release() {
	for _, f := range h.files {
		_ = f.Close() // which lets go of its locks
	}
	h.d.dotlock = ""
	if h.d.dead {
		return
	}
	h.d.step("unlock")
	if info, err := os.Lstat(h.dotlock); err == nil && os.SameFile(info, h.own) {
		_ = os.Remove(h.dotlock)
		_ = h.d.syncDir(filepath.Dir(h.dotlock))
	}
}
