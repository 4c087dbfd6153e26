//go:build interop && unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mboxMail is mail in mbox form, one message for each number.
func mboxMail(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		fmt.Fprintf(&b, "From taro@example.com Mon Jan  1 00:00:%02d 2024\nMessage-ID: <%d@example.com>\nFrom: taro@example.com\nSubject: number %d\n\nHello %d\n\n", n, n, n, n)
	}
	return b.String()
}

// command runs a program that must work.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// mboxReaders count the messages of a mailbox as other programs see them.
func mboxReaders(t *testing.T) map[string]func(path string) string {
	t.Helper()
	readers := map[string]func(string) string{}
	if _, err := exec.LookPath("python3"); err == nil {
		readers["python"] = func(path string) string {
			return strings.TrimSpace(command(t, "python3", "-c", "import mailbox,sys; m = mailbox.mbox(sys.argv[1], create=False); print(len([x for x in m if x['Subject']]))", path))
		}
	} else {
		t.Log("python3 is not installed: not asked")
	}
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Log("Dovecot is not installed (Debian: dovecot-core): not asked")
		return readers
	}
	readers["Dovecot"] = func(path string) string {
		// Dovecot reads no mail as root.
		dir, err := os.MkdirTemp("/tmp", "mailsrv-interop")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		uid, gid := os.Getuid(), os.Getgid()
		if uid == 0 {
			uid, gid = 65534, 65534
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		box, conf := filepath.Join(dir, "box"), filepath.Join(dir, "dovecot.conf")
		settings := fmt.Sprintf("log_path = /dev/stderr\nbase_dir = %[1]s/run\nstate_dir = %[1]s/state\nssl = no\nfirst_valid_uid = 1\nfirst_valid_gid = 1\nmail_uid = %d\nmail_gid = %d\nmail_location = mbox:%[1]s/folders:INBOX=%[1]s/box\nmbox_write_locks = fcntl\n", dir, uid, gid)
		for name, content := range map[string][]byte{box: text, conf: []byte(settings)} {
			if err := os.WriteFile(name, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{dir, box} {
			if err := os.Chown(name, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("doveadm", "-c", conf, "-f", "tab", "mailbox", "status", "messages", "INBOX")
		cmd.Env = append(os.Environ(), "USER=taro", "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("doveadm: %v\n%s", err, out)
		}
		words := strings.Fields(string(out))
		return words[len(words)-1]
	}
	return readers
}

// What "mailbox repair" mends and "locks clear" merges, other programs read as
// we do.
func TestInteropMbox(t *testing.T) {
	readers := mboxReaders(t)
	dir := t.TempDir()
	check := func(path string, want int) {
		t.Helper()
		for name, count := range readers {
			if got := count(path); got != strconv.Itoa(want) {
				t.Errorf("%s: %s sees %s messages, want %d", filepath.Base(path), name, got, want)
			}
		}
	}
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"blank-lines-first": {"\n\n" + mboxMail(1, 2), 2},
		"byte-order-mark":   {"\xef\xbb\xbf" + mboxMail(1, 2), 2},
		"escaped":           {strings.ReplaceAll(mboxMail(1, 2), "From taro", ">From taro"), 2},
		"nul-run":           {mboxMail(1) + strings.Repeat("\x00", 600) + mboxMail(2), 2},
		"no-blank-line":     {strings.TrimSuffix(mboxMail(1), "\n") + mboxMail(2), 2},
		"wrong-length":      {strings.Replace(mboxMail(1), "Subject", "Content-Length: 9999\nSubject", 1) + mboxMail(2, 3), 3},
		"crlf":              {strings.ReplaceAll(mboxMail(1, 2), "\n", "\r\n"), 2},
		"cut-off":           {strings.TrimSuffix(mboxMail(1, 2), " 2\n\n"), 2},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, "mailsrv", "mailbox", "repair", "--yes", path)
		command(t, "mailsrv", "mailbox", "check", "--strict", path)
		check(path, tt.want)
	}

	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for name, text := range map[string]string{".taro.pop": mboxMail(1, 2, 3), "taro": mboxMail(3, 4, 5)} {
		path := filepath.Join(spool, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "mailsrv", "locks", "clear", spool, "--yes")
	check(filepath.Join(spool, "taro"), 5)
}

// A lock that Debian's dotlockfile made is seen with its process, respected,
// and cleared when that process is gone.
func TestInteropDotlock(t *testing.T) {
	if _, err := exec.LookPath("dotlockfile"); err != nil {
		t.Skip("dotlockfile is not installed (Debian: liblockfile-bin)")
	}
	spool := t.TempDir()
	if err := os.WriteFile(filepath.Join(spool, "taro"), []byte(mboxMail(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(spool, "taro.lock")
	holder := exec.Command("sh", "-c", `dotlockfile -l -p "$1" && echo ready && read _`, "sh", lock)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 5)
	if _, err := stdout.Read(ready); err != nil || string(ready) != "ready" {
		t.Fatalf("%q %v", ready, err)
	}
	out := command(t, "mailsrv", "locks", "clear", spool, "--yes", "--json")
	if !strings.Contains(out, `"why": "live"`) || !strings.Contains(out, fmt.Sprintf(`"pid": %d`, holder.Process.Pid)) {
		t.Error(out)
	}
	stdin.Close()
	_ = holder.Wait()
	out = command(t, "mailsrv", "--lang", "en", "locks", "clear", spool, "--yes")
	if _, err := os.Stat(lock); err == nil || !strings.Contains(out, "is removed") {
		t.Errorf("%v\n%s", err, out)
	}
}
