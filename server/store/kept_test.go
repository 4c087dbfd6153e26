package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// newKeeping is a store that keeps deleted mail for a day, at a fixed time.
func newKeeping(t *testing.T) (*Maildirs, *time.Time) {
	t.Helper()
	s := New(t.TempDir())
	s.Keep = 24 * time.Hour
	now := time.Date(2024, 5, 1, 12, 34, 56, 0, time.UTC)
	s.now = func() time.Time { return now }
	return s, &now
}

var popper = By{Client: "192.0.2.7", Protocol: "pop3", Session: "S1"}

// remove deletes messages by number from 0.
func remove(t *testing.T, s Store, box Box, which ...int) {
	t.Helper()
	m, err := s.Open(box, popper)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Delete(which); err != nil {
		t.Fatal(err)
	}
}

const letter = "From: =?ISO-2022-JP?B?GyRCMlYbKEI=?= <hanako@example.jp>\r\nSubject: a\r\n folded line\r\nSubject: second\r\n" +
	"Message-ID: <1@example.jp>\r\nTo: taro@example.com\r\nDate: Tue, 02 Jan 2024 03:04:05 +0900\r\n\r\nSubject: body\r\n"

func TestDeletedMailIsKeptAndComesBack(t *testing.T) {
	s, now := newKeeping(t)
	put(t, s, "A", letter, taro)
	put(t, s, "B", "two\r\n", taro)
	// One that another program has put into cur with flags.
	if err := os.WriteFile(filepath.Join(s.maildir(taro, "cur"), "1000000000.M1P1.host:2,RS"), []byte("three\n"), 0o600); err != nil {
		t.Skip("no colons in file names here:", err)
	}
	texts, uids := contents(t, s, taro)
	remove(t, s, taro, 0, 1)
	if left, _ := contents(t, s, taro); !cmp.Equal(left, []string{"two\r\n"}) {
		t.Errorf("after deleting: %q", left)
	}
	fields := Fields{From: "=?ISO-2022-JP?B?GyRCMlYbKEI=?= <hanako@example.jp>", To: "taro@example.com", Subject: "a folded line", Date: "Tue, 02 Jan 2024 03:04:05 +0900", MessageID: "<1@example.jp>"}
	deleted := *now
	want := []Event{
		{Time: deleted, What: Deleted, UID: uids[0], Size: 7, By: popper},
		{Time: deleted, What: Deleted, UID: uids[1], Size: int64(len(letter)), By: popper, Fields: fields},
	}
	events, damaged, err := s.History(taro)
	if diff := cmp.Diff(want, events); diff != "" || damaged != 0 || err != nil {
		t.Errorf("History: %d damaged, %v (-want +got):\n%s", damaged, err, diff)
	}
	*now = now.Add(time.Hour)
	kept, err := s.Kept(taro)
	until := time.Date(2024, 5, 2, 13, 0, 0, 0, time.UTC)
	if diff := cmp.Diff([]Kept{
		{UID: uids[0], Size: 7, Deleted: deleted, Until: until, By: popper},
		{UID: uids[1], Size: int64(len(letter)), Deleted: deleted, Until: until, By: popper, Fields: fields},
	}, kept, cmpopts.IgnoreUnexported(Kept{})); diff != "" || err != nil {
		t.Errorf("Kept: %v (-want +got):\n%s", err, diff)
	}
	admin := By{Client: "mailsrv mailbox undelete"}
	if err := s.Restore(taro, kept, admin); err != nil {
		t.Fatal(err)
	}
	gotTexts, gotUIDs := contents(t, s, taro)
	if diff := cmp.Diff([][]string{texts, uids}, [][]string{gotTexts, gotUIDs}); diff != "" {
		t.Errorf("after undelete (-want +got):\n%s", diff)
	}
	if flags, _ := filepath.Glob(filepath.Join(s.maildir(taro, "cur"), "*:2,RS")); len(flags) != 1 {
		t.Errorf("flags are lost: %v", flags)
	}
	if err := s.Restore(taro, kept[:1], admin); err == nil || !strings.Contains(err.Error(), ErrGone.Error()) {
		t.Errorf("a second time: %v", err)
	}
	events, _, _ = s.History(taro)
	want = append(want, Event{Time: *now, What: Restored, UID: uids[0], Size: 7, By: admin}, Event{Time: *now, What: Restored, UID: uids[1], Size: int64(len(letter)), By: admin, Fields: fields})
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("History (-want +got):\n%s", diff)
	}
}

