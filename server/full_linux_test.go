package server

import (
	"log/slog"
	"net/smtp"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mailsrv/codes"
	"mailsrv/server/config"
)

// On a real file system that fills up mail for elsewhere is put off, and taken
// once there is room again, without a restart.
func TestQueueOnFullDisk(t *testing.T) {
	c := outConfig(t, "127.0.0.1:1")
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", c.DataDir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(c.DataDir, 0); err != nil {
			t.Error(err)
		}
	})
	r := start(t, c, nil)
	r.pop(t, dial(t, r.addr(config.POP3))) // once it answers, it has written its run file
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	ballast := filepath.Join(c.DataDir, "ballast")
	_ = os.WriteFile(ballast, make([]byte, 2<<20), 0o600) // as much as there is room for
	to := []string{"hanako@example.net"}
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, to, []byte(text)); replyOf(err) != "452 4.3.1 Insufficient system storage; try again later" {
		t.Errorf("full: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, to, []byte(text)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if n := again.queue.Stats().Messages; n != 1 {
		t.Errorf("%d messages in the queue", n)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
