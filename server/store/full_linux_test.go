package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a real file system that fills up: a clear error, nothing left over, the
// mailbox readable, and all well again once there is room.
func TestDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := New(dir)
	put(t, s, "FIRST", "first\r\n", taro)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 700<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := s.Begin("BIG", []Box{taro, hanako})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Write([]byte(strings.Repeat("x", 600<<10)))
	if err == nil {
		err = m.Commit()
	}
	m.Abort()
	if !errors.Is(err, ErrFull) {
		t.Fatalf("full disk: %v, want ErrFull", err)
	}
	if texts, _ := contents(t, s, taro); len(texts) != 1 {
		t.Errorf("mailbox on the full disk has %d messages", len(texts))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, s, "SECOND", "second\r\n", taro, hanako)
	if texts, _ := contents(t, s, taro); len(texts) != 2 {
		t.Errorf("after making room: %d messages, want 2", len(texts))
	}

	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin("RO", []Box{taro}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v, want ErrReadOnly", err)
	}
	if texts, _ := contents(t, s, taro); len(texts) != 2 {
		t.Errorf("read-only mailbox has %d messages", len(texts))
	}
}
