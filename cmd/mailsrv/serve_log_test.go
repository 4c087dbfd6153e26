package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever read the log has gone, as after "mailsrv serve 2>&1 | less": that is no
// reason to die in the middle of somebody's message.
func TestServeOutlivesItsLogReader(t *testing.T) {
	cfg := filepath.Join(t.TempDir(), "mailsrv.toml")
	smtpAddr, popAddr := freeAddr(t), freeAddr(t)
	text := fmt.Sprintf("domains = [\"example.com\"]\n[listen]\nsmtp = %q\npop3 = %q\n", smtpAddr, popAddr)
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery"
	add := exec.Command("mailsrv", "user", "add", "taro", "--password-stdin", "--config", cfg)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v\n%s", err, out)
	}

	logReader, logWriter, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("mailsrv", "serve", "--json", "-v", "--config", cfg)
	server.Stderr = logWriter
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	_ = logWriter.Close()
	var first map[string]any
	if err := json.NewDecoder(out).Decode(&first); err != nil {
		t.Fatal(err)
	}
	_ = logReader.Close()

	for range 3 {
		if err := send(smtpAddr, nil, "a@example.net", []string{"taro@example.com"}, "Subject: x\r\n\r\n"); err != nil {
			t.Fatalf("the server has gone with its log reader: %v", err)
		}
	}
	if messages, err := popAll(popAddr, "taro", password); err != nil || len(messages) != 3 {
		t.Errorf("%d messages, %v; want 3", len(messages), err)
	}
}
