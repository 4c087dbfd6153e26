//go:build unix

package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Opening a pipe waits for a writer: for ever, and with the mailbox locked.
func TestPipeInMailbox(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	if err := unix.Mkfifo(filepath.Join(Dir(dir, taro), "Maildir", "new", "pipe"), 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	if texts, _ := contents(t, s, taro); !cmp.Equal(texts, []string{"ours\r\n"}) {
		t.Errorf("mailbox holds %q", texts)
	}
}

// One file that cannot be read does not close the mailbox.
func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	if err := os.WriteFile(filepath.Join(Dir(dir, taro), "Maildir", "cur", "1.foreign:2,"), []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open(taro, By{Client: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if diff := cmp.Diff(Message{UID: "1.foreign", Size: 2}, m.Messages()[0]); diff != "" || len(m.Messages()) != 2 {
		t.Errorf("%d messages, the first (-want +got):\n%s", len(m.Messages()), diff)
	}
	if _, err := m.Read(0); !os.IsPermission(err) {
		t.Errorf("Read: %v", err)
	}
	if got := read(t, m, 1); got != "ours\r\n" {
		t.Errorf("the other message: %q", got)
	}
}
