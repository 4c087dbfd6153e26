package queue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/server/deliver"
)

// What reaches the disk, in which order: the text is durable before the
// envelope gets its name, the name before the message is acknowledged.
func TestOrder(t *testing.T) {
	q := openQueue(t, t.TempDir(), newInternet(t).options())
	var steps []string
	q.folder.step = func(what string) error { steps = append(steps, what); return nil }
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	same(t, "steps", []string{"create text", "write text", "sync text", "write envelope", "place envelope", "sync folder"}, steps)
}

// story is a life with everything in it: a message delivered at once, one in
// parts and late, one that fails. Each step of the disk calls step.
func story(t *testing.T, dir string, n *internet, step func(what string) error, submitted func(id string, err error)) {
	n.answer = func(to string, try int) deliver.Result {
		switch {
		case strings.HasPrefix(to, "gone"):
			return unknown
		case strings.HasPrefix(to, "late") && try == 1:
			return busy
		}
		return accepted
	}
	q := openQueue(t, dir, n.options())
	q.jitter = func() float64 { return 1 }
	q.poll = 24 * time.Hour
	q.folder.step = step
	stop := run(t, q)
	for _, e := range []Envelope{
		envelope("MESSAGE1", "a@example.jp"),
		envelope("MESSAGE2", "b@example.jp", "late@example.jp", "c@example.net", "gone@example.jp"),
		envelope("MESSAGE3", "gone2@example.jp"),
	} {
		submitted(e.ID, try(q, e, hello))
		synctest.Wait()
	}
	time.Sleep(time.Hour)
	stop()
}

var everybody = []string{"a@example.jp", "b@example.jp", "c@example.net", "late@example.jp"}

// A crash at each step: the disk as it is at that moment is opened again, and
// everything acknowledged is delivered, or its failure told; twice only what
// was delivered in the moment of the crash.
func TestCrashAtEveryStep(t *testing.T) {
	type snapshot struct {
		dir, what    string
		acknowledged []string
		delivered    []string
		told         []string
	}
	var snapshots []snapshot
	dir, copies := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := newInternet(t)
		var mu sync.Mutex
		var acknowledged []string
		story(t, dir, n, func(what string) error {
			mu.Lock()
			defer mu.Unlock()
			s := snapshot{filepath.Join(copies, fmt.Sprint(len(snapshots))), what, slices.Clone(acknowledged), n.delivered(), n.told()}
			if err := os.CopyFS(s.dir, os.DirFS(dir)); err != nil {
				t.Error(err)
			}
			snapshots = append(snapshots, s)
			return nil
		}, func(id string, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			acknowledged = append(acknowledged, id)
		})
		got := n.delivered()
		slices.Sort(got)
		same(t, "delivered without a crash", everybody, got)
	})
	if len(snapshots) < 30 {
		t.Errorf("only %d steps", len(snapshots))
	}
	for i, s := range snapshots {
		t.Run(fmt.Sprintf("%d %s", i, s.what), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newInternet(t)
				n.answer = func(to string, _ int) deliver.Result {
					if strings.HasPrefix(to, "gone") {
						return unknown
					}
					return accepted
				}
				q := openQueue(t, s.dir, n.options())
				q.poll = 24 * time.Hour
				stop := run(t, q)
				time.Sleep(2 * time.Hour)
				stop()
				if left := files(t, q.folder.path); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
				if l, err := List(s.dir); err != nil || len(l.Damaged) != 0 {
					t.Errorf("damaged: %v, %v", l.Damaged, err)
				}
				must := map[string][]string{"MESSAGE1": {"a@example.jp"}, "MESSAGE2": {"b@example.jp", "c@example.net", "late@example.jp"}, "MESSAGE3": nil}
				all := append(slices.Clone(s.delivered), n.delivered()...)
				for id, recipients := range must {
					for _, to := range recipients {
						times := 0
						for _, got := range all {
							if got == to {
								times++
							}
						}
						most := 1
						if s.what == "save" || s.what == "remove envelope" {
							most = 2 // the moment between the delivery and its record
						}
						least := 0
						if slices.Contains(s.acknowledged, id) {
							least = 1
						}
						if times < least || times > most {
							t.Errorf("%s: delivered %d times, want %d to %d", to, times, least, most)
						}
					}
					if fails := id != "MESSAGE1"; fails && slices.Contains(s.acknowledged, id) {
						told := append(slices.Clone(s.told), n.told()...)
						if !slices.ContainsFunc(told, func(l string) bool { return strings.HasSuffix(l, "failure to taro@example.com about "+id) }) {
							t.Errorf("%s: nobody was told: %q", id, told)
						}
					}
				}
			})
		})
	}
}

// An error at each step, as when the disk is full at that moment: a message
// that was not taken leaves nothing, and one that was is delivered exactly once
// while the server runs.
func TestErrorAtEveryStep(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for at := 0; ; at++ {
		done := false
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				n := newInternet(t)
				var mu sync.Mutex
				steps, failed := 0, ""
				taken := map[string]bool{}
				story(t, dir, n, func(what string) error {
					mu.Lock()
					defer mu.Unlock()
					steps++
					if steps == at+1 {
						failed = what
						return full
					}
					return nil
				}, func(id string, err error) {
					taken[id] = err == nil
					if err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("%s: %v", id, err)
					}
				})
				done = failed == ""
				var want []string
				if taken["MESSAGE1"] {
					want = append(want, "a@example.jp")
				}
				if taken["MESSAGE2"] {
					want = append(want, "b@example.jp", "c@example.net", "late@example.jp")
				}
				got := n.delivered()
				slices.Sort(got)
				same(t, "delivered, "+failed+" failed", want, got)
				left := files(t, filepath.Join(dir, "queue"))
				// Where the text could not be removed the next start does it.
				left = slices.DeleteFunc(left, func(name string) bool {
					return strings.HasSuffix(name, ".eml") && (failed == "remove text" || failed == "sync folder")
				})
				if len(left) != 0 {
					t.Errorf("%s failed, left: %v", failed, left)
				}
				told := 0
				for _, l := range n.told() {
					if strings.Contains(l, "failure") {
						told++
					}
				}
				wantTold := 0
				for _, id := range []string{"MESSAGE2", "MESSAGE3"} {
					if taken[id] {
						wantTold++
					}
				}
				if told != wantTold {
					t.Errorf("%s failed: %d failures told, want %d", failed, told, wantTold)
				}
			})
		})
		if done {
			if at < 30 {
				t.Errorf("only %d steps", at)
			}
			return
		}
	}
}

