//go:build unix

package safeio

import (
	"os"
	"syscall"
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
