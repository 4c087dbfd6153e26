//go:build !windows

package host

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// mayWrite asks the kernel with the rights of this process; a read-only file
// system gives EROFS, also to root.
func mayWrite(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}
