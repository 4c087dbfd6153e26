package store

import (
	"os"

	"golang.org/x/sys/windows"
)

var errHeld error = windows.ERROR_LOCK_VIOLATION

// tryLock takes f's lock, alone or shared with other readers, or returns
// errHeld. Closing f lets go of it. What is locked is one octet far behind the
// end, because others could not read the process id from a locked one.
func tryLock(f *os.File, alone bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if alone {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
}
