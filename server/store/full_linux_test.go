package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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

// Who deletes on a full disk gets room: the mail is not kept then. What can be
// written down is.
func TestDeleteOnFullDisk(t *testing.T) {
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
	s.Keep = time.Hour
	put(t, s, "BIG", strings.Repeat("x", 100<<10)+"\r\n", taro)
	put(t, s, "SMALL", "small\r\n", taro)
	_ = os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 2<<20), 0o600) // as much as there is room for
	remove(t, s, taro, 0)
	if texts, _ := contents(t, s, taro); len(texts) != 1 {
		t.Errorf("mailbox has %d messages, want 1", len(texts))
	}
	if kept, err := s.Kept(taro); len(kept) != 0 || err != nil {
		t.Errorf("kept %v, %v", kept, err)
	}
	// Now there is room, and all is as always.
	remove(t, s, taro, 0)
	if kept, err := s.Kept(taro); len(kept) != 1 || err != nil {
		t.Errorf("with room again: kept %v, %v", kept, err)
	}
	if events, _, err := s.History(taro); len(events) != 1 || err != nil {
		t.Errorf("with room again: history %v, %v", events, err)
	}
}
