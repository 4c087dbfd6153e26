package account

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const password = "correct horse battery"

func newFiles(t *testing.T) *Files {
	t.Helper()
	return Open(t.TempDir(), []string{"example.com", "example.jp", "[IPv6:2001:db8::1]"})
}

func mustAdd(t *testing.T, d *Files, name, domain string) Account {
	t.Helper()
	a, err := d.Add(name, domain, password)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAddAndAuthenticate(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "Taro", "Example.COM")
	mustAdd(t, d, "hanako", "example.jp")
	mustAdd(t, d, "taro", "example.jp")
	mustAdd(t, d, "lit", "[ipv6:2001:db8::1]")
	for _, tt := range []struct {
		login, password, want string
	}{
		{"taro@example.com", password, "taro@example.com"},
		{"TARO@EXAMPLE.com", password, "taro@example.com"},
		{"taro", password, "taro@example.com"}, // the main domain comes first
		{"hanako", password, "hanako@example.jp"},
		{"taro@example.jp", password, "taro@example.jp"},
		{"lit@[IPv6:2001:DB8::1]", password, "lit@[ipv6:2001:db8::1]"},
		{"taro", "wrong password", ""},
		{"taro", "", ""},
		{"taro", password + " ", ""},
		{"", password, ""},
		{"nobody", password, ""},
		{"../../example.com/taro", password, ""},
		{"taro@example.net", password, ""},
	} {
		for range 2 { // the second time from the cache
			a, err := d.Authenticate(tt.login, tt.password)
			if tt.want == "" {
				if err != ErrCredentials {
					t.Errorf("%q %q: %v, %v; want ErrCredentials", tt.login, tt.password, a, err)
				}
			} else if err != nil || a.Address() != tt.want {
				t.Errorf("%q: %v, %v; want %s", tt.login, a.Address(), err, tt.want)
			}
		}
	}
}

