package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/codes"
	"mailsrv/server/deliver"
	"mailsrv/server/deliver/sinktest"
	"mailsrv/server/store"
)

func do(t *testing.T, q *Queue, op Op, ids ...string) string {
	t.Helper()
	answers, err := q.Do(Command{Op: op, IDs: ids})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(fmt.Sprint(answers), "[]")
}

func TestCommands(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
		n.answer = func(_ string, try int) deliver.Result {
			if try < 3 {
				return busy
			}
			return accepted
		}
		for _, id := range []string{"MESSAGE1", "MESSAGE2", "MESSAGE3"} {
			submit(t, q, envelope(id, strings.ToLower(id)+"@example.jp"), hello)
			synctest.Wait()
		}
		if got := do(t, q, Hold, "MESSAGE1", "NOTHERE"); got != "{MESSAGE1 done} {NOTHERE not-found}" {
			t.Errorf("hold: %s", got)
		}
		time.Sleep(30 * time.Second)
		if got := do(t, q, RetryNow, "MESSAGE2"); got != "{MESSAGE2 done}" {
			t.Errorf("retry: %s", got)
		}
		synctest.Wait()
		if got := do(t, q, Remove, "MESSAGE3"); got != "{MESSAGE3 done}" {
			t.Errorf("remove: %s", got)
		}
		time.Sleep(100 * time.Minute)
		if e, _, err := Show(dir, "MESSAGE1"); err != nil || !e.Held {
			t.Errorf("held: %+v %v", e, err)
		}
		if got := do(t, q, Release, "MESSAGE1"); got != "{MESSAGE1 done}" {
			t.Errorf("release: %s", got)
		}
		time.Sleep(time.Hour)
		same(t, "tries", []string{
			"0s message1@example.jp", "0s message2@example.jp", "0s message3@example.jp", "30s message2@example.jp",
			"5m30s message2@example.jp",    // the second step after the second try
			"1h40m30s message1@example.jp", // given up, after its last chance
		}, n.lines())
		if left := files(t, dir+"/queue"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		same(t, "notices", []string{"1h40m30s failure to taro@example.com about MESSAGE1"}, n.told())
	})
}

func TestRetryAll(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(_ string, try int) deliver.Result {
			if try == 1 {
				return dead
			}
			return accepted
		}
		for i := range 50 {
			submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), fmt.Sprintf("r%d@example.jp", i)), hello)
		}
		n.mu.Lock()
		n.answer = nil
		n.mu.Unlock()
		time.Sleep(time.Second)
		if _, err := q.Do(Command{Op: RetryNow, All: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := len(n.delivered()); got != 50 {
			t.Errorf("%d delivered", got)
		}
	})
}

func TestPause(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
		do(t, q, Pause)
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(5 * time.Minute)
		same(t, "tries", nil, n.lines())
		if l, err := List(dir); err != nil || !l.Paused || !q.Stats().Paused || len(l.Messages) != 1 {
			t.Errorf("%+v, %v", l, err)
		}
		if again := openQueue(t, dir, n.options()); !again.Stats().Paused {
			t.Error("a restart ends the pause")
		}
		do(t, q, Resume)
		do(t, q, Resume)
		synctest.Wait()
		same(t, "tries", []string{"5m0s a@example.jp"}, n.lines())
		if l, err := List(dir); err != nil || l.Paused {
			t.Errorf("%+v, %v", l, err)
		}
	})
}

// What is removed in the middle of an attempt does not come back.
func TestRemoveWhileDelivering(t *testing.T) {
	for _, result := range []deliver.Result{busy, accepted, unknown} {
		bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
			n.answer = func(string, int) deliver.Result { return after(time.Minute, result) }
			submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
			time.Sleep(time.Second)
			if got := do(t, q, Remove, "MESSAGE1"); got != "{MESSAGE1 delivering}" {
				t.Errorf("remove: %s", got)
			}
			time.Sleep(time.Hour)
			if left := files(t, dir+"/queue"); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			same(t, "notices", nil, n.told())
			same(t, "tries", []string{"0s a@example.jp"}, n.lines())
		})
	}
}

