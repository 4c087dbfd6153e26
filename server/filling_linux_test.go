package server

import (
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mailsrv/server/config"
)

// A file system of 20 MB that fills up under load: each message is taken, and is
// in the mailbox, or is refused with 452 at once. Fetching goes on, and once
// there is room mail is taken again, without a restart; also after the file
// system was read-only for a while.
func TestStoreOnFullDisk(t *testing.T) {
	c := testConfig(t, false)
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", c.DataDir, "tmpfs", 0, "size=20m"); err != nil {
		t.Skipf("cannot mount a small file system (TestModel plays the same without): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(c.DataDir, 0); err != nil {
			t.Error(err)
		}
	})
	r := start(t, c, nil)
	const refusal = "452 4.3.1 Insufficient system storage; try again later"
	deliver := func(size int) error {
		text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", size/100)
		return smtp.SendMail(r.addr(config.SMTP), nil, "a@example.net", []string{r.user}, []byte(text))
	}
	var mu sync.Mutex
	accepted, refused := 0, 0
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			// Small messages, which go through the journal, and bigger ones.
			for n := 0; n < 400; n++ {
				err := deliver([]int{3000, 50_000, 200_000}[(n+client)%3])
				mu.Lock()
				switch {
				case err == nil:
					accepted++
				case strings.HasPrefix(replyOf(err), "452 4.3.1"):
					refused++
				default:
					t.Errorf("neither taken nor refused as it should be: %v", err)
				}
				stop := refused > 40
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	if refused == 0 || accepted == 0 {
		t.Fatalf("%d accepted, %d refused", accepted, refused)
	}
	stat := func() int {
		t.Helper()
		var n, size int
		lines := r.pop(t, dial(t, r.addr(config.POP3)), "STAT", "QUIT")
		for _, line := range lines {
			if _, err := fmt.Sscanf(line, "+OK %d %d", &n, &size); err == nil {
				return n
			}
		}
		t.Fatalf("no answer to STAT in %q", lines)
		return 0
	}
	if n := stat(); n != accepted {
		t.Errorf("%d messages in the mailbox, %d were accepted", n, accepted)
	}
	// Somebody makes room.
	files, err := filepath.Glob(filepath.Join(c.DataDir, "mail", "*", "*", "Maildir", "new", "*"))
	if err != nil || len(files) != accepted {
		t.Fatalf("%d files for %d messages, %v", len(files), accepted, err)
	}
	for _, path := range files[:len(files)/2] {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := deliver(3000); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
	// Read-only, and back.
	if err := syscall.Mount("", c.DataDir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err == nil {
		if err := deliver(3000); replyOf(err) != refusal {
			t.Errorf("read-only: %v", err)
		}
		if err := syscall.Mount("", c.DataDir, "", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		if err := deliver(3000); err != nil {
			t.Errorf("writable again: %v", err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}
