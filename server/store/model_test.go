package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailsrv/server/safeio/crashfs"
)

// fate is what may be found of a message in a mailbox.
type fate int

const (
	must  fate = iota // acknowledged: exactly once
	may               // not acknowledged, or taken out without a sync before a power cut: once at most
	never             // deleted, and that was acknowledged
)

// world is a store under test beside a simple one in memory.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	disk *crashfs.Disk
	p    *crashfs.Process
	s    *Maildirs
	want map[Box]map[string]fate // by the message's text
	text map[string]string       // by its first line
	n    int
	log  locked

	// What mutt deleted may be back after a power cut: mutt syncs nothing.
	unsynced []func()
}

// locked is a log that several goroutines write.
type locked struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

var boxes = []Box{taro, hanako, {"jiro", "example.com"}}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), want: map[Box]map[string]fate{}, text: map[string]string{}}
	for _, box := range boxes {
		w.want[box] = map[string]fate{}
	}
	w.disk = crashfs.New(t.TempDir(), w.rng)
	w.start()
	t.Cleanup(func() {
		w.p.Kill()
		_ = w.s.Close()
		if t.Failed() {
			t.Log("story:\n" + w.log.b.String())
		}
	})
	return w
}

func (w *world) note(format string, args ...any) { fmt.Fprintf(&w.log, format+"\n", args...) }

func (w *world) start() {
	w.p = w.disk.Process()
	w.s = New(w.disk.Root)
	w.s.fs = w.p
	w.s.syncs.sync = w.p.SyncDir
	if err := w.s.Start(slog.New(slog.NewTextHandler(&w.log, nil))); err != nil {
		w.t.Fatalf("Start: %v", err)
	}
}

// failing makes the nth change from now fail, and all behind it if lasting,
// while do runs.
func (w *world) failing(n int, lasting bool, do func()) {
	kinds := []error{errIO, fullNumbers[0], readOnlyNumbers[0], fs.ErrPermission}
	kind := kinds[w.rng.IntN(len(kinds))]
	k := 0
	w.p.Steps(func(op, path string) error {
		// A failed sync of everything has to be written down, in the page
		// cache at least: it does not come together with a disk that takes
		// nothing, and a kill.
		if k++; k == n && !(lasting && op == "sync all") || lasting && k > n && op != "sync all" {
			w.note("    %s %s fails: %v", op, filepath.Base(path), kind)
			return kind
		}
		return nil
	})
	do()
	w.p.Steps(nil)
}

var errIO = errors.New("input/output error")

func (w *world) deliver() {
	w.n++
	to := boxes[:1+w.rng.IntN(len(boxes))]
	size := w.rng.IntN(2000)
	if w.rng.IntN(8) == 0 {
		size = journalMax + w.rng.IntN(50_000)
		if w.rng.IntN(2) == 0 { // not alone: its file is synced
			if other, err := w.s.Begin(fmt.Sprint("O", w.n), to); err == nil {
				defer other.Abort()
			}
		}
	}
	first := fmt.Sprintf("Subject: %d", w.n)
	body := first + "\r\n\r\n" + strings.Repeat("x", size) + "\r\n"
	w.text[first] = body
	m, err := w.s.Begin(fmt.Sprint("N", w.n), to)
	if err == nil {
		if _, err = io.WriteString(m, body); err == nil && w.rng.IntN(10) == 0 {
			err = errors.New("the client went away")
		}
		if err == nil {
			err = m.Commit()
		}
		m.Abort()
	}
	w.note("deliver %d, %d octets, to %d: %v", w.n, len(body), len(to), err)
	for _, box := range to {
		w.want[box][first] = must
		if err != nil {
			w.want[box][first] = may
		}
	}
}

// read returns the first lines of all messages of a mailbox.
func (w *world) read(m Mailbox) []string {
	var out []string
	for i := range m.Messages() {
		text := read(w.t, m, i)
		first, _, _ := strings.Cut(text, "\r\n")
		if text != w.text[first] {
			w.t.Errorf("message %q has %d octets, %d were sent", first, len(text), len(w.text[first]))
		}
		out = append(out, first)
	}
	return out
}

