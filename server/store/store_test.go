package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var taro, hanako = Box{"taro", "example.com"}, Box{"hanako", "example.jp"}

func put(t *testing.T, s Store, id, text string, boxes ...Box) {
	t.Helper()
	m, err := s.Begin(id, boxes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(m, text); err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
}

// contents opens the mailbox and returns every message's octets; it checks on
// the way that each is as long as was said.
func contents(t *testing.T, s Store, box Box) (texts, uids []string) {
	t.Helper()
	m, err := s.Open(box, By{Client: "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i, msg := range m.Messages() {
		text := read(t, m, i)
		if int64(len(text)) != msg.Size {
			t.Errorf("message %d has %d octets, Size says %d", i, len(text), msg.Size)
		}
		texts, uids = append(texts, text), append(uids, msg.UID)
	}
	return texts, uids
}

func read(t *testing.T, m Mailbox, i int) string {
	t.Helper()
	r, err := m.Read(i)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPutAndRead(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	want := []string{"Subject: 1\r\n\r\n.\r\n..\r\n", "Subject: 2\r\n\r\n\x00\xff\r\n", strings.Repeat("x", 100_000) + "\r\n"}
	for i, text := range want {
		put(t, s, fmt.Sprint("ID", i), text, taro)
	}
	texts, uids := contents(t, s, taro)
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("messages in order of arrival (-want +got):\n%s", diff)
	}
	for i, uid := range uids {
		if len(uid) > 70 || !strings.Contains(uid, fmt.Sprint("IID", i)) {
			t.Errorf("uid %q", uid)
		}
	}
	// Another process sees the same, under the same unique-ids.
	_, again := contents(t, New(dir), taro)
	if diff := cmp.Diff(uids, again); diff != "" {
		t.Errorf("uids after a restart (-before +after):\n%s", diff)
	}
	// What lies on the disk is a plain Maildir with the size in the name.
	files, err := os.ReadDir(filepath.Join(dir, "mail", "example.com", "taro", "Maildir", "new"))
	if err != nil || len(files) != 3 || !strings.HasSuffix(files[0].Name(), fmt.Sprintf(",S=%d,W=%d", len(want[0]), len(want[0]))) {
		t.Errorf("new holds %v, %v", files, err)
	}
	for _, part := range []string{"tmp", "cur"} {
		if left, err := os.ReadDir(filepath.Join(Dir(dir, taro), "Maildir", part)); err != nil || len(left) != 0 {
			t.Errorf("%s holds %v, %v", part, left, err)
		}
	}
}

func TestSeveralRecipients(t *testing.T) {
	s := New(t.TempDir())
	put(t, s, "A", "one\r\n", taro, hanako)
	for _, box := range []Box{taro, hanako} {
		if texts, _ := contents(t, s, box); !cmp.Equal(texts, []string{"one\r\n"}) {
			t.Errorf("%s: %q", box, texts)
		}
	}
	m, err := s.Open(taro, By{Client: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Delete([]int{0}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if texts, _ := contents(t, s, hanako); len(texts) != 1 {
		t.Errorf("deleting in one mailbox took it from the other: %q", texts)
	}
}

func TestCommitIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	m, err := s.Begin("A", []Box{taro, hanako})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(m, "one\r\n"); err != nil {
		t.Fatal(err)
	}
	// The second mailbox goes away under the server's feet.
	if err := os.RemoveAll(filepath.Join(Dir(dir, hanako), "Maildir", "new")); err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Commit: %v", err)
	}
	for _, box := range []Box{taro, hanako} {
		if texts, _ := contents(t, s, box); len(texts) != 0 {
			t.Errorf("%s has %q after a failed Commit", box, texts)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(Dir(dir, taro), "Maildir", "tmp")); len(left) != 0 {
		t.Errorf("tmp holds %v", left)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	m, err := s.Begin("A", []Box{taro})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(m, "half"); err != nil {
		t.Fatal(err)
	}
	m.Abort()
	err = filepath.WalkDir(filepath.Join(dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneSessionAtATime(t *testing.T) {
	s := New(t.TempDir())
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return now }
	m, err := s.Open(taro, By{Client: "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(taro, By{Client: "192.0.2.8"})
	if diff := cmp.Diff(&InUseError{Box: taro, Holder: "192.0.2.7", Since: now}, err); diff != "" {
		t.Errorf("second Open (-want +got):\n%s", diff)
	}
	if other, err := s.Open(hanako, By{Client: "192.0.2.8"}); err != nil {
		t.Errorf("another mailbox: %v", err)
	} else {
		other.Close()
	}
	m.Close()
	if m, err = s.Open(taro, By{Client: "192.0.2.8"}); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	m.Close()
	m.Close() // a second Close must not free somebody else's lock
}

// Files of other programs: LF line ends, flags, no sizes, odd names.
func TestForeignMaildir(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	long := strings.Repeat("n", 80)
	for name, text := range map[string]string{
		"cur/1000000000.1_2.host:2,S":                   "a\nb\r\nno end",
		"cur/1000000001.M5P6.host,S=4,W=6:2,RS":         "c\nd\n",
		"new/1000000002.V1." + long:                     "",
		"new/.hidden":                                   "not a message",
		"cur/1000000003.M1P1.host,S=6,W=6:2,S":          "e\r\nf\r\n",
		"new/1000000003.M1P1.host,S=6,W=6":              "e\r\nf\r\n", // seen twice while being moved
		"cur/1000000004.\xff\xfe.host,S=notanumber:2,S": "g\n",
	} {
		if err := os.WriteFile(filepath.Join(Dir(dir, taro), "Maildir", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, uids := contents(t, s, taro)
	want := []string{"a\r\nb\r\nno end\r\n", "c\r\nd\r\n", "", "e\r\nf\r\n", "g\r\n", "ours\r\n"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	wantUID := []string{"1000000000.1_2.host", "1000000001.M5P6.host", "sha256-", "1000000003.M1P1.host", "sha256-", ""}
	for i, uid := range uids {
		if len(uid) > 70 || !strings.HasPrefix(uid, wantUID[i]) {
			t.Errorf("uid %d is %q, want %q", i, uid, wantUID[i])
		}
	}
}

// What is no message file is passed over; it must neither close the mailbox nor
// hold it up.
func TestOnlyMessageFiles(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	maildir := filepath.Join(Dir(dir, taro), "Maildir")
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("not mail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"cur/folder", "new/1000000000.M1P1.host,S=3,W=3:2,S", ".Sent/cur"} {
		if err := os.MkdirAll(filepath.Join(maildir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"1000000001.1.link": secret, "1000000002.1.dangling": filepath.Join(dir, "nothing"), "1000000003.1.dir": dir} {
		if err := os.Symlink(target, filepath.Join(maildir, "cur", name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	if texts, _ := contents(t, s, taro); !cmp.Equal(texts, []string{"ours\r\n"}) {
		t.Errorf("mailbox holds %q", texts)
	}
}

// A name may hold commas that are no fields of the Maildir kind: two files are
// two messages.
func TestCommasInForeignNames(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	for name, text := range map[string]string{"1,1": "a\r\n", "1,2": "b\r\n", "1,2,S=3,W=3:2,S": "b\r\n", "2,X=1,S=3:2,": "c\r\n"} {
		if err := os.WriteFile(filepath.Join(Dir(dir, taro), "Maildir", "cur", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, uids := contents(t, s, taro)
	if diff := cmp.Diff([]string{"a\r\n", "b\r\n", "c\r\n", "ours\r\n"}, texts); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1,1", "1,2", "2,X=1"}, uids[:3]); diff != "" {
		t.Errorf("uids (-want +got):\n%s", diff)
	}
}

// A file that was changed in place, so that its name lies about its size, is
// still sent as lines that end with CRLF.
func TestNameThatLies(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "Subject: x\r\n\r\n", taro)
	m, err := s.Open(taro, By{Client: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	files, _ := filepath.Glob(filepath.Join(Dir(dir, taro), "Maildir", "new", "*"))
	if err := os.WriteFile(files[0], []byte("Subject: y\n\n.\nz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, m, 0), "Subject: y\r\n\r\n.\r\nz\r\n"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

// What a killed server left in tmp goes when it is old enough to be nobody's
// (the Maildir rules say 36 hours); what is new stays.
func TestOldTmpIsSwept(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "OURS", "ours\r\n", taro)
	tmp := filepath.Join(Dir(dir, taro), "Maildir", "tmp")
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "recent": 35 * time.Hour, "now": 0} {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	contents(t, s, taro)
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	if want := []string{filepath.Join(tmp, "now"), filepath.Join(tmp, "recent")}; err != nil || !cmp.Equal(left, want) {
		t.Errorf("tmp holds %v, %v; want %v", left, err, want)
	}
}

// A mail program beside the server moves and deletes files during a session.
func TestMovedAndGone(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	for _, text := range []string{"one\r\n", "two\r\n", "three\r\n"} {
		put(t, s, "A", text, taro)
	}
	m, err := s.Open(taro, By{Client: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	maildir := filepath.Join(Dir(dir, taro), "Maildir")
	files, _ := os.ReadDir(filepath.Join(maildir, "new"))
	for i, to := range []string{filepath.Join("cur", files[0].Name()+":2,S"), "", filepath.Join("cur", files[2].Name()+":2,RS")} {
		from := filepath.Join(maildir, "new", files[i].Name())
		if to == "" {
			err = os.Remove(from)
		} else {
			err = os.Rename(from, filepath.Join(maildir, to))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, m, 0); got != "one\r\n" {
		t.Errorf("moved message: %q", got)
	}
	if _, err := m.Read(1); err != ErrGone {
		t.Errorf("deleted message: %v, want ErrGone", err)
	}
	if err := m.Delete([]int{0, 1, 2}); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if files, _ := os.ReadDir(filepath.Join(maildir, "cur")); len(files) != 0 {
		t.Errorf("cur still holds %v", files)
	}
}

// A mailbox that is removed under a session is empty: what was to be deleted is.
func TestDeleteFromRemovedBox(t *testing.T) {
	s := New(t.TempDir())
	put(t, s, "A", "one\r\n", taro)
	m, err := s.Open(taro, By{Client: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := s.Remove(taro); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete([]int{0}); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func TestConcurrentArrivals(t *testing.T) {
	s := New(t.TempDir())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			m, err := s.Begin("X", []Box{taro, hanako})
			if err == nil {
				_, err = fmt.Fprintf(m, "message %d\r\n", i)
			}
			if err == nil {
				err = m.Commit()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, box := range []Box{taro, hanako} {
		texts, uids := contents(t, s, box)
		distinct := map[string]bool{}
		for _, x := range append(texts, uids...) {
			distinct[x] = true
		}
		if len(texts) != 20 || len(distinct) != 40 {
			t.Errorf("%s: %d messages, %d distinct texts and uids; want 20 and 40", box, len(texts), len(distinct))
		}
	}
}

func TestRemoveBox(t *testing.T) {
	dir := t.TempDir()
	s := New(dir)
	put(t, s, "A", "one\r\n", taro, hanako)
	for range 2 {
		if err := s.Remove(taro); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(Dir(dir, taro)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("mailbox still there: %v", err)
	}
	if texts, _ := contents(t, s, hanako); len(texts) != 1 {
		t.Errorf("the other mailbox has %q", texts)
	}
}

func TestNamesCannotLeaveTheDataDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, box := range []Box{{"..", ".."}, {"../../x", "../../y"}, {"/etc", "a:b"}} {
		rel, err := filepath.Rel(filepath.Join(dir, "mail"), Dir(dir, box))
		if err != nil || !filepath.IsLocal(rel) || strings.Count(rel, string(filepath.Separator)) != 1 {
			t.Errorf("%v lies in %s (%v)", box, rel, err)
		}
	}
}

func TestDiskErrors(t *testing.T) {
	for _, n := range fullNumbers {
		if err := DiskError(&fs.PathError{Op: "write", Path: "x", Err: n}); !errors.Is(err, ErrFull) || !errors.Is(err, n) {
			t.Errorf("%v: %v", n, err)
		}
	}
	for _, n := range readOnlyNumbers {
		if err := DiskError(&fs.PathError{Op: "open", Path: "x", Err: n}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%v: %v", n, err)
		}
	}
	if err := DiskError(fs.ErrPermission); errors.Is(err, ErrFull) || errors.Is(err, ErrReadOnly) {
		t.Errorf("permission: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	if _, running, err := ReadRun(dir); running || err != nil {
		t.Errorf("before any server: running %v, %v", running, err)
	}
	l, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(dir)
	if diff := cmp.Diff(&LockedError{Dir: dir, PID: os.Getpid()}, err); diff != "" {
		t.Errorf("second Acquire (-want +got):\n%s", diff)
	}
	started := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	want := Run{PID: os.Getpid(), Version: "0.1", Started: started, Listen: []RunAddr{{"smtp", "127.0.0.1:2525"}}}
	var starts []time.Time
	for i := range 12 {
		want.Started = started.Add(time.Duration(i) * time.Minute)
		starts = append(starts, want.Started)
		if err := l.Announce(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	want.Starts = starts[2:]
	got, running, err := ReadRun(dir)
	if diff := cmp.Diff(want, got); diff != "" || !running || err != nil {
		t.Errorf("ReadRun: running %v, %v (-want +got):\n%s", running, err, diff)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if got, running, err := ReadRun(dir); running || err != nil || got.Version != "0.1" {
		t.Errorf("after Release: %+v, running %v, %v", got, running, err)
	}
	l, err = Acquire(dir)
	if err != nil {
		t.Fatalf("after Release: %v", err)
	}
	l.Release()
}

func TestUnusableDataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "data")
	_, err := Acquire(dir)
	if err == nil || !strings.HasPrefix(err.Error(), "data directory "+dir+" cannot be used: ") || !strings.HasSuffix(err.Error(), ": set data_dir to a folder that can be written") {
		t.Errorf("Acquire: %v", err)
	}
	if got := dirError("d", fs.ErrPermission).Error(); got != "data directory d cannot be used: permission denied: it must belong to the user that mailsrv runs as" {
		t.Error(got)
	}
}

func FuzzName(f *testing.F) {
	f.Add("1732212345.M012345P4711I2QK7XW9PZD.mail,S=4321,W=4321")
	f.Add("1000000000.1_2.host:2,S")
	f.Add(",S=99999999999999999999")
	f.Fuzz(func(t *testing.T, name string) {
		p := parseName(name)
		if p.uid == "" || len(p.uid) > 70 || strings.ContainsFunc(p.uid, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q: uid %q", name, p.uid)
		}
		if q := parseName(name + ":2,FRS"); !strings.ContainsAny(name, ":;,") && q.uid != p.uid {
			t.Errorf("%q: uid %q, with flags %q", name, p.uid, q.uid)
		}
	})
}

func FuzzCRLF(f *testing.F) {
	f.Add([]byte("a\nb\r\n\rc\r\r\n\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		// Read in small steps and at once must agree, and hold no bare LF.
		whole, err := io.ReadAll(newCRLF(bytes.NewReader(data)))
		if err != nil {
			t.Fatal(err)
		}
		var small []byte
		r, buf := newCRLF(bytes.NewReader(data)), make([]byte, max(1, step%7))
		for {
			n, err := r.Read(buf)
			small = append(small, buf[:n]...)
			if err == io.EOF {
				break
			}
		}
		if !bytes.Equal(whole, small) {
			t.Errorf("%q: %q in small steps, %q at once", data, small, whole)
		}
		if bare := bytes.ReplaceAll(whole, []byte("\r\n"), nil); bytes.IndexByte(bare, '\n') >= 0 {
			t.Errorf("%q: bare LF in %q", data, whole)
		}
		if len(data) > 0 && !bytes.HasSuffix(whole, []byte("\r\n")) {
			t.Errorf("%q: no line end in %q", data, whole)
		}
	})
}
