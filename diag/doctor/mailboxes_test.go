package doctor

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/store"
)

// boxIn makes the Maildir of taro@example.com with one message and returns its
// folder.
func boxIn(t *testing.T, f files) string {
	t.Helper()
	dir := filepath.Join(store.Dir(f.data(), store.Box{Name: "taro", Domain: "example.com"}), "Maildir")
	for _, part := range maildirParts {
		must(t, os.MkdirAll(filepath.Join(dir, part), 0o700))
	}
	write(t, filepath.Join(dir, "new", "1.M1P1.host,S=3,W=3"), "x\r\n")
	return dir
}

func TestMailboxes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   []string
		count  any
	}{
		{"good", func(*testing.T, string) {}, []string{}, nil},
		{"fetched by another program", func(t *testing.T, dir string) {
			sep := ":"
			if runtime.GOOS == "windows" {
				sep = ";"
			}
			write(t, filepath.Join(dir, "cur", "2.M1P1.host,S=3,W=3"+sep+"2,S"), "x\r\n")
			write(t, filepath.Join(dir, "cur", "3.no-size"), "x\r\n")
			write(t, filepath.Join(dir, "cur", ".hidden,S=9"), "x\r\n")
		}, []string{}, nil},
		{"cut", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "new", "2.M1P1.host,S=5,W=5"), "x\r\n")
			write(t, filepath.Join(dir, "cur", "3.M1P1.host,S=7,W=7"), "x\r\n")
		}, []string{"mailbox.size_mismatch"}, 2},
		{"empty", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "cur", "2.M1P1.host"), "") }, []string{"mailbox.size_mismatch"}, 1},
		{"no cur", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "cur"))) }, []string{"mailbox.not_a_maildir"}, nil},
		{"file for new", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "new")))
			write(t, filepath.Join(dir, "new"), "x")
		}, []string{"mailbox.not_a_maildir"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := configured(t, plain(t))
			tt.damage(t, boxIn(t, f))
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"mailboxes"}})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Fatal(d)
			}
			if len(tt.want) > 0 {
				if x := find(t, r.Findings, tt.want[0]); x.Subject != "taro@example.com" || x.Evidence["count"] != tt.count {
					t.Errorf("%+v", x)
				}
			} else if !has(r.Findings, "mailboxes.ok") {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

// Nothing to look at is not healthy, and nothing that has arrived no fault.
func TestNoMailboxes(t *testing.T) {
	f := configured(t, plain(t))
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"mailboxes"}})
	if len(r.Findings) != 0 || r.Checks[0].Why != "nothing" {
		t.Errorf("%+v", r)
	}
	must(t, os.MkdirAll(store.Dir(f.data(), store.Box{Name: "taro", Domain: "example.com"}), 0o700))
	if r = examine(t, Options{ConfigFile: f.config, Only: []string{"mailboxes"}}); len(bad(r)) != 0 {
		t.Errorf("%+v", r.Findings)
	}
}

// The server works as the owner of the data directory; the mailbox is root's.
func TestMailboxOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS == "windows" {
		t.Skip("only root can give files away")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid := 65534
	f := configured(t, plain(t))
	dir := boxIn(t, f)
	give := func(paths ...string) {
		for _, p := range paths {
			must(t, os.Lchown(p, uid, uid))
		}
	}
	give(f.data(), filepath.Dir(dir), dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "new"), filepath.Join(dir, "cur"))
	opt := Options{ConfigFile: f.config, Only: []string{"mailboxes"}}
	x := find(t, examine(t, opt).Findings, "mailbox.unreadable")
	if x.Evidence["owner"] != "root" || x.Evidence["server_user"] != nobody.Username || x.Evidence["count"] != 1 || x.Status != diag.Fail {
		t.Errorf("%+v", x)
	}
	give(filepath.Join(dir, "new", "1.M1P1.host,S=3,W=3"))
	if r := examine(t, opt); len(bad(r)) != 0 {
		t.Errorf("%+v", r.Findings)
	}
	must(t, os.Chmod(filepath.Join(dir, "cur"), 0o500))
	if x := find(t, examine(t, opt).Findings, "mailbox.unreadable"); x.Evidence["path"] != filepath.Join(dir, "cur") {
		t.Errorf("%+v", x)
	}
}

func TestTmpLeftovers(t *testing.T) {
	f := configured(t, plain(t))
	dir := boxIn(t, f)
	old := write(t, filepath.Join(dir, "tmp", "1.M1P1.host"), "half")
	fresh := write(t, filepath.Join(dir, "tmp", "2.M1P1.host"), "being written")
	must(t, os.Chtimes(old, time.Now(), time.Now().Add(-37*time.Hour)))
	opt := Options{ConfigFile: f.config, Only: []string{"mailboxes"}}
	r := examine(t, opt)
	if x := find(t, r.Findings, "mailbox.tmp_leftover"); x.Status != diag.Info || x.Evidence["count"] != 1 || x.Evidence["size"] != int64(4) {
		t.Errorf("%+v", x)
	}
	after, err := Apply(context.Background(), opt, Plan(r, Fixers{}))
	must(t, err)
	if len(after.Fixed) != 1 || has(after.Findings, "mailbox.tmp_leftover") {
		t.Errorf("%+v", after)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error(err)
	}
}

func FuzzPromisedSize(f *testing.F) {
	f.Add("1732212345.M012345P4711IX.mail,S=4321,W=4321:2,S")
	f.Add("x,S=,S=99999999999999999999")
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := promisedSize(name); ok && n < 0 {
			t.Errorf("%q: %d", name, n)
		}
	})
}
