package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/spool"
)

func mail(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		fmt.Fprintf(&b, "From taro@example.com Mon Jan  1 00:00:%02d 2024\nSubject: number %d\n\nHello %d\n\n", n, n, n)
	}
	return b.String()
}

// old writes a file that was last changed so long ago.
func old(t *testing.T, age time.Duration, path, content string) string {
	t.Helper()
	write(t, path, content)
	when := time.Now().Add(-age)
	must(t, os.Chtimes(path, when, when))
	return path
}

func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	must(t, cmd.Run())
	return cmd.Process.Pid
}

func spoolReport(t *testing.T, dir string, checks ...string) *Report {
	return examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: checks, Spools: []string{dir}})
}

func TestLocks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who has a file open is seen on Linux only")
	}
	dead := deadPID(t)
	for _, tt := range []struct {
		name  string
		files map[string]string // name to content; ".taro.pop" and the like
		age   time.Duration
		id    string
		state diag.Status
		ev    map[string]any
	}{
		{"empty", map[string]string{".taro.pop": ""}, time.Hour, "lock.qpopper_empty", diag.Warn, nil},
		{"empty, young", map[string]string{".taro.pop": ""}, time.Minute, "lock.unknown", diag.Skip, map[string]any{"missing": "age"}},
		{"left", map[string]string{".taro.pop": mail(1, 2), "taro": ""}, time.Hour, "lock.qpopper_left", diag.Fail, map[string]any{"messages": 2, "spool_messages": 0}},
		{"left, no spool", map[string]string{".taro.pop": mail(1)}, time.Hour, "lock.qpopper_left", diag.Fail, map[string]any{"messages": 1}},
		{"newer", map[string]string{".taro.pop": mail(1, 2, 3), "taro": mail(4, 5)}, time.Hour, "lock.qpopper_newer", diag.Fail, map[string]any{"messages": 3, "spool_messages": 2, "newer": 2}},
		{"half copied", map[string]string{".taro.pop": mail(1), "taro": mail(1, 2)}, time.Hour, "lock.qpopper_partial", diag.Fail, map[string]any{"part": spool.PartPop}},
		{"half written back", map[string]string{".taro.pop": mail(1, 2), "taro": mail(1)}, time.Hour, "lock.qpopper_partial", diag.Fail, map[string]any{"part": spool.PartSpool}},
		{"at work", map[string]string{".taro.pop": mail(1), "taro": ""}, time.Minute, "lock.unknown", diag.Skip, nil},
		{"dotlock of the dead", map[string]string{"taro.lock": fmt.Sprint(dead)}, time.Minute, "lock.dotlock_stale", diag.Fail, map[string]any{"pid": dead, "alive": false}},
		{"dotlock of the living", map[string]string{"taro.lock": fmt.Sprint(os.Getpid())}, 0, "lock.dotlock_live", diag.Info, map[string]any{"pid": os.Getpid(), "alive": true}},
		{"dotlock without a name", map[string]string{"taro.lock": ""}, time.Hour, "lock.dotlock_stale", diag.Fail, nil},
		{"dotlock without a name, young", map[string]string{"taro.lock": ""}, time.Minute, "lock.unknown", diag.Skip, nil},
		{"procmail", map[string]string{"taro.lock": "0"}, time.Hour, "lock.dotlock_stale", diag.Fail, map[string]any{"kind": "procmail"}},
		{"another host", map[string]string{"taro.lock": "412:elsewhere.example.com"}, time.Hour, "lock.other_host", diag.Skip, map[string]any{"host": "elsewhere.example.com"}},
		{"dovecot", map[string]string{"taro/dovecot-uidlist.lock": ""}, time.Hour, "lock.dovecot_stale", diag.Warn, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				old(t, tt.age, filepath.Join(dir, name), content)
			}
			r := spoolReport(t, dir, "locks")
			f := find(t, r.Findings, tt.id)
			if f.Status != tt.state || f.Evidence["user"] != "taro" && !strings.HasPrefix(tt.name, "dovecot") {
				t.Errorf("%+v", f)
			}
			for k, v := range tt.ev {
				if f.Evidence[k] != v {
					t.Errorf("%s = %v, want %v", k, f.Evidence[k], v)
				}
			}
			if others := idsOf(r.Findings, diag.Fail, diag.Warn, diag.Skip, diag.Info); len(others) != 1 {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

func TestLockHeldByAnotherProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who has a file open is seen on Linux only")
	}
	dir := t.TempDir()
	path := old(t, time.Hour, filepath.Join(dir, ".taro.pop"), mail(1))
	_, pid := other(t, "DOCTOR_TEST_FILE="+path)
	r := spoolReport(t, dir, "locks")
	f := find(t, r.Findings, "lock.qpopper_live")
	if f.Evidence["pid"] != pid || f.Evidence["program"] != filepath.Base(os.Args[0]) || len(bad(r)) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestLockOfAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	path := old(t, time.Hour, filepath.Join(dir, ".taro.pop"), mail(1))
	old(t, time.Hour, filepath.Join(dir, "taro"), "")
	must(t, os.Chown(path, 1047, 12))
	r := spoolReport(t, dir, "locks")
	if d := cmp.Diff([]string{"lock.qpopper_owner", "lock.qpopper_left"}, bad(r)); d != "" {
		t.Error(d)
	}
	if f := find(t, r.Findings, "lock.qpopper_owner"); f.Evidence["owner"] != "1047" || f.Evidence["expected_owner"] != "root" {
		t.Errorf("%+v", f.Evidence)
	}
}

