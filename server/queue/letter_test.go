package queue

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailsrv/server/deliver"
	"mailsrv/server/safeio"
	"mailsrv/server/store"
	"mailsrv/server/store/journal"
)

// withJournal opens a queue with a journal of its own on the real disk.
func withJournal(t *testing.T, dir string, o Options) (*Queue, *journal.Journal) {
	t.Helper()
	k := NewKeeper(dir)
	fs := &safeio.OS{}
	t.Cleanup(fs.Close)
	j, err := journal.Open(journal.Options{FS: fs, Dir: filepath.Join(dir, "journal"), Owner: k, Log: slog.New(slog.DiscardHandler),
		Size: func(int) int64 { return 1 << 20 }, Segments: 3, Every: time.Hour, Machine: "this boot"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	q, err := k.Open(j, o)
	if err != nil {
		t.Fatal(err)
	}
	return q, j
}

// eventually waits for something that others do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A message that is delivered at once has never been a file.
func TestDeliveredFromMemory(t *testing.T) {
	n := newInternet(t)
	q, _ := withJournal(t, t.TempDir(), n.options())
	q.folder.step = func(what string) error { t.Errorf("step: %s", what); return nil }
	run(t, q)
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	eventually(t, "delivered", func() bool { return q.Stats().Messages == 0 })
	same(t, "delivered", []string{"a@example.jp"}, n.delivered())
	if m := q.keeper.memory.Load(); m != 0 {
		t.Errorf("%d octets in memory", m)
	}
}

// One that waits for its host gets its files soon, so that others can see it.
func TestWaitingMessageIsFiled(t *testing.T) {
	n := newInternet(t)
	hang := make(chan struct{})
	n.answer = func(string, int) deliver.Result { <-hang; return accepted }
	dir := t.TempDir()
	q, _ := withJournal(t, dir, n.options())
	run(t, q)
	t.Cleanup(func() { close(hang) }) // before run's, which waits for the attempt
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	eventually(t, "listed", func() bool { l, err := List(dir); return err == nil && len(l.Messages) == 1 })
	if text, err := os.ReadFile(q.folder.text("MESSAGE1")); err != nil || string(text) != hello {
		t.Errorf("%q, %v", text, err)
	}
}

// Nobody tries a message while the queue stands still: it is filed at once.
func TestFiledWhileNothingRuns(t *testing.T) {
	dir := t.TempDir()
	q, _ := withJournal(t, dir, newInternet(t).options())
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	stop := run(t, q)
	eventually(t, "delivered", func() bool { return q.Stats().Messages == 0 })
	if err := q.pause(true); err != nil {
		t.Fatal(err)
	}
	submit(t, q, envelope("MESSAGE2", "a@example.jp"), hello)
	if l, err := List(dir); err != nil || len(l.Messages) != 1 || l.Messages[0].ID != "MESSAGE2" {
		t.Errorf("%+v, %v", l, err)
	}
	stop()
}

// A journal that takes nothing, as on a disk without room for it, is no reason
// to refuse mail.
func TestJournalTakesNothing(t *testing.T) {
	n := newInternet(t)
	dir := t.TempDir()
	q, j := withJournal(t, dir, n.options())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	m, err := q.Begin(envelope("MESSAGE2", "b@example.jp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(m, hello); err != nil {
		t.Fatal(err)
	}
	if err := m.Prepare(); err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if l, err := List(dir); err != nil || len(l.Messages) != 2 {
		t.Errorf("%+v, %v", l, err)
	}
	n.answer = func(_ string, try int) deliver.Result { return []deliver.Result{busy, accepted}[min(try, 2)-1] }
	run(t, q)
	eventually(t, "tried", func() bool { return q.Stats().Deferred == 2 })
	if answers := do(t, q, RetryNow, "MESSAGE1", "MESSAGE2"); answers != "{MESSAGE1 done} {MESSAGE2 done}" {
		t.Errorf("retry: %s", answers)
	}
	waitEmpty(t, q)
}

// Somebody has removed the queue's folder: what is in memory gets it made anew.
func TestFolderRemoved(t *testing.T) {
	n := newInternet(t)
	n.answer = func(_ string, try int) deliver.Result { return []deliver.Result{busy, accepted}[min(try, 2)-1] }
	q, _ := withJournal(t, t.TempDir(), n.options())
	run(t, q)
	if err := os.RemoveAll(q.folder.path); err != nil {
		t.Fatal(err)
	}
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	eventually(t, "filed", func() bool { _, err := os.Stat(q.folder.envelope("MESSAGE1")); return err == nil })
}

// More than fits into memory gets its files at once, and so does what the
// journal wants to let go of.
func TestMemoryIsBounded(t *testing.T) {
	n := newInternet(t)
	hang := make(chan struct{})
	n.answer = func(string, int) deliver.Result { <-hang; return accepted }
	q, j := withJournal(t, t.TempDir(), n.options())
	run(t, q)
	t.Cleanup(func() { close(hang) })
	q.keeper.memory.Add(memoryMax)
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	if _, err := os.Stat(q.folder.envelope("MESSAGE1")); err != nil {
		t.Error(err)
	}
	q.keeper.memory.Add(-memoryMax)
	submit(t, q, envelope("MESSAGE2", "a@example.jp"), hello)
	if err := j.Settled([]string{"queue/MESSAGE2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(q.folder.envelope("MESSAGE2")); err != nil {
		t.Error(err)
	}
	if m := q.keeper.memory.Load(); m != 0 {
		t.Errorf("%d octets in memory", m)
	}
}

// Records that cannot be right do not keep the journal from going on, and what
// can be saved of them is.
func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	k := NewKeeper(dir)
	record := func(kind byte, text, rest string) []byte {
		b := append(newRecord(kind, 0), text...)
		if kind == recordMessage {
			b[journal.Headroom+markLen] = byte(len(text))
		}
		return append(b, rest...)[journal.Headroom:]
	}
	if _, err := k.Restore(record(recordMessage, hello, "id = \"MESS\x01AGE1\""), false); err != nil {
		t.Errorf("a message without an envelope: %v", err)
	}
	if _, err := k.Restore(record(recordEnvelope, "nonsense", ""), false); err != nil {
		t.Errorf("an envelope: %v", err)
	}
	for name, data := range map[string][]byte{
		"empty": {}, "mark alone": {store.TenantMark}, "kind": record('X', "", ""), "path": record(recordDone, "../../etc/passwd", ""),
		"short": record(recordMessage, "", "")[:4], "text too long": append([]byte{store.TenantMark, recordMessage, 0xff, 0xff, 0xff, 0xff}, hello...),
	} {
		if _, err := k.Restore(data, false); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	q, err := k.Open(nil, newInternet(t).options())
	if err != nil {
		t.Fatal(err)
	}
	run(t, q)
	eventually(t, "set aside", func() bool { return q.Stats().Messages == 0 && len(files(t, q.folder.path)) == 0 })
	l, err := List(dir)
	if err != nil || len(l.Damaged) != 1 || !strings.Contains(l.Damaged[0].Why, "line 1") {
		t.Fatalf("%+v, %v", l, err)
	}
	if text, err := os.ReadFile(filepath.Join(l.Damaged[0].Folder, l.Damaged[0].ID+".eml")); err != nil || string(text) != hello {
		t.Errorf("%q, %v", text, err)
	}
}

func FuzzRestore(f *testing.F) {
	e := envelope("MESSAGE1", "a@example.jp")
	e.Accepted = time.Unix(1, 0)
	e.Recipients[0].State = Waiting
	e.Size = int64(len(hello))
	b := append(append(newRecord(recordMessage, 0), hello...), e.encode()...)
	b[journal.Headroom+markLen] = byte(len(hello))
	f.Add(b[journal.Headroom:], false)
	f.Add(append(newRecord(recordEnvelope, 0), e.encode()...)[journal.Headroom:], false)
	f.Add(append(newRecord(recordDone, 0), "MESSAGE1\nMESSAGE2"...)[journal.Headroom:], true)
	f.Fuzz(func(t *testing.T, data []byte, placed bool) {
		dir := t.TempDir()
		k := NewKeeper(dir)
		i, err := k.Restore(data, placed)
		if (i == nil) != (err != nil) {
			t.Errorf("%v, %v", i, err)
		}
		// Nothing but messages, and those in the folder.
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (filepath.Dir(path) != Dir(dir) || !validID(strings.TrimSuffix(strings.TrimSuffix(d.Name(), ".eml"), ".toml"))) {
				err = fmt.Errorf("%s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