// Damaged messages are set aside with the reason; the others go on.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, dir, newInternet(t).options())
	for _, id := range []string{"GOODID", "TRUNCATED", "NOTEXT", "LONGER", "BINARY", "RENAMED", "EMPTYENV", "UNKNOWNKEY"} {
		submit(t, q, envelope(id, "a@example.jp", "b@example.jp"), hello)
	}
	path := func(name string) string { return filepath.Join(dir, "queue", name) }
	read := func(name string) string {
		b, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write := func(name, text string) {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := read("TRUNCATED.toml")
	write("TRUNCATED.toml", good[:strings.LastIndex(good, "[[recipient]]")])
	if err := os.Remove(path("NOTEXT.eml")); err != nil {
		t.Fatal(err)
	}
	write("LONGER.eml", hello+"x")
	write("BINARY.toml", "\x00\x01\xff")
	write("RENAMED.toml", good)
	write("EMPTYENV.toml", "")
	write("UNKNOWNKEY.toml", strings.Replace(read("UNKNOWNKEY.toml"), "size", "sise", 1))
	before, err := List(dir)
	if err != nil || len(before.Messages) != 1 || len(before.Damaged) != 7 {
		t.Errorf("%+v, %v", before, err)
	}

	n := newInternet(t)
	again := openQueue(t, dir, n.options())
	run(t, again)
	waitEmpty(t, again)
	same(t, "delivered", []string{"a@example.jp", "b@example.jp"}, n.delivered())
	l, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range l.Damaged {
		got = append(got, d.ID+": "+d.Why)
	}
	same(t, "damaged", []string{
		"BINARY: BINARY.toml: line 1: toml: invalid character at start of key: U+0000",
		"EMPTYENV: EMPTYENV.toml: id \"\" is not 6 to 64 letters and digits",
		"LONGER: LONGER.eml has 26 octets, its envelope says 25",
		"NOTEXT: NOTEXT.eml is missing",
		"RENAMED: RENAMED.toml is the envelope of TRUNCATED",
		"TRUNCATED: TRUNCATED.toml: recipients = 2, but there are 1",
		"UNKNOWNKEY: UNKNOWNKEY.toml: line 6: unknown key sise",
	}, got)
	if text, err := os.ReadFile(filepath.Join(dir, "queue", "damaged", "LONGER.eml")); err != nil || string(text) != hello+"x" {
		t.Errorf("%q, %v", text, err)
	}
	if answers, err := again.Do(Command{Op: Remove, IDs: []string{"LONGER", "NOTEXT", "NOTHERE"}}); err != nil || fmt.Sprint(answers) != "[{LONGER done} {NOTEXT done} {NOTHERE not-found}]" {
		t.Errorf("%v, %v", answers, err)
	}
	if l, _ := List(dir); len(l.Damaged) != 5 {
		t.Errorf("%d damaged", len(l.Damaged))
	}
}

// TestKill kills a process that takes in messages, at odd moments: every
// message it acknowledged is there, whole, and nothing half.
func TestKill(t *testing.T) {
	if dir := os.Getenv("QUEUE_TEST_VICTIM"); dir != "" {
		victim(t, dir)
		return
	}
	dir := t.TempDir()
	acknowledged := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "QUEUE_TEST_VICTIM="+dir, fmt.Sprintf("QUEUE_TEST_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed while it is at the one after these.
		lines, n := bufio.NewScanner(out), 0
		for n < 5+7*round && lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ROUND") {
				n++
			}
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ROUND") {
				n++
			}
		}
		_ = cmd.Wait()
		acknowledged += n
		q := openQueue(t, dir, newInternet(t).options())
		l, err := List(dir)
		if err != nil || len(l.Damaged) != 0 {
			t.Fatalf("%v, %v", l.Damaged, err)
		}
		have := len(l.Messages)
		if have < acknowledged || have > acknowledged+4 {
			t.Fatalf("round %d: %d messages, %d were acknowledged", round, have, acknowledged)
		}
		acknowledged = have // four writers: one each may have been placed, not acknowledged
		if n := len(files(t, q.folder.path)); n != 2*have {
			t.Fatalf("%d files for %d messages", n, have)
		}
		for _, e := range l.Messages {
			if b, err := os.ReadFile(q.folder.text(e.ID)); err != nil || string(b) != strings.Repeat(hello, 200) {
				t.Fatalf("%s: %d octets, %v", e.ID, len(b), err)
			}
		}
	}
}

func victim(t *testing.T, dir string) {
	q := openQueue(t, dir, newInternet(t).options())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10_000 {
				id := fmt.Sprintf("ROUND%sW%dN%d", os.Getenv("QUEUE_TEST_ROUND"), w, i)
				submit(t, q, envelope(id, "a@example.jp"), strings.Repeat(hello, 200))
				if _, err := io.WriteString(os.Stdout, id+"\n"); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}
