package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/safeio"
	"mailsrv/server/safeio/crashfs"
)

// book is an owner that remembers what it was asked to do.
type book struct {
	mu       sync.Mutex
	restored []string // "text", with a * when it was placed
	settled  int
	repaired []string
	fail     error // of Restore, Settle and Repair
	late     error // of Settle and Repair
}

type line string

func (l line) Key() string { return string(l) }

func (b *book) Restore(data []byte, placed bool) (Item, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	s := string(data)
	if placed {
		s += "*"
	}
	b.restored = append(b.restored, s)
	return line(data), nil
}

func (b *book) Settle(items []Item) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.Join(b.fail, b.late)
	if err == nil {
		b.settled += len(items)
	}
	return err
}

func (b *book) Repair(_ Item, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.Join(b.fail, b.late)
	if err == nil {
		b.repaired = append(b.repaired, string(data))
	}
	return err
}

func (b *book) refuse(err error) {
	b.mu.Lock()
	b.fail = err
	b.mu.Unlock()
}

func options(fsys safeio.FS, dir string, o Owner) Options {
	return Options{
		FS: fsys, Dir: filepath.Join(dir, "journal"), Owner: o, Log: slog.New(slog.DiscardHandler),
		Size: func(int) int64 { return 8 << 10 }, Segments: 3, Every: time.Hour, Machine: "this boot",
	}
}

func open(t *testing.T, opt Options) *Journal {
	t.Helper()
	j, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func add(j *Journal, text string, place bool) error {
	e, err := j.Append(line(text), append(make([]byte, Headroom), text...))
	if err == nil {
		j.Placed(e, place)
	}
	return err
}

func mustAdd(t *testing.T, j *Journal, place bool, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := add(j, text, place); err != nil {
			t.Fatal(err)
		}
	}
}

// killed opens a disk, has use do something with a journal on it, and kills
// that.
func killed(t *testing.T, disk *crashfs.Disk, use func(j *Journal, p *crashfs.Process)) {
	t.Helper()
	p := disk.Process()
	j := open(t, options(p, disk.Root, &book{}))
	use(j, p)
	p.Kill()
	_ = j.Close()
}

func newDisk(t *testing.T) *crashfs.Disk {
	return crashfs.New(t.TempDir(), rand.New(rand.NewPCG(1, 2)))
}

