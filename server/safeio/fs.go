package safeio

import (
	"io"
	"io/fs"
	"os"
)

// FS is what the writing side of store and journal asks of the file system,
// so that a test can fail any step of it, or take the files as a power cut at
// that moment would leave them.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	ReadFile(name string) ([]byte, error)
	// ReadNames lists a folder; one that does not exist is fs.ErrNotExist.
	ReadNames(dir string) ([]string, error)
	Rename(from, to string) error
	Link(from, to string) error
	Remove(name string) error
	MkdirAll(dir string, perm fs.FileMode) error
	SyncDir(dir string) error
	// Room says how many octets a user may still write on the file system of
	// dir, and whether it takes any at all. ok is false when the system does
	// not tell.
	Room(dir string) (free uint64, readOnly, ok bool)

	// Machine names the time since dir's file system was mounted and the
	// machine booted: as long as it is the same, what was written can be read,
	// synced or not. Empty when that cannot be told.
	Machine(dir string) string

	// SyncFS makes everything durable that was done so far on the file
	// systems of dirs, or says false where the system has no such call. After
	// an error nothing is known of any file that was not durable before, and
	// calling again proves nothing.
	SyncFS(dirs []string) (bool, error)
}

// File is an opened file.
type File interface {
	io.Writer
	io.WriterAt
	io.ReaderAt
	io.Closer
	Size() (int64, error)
	Sync() error
	// SyncData is Sync without what is not needed to read the octets again,
	// such as the time of the last change.
	SyncData() error
}

// OS is the real file system. Its SyncFS keeps a folder open for each file
// system that it was asked for, until Close.
type OS struct{ devices devices }

func (*OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return openFile(name, flag, perm)
}

func (*OS) ReadFile(name string) ([]byte, error)        { return os.ReadFile(name) }
func (*OS) Rename(from, to string) error                { return renameFile(from, to) }
func (*OS) Link(from, to string) error                  { return os.Link(from, to) }
func (*OS) Remove(name string) error                    { return os.Remove(name) }
func (*OS) MkdirAll(dir string, perm fs.FileMode) error { return MkdirAll(dir, perm) }
func (*OS) Machine(dir string) string                   { return machine(dir) }
func (*OS) Room(dir string) (uint64, bool, bool)        { return room(dir) }

func (*OS) SyncDir(dir string) error {
	if !durable {
		return nil
	}
	return SyncDir(dir)
}

func (o *OS) SyncFS(dirs []string) (bool, error) {
	if !durable {
		return true, nil
	}
	return o.devices.sync(dirs)
}

// Close lets go of the folders that SyncFS keeps open.
func (o *OS) Close() { o.devices.close() }

func (*OS) ReadNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
