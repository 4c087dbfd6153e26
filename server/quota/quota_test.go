package quota

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/store"
)

var taro = account.Account{Name: "taro", Domain: "example.com", Mailbox: true}

// put adds a file of n octets to taro's mailbox.
func put(t *testing.T, dataDir, part, name string, n int) {
	t.Helper()
	dir := filepath.Join(store.Dir(dataDir, store.Box{Name: "taro", Domain: "example.com"}), "Maildir", part)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("x", n)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m := New(dir, 1000)
		var files int
		deliver := func(n int) string {
			files++
			put(t, dir, "new", fmt.Sprintf("%d.M1.host,S=%d", files, n), 0)
			warn, used, limit := m.Added(taro, int64(n))
			return fmt.Sprint(warn, " ", used, "/", limit)
		}
		fits := func(n int64) bool {
			ok, err := m.Fits(taro, n)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		for _, step := range []struct {
			octets int
			want   string
		}{{500, "false 500/1000"}, {399, "false 899/1000"}, {1, "true 900/1000"}, {90, "false 990/1000"}} {
			if got := deliver(step.octets); got != step.want {
				t.Errorf("after %d more: %s, want %s", step.octets, got, step.want)
			}
		}
		if !fits(10) || fits(11) {
			t.Error("room for 10 octets is not seen as such")
		}
		if room, limited, err := m.Room(taro); room != 10 || !limited || err != nil {
			t.Errorf("room %d, %v, %v", room, limited, err)
		}
		// Its owner makes room: seen as soon as it matters.
		if err := os.Remove(filepath.Join(store.Dir(dir, boxOf(taro)), "Maildir", "new", "1.M1.host,S=500")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(atOnce)
		if !fits(500) {
			t.Error("the room made is not seen")
		}
		// Full again on the same day: told once.
		if got := deliver(450); got != "false 940/1000" {
			t.Errorf("full again: %s", got)
		}
	})
}

func TestUnlimitedIsNeverCounted(t *testing.T) {
	m := New("/nonexistent\x00", 0)
	if warn, _, _ := m.Added(taro, 1<<40); warn {
		t.Error("warns")
	}
	if ok, err := m.Fits(taro, 1<<40); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
