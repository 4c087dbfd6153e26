package spoolfix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mailsrv/diag"
)

func mail(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		fmt.Fprintf(&b, "From taro@example.com Mon Jan  1 00:00:%02d 2024\nSubject: number %d\n\nHello %d\n\n", n, n, n)
	}
	return b.String()
}

func marked(s string) string { return strings.ReplaceAll(s, "Subject:", "Status: RO\nSubject:") }

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("who has a file open is seen on Linux only")
	}
}

// holdersSeen skips where it is not told who has a file open.
func holdersSeen(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skip("who has a file open is seen on Linux and Windows only")
	}
}

// cleared runs Clear and returns the actions without what tests look at apart.
func cleared(t *testing.T, opt Options) (*Report, []Action) {
	t.Helper()
	opt.disk = &disk{patience: 100 * time.Millisecond}
	rep, err := Clear(context.Background(), opt)
	must(t, err)
	var out []Action
	for _, a := range rep.Actions {
		a.Path, a.Spool = filepath.Base(a.Path), ""
		a.Backup, a.SpoolBackup, a.Hashes, a.Error = "", "", nil, ""
		out = append(out, a)
	}
	return rep, out
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "(none)"
	}
	must(t, err)
	return string(b)
}

func TestClear(t *testing.T) {
	holdersSeen(t)
	dead := fmt.Sprintln(deadPID)
	merged := func(before, after int) Action {
		return Action{User: "taro", Path: ".taro.pop", Kind: "qpopper", Action: Merged, Before: before, After: after, Duplicates: before - after}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []Action
		spool string
	}{
		{"left, spool empty", map[string]string{".taro.pop": mail(1, 2), "taro": ""}, []Action{merged(2, 2)}, mail(1, 2)},
		{"left, no spool", map[string]string{".taro.pop": mail(1, 2)}, []Action{merged(2, 2)}, mail(1, 2)},
		{"new mail since", map[string]string{".taro.pop": mail(1, 2, 3), "taro": mail(4, 5)}, []Action{merged(5, 5)}, mail(1, 2, 3, 4, 5)},
		{"copying broke off", map[string]string{".taro.pop": mail(1, 2)[:len(mail(1))+60], "taro": mail(1, 2, 3)}, []Action{merged(5, 3)}, mail(1, 2, 3)},
		{"copied, not yet emptied", map[string]string{".taro.pop": mail(1, 2), "taro": marked(mail(1, 2))}, []Action{merged(4, 2)}, marked(mail(1, 2))},
		{"writing back broke off", map[string]string{".taro.pop": mail(1, 2, 3), "taro": marked(mail(1)) + mail(2)[:60]}, []Action{merged(5, 3)}, mail(1, 2, 3)},
		{"broke off, new mail right behind", map[string]string{".taro.pop": mail(1, 2, 3), "taro": mail(1) + mail(2)[:60] + mail(4)}, []Action{merged(6, 4)}, mail(1, 2, 3, 4)},
		{"broke off in a From line", map[string]string{".taro.pop": mail(1, 2, 3), "taro": mail(1) + "From ta"}, []Action{merged(4, 3)}, mail(1, 2, 3)},
		{"only a letter", map[string]string{".taro.pop": "F", "taro": mail(1)}, []Action{merged(2, 1)}, mail(1)},
		{"cut nowhere whole", map[string]string{".taro.pop": mail(1, 2)[:len(mail(1, 2))-5], "taro": mail(3)}, []Action{merged(3, 3)}, mail(1) + strings.Replace(mail(2), "lo 2", "l", 1) + mail(3)},
		{"text first", map[string]string{".taro.pop": mail(1), "taro": "lost text\n\n" + mail(2)}, []Action{merged(3, 3)},
			mail(1) + "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nFrom: MAILER-DAEMON\nSubject: [mailsrv] Text without a header, found in the mailbox\n\nlost text\n\n" + mail(2)},
		{"escaped From line first", map[string]string{".taro.pop": mail(1), "taro": ">" + mail(2)}, []Action{merged(2, 2)}, mail(1, 2)},
		{"wrong Content-Length", map[string]string{".taro.pop": strings.Replace(mail(1), "\n\n", "\nContent-Length: 900\n\n", 1), "taro": mail(2)}, []Action{merged(2, 2)}, mail(1, 2)},
		{"the same twice in one file", map[string]string{".taro.pop": mail(1, 1), "taro": mail(1)}, []Action{merged(3, 2)}, mail(1, 1)},
		{"empty", map[string]string{".taro.pop": "", "taro": mail(1)}, []Action{{User: "taro", Path: ".taro.pop", Kind: "qpopper", Action: Removed}}, mail(1)},
		{"dotlock of the dead, and mail", map[string]string{"taro.lock": dead, ".taro.pop": mail(1), "taro": mail(2)},
			[]Action{{User: "taro", Path: "taro.lock", Kind: "dotlock", Action: Removed}, merged(2, 2)}, mail(1, 2)},
		{"procmail", map[string]string{"taro.lock": "0", "taro": mail(1)}, []Action{{User: "taro", Path: "taro.lock", Kind: "procmail", Action: Removed}}, mail(1)},
		{"left by a crash of ours", map[string]string{".taro.mailsrv-new": "half a", ".taro.pop.bak.mailsrv-new": "half b", ".taro.pop": mail(1), "taro": mail(2)}, []Action{merged(2, 2)}, mail(1, 2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tempDir(t)
			for name, text := range tt.files {
				write(t, dir, name, text)
			}
			before := files(t, dir)
			if rep, _ := cleared(t, Options{Dirs: []string{dir}, DryRun: true}); rep.Summary.Fail+rep.Summary.Warn == 0 || !rep.DryRun {
				t.Errorf("dry run: %+v", rep.Summary)
			}
			if d := cmp.Diff(before, files(t, dir)); d != "" {
				t.Errorf("a dry run changed something: %s", d)
			}
			_, dry := cleared(t, Options{Dirs: []string{dir}, DryRun: true})
			rep, got := cleared(t, Options{Dirs: []string{dir}})
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.want, dry); d != "" {
				t.Errorf("dry run: %s", d)
			}
			if d := cmp.Diff(tt.spool, content(t, filepath.Join(dir, "taro"))); d != "" {
				t.Errorf("spool: %s", d)
			}
			if rep.Summary != (diag.Summary{OK: 1}) {
				t.Errorf("after it: %+v", rep.Findings)
			}
			for _, a := range rep.Actions {
				if a.Action != Merged {
					continue
				}
				if content(t, a.Backup) != tt.files[".taro.pop"] || a.SpoolBackup != "" && content(t, a.SpoolBackup) != tt.files["taro"] || len(a.Hashes) != a.After {
					t.Errorf("copies: %+v", a)
				}
			}
			after := files(t, dir)
			if rep, again := cleared(t, Options{Dirs: []string{dir}}); len(again) > 0 || len(rep.Spools) != 1 {
				t.Errorf("the second time: %+v", again)
			}
			if d := cmp.Diff(after, files(t, dir)); d != "" {
				t.Errorf("the second time: %s", d)
			}
			for name := range after {
				if strings.HasSuffix(name, ".lock") || strings.Contains(name, "mailsrv-new") {
					t.Errorf("left behind: %s", name)
				}
			}
		})
	}
}

