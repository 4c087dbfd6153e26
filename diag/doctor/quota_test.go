package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/account"
	"mailsrv/server/store"
)

// fill puts a message of n octets into a mailbox.
func fill(t *testing.T, f files, name string, n int) (maildir string) {
	t.Helper()
	maildir = filepath.Join(store.Dir(f.data(), store.Box{Name: name, Domain: "example.com"}), "Maildir")
	for _, part := range maildirParts {
		must(t, os.MkdirAll(filepath.Join(maildir, part), 0o700))
	}
	write(t, filepath.Join(maildir, "new", fmt.Sprintf("1.M1P1.host,S=%d,W=%d", n, n)), strings.Repeat("x", n))
	return maildir
}

func TestQuotas(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, f files, d *account.Files)
		want   []string
	}{
		{"empty", func(*testing.T, files, *account.Files) {}, []string{}},
		{"room", func(t *testing.T, f files, d *account.Files) { fill(t, f, "taro", 899) }, []string{}},
		{"near", func(t *testing.T, f files, d *account.Files) { fill(t, f, "taro", 900) }, []string{"account.quota_near"}},
		{"an octet left", func(t *testing.T, f files, d *account.Files) { fill(t, f, "taro", 999) }, []string{"account.quota_near"}},
		{"full", func(t *testing.T, f files, d *account.Files) { fill(t, f, "taro", 1000) }, []string{"account.quota_full"}},
		{"more of its own", func(t *testing.T, f files, d *account.Files) {
			fill(t, f, "taro", 1000)
			must(t, d.SetQuota("taro", "example.com", 5000))
		}, []string{}},
		{"less of its own", func(t *testing.T, f files, d *account.Files) {
			fill(t, f, "taro", 300)
			must(t, d.SetQuota("taro", "example.com", 200))
		}, []string{"account.quota_full"}},
		{"no limit of its own", func(t *testing.T, f files, d *account.Files) {
			fill(t, f, "taro", 5000)
			must(t, d.SetQuota("taro", "example.com", account.Unlimited))
		}, []string{}},
		{"mail goes elsewhere", func(t *testing.T, f files, d *account.Files) {
			fill(t, f, "taro", 5000)
			must(t, d.ForwardMailbox("taro", "example.com", []string{"abuse@example.com"}, false))
		}, []string{}},
		{"cannot be read", func(t *testing.T, f files, d *account.Files) {
			dir := filepath.Join(fill(t, f, "taro", 1000), "new")
			must(t, os.RemoveAll(dir))
			write(t, dir, "a file")
		}, []string{"account.quota_unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := configured(t, plain(t)+"[mailbox]\nquota = \"1000B\"\n")
			r := accountsOf(t, f, func(d *account.Files) {
				for _, name := range []string{"postmaster", "abuse", "taro"} {
					_, err := d.Add(name, "example.com", password)
					must(t, err)
				}
				tt.change(t, f, d)
			})
			got := []string{}
			for _, x := range r.Findings {
				if x.Status != diag.OK {
					got = append(got, x.ID)
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if len(tt.want) > 0 && find(t, r.Findings, tt.want[0]).Subject != "taro@example.com" {
				t.Errorf("%+v", r.Findings)
			}
			if has(r.Findings, "accounts.ok") != (len(tt.want) == 0) {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}
