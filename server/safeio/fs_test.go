package safeio

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What the real file system does through the interface.
func TestOS(t *testing.T) {
	dir := t.TempDir()
	o := &OS{}
	defer o.Close()
	path := filepath.Join(dir, "a")
	if _, err := o.OpenFile(path, os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open what is not there: %v", err)
	}
	f, err := o.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create it twice: %v", err)
	}
	for _, s := range []string{"one ", "two "} {
		if n, err := f.Write([]byte(s)); n != 4 || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
	}
	if n, err := f.WriteAt([]byte("TWO three"), 4); n != 9 || err != nil {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	for name, sync := range map[string]func() error{
		"Sync": f.Sync, "SyncData": f.SyncData, "SyncDir": func() error { return o.SyncDir(dir) },
		"SyncFS": func() error { _, err := o.SyncFS([]string{dir, filepath.Join(dir, "gone")}); return err },
	} {
		if err := sync(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := make([]byte, 20)
	if n, err := f.ReadAt(b, 4); string(b[:n]) != "TWO three" || err != io.EOF {
		t.Errorf("ReadAt: %q, %v", b[:n], err)
	}
	if n, err := f.Size(); n != 13 || err != nil {
		t.Errorf("Size: %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := o.Rename(path, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := o.Rename(path, filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename what is not there: %v", err)
	}
	if names, err := o.ReadNames(dir); len(names) != 1 || names[0] != "b" || err != nil {
		t.Errorf("ReadNames: %q, %v", names, err)
	}
	if free, readOnly, ok := o.Room(dir); ok && (free == 0 || readOnly) {
		t.Errorf("Room: %d, read-only %v", free, readOnly)
	}
	if first, again := o.Machine(dir), o.Machine(dir); first != again {
		t.Errorf("Machine changes from %q to %q", first, again)
	}
}