// Another process: the command goes through the folder, and the answer back.
func TestExecuteWithServer(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	dir := t.TempDir()
	lock, err := store.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	q := openQueue(t, dir, options(map[string]*sinktest.Sink{"example.jp": sink}))
	q.poll = 10 * time.Millisecond
	run(t, q)
	execute := func(c Command) string {
		t.Helper()
		answers, err := Execute(t.Context(), dir, c)
		return fmt.Sprint(answers, err)
	}
	if got := execute(Command{Op: Pause}); got != "[] <nil>" {
		t.Errorf("pause: %s", got)
	}
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	submit(t, q, envelope("MESSAGE2", "b@example.jp"), hello)
	if got := execute(Command{Op: Remove, IDs: []string{"MESSAGE1", "NOTHERE"}}); got != "[{MESSAGE1 done} {NOTHERE not-found}] <nil>" {
		t.Errorf("remove: %s", got)
	}
	if got := execute(Command{Op: "explode"}); got != `[] queue: no operation "explode"` {
		t.Errorf("unknown: %s", got)
	}
	if got := execute(Command{Op: Resume}); got != "[] <nil>" {
		t.Errorf("resume: %s", got)
	}
	if to := sink.Wait(t, 1, 10*time.Second)[0].To[0]; to != "<b@example.jp>" {
		t.Errorf("to %s", to)
	}
	waitEmpty(t, q)
	if left := files(t, filepath.Join(dir, "queue", "commands")); len(left) != 0 {
		t.Errorf("commands: %v", left)
	}
}

// Without a server the command is done on the files.
func TestExecuteAlone(t *testing.T) {
	dir := t.TempDir()
	n := newInternet(t)
	n.answer = func(string, int) deliver.Result { return busy }
	q := openQueue(t, dir, n.options())
	for _, id := range []string{"MESSAGE1", "MESSAGE2", "MESSAGE3"} {
		submit(t, q, envelope(id, "a@example.jp"), hello)
	}
	stop := run(t, q)
	waitFor(t, func() bool { return len(n.lines()) == 3 })
	stop()
	for _, c := range []Command{{Op: Remove, IDs: []string{"MESSAGE1"}}, {Op: Hold, IDs: []string{"MESSAGE2"}}, {Op: RetryNow, All: true}, {Op: Pause}} {
		if _, err := Execute(t.Context(), dir, c); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	l, err := List(dir)
	if err != nil || len(l.Messages) != 2 || !l.Paused {
		t.Fatalf("%+v, %v", l, err)
	}
	if e := l.Messages[0]; e.ID != "MESSAGE2" || !e.Held {
		t.Errorf("%+v", e)
	}
	if r := l.Messages[1].Recipients[0]; r.Tries != 1 || time.Until(r.NextTry) > time.Second || r.Why(codes.English) == "" || r.Why(codes.Japanese) == r.Why(codes.English) {
		t.Errorf("%+v: %s", r, r.Why(codes.English))
	}
	if _, _, err := Show(dir, "MESSAGE1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	if _, _, err := Show(dir, "../MESSAGE2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside: %v", err)
	}
	if left := files(t, filepath.Join(dir, "queue")); len(left) != 5 { // two messages, and the pause
		t.Errorf("files %v", left)
	}
}

// A server that hangs: the command is taken back.
func TestExecuteNoAnswer(t *testing.T) {
	dir := t.TempDir()
	lock, err := store.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	openQueue(t, dir, newInternet(t).options()) // and no Run
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Execute(ctx, dir, Command{Op: Pause}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	if left := files(t, filepath.Join(dir, "queue", "commands")); len(left) != 0 {
		t.Errorf("commands: %v", left)
	}
}

// A command that a dead process has left behind is not done days later.
func TestOldCommand(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, dir, newInternet(t).options())
	path := filepath.Join(dir, "queue", "commands", "OLD")
	old := fmt.Sprintf(`{"op":"pause","at":%q}`, time.Now().Add(-time.Minute).Format(time.RFC3339))
	for name, text := range map[string]string{path + ".json": old, path + "2.json": "{"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q.doCommands(time.Now())
	if q.Stats().Paused {
		t.Error("it was done")
	}
	same(t, "files", []string{"OLD.answer", "OLD2.answer"}, files(t, filepath.Dir(path)))
	q.doCommands(time.Now().AddDate(50, 0, 0))
	same(t, "files", nil, files(t, filepath.Dir(path)))
}

func TestListEmpty(t *testing.T) {
	if l, err := List(t.TempDir()); err != nil || len(l.Messages)+len(l.Damaged) != 0 || l.Paused {
		t.Errorf("%+v, %v", l, err)
	}
}