func TestKeptMailExpires(t *testing.T) {
	s, now := newKeeping(t)
	put(t, s, "A", "one\r\n", taro, hanako)
	put(t, s, "B", "two\r\n", taro)
	remove(t, s, taro, 0)
	*now = now.Add(2 * time.Hour)
	remove(t, s, taro, 0)
	remove(t, s, hanako, 0)
	expect := func(at time.Duration, messages, left int) {
		t.Helper()
		*now = time.Date(2024, 5, 1, 13, 0, 0, 0, time.UTC).Add(at)
		n, octets, err := s.Expire(t.Context())
		if n != messages || octets != int64(5*messages) || err != nil {
			t.Errorf("Expire after %s: %d messages of %d octets, %v; want %d", at, n, octets, err, messages)
		}
		kept, err := s.Kept(taro)
		if len(kept) != left || err != nil {
			t.Errorf("after %s there are %d, %v; want %d", at, len(kept), err, left)
		}
	}
	expect(24*time.Hour-time.Second, 0, 2)
	expect(24*time.Hour, 1, 1)
	expect(26*time.Hour, 2, 0)
	if dirs, _ := filepath.Glob(filepath.Join(s.keptDir(taro), "*")); len(dirs) != 0 {
		t.Errorf("left over: %v", dirs)
	}
}

func TestNothingIsKeptWhenKeepIsOff(t *testing.T) {
	s, _ := newKeeping(t)
	s.Keep = 0
	put(t, s, "A", "one\r\n", taro)
	remove(t, s, taro, 0)
	if kept, err := s.Kept(taro); len(kept) != 0 || err != nil {
		t.Errorf("kept %v, %v", kept, err)
	}
	if events, _, err := s.History(taro); len(events) != 1 || err != nil {
		t.Errorf("history %v, %v", events, err)
	}
}

// A history that was cut off or written over loses those lines only; what is
// kept shows without it.
func TestDamagedHistory(t *testing.T) {
	s, now := newKeeping(t)
	put(t, s, "A", letter, taro)
	put(t, s, "B", "two\r\n", taro)
	remove(t, s, taro, 0)
	data, err := os.ReadFile(s.historyFile(taro))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.historyFile(taro), data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	remove(t, s, taro, 0)
	events, damaged, err := s.History(taro)
	if len(events) != 1 || damaged != 1 || err != nil || events[0].Size != 5 {
		t.Errorf("%+v, %d damaged, %v", events, damaged, err)
	}
	kept, err := s.Kept(taro)
	if err != nil || len(kept) != 2 {
		t.Fatal(kept, err)
	}
	if k := kept[0]; k.Subject != "a folded line" || k.By != (By{}) || !k.Deleted.Equal(now.Truncate(time.Hour)) || k.Size != int64(len(letter)) {
		t.Errorf("without history: %+v", k)
	}
}

// A history is set aside when it is large, and still read.
func TestHistoryIsBounded(t *testing.T) {
	s, _ := newKeeping(t)
	put(t, s, "A", "one\r\n", taro)
	put(t, s, "B", "two\r\n", taro)
	remove(t, s, taro, 0)
	f, err := os.OpenFile(s.historyFile(taro), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxHistory + 1); err != nil { // one long damaged line
		t.Fatal(err)
	}
	f.Close()
	remove(t, s, taro, 0)
	if events, damaged, err := s.History(taro); len(events) != 2 || damaged != 1 || err != nil {
		t.Errorf("%d events, %d damaged, %v", len(events), damaged, err)
	}
	if info, err := os.Stat(s.historyFile(taro)); err != nil || info.Size() > 1000 {
		t.Errorf("the new history: %v, %v", info, err)
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(letter))
	f.Add([]byte("Subject:\r\n\t\x00\xff\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := readFields(strings.NewReader(string(data)))
		for _, s := range []string{got.From, got.To, got.Subject, got.Date, got.MessageID} {
			if len(s) > 3*maxField || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q gives %q", data, s)
			}
		}
	})
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte("\n{\"time\":\"2024-05-01T12:34:56Z\",\"what\":\"deleted\",\"uid\":\"a\",\"size\":1,\"by\":{\"client\":\"x\"}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := len(strings.Split(string(data), "\n"))
		if events, damaged, err := readHistory(strings.NewReader(string(data))); err != nil || len(events)+damaged > lines {
			t.Errorf("%d events and %d damaged in %d lines, %v", len(events), damaged, lines, err)
		}
	})
}
