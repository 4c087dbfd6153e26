// Package safeio writes files so that a crash, a full disk or a power cut
// leaves either the old content or the new, never a part of it.
//
// What root makes (mailsrv user add, doctor) belongs to the owner of the folder
// it lies in, so that the server, which runs as that owner, can read it.
package safeio

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts data in place of the file at path, atomically and durably.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, true, rename)
}

// WriteCache is WriteFile without the durability: after a power cut the file
// may hold anything. It is for what can be made anew, and whose reader notices.
func WriteCache(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, false, rename)
}

// WriteNew is WriteFile for a file that must not exist yet: the error is then
// fs.ErrExist.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, true, func(from, to string) error {
		err := os.Link(from, to)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			// A file system without hard links (FAT, some network ones).
			if _, statErr := os.Lstat(to); statErr == nil {
				return &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist}
			}
			return rename(from, to)
		}
		return err
	})
}

func write(path string, data []byte, perm fs.FileMode, durable bool, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename there is nothing left to remove
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = adopt(f.Name(), dir)
	}
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil || !durable {
		return err
	}
	return SyncDir(dir)
}

// Append adds data to the file at path durably, making it if need be. Several
// processes may do so at once: each piece stays whole.
func Append(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, perm)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, perm)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil || !made {
		return err
	}
	if err := adopt(path, filepath.Dir(path)); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes the folder path and what is missing above it, durably.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errNotDir}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // made by somebody else in between
		}
		return err
	}
	if err := adopt(path, parent); err != nil {
		return err
	}
	return SyncDir(parent)
}
