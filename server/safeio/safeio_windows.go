package safeio

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

const errNotDir = windows.ERROR_DIRECTORY

// rename waits a moment where another process is reading the file that is to be
// replaced: Windows refuses as long as it does.
func rename(from, to string) error {
	for try := 0; ; try++ {
		err := os.Rename(from, to)
		busy := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !busy || try == 20 {
			return err
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// SyncDir does nothing: NTFS keeps names in its own journal, and Windows offers
// no way to flush a folder without administrator rights.
func SyncDir(string) error { return nil }

// adopt does nothing: new files inherit the folder's access list.
func adopt(string, string) error { return nil }

// Adopt does nothing either.
func Adopt(string) error { return nil }

var errHeld error = windows.ERROR_LOCK_VIOLATION

// tryLock takes f's lock or returns errHeld. Closing f lets go of it.
func tryLock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY|windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{})
}
