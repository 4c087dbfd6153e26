package spool

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/host"
)

// With SPOOL_TEST_HOLD set the test binary is another mail program: it opens
// that file for writing, locks it if SPOOL_TEST_LOCK says so, and waits for its
// standard input to end.
func TestMain(m *testing.M) {
	if path := os.Getenv("SPOOL_TEST_HOLD"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil && os.Getenv("SPOOL_TEST_LOCK") != "" {
			err = lockForTest(f, os.Getenv("SPOOL_TEST_LOCK"))
		}
		fmt.Println("ready", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hold starts a process that has path open, and returns its id.
func hold(t *testing.T, path, lock string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_HOLD="+path, "SPOOL_TEST_LOCK="+lock)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready <nil>\n" {
		t.Fatalf("holder: %q %v", line, err)
	}
	return cmd.Process.Pid
}

// deadPID is the id of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func scan(t *testing.T, dirs ...string) []Mailbox {
	t.Helper()
	boxes, err := Scan(context.Background(), dirs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return boxes
}

func TestScanFindsMailboxes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "taro", messages(1, 2))
	write(t, dir, "hanako", "")
	write(t, dir, "old.mbox.gz", "no spool")
	write(t, dir, ".hidden", "no spool")
	write(t, dir, "t/jiro", messages(1))
	write(t, dir, "t/a/saburo", messages(1))
	write(t, dir, "Maildir-user/cur/1", "no spool")
	write(t, dir, "shiro/.imap/INBOX/dovecot.index.log.lock", "")
	write(t, dir, ".taro.pop", messages(3))
	write(t, dir, "goro.lock", "")
	var got []string
	for _, b := range scan(t, dir) {
		s := strings.TrimPrefix(b.Dir, dir) + " " + b.User
		if b.Spool != nil {
			s += " spool"
		}
		for _, l := range b.Locks {
			s += " " + l.Kind
		}
		got = append(got, s)
	}
	slices.Sort(got)
	want := []string{" goro dotlock", " hanako spool", " taro spool qpopper", "/shiro shiro dovecot", "/t jiro spool", "/t/a saburo spool"}
	if runtime.GOOS == "windows" {
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "/", `\`)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	one, err := Scan(context.Background(), []string{dir}, Options{User: "jiro"})
	if err != nil || len(one) != 1 || one[0].User != "jiro" {
		t.Errorf("only jiro: %+v %v", one, err)
	}
	if _, err := Scan(context.Background(), []string{filepath.Join(dir, "nothing")}, Options{}); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// What Qpopper leaves behind when it ends at each point of a session.
func TestQpopperRelations(t *testing.T) {
	marked := strings.ReplaceAll(messages(1, 2, 3), "Subject:", "Status: RO\nX-UIDL: 1\nSubject:")
	cut := func(s string, n int) string { return s[:len(s)-n] }
	for _, tt := range []struct {
		name, pop, spool  string
		noSpool           bool
		messages, inSpool int
		want              Relation
	}{
		{"left, spool empty", messages(1, 2, 3), "", false, 3, 0, Relation{Known: true, OnlyHere: 3}},
		{"left, no spool", messages(1, 2, 3), "", true, 3, 0, Relation{Known: true, OnlyHere: 3}},
		{"new mail since", marked, messages(4, 5), false, 3, 2, Relation{Known: true, OnlyHere: 3, Newer: 2}},
		{"copying broke off between messages", messages(1, 2), messages(1, 2, 3), false, 2, 3, Relation{Known: true, Newer: 1, Part: PartPop}},
		{"copying broke off in a body", cut(messages(1, 2, 3), 30), messages(1, 2, 3, 4), false, 3, 4, Relation{Known: true, Newer: 2, Part: PartPop}},
		{"copying broke off in a header", messages(1) + message(2)[:80], messages(1, 2), false, 2, 2, Relation{Known: true, Newer: 1, Part: PartPop}},
		{"copied, spool not yet emptied", marked, messages(1, 2, 3), false, 3, 3, Relation{Known: true, Part: PartPop}},
		{"writing back broke off", marked, cut(messages(1, 2), 20), false, 3, 2, Relation{Known: true, OnlyHere: 2, Part: PartSpool}},
		{"writing back broke off in Status", marked, messages(1) + "From taro@example.com Mon Jan  1 00:00:02 2024\nReceived: from mail.example.com\nStat", false, 3, 2, Relation{Known: true, OnlyHere: 2, Part: PartSpool}},
		{"the same message twice", messages(1, 1), messages(1, 2), false, 2, 2, Relation{Known: true, OnlyHere: 1, Newer: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, ".taro.pop", tt.pop)
			if !tt.noSpool {
				write(t, dir, "taro", tt.spool)
			}
			boxes := scan(t, dir)
			if len(boxes) != 1 || len(boxes[0].Locks) != 1 {
				t.Fatalf("%+v", boxes)
			}
			l := boxes[0].Locks[0]
			if l.Kind != Qpopper || l.Messages != tt.messages || boxes[0].Messages != tt.inSpool {
				t.Errorf("%s with %d messages, spool %d; want %d and %d", l.Kind, l.Messages, boxes[0].Messages, tt.messages, tt.inSpool)
			}
			if d := cmp.Diff(tt.want, l.Compared); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSpoolInAnotherDirectory(t *testing.T) {
	mail, pop := t.TempDir(), t.TempDir()
	write(t, mail, "taro", messages(4))
	write(t, pop, "t/.taro.pop", messages(1))
	boxes := scan(t, mail, pop)
	if len(boxes) != 2 {
		t.Fatalf("%+v", boxes)
	}
	b := boxes[1]
	if b.Spool == nil || b.Spool.Path != filepath.Join(mail, "taro") || b.Locks[0].Compared.Newer != 1 {
		t.Errorf("%+v", b)
	}
}

func TestDotlockOwners(t *testing.T) {
	dir := t.TempDir()
	own, err := host.Name()
	if err != nil {
		t.Fatal(err)
	}
	dead := deadPID(t)
	write(t, dir, "alive.lock", fmt.Sprintf("%d\n", os.Getpid()))
	write(t, dir, "here.lock", fmt.Sprintf("%d:%s", os.Getpid(), own))
	write(t, dir, "dead.lock", fmt.Sprint(dead))
	write(t, dir, "there.lock", "412:other-host.example.com\n")
	write(t, dir, "procmail.lock", "0")
	write(t, dir, "nothing.lock", "")
	write(t, dir, "words.lock", "what a file")
	// A lock older than the process of that number: the number was given anew.
	reused := write(t, dir, "reused.lock", fmt.Sprint(os.Getpid()))
	long := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(reused, long, long); err != nil {
		t.Fatal(err)
	}
	type facts struct {
		Kind, Host string
		PID        int
		Alive      bool
	}
	got := map[string]facts{}
	for _, b := range scan(t, dir) {
		l := b.Locks[0]
		got[b.User] = facts{l.Kind, l.Host, l.PID, l.Alive}
	}
	want := map[string]facts{
		"alive":    {Dotlock, "", os.Getpid(), true},
		"here":     {Dotlock, "", os.Getpid(), true},
		"dead":     {Dotlock, "", dead, false},
		"there":    {Dotlock, "other-host.example.com", 412, false},
		"procmail": {Procmail, "", 0, false},
		"nothing":  {Dotlock, "", 0, false},
		"words":    {Dotlock, "", 0, false},
		"reused":   {Dotlock, "", os.Getpid(), false},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStrangeLocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taro.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	target := write(t, dir, "elsewhere", messages(1))
	if err := os.Symlink(target, filepath.Join(dir, ".hanako.pop")); err != nil {
		t.Skip("no symbolic links:", err)
	}
	got := map[string]string{}
	for _, b := range scan(t, dir) {
		for _, l := range b.Locks {
			got[b.User] = l.Type
		}
	}
	if d := cmp.Diff(map[string]string{"taro": "directory", "hanako": "link"}, got); d != "" {
		t.Error(d)
	}
}

func TestHolders(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who has a file open is seen on Linux only")
	}
	dir := t.TempDir()
	pop := write(t, dir, ".taro.pop", messages(1))
	free := write(t, dir, ".hanako.pop", messages(1))
	reader, err := os.Open(free) // reading is no holding
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	pid := hold(t, pop, "")
	for _, b := range scan(t, dir) {
		l := b.Locks[0]
		switch b.User {
		case "taro":
			if len(l.Holders) != 1 || l.Holders[0].PID != pid || l.Holders[0].Program != filepath.Base(os.Args[0]) {
				t.Errorf("%+v, want pid %d", l.Holders, pid)
			}
		case "hanako":
			if len(l.Holders) != 0 {
				t.Errorf("%+v", l.Holders)
			}
		}
	}
}

func TestKernelLocks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc/locks is Linux")
	}
	for _, kind := range []string{Flock, Fcntl} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, dir, "taro", messages(1))
			pid := hold(t, path, kind)
			boxes := scan(t, dir)
			if len(boxes) != 1 || len(boxes[0].Locks) != 1 {
				t.Fatalf("%+v", boxes)
			}
			l := boxes[0].Locks[0]
			if l.Kind != kind || l.PID != pid || !l.Alive || l.Path != path {
				t.Errorf("%+v, want %s of %d", l, kind, pid)
			}
		})
	}
}

// Reading leaves no trace: same names, sizes and times afterwards.
func TestScanChangesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "taro", messages(1, 2))
	write(t, dir, ".taro.pop", messages(1))
	write(t, dir, "taro.lock", "1\n")
	look := func() string {
		var b strings.Builder
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, e.Name(), info.Size(), info.Mode(), info.ModTime())
		}
		return b.String()
	}
	before := look()
	scan(t, dir)
	if d := cmp.Diff(before, look()); d != "" {
		t.Error(d)
	}
}

func TestParseLocks(t *testing.T) {
	const text = "1: POSIX  ADVISORY  WRITE 412 08:01:131 0 EOF\n1: -> POSIX  ADVISORY  WRITE 413 08:01:131 0 EOF\n2: FLOCK  ADVISORY  WRITE 500 fe:00:99 0 EOF\n3: OFDLCK ADVISORY  READ -1 00:1c:7 0 EOF\n4: LEASE  ACTIVE    READ 9 08:01:1 0 EOF\nnonsense\n"
	want := []kernelLock{{Fcntl, 412, 8<<8 | 1, 131}, {Flock, 500, 0xfe << 8, 99}}
	if d := cmp.Diff(want, parseLocks(text), cmp.AllowUnexported(kernelLock{})); d != "" {
		t.Error(d)
	}
}

func FuzzParseLocks(f *testing.F) {
	f.Add("1: POSIX  ADVISORY  WRITE 412 08:01:131 0 EOF\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range parseLocks(text) {
			if k.pid <= 0 || k.kind == "" {
				t.Errorf("%q: %+v", text, k)
			}
		}
	})
}

// Mailboxes that were converted have one From line for all messages: comparing
// them must not take the square of their number.
func BenchmarkAlignSameFromLines(b *testing.B) {
	box := func(first, n int) Source {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "From someone@example.com Thu Jan  1 00:00:00 1970\nSubject: message %d\nMessage-ID: <%d@example.com>\n\n%s\n", first+i, first+i, strings.Repeat("All work and no play.\n", 100))
		}
		r := strings.NewReader(text.String())
		m, err := ReadMbox(b.Context(), r, r.Size())
		if err != nil {
			b.Fatal(err)
		}
		return Source{m, r, r.Size()}
	}
	x, y := box(0, 1000), box(5000, 300)
	for b.Loop() {
		if px, _ := Align(x, y); px[0].Twin >= 0 {
			b.Fatal("messages that differ are taken for the same")
		}
	}
}