func TestLockThatIsNone(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "taro.lock"), 0o700))
	r := spoolReport(t, dir, "locks")
	if d := cmp.Diff([]string{"lock.unsafe"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestLocksFine(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "taro"), mail(1, 2))
	r := spoolReport(t, dir, "locks", "mbox")
	if len(bad(r)) != 0 || !has(r.Findings, "locks.ok") || !has(r.Findings, "mbox.ok") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestSpoolThatIsNotThere(t *testing.T) {
	r := spoolReport(t, filepath.Join(t.TempDir(), "nowhere"), "locks", "mbox")
	if len(bad(r)) != 0 || !has(r.Findings, "env.admin_missing") || has(r.Findings, "locks.ok") || r.ExitCode(false) != ExitUnknown {
		t.Errorf("%+v", r.Findings)
	}
}

func TestMbox(t *testing.T) {
	for _, tt := range []struct{ name, text, id string }{
		{"NUL", mail(1) + "\x00\x00\x00\x00\x00\n\n" + mail(2), "mbox.nul_run"},
		{"junk", "\n" + mail(1), "mbox.leading_junk"},
		{"From line", ">" + mail(1), "mbox.damaged_from"},
		{"cut", mail(1) + "From a@example.com Mon Jan  1 00:00:00 2024\nSubj", "mbox.truncated_tail"},
		{"both: the more basic one", "\n" + mail(1) + "From a@example.com Mon Jan  1 00:00:00 2024\nSubj", "mbox.leading_junk"},
		{"CRLF", strings.ReplaceAll(mail(1, 2), "\n", "\r\n"), "mbox.crlf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "taro"), tt.text)
			r := spoolReport(t, dir, "mbox")
			if d := cmp.Diff([]string{tt.id}, bad(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

// What Qpopper left behind explains a strange spool.
func TestMboxWaitsForLocks(t *testing.T) {
	dir := t.TempDir()
	old(t, time.Hour, filepath.Join(dir, ".taro.pop"), mail(1, 2))
	old(t, time.Hour, filepath.Join(dir, "taro"), mail(1)[:50])
	r := spoolReport(t, dir, "mbox")
	if len(bad(r)) != 0 {
		t.Errorf("%v", bad(r))
	}
}
