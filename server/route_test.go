package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/smtp"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mailsrv/codes"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/deliver/sinktest"
)

func senders(t *testing.T, texts ...string) (out []address.Pattern) {
	t.Helper()
	for _, text := range texts {
		p, err := address.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Mail of different senders goes through one host with their own logins, or
// through another host, at the same time, and no connection carries mail of two
// logins.
func TestRoutes(t *testing.T) {
	var mu sync.Mutex
	users := map[string]string{}             // by envelope sender
	sessions := map[string]map[string]bool{} // logins by connection
	host := func(name string) *sinktest.Sink {
		return sinktest.New(t, sinktest.Config{Extensions: []string{"PIPELINING", "AUTH PLAIN"}, Script: func(s *sinktest.Session, verb, _ string) string {
			if verb == "END" {
				mu.Lock()
				defer mu.Unlock()
				from, _, _ := strings.Cut(strings.Trim(strings.Fields(s.From)[0], "<>"), "@")
				was, now := users[from], name+" "+s.User
				if was != "" && was != now {
					t.Errorf("mail of %s came as %s and as %s", from, was, now)
				}
				users[from] = now
				key := fmt.Sprint(name, s.Number)
				if sessions[key] == nil {
					sessions[key] = map[string]bool{}
				}
				sessions[key][from] = true
			}
			return ""
		}})
	}
	one, two := host("one"), host("two")
	c := outConfig(t, one.Addr().String())
	c.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.Relay.Auth = config.RelayAuth{Username: "shop", Password: "s3"}
	c.Relay.Routes = []config.Route{
		{Senders: senders(t, "taro@example.com"), SmartHost: one.Addr().String(), Auth: config.RelayAuth{Username: "taro", Password: "s1"}},
		{Senders: senders(t, "hanako@"), SmartHost: one.Addr().String(), Auth: config.RelayAuth{Username: "hanako", Password: "s2"}},
		{Senders: senders(t, "jiro@example.com"), SmartHost: one.Addr().String(), Auth: config.RelayAuth{Username: "taro", Password: "s1"}},
		{Senders: senders(t, "example.org"), SmartHost: two.Addr().String()},
	}
	r := start(t, c, nil)
	from := []string{"taro@example.com", "hanako@example.com", "jiro@example.com", "saburo@example.org", "shiro@example.com"}
	const each = 8
	var wg sync.WaitGroup
	for _, sender := range from {
		wg.Go(func() {
			for range each {
				if err := smtp.SendMail(r.addr(config.SMTP), nil, sender, []string{"a@example.net"}, []byte(text)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	one.Wait(t, 4*each, limit)
	two.Wait(t, each, limit)
	r.emptyQueue(t)
	mu.Lock()
	defer mu.Unlock()
	want := map[string]string{"taro": "one taro:s1", "hanako": "one hanako:s2", "jiro": "one taro:s1", "saburo": "two ", "shiro": "one shop:s3"}
	for sender, user := range want {
		if users[sender] != user {
			t.Errorf("mail of %s came as %q, want %q", sender, users[sender], user)
		}
	}
	for session, senders := range sessions {
		logins := map[string]bool{}
		for s := range senders {
			logins[users[s]] = true
		}
		if len(logins) != 1 {
			t.Errorf("connection %s carried mail of %v", session, senders)
		}
	}
}

// The error names the table whose password cannot be read.
func TestRoutePasswordMissing(t *testing.T) {
	c := outConfig(t, "127.0.0.1:1")
	c.Relay.Routes = []config.Route{{Senders: senders(t, "example.org"), SmartHost: "127.0.0.1:1", Line: 12,
		Auth: config.RelayAuth{Username: "x", PasswordFile: filepath.Join(t.TempDir(), "none")}}}
	_, err := New(c, "test", codes.English, slog.New(slog.DiscardHandler))
	var p *PasswordError
	if !errors.As(err, &p) || !strings.HasPrefix(err.Error(), "relay.route.password_file (line 12): open "+c.Relay.Routes[0].Auth.PasswordFile) {
		t.Errorf("New: %v", err)
	}
}
