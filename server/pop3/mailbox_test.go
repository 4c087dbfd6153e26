package pop3

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailsrv/server/store"
)

func TestDeletedAtQuitOnly(t *testing.T) {
	r := newRig(t, nil, "one\r\n", "two\r\n", "three\r\n")
	uidl := func() []string {
		p := r.dial(t)
		p.login()
		list := strings.Split(p.raw("UIDL"), "\r\n")
		p.do("QUIT")
		return list[:len(list)-1]
	}
	before := uidl()
	p := r.dial(t)
	p.login()
	p.do("DELE 2")
	p.Close() // no QUIT: nothing is deleted, and the lock is gone with the connection
	waitUnlocked(t, r)
	if got := uidl(); strings.Join(got, " ") != strings.Join(before, " ") {
		t.Errorf("after a lost connection %v, want %v", got, before)
	}
	p = r.dial(t)
	p.login()
	p.send("DELE 2\r\nQUIT\r\n")
	p.line()
	if got := p.line(); got != "+OK Bye" {
		t.Fatal(got)
	}
	after := uidl()
	want := []string{before[0], "2 " + strings.TrimPrefix(before[2], "3 ")}
	if strings.Join(after, " ") != strings.Join(want, " ") {
		t.Errorf("after QUIT %v, want %v", after, want)
	}
}

// sticky is a store whose messages cannot be deleted.
type sticky struct{ store.Store }

type stickyMailbox struct{ store.Mailbox }

func (s sticky) Open(b store.Box, by store.By) (store.Mailbox, error) {
	m, err := s.Store.Open(b, by)
	return stickyMailbox{m}, err
}

func (stickyMailbox) Delete([]int) error { return errors.New("message 1: stuck") }

// What could not be deleted is neither said nor logged to be.
func TestFailedDelete(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(r *rig) {
		r.Store = sticky{r.Store}
		r.Log = slog.New(slog.NewTextHandler(&log, nil))
	}, "one\r\n", "two\r\n")
	p := r.dial(t)
	p.login()
	p.do("DELE 1")
	if got := p.do("QUIT"); got != "-ERR [SYS/TEMP] Some deleted messages could not be removed" {
		t.Error(got)
	}
	if got := p.line(); got != "EOF" {
		t.Error(got)
	}
	r.group.Stop(t.Context())
	if got := log.String(); !strings.Contains(got, "stuck") || strings.Contains(got, "message deleted") || strings.Contains(got, "deleted=1") {
		t.Errorf("log:\n%s", got)
	}
}

// waitUnlocked returns when the mailbox can be opened.
func waitUnlocked(t *testing.T, r *rig) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m, err := r.Store.Open(box, store.By{Client: "test"}); err == nil {
			m.Close()
			return
		}
	}
	t.Fatal("the mailbox stays locked")
}

func TestInUse(t *testing.T) {
	r := newRig(t, nil, "one\r\n")
	first := r.dial(t)
	first.login()
	second := r.dial(t)
	second.do("USER taro")
	got := second.do("PASS " + password)
	if !regexp.MustCompile(`^-ERR \[IN-USE\] Mailbox is open in another session, from 127\.0\.0\.1 since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d`).MatchString(got) {
		t.Errorf("second login: %q", got)
	}
	if got := first.do("QUIT"); got != "+OK Bye" {
		t.Fatal(got)
	}
	second.login() // in the same connection
}

// What comes out is what went in, and as long as LIST says.
func TestOctetsAreExact(t *testing.T) {
	messages := []string{
		".\r\n..\r\n.a\r\n", "\r\n", "\x00\xff\r\n", strings.Repeat("x", 70_000) + "\r\n", strings.Repeat(".", 70_000) + "\r\n",
		strings.Repeat("y", 32<<10-1) + "\r\n.z\r\n",
	}
	r := newRig(t, nil, messages...)
	p := r.dial(t)
	p.login()
	for i, want := range messages {
		raw := p.raw(fmt.Sprint("RETR ", i+1))
		var got strings.Builder
		for _, line := range strings.SplitAfter(raw, "\r\n") {
			got.WriteString(strings.TrimPrefix(line, "."))
		}
		if got.String() != want {
			t.Errorf("message %d: %.100q, want %.100q", i+1, got.String(), want)
		}
		if list := p.do(fmt.Sprint("LIST ", i+1)); list != fmt.Sprintf("+OK %d %d", i+1, len(want)) {
			t.Errorf("message %d has %d octets: %s", i+1, len(want), list)
		}
	}
}

func TestDamagedAndGone(t *testing.T) {
	r := newRig(t, nil, "first\r\n", "second\r\n", "third\r\n")
	p := r.dial(t)
	p.login()
	files, err := filepath.Glob(filepath.Join(r.dir, "mail", "*", "*", "Maildir", "new", "*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[1], 3); err != nil {
		t.Fatal(err)
	}
	p.talk(`C: RETR 1
		S: -ERR [SYS/TEMP] Message 1 is gone: another program has deleted its file; log in again to see what is there
		C: RETR 2
		S: +OK 8 octets
		S: sec
		S: .
		C: RETR 3
		S: +OK 7 octets
		S: third
		S: .`)
}

func TestCounters(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Service = "pop3-counted" }, "Subject: 1\r\n\r\none\r\n", "Subject: 2\r\n\r\n")
	p := r.dial(t)
	p.do("USER taro")
	p.do("PASS wrong")
	p.do("USER slow")
	p.do("PASS wrong")
	p.login()
	p.raw("RETR 1")
	p.raw("TOP 2 0")
	p.do("DELE 2")
	second := r.dial(t)
	second.do("USER taro")
	second.do("PASS " + password)
	p.do("QUIT")
	for result, want := range map[string]int64{"ok": 1, "failed": 1, "throttled": 1, "in_use": 1} {
		if got := logins.Value(r.Service, result); got != want {
			t.Errorf("logins %s: %d, want %d", result, got, want)
		}
	}
	if n, o, d := retrieved.Value(r.Service), octets.Value(r.Service), deletions.Value(r.Service); n != 1 || o != 33 || d != 1 {
		t.Errorf("%d retrieved, %d octets, %d deleted; want 1, 33, 1", n, o, d)
	}
}