func (w *world) check() {
	for _, box := range boxes {
		m, err := w.s.Open(box, By{Client: "model"})
		if err != nil {
			w.t.Fatal(err)
		}
		count := map[string]int{}
		for _, first := range w.read(m) {
			count[first]++
		}
		m.Close()
		for first, f := range w.want[box] {
			switch n := count[first]; {
			case f == must && n != 1, f == may && n > 1, f == never && n > 0:
				w.t.Errorf("%s has %q %d times; its fate is %d", box, first, n, f)
			}
			delete(count, first)
		}
		for first := range count {
			w.t.Errorf("%s has %q, which nobody sent it", box, first)
		}
	}
}

// fetch deletes some messages as a POP3 session does.
func (w *world) fetch() {
	box := boxes[w.rng.IntN(len(boxes))]
	m, err := w.s.Open(box, By{Client: "model"})
	if err != nil {
		w.t.Fatal(err)
	}
	defer m.Close()
	var delete []int
	firsts := w.read(m)
	for i := range firsts {
		if w.rng.IntN(3) == 0 {
			delete = append(delete, i)
		}
	}
	err = m.Delete(delete)
	w.note("delete %d of %d from %s: %v", len(delete), len(firsts), box, err)
	for _, i := range delete {
		w.want[box][firsts[i]] = never
		if err != nil {
			w.want[box][firsts[i]] = may
		}
	}
	if err := w.disk.Observe(true); err != nil {
		w.t.Fatal(err)
	}
}

// mutt moves messages to cur, or deletes them, without any sync.
func (w *world) mutt() {
	box := boxes[w.rng.IntN(len(boxes))]
	files, err := filepath.Glob(filepath.Join(Dir(w.disk.Root, box), "Maildir", "new", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\r\n")
		switch w.rng.IntN(3) {
		case 0:
			w.note("mutt reads %q of %s", first, box)
			err = os.Rename(path, filepath.Join(filepath.Dir(filepath.Dir(path)), "cur", filepath.Base(path)+":2,S"))
		case 1:
			w.note("mutt deletes %q of %s", first, box)
			err = os.Remove(path)
			w.want[box][first] = never
			w.unsynced = append(w.unsynced, func() { w.want[box][first] = may })
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.disk.Observe(false); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) kill() {
	w.note("kill")
	w.p.Kill()
	_ = w.s.Close()
	w.start()
	w.check()
}

func (w *world) cut() {
	w.note("power cut")
	after, err := w.disk.Cut(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.p.Kill()
	_ = w.s.Close()
	for _, forgive := range w.unsynced {
		forgive()
	}
	w.unsynced = nil
	w.disk = after
	w.start()
}

// The store against the model: with errors at every step, kills and power cuts
// at any time.
func TestModel(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 40 {
				switch k := w.rng.IntN(40); {
				case k < 20:
					w.deliver()
				case k < 25:
					w.failing(1+w.rng.IntN(12), w.rng.IntN(2) == 0, w.deliver)
				case k < 27:
					w.fetch()
				case k < 28:
					w.failing(1+w.rng.IntN(5), w.rng.IntN(2) == 0, w.fetch)
				case k < 29 && seed%3 == 0:
					w.mutt()
				case k < 32:
					w.kill()
				case k < 34:
					w.cut()
					w.check()
				case k < 35:
					w.note("stop and start")
					if err := w.s.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
					w.start()
				default:
					w.check()
				}
				if t.Failed() {
					return
				}
			}
			w.check()
			w.cut()
			w.kill() // a replay after a replay
		})
	}
}

// Every step of one delivery fails in turn, and power is cut behind it.
func TestEveryStep(t *testing.T) {
	for n := 1; n < 40; n++ {
		for _, lasting := range []bool{false, true} {
			w := newWorld(t, uint64(n))
			w.failing(n, lasting, func() { w.deliver(); w.deliver() })
			w.deliver()
			w.check()
			w.cut()
			w.check()
			w.kill()
		}
	}
}
