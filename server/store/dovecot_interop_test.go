//go:build interop && linux

package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dovecot runs Debian's doveadm on the Maildir of taro. It reads no mail as
// root, so that the files belong to the user mail then.
type dovecot struct {
	t    *testing.T
	s    *Maildirs
	conf string
	cred *syscall.Credential // nil: as who runs the test
}

func newDovecot(t *testing.T, s *Maildirs) *dovecot {
	t.Helper()
	d := &dovecot{t: t, s: s, conf: filepath.Join(s.dataDir, "dovecot.conf")}
	conf := fmt.Sprintf("ssl = no\nlog_path = %[1]s/dovecot.log\nmail_location = maildir:%[2]s/Maildir\n", s.dataDir, Dir(s.dataDir, taro))
	if err := os.WriteFile(d.conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("mail")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		d.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chmod(filepath.Dir(s.dataDir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// own gives the files to the user that Dovecot runs as.
func (d *dovecot) own() {
	if d.cred == nil {
		return
	}
	err := filepath.WalkDir(d.s.dataDir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, int(d.cred.Uid), int(d.cred.Gid))
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *dovecot) run(args ...string) string {
	d.t.Helper()
	d.own()
	cmd := exec.Command("doveadm", append([]string{"-c", d.conf}, args...)...)
	cmd.Dir = d.s.dataDir
	cmd.Env = append(os.Environ(), "HOME="+d.s.dataDir, "USER=mail")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred}
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("doveadm %q: %v\n%s", args, err, out)
	}
	return string(out)
}

var fetched = regexp.MustCompile(`size.virtual: (\d+)\nhdr.subject: (\S+)`)

// mail is what Dovecot lists, "subject size".
func (d *dovecot) mail() (list []string) {
	for _, m := range fetched.FindAllStringSubmatch(d.run("fetch", "size.virtual hdr.subject", "all"), -1) {
		list = append(list, m[2]+" "+m[1])
	}
	return list
}

// Dovecot reads, marks and deletes in a Maildir while a session of ours has it
// open; both see the same mail, and our UIDs stay.
func TestInteropDovecotBesideUs(t *testing.T) {
	s := New(t.TempDir())
	for i := range 4 {
		put(t, s, fmt.Sprint("ID", i), fmt.Sprintf("Subject: n%d\r\n\r\n%s", i, strings.Repeat("line\r\n", i)), taro)
	}
	d := newDovecot(t, s)
	d.own()
	m, err := s.Open(taro, popper)
	if err != nil {
		t.Fatal(err)
	}
	var want, uids []string
	for i, msg := range m.Messages() {
		want = append(want, fmt.Sprintf("n%d %d", i, msg.Size))
		uids = append(uids, msg.UID)
	}
	if diff := cmp.Diff(want, d.mail()); diff != "" {
		t.Errorf("what Dovecot sees (-ours +its):\n%s", diff)
	}
	d.run("flags", "add", `\Seen \Answered`, "all")
	d.run("expunge", "mailbox", "INBOX", "header", "subject", "n2")
	for i := range 4 {
		r, err := m.Read(i)
		if i == 2 {
			if !errors.Is(err, ErrGone) {
				t.Errorf("what Dovecot deleted: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("message %d: %v", i, err)
			continue
		}
		r.Close()
	}
	m.Close()
	put(t, s, "NEW", "Subject: n4\r\n\r\n", taro)
	_, again := contents(t, s, taro)
	if diff := cmp.Diff([]string{uids[0], uids[1], uids[3]}, again[:3]); diff != "" || len(again) != 4 {
		t.Errorf("UIDs (-before +after):\n%s", diff)
	}
	remove(t, s, taro, 0)
	if got := d.mail(); !cmp.Equal(got, []string{want[1], want[3], "n4 15"}) {
		t.Errorf("Dovecot sees %q", got)
	}
}
