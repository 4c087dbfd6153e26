package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// nearest returns the deepest part of path that exists, and whether that is the
// whole of it.
func nearest(path string) (string, bool, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return "", false, err
	}
	for whole := true; ; whole = false {
		_, err := os.Stat(p)
		switch {
		case err == nil:
			return p, whole, nil
		// A file where a directory should be shows up as ENOTDIR below it.
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return p, whole, err
		}
		up := filepath.Dir(p)
		if up == p {
			return p, false, err
		}
		p = up
	}
}

// Directory tells whether files can be created in path, or path itself can be
// created. Nothing is created or changed to find out.
func Directory(path string) Access {
	at, whole, err := nearest(path)
	a := Access{Exists: whole, Nearest: at, Err: err}
	if err != nil {
		return a
	}
	info, err := os.Stat(at)
	switch {
	case err != nil:
		a.Err = err
	case !info.IsDir():
		a.Err = &fs.PathError{Op: "mkdir", Path: at, Err: syscall.ENOTDIR}
	default:
		a.Err = mayWrite(at)
	}
	a.Writable = a.Err == nil
	return a
}

// VolumeOf measures the file system that path lies on, or would lie on.
func VolumeOf(path string) (Volume, error) {
	at, _, err := nearest(path)
	if err != nil {
		return Volume{}, err
	}
	v, err := statVolume(at)
	v.Path = at
	return v, err
}