func TestReplay(t *testing.T) {
	disk := newDisk(t)
	killed(t, disk, func(j *Journal, _ *crashfs.Process) {
		mustAdd(t, j, true, "one")
		mustAdd(t, j, false, "two")
		mustAdd(t, j, true, "three")
	})
	for range 2 { // a replay that is killed too is repeated
		b := &book{late: errors.New("killed before")}
		p := disk.Process()
		j := open(t, options(p, disk.Root, b))
		p.Kill()
		_ = j.Close()
		// Restored records are placed: the second time so is two.
		want := []string{"one*", "two", "three*"}
		if slices.Contains(b.restored, "two*") {
			want[1] = "two*"
		}
		if diff := cmp.Diff(want, b.restored); diff != "" {
			t.Errorf("restored (-want +got):\n%s", diff)
		}
	}
	// After another boot nothing is known to be placed.
	b := &book{}
	opt := options(disk.Process(), disk.Root, b)
	opt.Machine = "another boot"
	j := open(t, opt)
	if diff := cmp.Diff([]string{"one", "two", "three"}, b.restored); diff != "" {
		t.Errorf("restored after a boot (-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// And once it is settled nothing comes back.
	b = &book{}
	j = open(t, options(disk.Process(), disk.Root, b))
	if len(b.restored) != 0 {
		t.Errorf("restored after a clean stop: %q", b.restored)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// Many appends at once share their syncs, and the journal stays within its
// segments however much goes through it.
func TestGroupCommit(t *testing.T) {
	disk := newDisk(t)
	p := disk.Process()
	b := &book{}
	j := open(t, options(p, disk.Root, b))
	mustAdd(t, j, true, "first")
	const n = 50
	syncs := 0 // the steps come one at a time
	held := make(chan struct{})
	p.Steps(func(op, path string) error {
		if op != "sync" {
			return nil
		}
		if syncs++; syncs == 1 {
			close(held)
			for gathered := 0; gathered < n; runtime.Gosched() {
				j.mu.Lock()
				gathered = len(j.queue)
				j.mu.Unlock()
			}
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range n + 1 {
		wg.Go(func() {
			if err := add(j, fmt.Sprint("record ", i), true); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			<-held
		}
	}
	wg.Wait()
	p.Steps(nil)
	if syncs != 2 { // of the first alone, and of all that gathered meanwhile
		t.Errorf("%d syncs for %d records", syncs, n+1)
	}
	for i := range 500 {
		mustAdd(t, j, true, strings.Repeat("x", 200)+fmt.Sprint(i))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := p.ReadNames(filepath.Join(disk.Root, "journal"))
	if err != nil || len(names) < 2 || len(names) > 4 || names[0] != "placed" {
		t.Errorf("journal holds %q, %v; want placed and up to three segments", names, err)
	}
	if b.settled != 1+n+1+500 {
		t.Errorf("%d records settled", b.settled)
	}
}

// What a server leaves behind can be told without opening it.
func TestUnsettled(t *testing.T) {
	disk := newDisk(t)
	opt := options(disk.Process(), disk.Root, &book{})
	wants := func(want bool) {
		t.Helper()
		if got, err := Unsettled(opt.Dir); err != nil || got != want {
			t.Errorf("%v, %v", got, err)
		}
	}
	wants(false) // no journal yet
	j := open(t, opt)
	wants(false)
	if err := add(j, "one", true); err != nil {
		t.Fatal(err)
	}
	wants(true)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wants(false)
}

// A batch may be more than all segments hold: whoever writes must get out of the
// way as soon as his own record is durable, or its segment could not be freed.
func TestMoreThanAllSegments(t *testing.T) {
	disk := newDisk(t)
	p := disk.Process()
	b := &book{}
	j := open(t, options(p, disk.Root, b))
	const n = 60
	var once sync.Once
	p.Steps(func(op, path string) error {
		if op == "sync" {
			once.Do(func() {
				for gathered := 0; gathered < n-1; runtime.Gosched() {
					j.mu.Lock()
					gathered = len(j.queue)
					j.mu.Unlock()
				}
			})
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := add(j, strings.Repeat("x", 2000)+fmt.Sprint(i), true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if b.settled != n {
		t.Errorf("%d records settled, want %d", b.settled, n)
	}
}

// A sync that fails is an error for all who waited for it. The segment is not
// written again; others take its place.
func TestFailedSync(t *testing.T) {
	disk := newDisk(t)
	p := disk.Process()
	b := &book{}
	j := open(t, options(p, disk.Root, b))
	mustAdd(t, j, true, "one")
	errIO := errors.New("input/output error")
	var after []string
	failed := false
	p.Steps(func(op, path string) error {
		switch base := strings.TrimSuffix(filepath.Base(path), ".new"); {
		case op == "sync" && base == "segment-1" && !failed:
			failed = true
			return errIO
		case failed && base == "segment-1":
			after = append(after, op)
		}
		return nil
	})
	if err := add(j, "two", true); !errors.Is(err, errIO) {
		t.Errorf("Append: %v, want %v", err, errIO)
	}
	mustAdd(t, j, true, "three")
	if err := j.Settled([]string{"one", "three"}); err != nil {
		t.Fatal(err)
	}
	p.Steps(nil)
	if diff := cmp.Diff([]string{"remove"}, after); diff != "" {
		t.Errorf("done with the failed segment (-want +got):\n%s", diff)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// When the owner cannot settle, it has to repair: a second Settle that succeeds
// proves nothing. Until then appending goes on as long as there is room, and is
// refused then.
func TestFailedSettle(t *testing.T) {
	disk := newDisk(t)
	b := &book{fail: errors.New("input/output error")}
	p := disk.Process()
	j := open(t, options(p, disk.Root, b))
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = add(j, strings.Repeat("x", 1000)+fmt.Sprint(n), true)
	}
	if err != ErrStuck {
		t.Fatalf("after %d records: %v, want %v", n, err, ErrStuck)
	}
	b.refuse(nil)
	for range 2 { // the first may hear of a try that was under way
		err = j.Settled([]string{strings.Repeat("x", 1000) + "0"})
	}
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, j, true, "after")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Those that came after the last failure are settled as usual.
	if !slices.Contains(b.repaired, strings.Repeat("x", 1000)+"0") || len(b.repaired)+b.settled != n {
		t.Errorf("%d repaired, %d settled; want the first one repaired, and %d together", len(b.repaired), b.settled, n)
	}
}

// What cannot be restored at the start is restored when it can, without a
// restart.
func TestRestoreLater(t *testing.T) {
	disk := newDisk(t)
	killed(t, disk, func(j *Journal, _ *crashfs.Process) { mustAdd(t, j, false, "one", "two") })
	b := &book{fail: errors.New("disk full")}
	opt := options(disk.Process(), disk.Root, b)
	opt.Every = time.Millisecond
	j := open(t, opt)
	mustAdd(t, j, true, "three")
	b.refuse(nil)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(b.restored) // the disk may have had room in the middle of an attempt
	if diff := cmp.Diff([]string{"one", "two"}, b.restored); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

// A damaged segment costs what is damaged. It is kept.
func TestDamagedSegment(t *testing.T) {
	for name, harm := range map[string]func(b []byte) []byte{
		"record":    func(b []byte) []byte { b[segmentHeader+recordHeader+1] ^= 1; return b },
		"header":    func(b []byte) []byte { clear(b[:64]); b[segmentHeader+recordHeader+1] ^= 1; return b },
		"cut short": func(b []byte) []byte { b[segmentHeader+recordHeader+1] ^= 1; return b[:2048] },
	} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk(t)
			killed(t, disk, func(j *Journal, _ *crashfs.Process) { mustAdd(t, j, true, "one", "two", "three") })
			path := filepath.Join(disk.Root, "journal", "segment-1")
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, harm(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			b := &book{}
			j := open(t, options(&safeio.OS{}, disk.Root, b))
			if diff := cmp.Diff([]string{"two*", "three*"}, b.restored); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
			mustAdd(t, j, true, "four")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			kept, err := filepath.Glob(filepath.Join(disk.Root, "journal", DamagedDir, "segment-1-*"))
			if err != nil || len(kept) != 1 {
				t.Errorf("kept %q, %v", kept, err)
			}
			b = &book{}
			if err := open(t, options(&safeio.OS{}, disk.Root, b)).Close(); err != nil || len(b.restored) != 0 {
				t.Errorf("the next start: %v, restored %q", err, b.restored)
			}
		})
	}
}

func TestTooBig(t *testing.T) {
	disk := newDisk(t)
	j := open(t, options(disk.Process(), disk.Root, &book{}))
	if err := add(j, strings.Repeat("x", 8<<10), true); err != ErrTooBig {
		t.Errorf("a record as big as a segment: %v, want %v", err, ErrTooBig)
	}
	mustAdd(t, j, true, "small")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := add(j, "late", true); err != ErrClosed {
		t.Errorf("after Close: %v, want %v", err, ErrClosed)
	}
}
