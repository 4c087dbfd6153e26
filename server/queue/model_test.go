package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/server/deliver"
	"mailsrv/server/safeio/crashfs"
	"mailsrv/server/store/journal"
)

// world is a queue with its journal on a disk that can lose its power, and an
// internet that remembers.
type world struct {
	t    *testing.T
	n    *internet
	rng  *rand.Rand // of the story; the disk and the internet have their own
	disk *crashfs.Disk
	p    *crashfs.Process
	k    *Keeper
	q    *Queue
	stop func()

	count   int
	taken   []Envelope
	crashes []time.Duration // when, since n began

	dead atomic.Bool // what the process still does counts for nothing

	mu  sync.Mutex
	log []string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, n: newInternet(t), rng: rand.New(rand.NewPCG(seed, 2))}
	answers := rand.New(rand.NewPCG(seed, 1))
	w.n.answer = func(to string, try int) deliver.Result {
		switch k := answers.IntN(10); {
		case w.dead.Load():
			return busy
		case k < 6 || try > 4:
			return accepted
		case k < 7 && try > 1:
			return unknown
		case k < 8:
			return dead
		}
		return busy
	}
	w.disk = crashfs.New(t.TempDir(), rand.New(rand.NewPCG(seed, 3)))
	w.start()
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%v ", time.Since(w.n.began))+fmt.Sprintf(format, args...))
}

// Write takes the queue's log.
func (w *world) Write(p []byte) (int, error) {
	w.note("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) start() {
	w.p = w.disk.Process()
	w.k = NewKeeper(w.disk.Root)
	w.k.folder.fs = w.p
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	j, err := journal.Open(journal.Options{FS: w.p, Dir: filepath.Join(w.disk.Root, "journal"), Owner: w.k, Log: log,
		Size: func(int) int64 { return 96 << 10 }, Segments: 3, Every: 10 * time.Second, Machine: w.p.Machine("")})
	if err != nil {
		w.t.Fatal(err)
	}
	o := w.n.options()
	o.Log = log
	o.Post = func(n Notice) error {
		if w.dead.Load() {
			return crashfs.ErrDead
		}
		return w.n.post(n)
	}
	o.Retry = Retry{Schedule: []time.Duration{time.Minute, 10 * time.Minute}, GiveUpAfter: 24 * time.Hour}
	q, err := w.k.Open(j, o)
	if err != nil {
		w.t.Fatal(err)
	}
	q.poll = 24 * time.Hour
	w.q = q
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	w.stop = func() {
		cancel()
		wg.Wait()
		_ = j.Close()
	}
}

// submit sends a message to one to three recipients.
func (w *world) submit() {
	w.count++
	e := envelope(fmt.Sprintf("MESSAGE%d", w.count))
	for i := range 1 + w.rng.IntN(3) {
		e.Recipients = append(e.Recipients, Recipient{Address: fmt.Sprintf("r%d-%d@example%d.net", w.count, i, w.rng.IntN(2))})
	}
	size := w.rng.IntN(3000)
	if w.rng.IntN(8) == 0 {
		size = journalMax + w.rng.IntN(20_000)
	}
	text := hello + strings.Repeat(strings.Repeat("x", 98)+"\r\n", size/100)
	err := func() error {
		m, err := w.q.Begin(e)
		if err != nil {
			return err
		}
		defer m.Abort()
		if _, err := m.Write([]byte(text)); err != nil {
			return err
		}
		if w.rng.IntN(4) == 0 { // as with a mailbox beside
			if err := m.Prepare(); err != nil {
				return err
			}
		}
		if w.rng.IntN(10) == 0 {
			return errors.New("the client went away")
		}
		return m.Commit()
	}()
	w.note("submit %s, %d octets, to %d: %v", e.ID, len(text), len(e.Recipients), err)
	if err == nil {
		w.taken = append(w.taken, e)
	}
}

// busily submits some messages and lets some time pass.
func (w *world) busily() {
	for range 1 + w.rng.IntN(4) {
		w.submit()
		if w.rng.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	time.Sleep([]time.Duration{0, time.Millisecond, 400 * time.Millisecond, 30 * time.Second, 15 * time.Minute}[w.rng.IntN(5)])
}

// dying lets the disk take no step from the nth on while do runs.
func (w *world) dying(n int, do func()) {
	k := 0 // the disk has one step at a time
	w.p.Steps(func(op, path string) error {
		if k++; k < n {
			return nil
		}
		if k == n {
			w.note("    dies before: %s %s", op, filepath.Base(path))
			w.crashed()
			w.dead.Store(true)
		}
		return crashfs.ErrDead
	})
	do()
}

func (w *world) crashed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashes = append(w.crashes, time.Since(w.n.began))
}

// crash ends the process: with kill -9, or with a power cut.
func (w *world) crash(power bool) {
	w.note("crash, power cut: %v", power)
	w.crashed()
	after := w.disk
	if power {
		var err error
		if after, err = w.disk.Cut(w.t.TempDir()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.p.Kill()
	w.stop()
	w.disk = after
	w.dead.Store(false)
	w.start()
}

// check holds what has happened against what may: everything that was taken
// has arrived, or its sender was told; twice only what arrived in the moment of
// a crash.
func (w *world) check() {
	told := map[string]bool{}
	for _, line := range w.n.told() {
		told[line[strings.LastIndexByte(line, ' ')+1:]] = true
	}
	for _, e := range w.taken {
		for _, r := range e.Recipients {
			at := w.n.arrivals[r.Address]
			if len(at) == 0 && !(told[e.ID] && strings.HasPrefix(r.Address, "r")) {
				w.t.Errorf("%s to %s: neither delivered nor returned", e.ID, r.Address)
			}
			for i := range len(at) - 1 {
				excused := false
				for _, c := range w.crashes {
					excused = excused || c == at[i]
				}
				if !excused {
					w.t.Errorf("%s to %s: delivered at %v and again at %v", e.ID, r.Address, at[i], at[i+1])
				}
			}
		}
	}
	if w.t.Failed() {
		w.t.Log("story:\n" + strings.Join(w.log, "\n"))
	}
}

// The queue against the model: kills and power cuts at any time, in quiet and
// in the middle of any step.
func TestModel(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				for range 12 {
					switch w.rng.IntN(4) {
					case 0:
						w.busily()
					case 1:
						w.crash(w.rng.IntN(2) == 0)
					default:
						w.dying(1+w.rng.IntN(40), w.busily)
						w.crash(w.rng.IntN(3) > 0)
					}
				}
				time.Sleep(48 * time.Hour)
				w.check()
				if left := files(t, w.q.folder.path); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
				w.crash(true)
				w.crash(false) // a replay after a replay
				time.Sleep(48 * time.Hour)
				w.check()
				w.stop()
			})
		})
	}
}