// files are the contents of a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		out[e.Name()] = content(t, filepath.Join(dir, e.Name()))
	}
	return out
}

func TestClearLeavesAlone(t *testing.T) {
	onLinux(t)
	for _, tt := range []struct {
		name  string
		files map[string]string
		hold  string // this file, by another process
		lock  string
		want  []Action // PID -1: the holder
	}{
		{"a held .user.pop", map[string]string{".taro.pop": mail(1), "taro": mail(2)}, ".taro.pop", "",
			[]Action{{Path: ".taro.pop", Kind: "qpopper", Why: WhyLive, PID: -1}}},
		{"a spool with flock", map[string]string{".taro.pop": mail(1), "taro": mail(2)}, "taro", "flock",
			[]Action{{Path: "taro", Kind: "flock", Why: WhyLive, PID: -1}, {Path: ".taro.pop", Kind: "qpopper", Why: WhyBusy, PID: -1}}},
		{"a spool with fcntl", map[string]string{".taro.pop": mail(1), "taro": mail(2)}, "taro", "fcntl",
			[]Action{{Path: "taro", Kind: "fcntl", Why: WhyLive, PID: -1}, {Path: ".taro.pop", Kind: "qpopper", Why: WhyBusy, PID: -1}}},
		{"a spool that is open for writing", map[string]string{".taro.pop": mail(1), "taro": mail(2)}, "taro", "",
			[]Action{{Path: ".taro.pop", Kind: "qpopper", Why: WhyBusy, PID: -1}}},
		{"a living dotlock", map[string]string{".taro.pop": mail(1), "taro": mail(2), "taro.lock": fmt.Sprint(os.Getpid())}, "", "",
			[]Action{{Path: "taro.lock", Kind: "dotlock", Why: WhyLive, PID: os.Getpid()}, {Path: ".taro.pop", Kind: "qpopper", Why: WhyBusy, PID: os.Getpid()}}},
		{"another host", map[string]string{"taro": mail(1), "taro.lock": "412:elsewhere.example.com"}, "", "",
			[]Action{{Path: "taro.lock", Kind: "dotlock", Why: WhyOtherHost}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tempDir(t)
			for name, text := range tt.files {
				path := write(t, dir, name, text)
				if name == "taro.lock" { // made by a process that runs
					age(t, path, 0)
				}
			}
			pid := 0
			if tt.hold != "" {
				pid = heldOpen(t, filepath.Join(dir, tt.hold), tt.lock)
			}
			want := tt.want
			for i := range want {
				want[i].User, want[i].Action = "taro", Kept
				if want[i].PID == -1 {
					want[i].PID = pid
				}
			}
			before := files(t, dir)
			_, got := cleared(t, Options{Dirs: []string{dir}})
			if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Action{}, "Program")); d != "" {
				t.Error(d)
			}
			for _, a := range got {
				if a.PID > 0 && a.Program == "" {
					t.Errorf("program of %d is not named: %+v", a.PID, a)
				}
			}
			if d := cmp.Diff(before, files(t, dir)); d != "" {
				t.Error(d)
			}
		})
	}
}

