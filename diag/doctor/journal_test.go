package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/store"
)

func TestDamagedJournal(t *testing.T) {
	f := configured(t, plain(t))
	boxIn(t, f)
	dir := filepath.Join(store.JournalDir(f.data()), store.DamagedDir)
	must(t, os.MkdirAll(dir, 0o700))
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"mailboxes"}})
	if d := cmp.Diff([]string{}, bad(r)); d != "" {
		t.Fatal(d)
	}
	write(t, filepath.Join(dir, "segment-2-20261121T080910"), "12345678")
	r = examine(t, Options{ConfigFile: f.config, Only: []string{"mailboxes"}})
	if d := cmp.Diff([]string{"mailbox.journal_damaged"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	x := find(t, r.Findings, "mailbox.journal_damaged")
	want := diag.Evidence{"path": dir, "files": []string{"segment-2-20261121T080910"}, "count": 1, "size": int64(8)}
	if d := cmp.Diff(want, x.Evidence); d != "" || x.Status != diag.Fail {
		t.Errorf("%s %s", x.Status, d)
	}
}
