//go:build !windows

package spool

import (
	"fmt"
	"os"
	"syscall"
)

func lockForTest(f *os.File, kind string) error {
	switch kind {
	case Flock:
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	case Fcntl:
		return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	}
	return fmt.Errorf("kind %q", kind)
}
