//go:build unix

package safeio

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const errNotDir = syscall.ENOTDIR

var rename = os.Rename

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// adopt gives what root made in dir to dir's owner.
func adopt(path, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	}
	return nil
}

// Adopt gives what root made to the owner of the folder it lies in.
func Adopt(path string) error { return adopt(path, filepath.Dir(path)) }

var errHeld error = unix.EWOULDBLOCK

// tryLock takes f's lock or returns errHeld. Closing f lets go of it.
func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}
