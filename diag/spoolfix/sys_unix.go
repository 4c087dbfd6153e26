//go:build unix

package spoolfix

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const noFollow = syscall.O_NOFOLLOW | syscall.O_CLOEXEC

// giveTo makes f belong to the owner and group of another file.
func giveTo(f *os.File, like fs.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if have, ok := info.Sys().(*syscall.Stat_t); ok && have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// withOwner is info with another owner; the group stays when the owner does.
func withOwner(info fs.FileInfo, uid, gid int) fs.FileInfo {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == uid {
		return info
	}
	c := *st
	c.Uid, c.Gid = uint32(uid), uint32(gid)
	return ownedInfo{info, &c}
}

type ownedInfo struct {
	fs.FileInfo
	st *syscall.Stat_t
}

func (o ownedInfo) Sys() any { return o.st }

// beforeRename does nothing: an open file can be replaced.
func (h *hold) beforeRename(*os.File) {}

// latecomers brings over what was written into the old file after it had lost
// its name.
func (d *disk) latecomers(ctx context.Context, path string, old *os.File, size int64) error {
	kernelUnlock(old)
	h := &hold{d: &disk{patience: 200 * time.Millisecond}}
	if err := h.kernel(ctx, old); err != nil && !errors.As(err, new(*BusyError)) {
		return err
	}
	info, err := old.Stat()
	if err != nil || info.Size() <= size {
		return err
	}
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := (&hold{d: d}).kernel(ctx, f); err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, io.NewSectionReader(old, size, info.Size()-size)); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	return d.sync(f)
}
