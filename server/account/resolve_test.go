package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// whither lists where a route ends: mailboxes, and "-> ADDRESS" for copies that
// go elsewhere.
func whither(r Route) (out []string) {
	for _, a := range r.Boxes {
		out = append(out, a.Address())
	}
	for _, m := range r.Remote {
		out = append(out, "-> "+m.To)
	}
	return out
}

func TestResolve(t *testing.T) {
	d := newFiles(t)
	for _, a := range [][2]string{{"taro", "example.com"}, {"hanako", "example.com"}, {"jiro", "example.com"}, {"taro", "example.jp"}} {
		mustAdd(t, d, a[0], a[1])
	}
	for _, forward := range [][2]string{
		{"sales@example.com", "taro@example.com x@example.net"},
		{"all@example.com", "sales@example.com hanako@example.com taro@example.com"},
		{"away@example.com", "Mixed.Case@Example.NET"},
		{"*@example.jp", "taro@example.com"},
	} {
		name, domain, _ := SplitAddress(forward[0])
		if err := setForward(d, name, domain, forward[1]); err != nil {
			t.Fatalf("%s: %v", forward[0], err)
		}
	}
	// A mailbox that is forwarded: with a copy, and without.
	for name, keep := range map[string]bool{"hanako": true, "jiro": false} {
		if err := d.ForwardMailbox(name, "example.com", []string{name + "@example.org"}, keep); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string][]string{
		"taro@example.com":        {"taro@example.com"},
		"sales@example.com":       {"taro@example.com", "-> x@example.net"},
		"all@example.com":         {"taro@example.com", "hanako@example.com", "-> x@example.net", "-> hanako@example.org"},
		"away@example.com":        {"-> Mixed.Case@example.net"},
		"hanako@example.com":      {"hanako@example.com", "-> hanako@example.org"},
		"jiro@example.com":        {"-> jiro@example.org"},
		"taro@example.jp":         {"taro@example.jp"}, // before the catch-all
		"nobody@example.jp":       {"taro@example.com"},
		"o'brien@example.jp":      {"taro@example.com"},
		"*@example.jp":            {"taro@example.com"},
		"nobody@example.com":      {"no such account"},
		"victim%x@example.jp":     {"no such account"},
		"x!victim@example.jp":     {"no such account"},
		"victim@x@example.jp":     {"no such account"},
		"taro@example.net":        {"no such account"},
		"taro@[ipv6:2001:db8::1]": {"no such account"},
	} {
		name, domain, _ := SplitAddress(address)
		var got []string
		route, err := d.Resolve(name, domain)
		if got = whither(route); err != nil {
			got = []string{err.Error()}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
	route, err := d.Resolve("all", "example.com")
	if want := []Remote{{"x@example.net", "sales@example.com"}, {"hanako@example.org", "hanako@example.com"}}; err != nil || !cmp.Equal(route.Remote, want) {
		t.Errorf("remote copies %v, %v; want %v", route.Remote, err, want)
	}
	if want := []string{"all@example.com", "sales@example.com", "taro@example.com", "hanako@example.com"}; !cmp.Equal(route.Through, want) {
		t.Errorf("through %v, want %v", route.Through, want)
	}
	// Ended again.
	if err := d.ForwardMailbox("jiro", "example.com", nil, false); err != nil {
		t.Fatal(err)
	}
	if route, err = d.Resolve("jiro", "example.com"); err != nil || !cmp.Equal(whither(route), []string{"jiro@example.com"}) {
		t.Errorf("forward ended: %v, %v", whither(route), err)
	}
}

func setForward(d *Files, name, domain, targets string) error {
	return d.SetForward(name, domain, strings.Fields(targets))
}

func TestCirclesAreNamed(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "taro", "example.com")
	for _, f := range [][2]string{{"a", "taro@example.com"}, {"b", "a@example.com"}, {"*", "b@example.com"}} {
		if err := setForward(d, f[0], "example.com", f[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, target, want string }{
		{"a", "b@example.com", "a@example.com would lead back to itself: a@example.com -> b@example.com -> a@example.com"},
		{"a", "nobody@example.com", "a@example.com would lead back to itself: a@example.com -> nobody@example.com -> b@example.com -> a@example.com"},
		{"*", "nobody@example.com", "*@example.com would lead back to itself: *@example.com -> nobody@example.com -> *@example.com"},
		{"*", "*@example.com", "*@example.com cannot lead to itself"},
	} {
		if err := setForward(d, tt.name, "example.com", tt.target); err == nil || err.Error() != tt.want {
			t.Errorf("%s to %s: %v\nwant %s", tt.name, tt.target, err, tt.want)
		}
	}
	if err := d.ForwardMailbox("taro", "example.com", []string{"b@example.com"}, true); err == nil || !strings.Contains(err.Error(), "taro@example.com -> b@example.com -> a@example.com -> taro@example.com") {
		t.Errorf("a mailbox that leads back to itself: %v", err)
	}
	// Written by hand: the circle is found, and what leaves it still goes there.
	writeRaw(t, d, "a", `forward = ["b@example.com", "x@example.net"]`)
	writeRaw(t, d, "b", `forward = ["a@example.com"]`)
	route, err := d.Resolve("a", "example.com")
	if err != nil || !cmp.Equal(whither(route), []string{"-> x@example.net"}) {
		t.Errorf("%v, %v", whither(route), err)
	}
	writeRaw(t, d, "b", "")
	writeRaw(t, d, "*", `forward = ["nobody@example.com"]`)
	var loop *ForwardError
	if _, err := d.Resolve("nobody", "example.com"); !errors.As(err, &loop) || loop.Error() != "forwards go in a circle: *@example.com -> nobody@example.com -> *@example.com" && loop.Error() != "forwards go in a circle: nobody@example.com -> *@example.com -> nobody@example.com" {
		t.Errorf("catch-all that catches itself: %v", err)
	}
}

func TestLongChain(t *testing.T) {
	d := newFiles(t)
	mustAdd(t, d, "taro", "example.com")
	writeRaw(t, d, "c0", `forward = ["taro@example.com"]`)
	for i := 1; i < 12; i++ {
		writeRaw(t, d, fmt.Sprint("c", i), fmt.Sprintf(`forward = ["c%d@example.com"]`, i-1))
	}
	if _, err := d.Resolve("c8", "example.com"); err != nil {
		t.Errorf("ten steps: %v", err)
	}
	var long *ForwardError
	if _, err := d.Resolve("c9", "example.com"); !errors.As(err, &long) {
		t.Errorf("eleven steps: %v", err)
	}
}

func TestCatchAllIsNoAccount(t *testing.T) {
	d := newFiles(t)
	if _, err := d.Add(CatchAll, "example.com", password); err == nil {
		t.Error("a catch-all got a mailbox")
	}
	mustAdd(t, d, "taro", "example.com")
	if err := setForward(d, CatchAll, "example.com", "taro@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate("*@example.com", password); err != ErrCredentials {
		t.Errorf("login as *: %v", err)
	}
	if err := d.Remove(CatchAll, "example.com"); err != nil {
		t.Error(err)
	}
	if _, err := d.Resolve("nobody", "example.com"); err != ErrNotFound {
		t.Errorf("after its removal: %v", err)
	}
}

func TestAddedDomains(t *testing.T) {
	dir := t.TempDir()
	server, cli := Open(dir, []string{"example.com"}), Open(dir, []string{"example.com"})
	if err := cli.AddDomain("example.net"); err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"example.net", "example.com"} {
		if err := cli.AddDomain(domain); err != ErrExists {
			t.Errorf("%s again: %v", domain, err)
		}
	}
	mustAdd(t, cli, "taro", "example.net")
	if a, err := server.Authenticate("taro", password); err != nil || a.Address() != "taro@example.net" {
		t.Errorf("a running server: %v, %v", a, err)
	}
	// One that is started now gets the domain with its configuration.
	later := Open(dir, []string{"example.com", "example.net"})
	if err := cli.RemoveDomain("example.net"); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Files{server, later} {
		if got := d.Domains(); !cmp.Equal(got, []string{"example.com"}) {
			t.Errorf("domains %q", got)
		}
		if _, err := d.Lookup("taro", "example.net"); err != ErrNotFound {
			t.Errorf("an account of a removed domain: %v", err)
		}
	}
	if err := cli.RemoveDomain("example.com"); err != ErrNotFound {
		t.Errorf("a domain of the configuration: %v", err)
	}
}

// A password that is set while the account is removed must not bring it back.
func TestPasswdRacesRemove(t *testing.T) {
	d := newFiles(t)
	for range 20 {
		mustAdd(t, d, "taro", "example.com")
		done := make(chan error)
		go func() { done <- d.SetQuota("taro", "example.com", 5) }()
		go func() { done <- d.SetPassword("taro", "example.com", "quite another one") }()
		go func() { done <- d.Remove("taro", "example.com") }()
		for range 3 {
			if err := <-done; err != nil && err != ErrNotFound {
				t.Fatal(err)
			}
		}
		if a, err := d.Lookup("taro", "example.com"); err != ErrNotFound {
			t.Fatalf("the account is back: %+v, %v", a, err)
		}
	}
}
