package spoolfix

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tryKernelLock takes the locks of flock(2) and fcntl(2) on an open file, and
// returns errHeld when somebody else has one. The fcntl lock belongs to the
// open file and not to the process: it is there until f is closed, and it keeps
// out those who lock the usual way. A file system without locks has none.
func tryKernelLock(f *os.File) error {
	if err := lockError(unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})); err != nil {
		return err
	}
	return lockError(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func kernelUnlock(f *os.File) {
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart})
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
}

func lockError(err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return errHeld
	case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBADF):
		return nil // EBADF: opened for reading only, nobody may write it here
	}
	return err
}
