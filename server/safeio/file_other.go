//go:build !linux

package safeio

import (
	"io/fs"
	"os"
)

type osFile struct{ *os.File }

func openFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return osFile{f}, nil
}

func renameFile(from, to string) error { return rename(from, to) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error {
	if !durable {
		return nil
	}
	return f.File.Sync()
}

// SyncData on macOS is F_FULLFSYNC, as os.File.Sync does it: fdatasync would
// leave the octets in the drive's cache.
func (f osFile) SyncData() error { return f.Sync() }

type devices struct{}

func (devices) sync([]string) (bool, error) { return false, nil }
func (devices) close()                      {}
