package safeio

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// rawFile is a File by system calls alone. An *os.File asks for more on the
// way, at each opening and rename, which shows where every message is a file.
type rawFile struct {
	fd   int
	name string
}

// openFile knows the flags of package os, which on Linux are the system's.
func openFile(name string, flag int, perm fs.FileMode) (File, error) {
	for {
		fd, err := unix.Open(name, flag|unix.O_CLOEXEC|unix.O_LARGEFILE, uint32(perm.Perm()))
		if err == nil {
			return &rawFile{fd, name}, nil
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

func renameFile(from, to string) error {
	if err := unix.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// full calls step with what is left of p until nothing is.
func (f *rawFile) full(op string, p []byte, step func(p []byte, done int) (int, error)) (int, error) {
	done := 0
	for done < len(p) {
		n, err := step(p[done:], done)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, &fs.PathError{Op: op, Path: f.name, Err: err}
		case n == 0 && op == "read":
			return done, io.EOF
		case n == 0:
			return done, &fs.PathError{Op: op, Path: f.name, Err: io.ErrShortWrite}
		default:
			done += n
		}
	}
	return done, nil
}

func (f *rawFile) Write(p []byte) (int, error) {
	return f.full("write", p, func(p []byte, _ int) (int, error) { return unix.Write(f.fd, p) })
}

func (f *rawFile) WriteAt(p []byte, off int64) (int, error) {
	return f.full("write", p, func(p []byte, done int) (int, error) { return unix.Pwrite(f.fd, p, off+int64(done)) })
}

func (f *rawFile) ReadAt(p []byte, off int64) (int, error) {
	return f.full("read", p, func(p []byte, done int) (int, error) { return unix.Pread(f.fd, p, off+int64(done)) })
}

func (f *rawFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: f.name, Err: err}
	}
	return st.Size, nil
}

func (f *rawFile) Sync() error     { return f.sync("fsync", unix.Fsync) }
func (f *rawFile) SyncData() error { return f.sync("fdatasync", unix.Fdatasync) }

func (f *rawFile) sync(op string, call func(fd int) error) error {
	if !durable {
		return nil
	}
	for {
		err := call(f.fd)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: op, Path: f.name, Err: err}
		}
	}
}

// Close may be called twice; the second time does nothing.
func (f *rawFile) Close() error {
	if f.fd < 0 {
		return fs.ErrClosed
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil && err != unix.EINTR { // EINTR: Linux has closed it
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}
