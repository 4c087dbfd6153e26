package spoolfix

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const dated = "From taro@example.com Tue Jan  2 03:04:05 2024\n"

// headed is a message without its From line.
func headed(n string) string {
	return "Return-Path: <taro@example.com>\nReceived: from mail.example.com\nDate: Tue, 02 Jan 2024 03:04:05 +0000\nFrom: Taro <taro@example.com>\nSubject: " + n + "\n\nHello " + n + "\n\n"
}

func TestRepair(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	long := strings.Repeat("\x00", 5000)
	inside := "text\n\nFrom b@example.com Mon Jan  1 00:00:00 2024\nSubject: not a message\n\nmore\n"
	for _, tt := range []struct {
		name, text, want string
		mended           []Mended
		before, after    int
	}{
		{"escaped From lines", strings.ReplaceAll(dated+headed("1")+dated+headed("2"), dated, ">"+dated), dated + headed("1") + dated + headed("2"),
			[]Mended{{"damaged_from", 0, 2}}, 2, 2},
		{"no From lines", headed("1") + headed("2") + headed("3"), dated + headed("1") + dated + headed("2") + dated + headed("3"),
			[]Mended{{"damaged_from", 0, 3}}, 3, 3},
		{"a From line that lost its first letters", dated[3:] + headed("1"), dated + headed("1"), []Mended{{"damaged_from", 0, 1}}, 1, 1},
		{"a date of another system", mail(1) + "From taro@example.com 2024-01-02 03:04:05\n" + headed("1"),
			mail(1) + dated + "X-Damaged-From-Line: From taro@example.com 2024-01-02 03:04:05\n" + headed("1"), []Mended{{"damaged_from", int64(len(mail(1))), 1}}, 2, 2},
		{"CRLF", crlf(mail(1, 2)), mail(1, 2), []Mended{{"crlf", 0, 1}}, 2, 2},
		{"CRLF with a right Content-Length", crlf(fmt.Sprintf("From a@example.com Tue Feb  6 10:00 2024\nContent-Length: %d\n\n%s\n", len(crlf(inside)), inside)),
			fmt.Sprintf("From a@example.com Tue Feb  6 10:00 2024\nContent-Length: %d\n\n%s\n", len(inside), inside), []Mended{{"crlf", 0, 1}}, 1, 1},
		{"NULs behind a message", mail(1) + long + "\n\n" + mail(2), mail(1) + "\n\n" + mail(2), []Mended{{"nul_run", int64(len(mail(1))), 1}}, 2, 2},
		{"NULs, then a From line", mail(1)[:len(mail(1))-4] + long + mail(2), mail(1)[:len(mail(1))-4] + "\n\n" + mail(2), []Mended{{"nul_run", int64(len(mail(1)) - 4), 1}}, 2, 2},
		{"NULs first", long + mail(1), mail(1), []Mended{{"nul_run", 0, 1}}, 1, 1},
		{"byte order mark", "\xef\xbb\xbf" + mail(1), mail(1), []Mended{{"leading_junk", 0, 1}}, 1, 1},
		{"blank lines first", "\n\r\n" + mail(1), mail(1), []Mended{{"leading_junk", 0, 1}}, 1, 1},
		{"text first", "torn off\n" + mail(1), "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nFrom: MAILER-DAEMON\nSubject: [mailsrv] Text without a header, found in the mailbox\n\ntorn off\n\n" + mail(1),
			[]Mended{{"leading_junk", 0, 1}}, 1, 2},
		{"no blank line", mail(1)[:len(mail(1))-1] + mail(2), mail(1, 2), []Mended{{"no_blank_line", int64(len(mail(1)) - 1), 1}}, 2, 2},
		{"cut in the body", mail(1) + mail(2)[:len(mail(2))-5], mail(1) + mail(2)[:len(mail(2))-5] + "\n\n", []Mended{{"truncated_tail", int64(len(mail(1))), 1}}, 2, 2},
		{"cut in the header", mail(1) + mail(2)[:60], mail(1) + mail(2)[:60] + "\n\n", []Mended{{"truncated_tail", int64(len(mail(1))), 1}}, 2, 2},
		{"Content-Length that hides a message", strings.Replace(mail(1), "\n\n", "\nContent-Length: 900\n\n", 1) + mail(2), mail(1, 2), []Mended{{"content_length", 0, 1}}, 2, 2},
		{"everything at once", "\xef\xbb\xbf>" + dated + crlf(headed("1")) + crlf(headed("2"))[:5] + long + crlf(mail(1)+mail(2)[:50]),
			dated + headed("1") + "Retur\n\n" + mail(1) + mail(2)[:50] + "\n\n",
			[]Mended{{"nul_run", int64(4 + len(dated) + len(crlf(headed("1"))) + 5), 1}, {"leading_junk", 0, 1}, {"damaged_from", 3, 1}, {"crlf", 0, 1}, {"truncated_tail", 5297, 1}}, 3, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tempDir(t)
			path := write(t, dir, "box", tt.text)
			must(t, os.Chmod(path, 0o640))
			dry, err := Repair(context.Background(), path, Options{DryRun: true})
			must(t, err)
			if len(files(t, dir)) != 1 || content(t, path) != tt.text || dry.Action != Repaired || dry.Summary.Fail+dry.Summary.Warn != 1 {
				t.Errorf("dry run: %+v", dry)
			}
			r, err := Repair(context.Background(), path, Options{})
			must(t, err)
			if d := cmp.Diff(tt.want, content(t, path)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.mended, r.Mended); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(dry.Mended, r.Mended); d != "" {
				t.Errorf("dry run: %s", d)
			}
			if r.Action != Repaired || r.Before != tt.before || r.After != tt.after || r.Messages != tt.after || r.Findings[0].ID != "mbox.ok" || content(t, r.Backup) != tt.text {
				t.Errorf("%+v", r)
			}
			if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v %v", info.Mode(), err)
			}
			before := files(t, dir)
			r, err = Repair(context.Background(), path, Options{})
			must(t, err)
			if d := cmp.Diff(before, files(t, dir)); d != "" || r.Action != Kept || len(before) != 2 {
				t.Errorf("the second time: %+v %s", r, d)
			}
		})
	}
}

func TestRepairRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"no mailbox", "root:x:0:0:root:/root:/bin/sh\n"},
		{"a program", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"},
	} {
		dir := tempDir(t)
		path := write(t, dir, "box", tt.text)
		r, err := Repair(context.Background(), path, Options{})
		must(t, err)
		if r.Action != Kept || r.Why != WhyFailed || !strings.Contains(r.Error, "holds no message") || content(t, path) != tt.text || len(files(t, dir)) != 1 {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
	if _, err := Repair(context.Background(), filepath.Join(tempDir(t), "nothing"), Options{}); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestRepairWaitsForOthers(t *testing.T) {
	onLinux(t)
	dir := tempDir(t)
	path := write(t, dir, "box", ">"+mail(1))
	pid := heldOpen(t, path, "fcntl")
	r, err := Repair(context.Background(), path, Options{disk: &disk{patience: 50 * time.Millisecond}})
	must(t, err)
	if r.Why != WhyBusy || content(t, path) != ">"+mail(1) || len(files(t, dir)) != 1 {
		t.Errorf("%+v (holder %d)", r, pid)
	}
}

// A repair that is stopped before any step leaves the old mailbox or the new
// one, and the next one goes on.
func TestRepairCrashes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what crashes here leaves its files open, which a process that died does not")
	}
	text := "\n" + mail(1) + strings.Repeat("\x00", 100) + mail(2) + mail(3)[:50]
	var want string
	for stop := 1; ; stop++ {
		dir := tempDir(t)
		path := write(t, dir, "box", text)
		left := stop
		d := crashing(t, dir, &left)
		if survives(func() {
			_, err := Repair(context.Background(), path, Options{disk: d})
			must(t, err)
		}) {
			if want = content(t, path); stop < 10 {
				t.Fatalf("only %d steps", stop)
			}
			break
		}
		if now := content(t, path); now != text && now != mail(1)+"\n\n"+mail(2)+mail(3)[:50]+"\n\n" {
			t.Fatalf("stopped before step %d: %q", stop, now)
		}
		must(t, os.RemoveAll(path+".lock"))
		r, err := Repair(context.Background(), path, Options{})
		must(t, err)
		if r.Findings[0].ID != "mbox.ok" || !strings.Contains(content(t, path), "Hello 2") {
			t.Errorf("after step %d: %+v", stop, r)
		}
	}
	if want != mail(1)+"\n\n"+mail(2)+mail(3)[:50]+"\n\n" {
		t.Errorf("%q", want)
	}
}