func TestChangesHoldAtOnce(t *testing.T) {
	dir := t.TempDir()
	server, cli := Open(dir, []string{"example.com"}), Open(dir, []string{"example.com"})
	mustAdd(t, cli, "taro", "example.com")
	if _, err := server.Authenticate("taro", password); err != nil {
		t.Fatal(err)
	}
	if err := cli.SetPassword("taro", "example.com", "quite another one"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Authenticate("taro", password); err != ErrCredentials {
		t.Errorf("old password after passwd: %v", err)
	}
	if _, err := server.Authenticate("taro", "quite another one"); err != nil {
		t.Errorf("new password: %v", err)
	}
	if err := cli.Remove("taro", "example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Authenticate("taro", "quite another one"); err != ErrCredentials {
		t.Errorf("removed account: %v", err)
	}
	if err := cli.Remove("taro", "example.com"); err != ErrNotFound {
		t.Errorf("second remove: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "taro", "example.com")
	if _, err := d.Add("TARO", "example.com", password); err != ErrExists {
		t.Errorf("same name again: %v", err)
	}
	for name, want := range map[string]string{
		"":                      "needs a name",
		"../evil":               "'/', is not allowed",
		"a/b":                   "'/', is not allowed",
		"a:b":                   "':', is not allowed",
		"a b":                   "' ', is not allowed",
		"a\nb":                  "is not allowed",
		"太郎":                    "not ASCII",
		"..":                    "points",
		".hidden":               "points",
		"end.":                  "points",
		"a..b":                  "points",
		"-rf":                   "hyphen",
		"con":                   "device",
		"Lpt1.old":              "device",
		strings.Repeat("x", 65): "at most 64",
	} {
		if _, err := d.Add(name, "example.com", password); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("name %q: %v, want %q", name, err, want)
		}
	}
	if _, err := d.Add("x", "example.net", password); err == nil || !strings.Contains(err.Error(), "example.net is no local domain") {
		t.Errorf("foreign domain: %v", err)
	}
	for pw, want := range map[string]string{
		"":                        "at least 8",
		"short":                   "at least 8",
		"jiro2024":                "first that others try",
		"Example1":                "first that others try",
		"password123":             "first that others try",
		"long enough\x00":         "control",
		"パスワード１２３４":               "full-width",
		strings.Repeat("x", 1025): "at most 1024",
	} {
		if _, err := d.Add("jiro", "example.com", pw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("password %q: %v, want %q", pw, err, want)
		}
	}
	if _, err := d.Add("jiro", "example.com", strings.Repeat("x", 200)); err != nil {
		t.Errorf("a password of 200 letters: %v", err)
	}
}

func TestNoClearPasswordOnDisk(t *testing.T) {
	d := newFiles(t)
	a := mustAdd(t, d, "taro", "example.com")
	data, err := os.ReadFile(d.File("taro", "example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), password) || !strings.Contains(string(data), "SCRAM-SHA-256") {
		t.Errorf("account file:\n%s", data)
	}
	info, _ := os.Stat(d.File("taro", "example.com"))
	if info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("mode %v: others may read it", info.Mode())
	}
	got, err := d.Lookup("taro", "example.com")
	if err != nil || got.Address() != a.Address() || got.Created.IsZero() {
		t.Errorf("Lookup: %+v, %v", got, err)
	}
}

func TestForwards(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "taro", "example.com")
	mustAdd(t, d, "hanako", "example.jp")
	forward := func(name string, targets ...string) error { return d.SetForward(name, "example.com", targets) }
	for _, f := range [][]string{{"postmaster", "Taro@example.com"}, {"abuse", "postmaster@example.com"}, {"both", "taro@example.com", "hanako@example.jp", "abuse@example.com"}} {
		if err := forward(f[0], f[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	addresses := func(name string) []string {
		route, err := d.Resolve(name, "example.com")
		if err != nil {
			return []string{err.Error()}
		}
		return whither(route)
	}
	for name, want := range map[string][]string{
		"Abuse":  {"taro@example.com"},
		"taro":   {"taro@example.com"},
		"both":   {"taro@example.com", "hanako@example.jp"},
		"nobody": {ErrNotFound.Error()},
	} {
		if diff := cmp.Diff(want, addresses(name)); diff != "" {
			t.Errorf("Resolve %s (-want +got):\n%s", name, diff)
		}
	}
	for _, tt := range []struct {
		name, target, want string
	}{
		{"taro", "hanako@example.jp", ErrExists.Error()},
		{"postmaster", "abuse@example.com", "postmaster@example.com would lead back to itself: postmaster@example.com -> abuse@example.com -> postmaster@example.com"},
		{"postmaster", "postmaster@example.com", "cannot lead to itself"},
		{"postmaster", "nobody@example.com", "no such account"},
		{"postmaster", "x@@example.net", "is no mail address"},
	} {
		if err := forward(tt.name, tt.target); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("forward %s to %s: %v, want %q", tt.name, tt.target, err, tt.want)
		}
	}
	if _, err := d.Authenticate("abuse@example.com", password); err != ErrCredentials {
		t.Errorf("login to a role address: %v", err)
	}
	if err := d.SetPassword("abuse", "example.com", password); err != ErrNoMailbox {
		t.Errorf("a password for a role address: %v", err)
	}
	if err := d.Remove("taro", "example.com"); err != nil {
		t.Fatal(err)
	}
	_, err := d.Resolve("abuse", "example.com")
	if diff := cmp.Diff(&ForwardError{From: "postmaster@example.com", Target: "taro@example.com"}, err); diff != "" {
		t.Errorf("dead forward (-want +got):\n%s", diff)
	}
}

func TestForwardCircleOnDisk(t *testing.T) {
	d := newFiles(t)
	writeRaw(t, d, "a", `forward = ["b@example.com"]`)
	writeRaw(t, d, "b", `forward = ["a@example.com"]`)
	_, err := d.Resolve("a", "example.com")
	want := &ForwardError{From: "a@example.com", Target: "a@example.com", Loop: []string{"a@example.com", "b@example.com", "a@example.com"}}
	if diff := cmp.Diff(want, err); diff != "" {
		t.Errorf("circle (-want +got):\n%s", diff)
	}
}

func writeRaw(t *testing.T, d *Files, name, content string) {
	t.Helper()
	file := d.File(name, "example.com")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFiles(t *testing.T) {
	d := newFiles(t)
	good := mustAdd(t, d, "good", "example.com")
	for name, tt := range map[string]struct {
		content, reason string
		line            int
	}{
		"empty":   {"", "neither a password nor a forward", 0},
		"half":    {"created = 2024-01-01T00:00:00Z\nforward = [\"x", "", 2},
		"scheme":  {"[password]\nscheme = \"plain\"\n", `password scheme "plain"`, 0},
		"nosalt":  {"[password]\nscheme = \"SCRAM-SHA-256\"\niterations = 4096\nsalt = \"AAA\"\n", "password.salt", 0},
		"iterate": {"[password]\nscheme = \"SCRAM-SHA-256\"\niterations = 0\n", "0 iterations", 0},
	} {
		writeRaw(t, d, name, tt.content)
		_, err := d.Authenticate(name, password)
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(damaged.Reason, tt.reason) || damaged.Line != tt.line {
			t.Errorf("%s: %v, want %q in line %d", name, err, tt.reason, tt.line)
		}
	}
	accounts, damaged, err := d.List()
	if err != nil || len(damaged) != 5 || len(accounts) != 1 || accounts[0].Address() != good.Address() {
		t.Errorf("List: %v, %v, %v", accounts, damaged, err)
	}
}

func TestTemporaryAccountEnds(t *testing.T) {
	d := newFiles(t)
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	d.now = func() time.Time { return now }
	a, pw, err := d.AddTemporary(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Authenticate(a.Address(), pw); err != nil || got.Address() != a.Address() {
		t.Errorf("login: %v, %v", got, err)
	}
	if list, err := d.Expired(); err != nil || len(list) != 0 {
		t.Errorf("Expired: %v, %v; want none yet", list, err)
	}
	now = now.Add(time.Minute)
	if _, err := d.Authenticate(a.Address(), pw); err != ErrCredentials {
		t.Errorf("login after its time: %v", err)
	}
	if _, err := d.Lookup(a.Name, a.Domain); err != ErrNotFound {
		t.Errorf("Lookup after its time: %v", err)
	}
	if list, err := d.Expired(); err != nil || len(list) != 1 || list[0].Address() != a.Address() {
		t.Errorf("Expired: %v, %v; want %s", list, err, a.Address())
	}
}

// An unknown login must look like a known one, also after a restart.
func TestVerifierOfUnknownLogin(t *testing.T) {
	dir := t.TempDir()
	d := Open(dir, []string{"example.com"})
	mustAdd(t, d, "taro", "example.com")
	known, a, err := d.Verifier("taro")
	if err != nil || a.Name != "taro" || !known.Check(password) {
		t.Errorf("known login: %v, %v", a, err)
	}
	unknown, a, err := d.Verifier("nobody")
	if err != nil || a.Name != "" {
		t.Errorf("unknown login: %v, %v", a, err)
	}
	if unknown.Iterations != known.Iterations || len(unknown.Salt) != len(known.Salt) || len(unknown.StoredKey) != len(known.StoredKey) {
		t.Errorf("unknown login's verifier differs in form: %+v, %+v", unknown, known)
	}
	again, _, err := Open(dir, []string{"example.com"}).Verifier("NOBODY")
	if err != nil || !cmp.Equal(unknown, again) {
		t.Errorf("after a restart: %+v, %v; want %+v", again, err, unknown)
	}
}

// With and without its domain a login has one salt, whether it is known or not:
// a difference would tell who has an account.
func TestSaltDoesNotTellWhoIsKnown(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "taro", "example.com")
	mustAdd(t, d, "hanako", "example.jp")
	salt := func(login string) string {
		v, _, err := d.Verifier(login)
		if err != nil {
			t.Fatal(err)
		}
		return string(v.Salt)
	}
	homes := map[string]int{}
	for i := range 200 {
		name := fmt.Sprint("nobody", i)
		same := 0
		for _, domain := range []string{"example.com", "example.jp", "[ipv6:2001:db8::1]"} {
			if salt(name) == salt(name+"@"+domain) {
				homes[domain]++
				same++
			}
		}
		if same != 1 {
			t.Fatalf("%s has the salt of %d of its addresses, a known login that of 1", name, same)
		}
	}
	// Known ones live in any domain, and so do these.
	if homes["example.com"] == 0 || homes["example.jp"] == 0 {
		t.Errorf("unknown logins seem to live in %v", homes)
	}
	if salt("taro") != salt("taro@example.com") || salt("hanako") != salt("hanako@example.jp") {
		t.Error("a known login has two salts")
	}
}

func TestGeneratedPasswords(t *testing.T) {
	a, b := GeneratePassword(), GeneratePassword()
	if a == b || len(a) != 19 || CheckPassword("x", "example.com", a) != nil {
		t.Errorf("passwords %q, %q", a, b)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("forward = [\"a@example.com\"]\n"))
	f.Add([]byte("forward = []\n"))
	f.Add(encode(entry{Account: Account{Mailbox: true, Forward: []string{"x@example.net"}, Keep: true, Quota: 5}, verifier: NewVerifier("seed of the fuzz test")}))
	f.Add(encode(entry{verifier: NewVerifier("seed of the fuzz test")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(encode(e))
		if err != nil {
			t.Fatalf("decoded %q, but not what was encoded from it: %v", data, err)
		}
		if !cmp.Equal(e.verifier, again.verifier) || !slices.Equal(e.Forward, again.Forward) || e.Keep != again.Keep || e.Quota != again.Quota || e.Mailbox != again.Mailbox {
			t.Errorf("round trip: %+v, then %+v", e, again)
		}
	})
}

func TestLimit(t *testing.T) {
	for _, tt := range []struct{ usual, own, want int64 }{{0, 0, 0}, {5, 0, 5}, {5, 7, 7}, {0, 7, 7}, {5, Unlimited, 0}} {
		if got := (Account{Quota: tt.own}).Limit(tt.usual); got != tt.want {
			t.Errorf("usual %d, own %d: %d, want %d", tt.usual, tt.own, got, tt.want)
		}
	}
}
