package doctor

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/account"
	"mailsrv/server/store"
)

func accountsOf(t *testing.T, f files, add func(d *account.Files)) *Report {
	t.Helper()
	d := account.Open(f.data(), []string{"example.com"})
	add(d)
	return examine(t, Options{ConfigFile: f.config, Only: []string{"accounts"}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const password = "correct horse battery staple"

func TestAccounts(t *testing.T) {
	add := func(d *account.Files, name string) {
		_, err := d.Add(name, "example.com", password)
		must(t, err)
	}
	for _, tt := range []struct {
		name string
		add  func(d *account.Files)
		want []string
	}{
		{"complete", func(d *account.Files) {
			add(d, "taro")
			must(t, d.SetForward("postmaster", "example.com", []string{"taro@example.com"}))
			must(t, d.SetForward("abuse", "example.com", []string{"postmaster@example.com"}))
		}, []string{}},
		{"no postmaster", func(d *account.Files) { add(d, "taro"); add(d, "abuse") }, []string{"account.no_postmaster"}},
		{"no abuse", func(d *account.Files) { add(d, "postmaster") }, []string{"account.no_abuse"}},
		{"dead forward", func(d *account.Files) {
			add(d, "postmaster")
			add(d, "abuse")
			add(d, "hanako")
			must(t, d.SetForward("sales", "example.com", []string{"hanako@example.com", "postmaster@example.com"}))
			must(t, d.Remove("hanako", "example.com"))
		}, []string{"account.forward_dead"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := accountsOf(t, configured(t, plain(t)), tt.add)
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestForwardLoop(t *testing.T) {
	f := configured(t, plain(t))
	dir := filepath.Join(f.data(), "accounts", "example.com")
	for name, to := range map[string]string{"a": "b@example.com", "b": "c@example.com", "c": "a@example.com"} {
		write(t, filepath.Join(dir, name+".toml"), "created = 2026-01-01T00:00:00Z\nforward = [\""+to+"\"]\n")
	}
	r := accountsOf(t, f, func(d *account.Files) {
		for _, name := range []string{"postmaster", "abuse"} {
			_, err := d.Add(name, "example.com", password)
			must(t, err)
		}
	})
	if d := cmp.Diff([]string{"account.forward_loop"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	want := []string{"a@example.com", "b@example.com", "c@example.com", "a@example.com"}
	if d := cmp.Diff(want, find(t, r.Findings, "account.forward_loop").Evidence["circle"]); d != "" {
		t.Error(d)
	}
}

func TestAccountDamagedAndOrphan(t *testing.T) {
	f := configured(t, plain(t))
	file := write(t, filepath.Join(f.data(), "accounts", "example.com", "taro.toml"), "created = 2026-01-01T00:00:00Z\nforward = [\n")
	r := accountsOf(t, f, func(*account.Files) {})
	if d := cmp.Diff([]string{"account.store_damaged", "account.no_postmaster", "account.no_abuse"}, bad(r)); d != "" {
		t.Error(d)
	}
	if x := find(t, r.Findings, "account.store_damaged"); x.Subject != file {
		t.Errorf("%+v", x)
	}

	f = configured(t, plain(t))
	write(t, filepath.Join(store.Dir(f.data(), store.Box{Name: "gone", Domain: "example.com"}), "Maildir", "new", "1.M1P1.x,S=3,W=3"), "x\r\n")
	r = accountsOf(t, f, func(d *account.Files) {
		for _, name := range []string{"postmaster", "abuse"} {
			_, err := d.Add(name, "example.com", password)
			must(t, err)
		}
	})
	if x := find(t, r.Findings, "account.orphan_mailbox"); x.Subject != "gone@example.com" || x.Evidence["messages"] != 1 || len(bad(r)) != 0 {
		t.Errorf("%+v %v", x, bad(r))
	}
}

func TestNoAccountYet(t *testing.T) {
	f := configured(t, plain(t))
	r := accountsOf(t, f, func(*account.Files) {})
	if x := find(t, r.Findings, "account.none"); x.Status != diag.Info || len(bad(r)) != 0 {
		t.Errorf("%+v", x)
	}
	write(t, filepath.Join(f.data(), "server.json"), "{}")
	r = accountsOf(t, f, func(*account.Files) {})
	if d := cmp.Diff([]string{"account.none"}, bad(r)); d != "" {
		t.Error(d)
	}
}

// The repair: planned, done, and gone on the second look; twice changes nothing.
func TestFixAccounts(t *testing.T) {
	f := configured(t, plain(t))
	d := account.Open(f.data(), []string{"example.com"})
	_, err := d.Add("taro", "example.com", password)
	must(t, err)
	opt := Options{ConfigFile: f.config, Only: []string{"accounts"}}
	by := Fixers{Forward: func(address, target string) error {
		name, domain, _ := account.SplitAddress(address)
		return d.SetForward(name, domain, []string{target})
	}}
	plan := Plan(examine(t, opt), by)
	var subjects []string
	for _, p := range plan {
		subjects = append(subjects, p.ID+" "+p.Subject)
		if p.Did == "" {
			t.Errorf("%+v does not say what it does", p)
		}
	}
	if diff := cmp.Diff([]string{"account.no_postmaster postmaster@example.com", "account.no_abuse abuse@example.com"}, subjects); diff != "" {
		t.Fatal(diff)
	}
	after, err := Apply(context.Background(), opt, plan)
	must(t, err)
	if len(bad(after)) != 0 || len(after.Fixed) != 2 {
		t.Errorf("%v %+v", bad(after), after.Fixed)
	}
	if plan := Plan(examine(t, opt), by); len(plan) != 0 {
		t.Errorf("still to do: %+v", plan)
	}
}

func TestFixThatFails(t *testing.T) {
	f := configured(t, plain(t))
	d := account.Open(f.data(), []string{"example.com"})
	_, err := d.Add("taro", "example.com", password)
	must(t, err)
	opt := Options{ConfigFile: f.config, Only: []string{"accounts"}}
	broken := errors.New("disk on fire")
	after, err := Apply(context.Background(), opt, Plan(examine(t, opt), Fixers{Forward: func(string, string) error { return broken }}))
	if !errors.Is(err, broken) || len(after.Fixed) != 0 || len(bad(after)) != 2 {
		t.Errorf("%v %+v", err, after)
	}
}

// Two accounts, neither of which is postmaster: nobody but the owner knows whose
// mail it should be.
func TestFixDoesNotGuess(t *testing.T) {
	f := configured(t, plain(t))
	r := accountsOf(t, f, func(d *account.Files) {
		for _, name := range []string{"taro", "hanako"} {
			_, err := d.Add(name, "example.com", password)
			must(t, err)
		}
	})
	if plan := Plan(r, Fixers{}); len(plan) != 0 || !has(r.Findings, "account.no_postmaster") {
		t.Errorf("%+v", plan)
	}
}

// withPassword writes an account whose password "user passwd" would refuse.
func withPassword(t *testing.T, f files, name, password string) {
	t.Helper()
	v := account.NewVerifier(password)
	b64 := base64.StdEncoding.EncodeToString
	write(t, filepath.Join(f.data(), "accounts", "example.com", name+".toml"), fmt.Sprintf(
		"created = 2026-01-01T00:00:00Z\n[password]\nscheme = \"SCRAM-SHA-256\"\niterations = %d\nsalt = %q\nstored_key = %q\nserver_key = %q\n",
		v.Iterations, b64(v.Salt), b64(v.StoredKey), b64(v.ServerKey)))
}

func TestGuessablePasswords(t *testing.T) {
	f := configured(t, plain(t))
	withPassword(t, f, "postmaster", "")
	withPassword(t, f, "abuse", "abuse")
	withPassword(t, f, "taro", "example.com")
	withPassword(t, f, "hanako", "hanako@example.com")
	withPassword(t, f, "jiro", password)
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"accounts"}})
	got := map[string]any{}
	for _, x := range r.Findings {
		if x.ID == "account.password_guessable" {
			got[x.Subject] = x.Evidence["password"]
		}
	}
	want := map[string]any{"postmaster@example.com": "empty", "abuse@example.com": "name", "taro@example.com": "domain", "hanako@example.com": "address"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(4, len(bad(r))); d != "" {
		t.Error(bad(r))
	}
}

// When time is up, the rest is said to be unknown, not good.
func TestPasswordsNotTried(t *testing.T) {
	f := configured(t, plain(t))
	for _, name := range []string{"postmaster", "abuse"} {
		withPassword(t, f, name, "")
	}
	c := newCase(Options{ConfigFile: f.config}, nil)
	all, _, err := c.Accounts.List()
	must(t, err)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if fs := c.guessable(over, all); len(fs) != 0 || c.untried != 2 || c.okEvidence("accounts")["untried"] != 2 {
		t.Errorf("%v %d", fs, c.untried)
	}
}
