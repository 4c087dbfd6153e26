//go:build unix

package store

import (
	"os"

	"golang.org/x/sys/unix"
)

var errHeld error = unix.EWOULDBLOCK

// tryLock takes f's lock, alone or shared with other readers, or returns
// errHeld. Closing f lets go of it.
func tryLock(f *os.File, alone bool) error {
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}