// What another process has open is left alone, whether or not it is told which
// one that is.
func TestClearLeavesAHeldFile(t *testing.T) {
	holdersSeen(t)
	for held, want := range map[string]string{".taro.pop": WhyLive, "taro": WhyBusy} {
		dir := tempDir(t)
		write(t, dir, ".taro.pop", mail(1))
		write(t, dir, "taro", mail(2))
		before := files(t, dir)
		heldOpen(t, filepath.Join(dir, held), "")
		rep, got := cleared(t, Options{Dirs: []string{dir}})
		if len(got) != 1 || got[0].Action != Kept || got[0].Why != want {
			t.Errorf("%s: %+v", held, got)
		}
		if held == ".taro.pop" && rep.Spools[0].Locks[0].State != Live {
			t.Errorf("%+v", rep.Spools[0].Locks)
		}
		if d := cmp.Diff(before, files(t, dir)); d != "" {
			t.Error(d)
		}
	}
}

// A lock that is taken between the look and the act is respected, too.
func TestClearMeetsALateLock(t *testing.T) {
	onLinux(t)
	for _, how := range []string{"flock", "fcntl", "dotlock"} {
		t.Run(how, func(t *testing.T) {
			dir := tempDir(t)
			write(t, dir, ".taro.pop", mail(1))
			path := write(t, dir, "taro", mail(2))
			d := &disk{patience: 50 * time.Millisecond}
			d.before = func(step string) {
				d.before = nil
				if how == "dotlock" {
					write(t, dir, "taro.lock", fmt.Sprint(os.Getpid()))
				} else {
					heldOpen(t, path, how)
				}
			}
			rep, err := Clear(context.Background(), Options{Dirs: []string{dir}, disk: d})
			must(t, err)
			if a := rep.Actions[0]; a.Action != Kept || a.Why != WhyBusy || content(t, path) != mail(2) || content(t, filepath.Join(dir, ".taro.pop")) != mail(1) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A delivery that opened the old spool before it was replaced, and writes after
// that, loses nothing.
func TestLatecomer(t *testing.T) {
	onLinux(t)
	dir := tempDir(t)
	write(t, dir, ".taro.pop", mail(1))
	path := write(t, dir, "taro", mail(2))
	old, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer old.Close()
	d := &disk{}
	d.before = func(step string) {
		if step == "syncdir" && content(t, path) == mail(1, 2) {
			d.before = nil
			_, err := old.WriteString(mail(3))
			must(t, err)
		}
	}
	_, err = Clear(context.Background(), Options{Dirs: []string{dir}, disk: d})
	must(t, err)
	if d := cmp.Diff(mail(1, 2, 3), content(t, path)); d != "" {
		t.Error(d)
	}
}

func TestClearRefusesTraps(t *testing.T) {
	onLinux(t)
	dir := tempDir(t)
	secret := write(t, tempDir(t), "secret", "keep me")
	must(t, os.Symlink(secret, filepath.Join(dir, ".taro.pop")))
	must(t, os.Symlink(secret, filepath.Join(dir, "hanako")))
	write(t, dir, ".hanako.pop", mail(1))
	must(t, os.Mkdir(filepath.Join(dir, "jiro.lock"), 0o700))
	rep, got := cleared(t, Options{Dirs: []string{dir}})
	want := []Action{
		{User: "hanako", Path: ".hanako.pop", Kind: "qpopper", Action: Kept, Why: WhyUnsafe},
		{User: "jiro", Path: "jiro.lock", Kind: "dotlock", Action: Kept, Why: WhyUnsafe},
		{User: "taro", Path: ".taro.pop", Kind: "qpopper", Action: Kept, Why: WhyUnsafe},
	}
	if d := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b Action) bool { return a.User < b.User })); d != "" {
		t.Error(d)
	}
	if content(t, secret) != "keep me" || rep.ExitCode(false) != 1 {
		t.Error("the trap worked")
	}
}

func TestClearKeepsOwnerAndMode(t *testing.T) {
	onLinux(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := tempDir(t)
	pop, path := write(t, dir, ".taro.pop", mail(1)), write(t, dir, "taro", mail(2))
	must(t, os.Chown(pop, 1047, 12))
	must(t, os.Chown(path, 1048, 8))
	must(t, os.Chmod(path, 0o660))
	young := write(t, dir, ".hanako.pop", mail(1))
	must(t, os.Chown(young, 1047, 12))
	must(t, os.Chmod(young, 0o040))
	age(t, young, time.Minute)
	must(t, os.Chown(write(t, dir, "hanako", ""), 1049, 8))
	_, got := cleared(t, Options{Dirs: []string{dir}})
	want := []Action{
		{User: "hanako", Path: ".hanako.pop", Kind: "qpopper", Action: Repaired},
		{User: "taro", Path: ".taro.pop", Kind: "qpopper", Action: Merged, Before: 2, After: 2},
	}
	if d := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b Action) bool { return a.User < b.User })); d != "" {
		t.Error(d)
	}
	for file, want := range map[string]string{path: "1048:8 -rw-rw----", young: "1049:12 -rw-r-----"} {
		if got := ownership(t, file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

func TestClearBackupDir(t *testing.T) {
	holdersSeen(t)
	dir, keep := tempDir(t), filepath.Join(tempDir(t), "copies")
	write(t, dir, ".taro.pop", mail(1))
	write(t, dir, "taro", mail(2))
	now := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	must(t, os.MkdirAll(keep, 0o700))
	must(t, os.WriteFile(filepath.Join(keep, "taro.20240102T030405Z.bak"), []byte("older"), 0o600))
	must(t, os.Chtimes(filepath.Join(dir, ".taro.pop"), now.Add(-time.Hour), now.Add(-time.Hour)))
	cleared(t, Options{Dirs: []string{dir}, Backup: keep, Now: now})
	want := map[string]string{
		".taro.pop.20240102T030405Z.bak": mail(1), "taro.20240102T030405Z-2.bak": mail(2), "taro.20240102T030405Z.bak": "older",
	}
	if d := cmp.Diff(want, files(t, keep)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"taro": mail(1, 2)}, files(t, dir)); d != "" {
		t.Error(d)
	}
}

// Qpopper can keep its copies in a directory of their own.
func TestClearAcrossDirectories(t *testing.T) {
	holdersSeen(t)
	spools, pops := tempDir(t), tempDir(t)
	write(t, spools, "hanako", mail(9))
	write(t, pops, ".taro.pop", mail(1))
	rep, _ := cleared(t, Options{Dirs: []string{spools, pops}})
	if content(t, filepath.Join(spools, "taro")) != mail(1) || rep.Actions[0].Action != Merged {
		t.Errorf("%+v %v", rep.Actions, files(t, pops))
	}
}

// When the disk is full nothing has changed, and no half copies stay.
func TestClearOnAFullDisk(t *testing.T) {
	onLinux(t)
	for _, at := range []string{"sync .taro.pop.bak.mailsrv-new", "sync .taro.mailsrv-new", "rename taro"} {
		dir := tempDir(t)
		write(t, dir, ".taro.pop", mail(1))
		write(t, dir, "taro", mail(2))
		before := files(t, dir)
		ctx, cancel := context.WithCancel(context.Background())
		d := &disk{}
		d.before = func(step string) {
			if step == at { // the file vanishes: what follows fails
				for _, name := range []string{".taro.mailsrv-new", ".taro.pop.bak.mailsrv-new"} {
					_ = os.Remove(filepath.Join(dir, name))
				}
			}
		}
		rep, err := Clear(ctx, Options{Dirs: []string{dir}, disk: d})
		cancel()
		must(t, err)
		if a := rep.Actions[0]; a.Action != Kept || a.Why == "" || a.Error == "" {
			t.Errorf("%s: %+v", at, a)
		}
		if d := cmp.Diff(before, files(t, dir)); d != "" {
			t.Errorf("%s: %s", at, d)
		}
	}
}
