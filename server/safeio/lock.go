package safeio

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// lockPatience is how long Lock waits for another process to finish a change.
const lockPatience = 10 * time.Second

// Lock keeps other processes, and other callers in this one, from changing what
// the lock file at path stands for, until unlock. The system lets go of it when
// the process ends.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Adopt(path); err != nil {
		_ = f.Close()
		return nil, err
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err = tryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errHeld) || time.Now().After(end) {
			break
		}
	}
	_ = f.Close()
	if errors.Is(err, errHeld) {
		return nil, fmt.Errorf("%s is held by another process for more than %s: is a mailsrv command hanging?", path, lockPatience)
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}
