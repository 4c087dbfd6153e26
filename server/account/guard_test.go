package account

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oneUser is taro@example.com with his password; checking one takes no time.
type oneUser struct{ fault error }

func (o oneUser) Lookup(string, string) (Account, error) { return Account{}, ErrNotFound }
func (o oneUser) Resolve(string, string) (Route, error)  { return Route{}, ErrNotFound }
func (o oneUser) Domains() []string                      { return []string{"example.com"} }
func (o oneUser) Authenticate(login, pw string) (Account, error) {
	if o.fault != nil {
		return Account{}, o.fault
	}
	if strings.TrimSuffix(login, "@example.com") == "taro" && pw == password {
		return Account{Name: "taro", Domain: "example.com", Mailbox: true}, nil
	}
	return Account{}, ErrCredentials
}
func (o oneUser) Verifier(string) (Verifier, Account, error) { return Verifier{}, Account{}, o.fault }

const outside, lan = "203.0.113.9", "192.168.1.7"

func newGuard(d Directory) *Guard {
	return NewGuard(d, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, slog.New(slog.DiscardHandler))
}

// try logs in and tells how it came out and how long it took.
func try(g *Guard, client, login, pw string) (string, time.Duration) {
	start := time.Now()
	_, err := For(g, netip.MustParseAddr(client)).Authenticate(login, pw)
	var throttled *ThrottledError
	switch {
	case err == nil:
		return "ok", time.Since(start)
	case errors.As(err, &throttled):
		return "throttled " + throttled.Wait.Round(time.Second).String(), time.Since(start)
	case err == ErrCredentials:
		return "wrong", time.Since(start)
	}
	return err.Error(), time.Since(start)
}

// series tries several times at once one after the other.
func series(g *Guard, client, login, pw string, n int) (out []string) {
	for range n {
		how, took := try(g, client, login, pw)
		if took > 0 {
			how += " after " + took.String()
		}
		out = append(out, how)
	}
	return out
}

func TestDelayGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := []string{"wrong", "wrong", "wrong", "wrong", "wrong after 1s", "wrong after 2s", "wrong after 4s", "throttled 8s"}
		for _, login := range []string{"taro", "nobody"} { // known or not is all the same
			if diff := cmp.Diff(want, series(newGuard(oneUser{}), outside, login, "x", len(want))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", login, diff)
			}
		}
		g := newGuard(oneUser{})
		series(g, outside, "taro", "x", 7)
		if how, _ := try(g, outside, "other", "x"); how != "throttled 8s" {
			t.Errorf("another user from the same address: %s", how)
		}
		if how, _ := try(g, "203.0.113.10", "hanako", "x"); how != "wrong" {
			t.Errorf("another address and user: %s", how)
		}
		time.Sleep(8 * time.Second)
		if how, took := try(g, outside, "taro", password); how != "ok" || took != 0 {
			t.Errorf("the right password when the time has come: %s after %s", how, took)
		}
		// It never gets longer than a quarter of an hour, and is forgotten.
		for range 50 {
			try(g, outside, "nobody", "x")
			time.Sleep(maxDelay)
		}
		try(g, outside, "nobody", "x")
		if how, _ := try(g, outside, "nobody", "x"); how != "throttled 15m0s" {
			t.Errorf("after many failures: %s", how)
		}
		time.Sleep(maxDelay + forgetAfter + time.Second)
		if how, took := try(g, outside, "nobody", "x"); how != "wrong" || took != 0 {
			t.Errorf("after an hour: %s after %s", how, took)
		}
	})
}

// Whoever sits on the local network waits for seconds, whatever happens.
func TestLocalNetworkIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, client := range []string{lan, "127.0.0.1", "::1", "198.51.100.7", "fd00::7"} {
			g := newGuard(oneUser{})
			series(g, client, "taro", "x", 40)
			how, took := try(g, client, "taro", password)
			if how != "ok" || took > localDelay {
				t.Errorf("%s: %s after %s", client, how, took)
			}
		}
		// Nor by what others do to a user from outside.
		g := newGuard(oneUser{})
		for i := range 40 {
			try(g, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String(), "taro", "x")
		}
		if how, took := try(g, lan, "taro", password); how != "ok" || took > localDelay {
			t.Errorf("attacked from outside: %s after %s", how, took)
		}
	})
}

func TestManyAtOnceHelpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{})
		looked := 0
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 100 {
			wg.Go(func() {
				if how, _ := try(g, outside, "taro", "x"); how == "wrong" {
					mu.Lock()
					looked++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if looked != 6 { // four at once, then after one and three seconds
			t.Errorf("%d passwords of 100 at once were looked at", looked)
		}
	})
}

// Many addresses that try one user slow each other down, but not the user.
func TestUserIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{})
		if how, _ := try(g, outside, "taro", password); how != "ok" {
			t.Fatal(how)
		}
		var last string
		for i := range 20 {
			last, _ = try(g, netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}).String(), "taro@example.com", "x")
		}
		if !strings.HasPrefix(last, "throttled") {
			t.Errorf("the twentieth address: %s", last)
		}
		if how, took := try(g, outside, "taro", password); how != "ok" || took != 0 {
			t.Errorf("from where he always comes: %s after %s", how, took)
		}
		// Even there guessing ends.
		series(g, outside, "taro", "x", 17)
		if how, _ := try(g, outside, "taro", "x"); !strings.HasPrefix(how, "throttled") {
			t.Errorf("guessing from a known address: %s", how)
		}
	})
}

func TestIPv6NetworkIsOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{})
		var last string
		for _, host := range "123456789abcdef" {
			last, _ = try(g, "2001:db8:1:2::"+string(host), "u"+string(host), "x")
		}
		if !strings.HasPrefix(last, "throttled") {
			t.Errorf("the fifteenth address of one network: %s", last)
		}
		if how, _ := try(g, "2001:db8:1:3::1", "other", "x"); how != "wrong" {
			t.Errorf("the network beside it: %s", how)
		}
	})
}

// What could not be found out is nobody's failure.
func TestFaultsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{fault: errors.New("disk")})
		series(g, outside, "taro", "x", 30)
		if _, _, err := For(g, netip.MustParseAddr(outside)).Verifier("taro"); err == nil || err.Error() != "disk" {
			t.Errorf("Verifier: %v", err)
		}
		g.Directory = oneUser{}
		if how, took := try(g, outside, "taro", "x"); how != "wrong" || took != 0 {
			t.Errorf("after 30 faults: %s after %s", how, took)
		}
	})
}

func TestVerifierCountsUntilItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{})
		d := For(g, netip.MustParseAddr(outside))
		for range 3 {
			if _, _, err := d.Verifier("taro"); err != nil {
				t.Fatal(err)
			}
			Outcome(d, "taro", true)
		}
		g.known = map[pair]*tries{}
		want := []string{"wrong", "wrong", "wrong", "wrong", "wrong after 1s"}
		if diff := cmp.Diff(want, series(g, outside, "taro", "x", 5)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		var throttled *ThrottledError
		for range 10 {
			if _, _, err := d.Verifier("taro"); errors.As(err, &throttled) {
				return
			}
		}
		t.Error("an exchange that is never finished costs nothing")
	})
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(oneUser{})
		series(g, outside, "taro", "x", 6)
		done := make(chan string)
		go func() {
			how, took := try(g, outside, "taro", "x")
			done <- how + " after " + took.String()
		}()
		synctest.Wait()
		g.Close()
		if got := <-done; got != "throttled 1s after 0s" {
			t.Errorf("%s", got)
		}
	})
}

func TestGuardForgets(t *testing.T) {
	m := map[int]*tries{}
	now := time.Now()
	for i := range maxRemembers {
		m[i] = &tries{last: now}
	}
	m[0].last = now.Add(-2 * forgetAfter)
	entryOf(m, -1, now)
	if len(m) > maxRemembers || m[-1] == nil {
		t.Errorf("%d entries", len(m))
	}
}
