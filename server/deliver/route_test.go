package deliver

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/deliver/sinktest"
)

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		dns   fakeDNS
		to    string
		want  string
		dials []string
	}{
		{"by preference", fakeDNS{"example.jp. MX": {"30 c.", "10 a.", "20 b."}, "a. A": {"192.0.2.7"}, "b. A": {"192.0.2.8"}, "c. A": {"192.0.2.1"}},
			"x@example.jp", "delivered 2.0.0 c", []string{"192.0.2.7:25", "192.0.2.8:25", "192.0.2.1:25"}},
		{"implicit MX", fakeDNS{"example.jp. A": {"192.0.2.1"}}, "x@Example.JP", "delivered 2.0.0 example.jp", []string{"192.0.2.1:25"}},
		{"null MX", fakeDNS{"example.jp. MX": {"0 ."}, "example.jp. A": {"192.0.2.1"}}, "x@example.jp", "failed 5.1.10 user-unknown down", nil},
		{"null MX beside others", fakeDNS{"example.jp. MX": {"0 .", "5 a."}, "a. A": {"192.0.2.1"}}, "x@example.jp", "delivered 2.0.0 a", []string{"192.0.2.1:25"}},
		{"no such domain", fakeDNS{}, "x@example.jp", "failed 5.4.4 example.jp dns-failure down", nil},
		{"MX lookup fails", fakeDNS{"example.jp. MX": {"?"}}, "x@example.jp", "deferred 4.4.3 dns-failure down", nil},
		{"address lookup fails", fakeDNS{"example.jp. MX": {"1 a."}, "a. A": {"?"}}, "x@example.jp", "deferred 4.4.3 a dns-failure down", nil},
		{"one of two lookups fails", fakeDNS{"example.jp. MX": {"1 a.", "2 b."}, "a. A": {"?"}, "b. A": {"192.0.2.1"}}, "x@example.jp", "delivered 2.0.0 b", []string{"192.0.2.1:25"}},
		{"one of two names is unknown", fakeDNS{"example.jp. MX": {"1 a.", "2 b."}, "b. A": {"192.0.2.9"}}, "x@example.jp", "deferred 4.4.1 b connect-refused down", []string{"192.0.2.9:25"}},
		{"IPv4 before IPv6", fakeDNS{"example.jp. MX": {"1 a."}, "a. A": {"192.0.2.7"}, "a. AAAA": {"2001:db8::1"}}, "x@example.jp", "delivered 2.0.0 a", []string{"192.0.2.7:25", "[2001:db8::1]:25"}},
		{"IPv6 alone", fakeDNS{"example.jp. MX": {"1 a."}, "a. AAAA": {"2001:db8::1"}}, "x@example.jp", "delivered 2.0.0 a", []string{"[2001:db8::1]:25"}},
		{"literal", fakeDNS{}, "x@[192.0.2.1]", "delivered 2.0.0 [192.0.2.1]", []string{"192.0.2.1:25"}},
		{"IPv6 literal", fakeDNS{}, "x@[IPv6:2001:db8::1]", "delivered 2.0.0 [ipv6:2001:db8::1]", []string{"[2001:db8::1]:25"}},
		{"address as MX", fakeDNS{"example.jp. MX": {"1 192.0.2.1."}}, "x@example.jp", "delivered 2.0.0 192.0.2.1", []string{"192.0.2.1:25"}},
		{"own name", fakeDNS{"example.jp. MX": {"1 MAIL.example.com."}, "mail.example.com. A": {"192.0.2.1"}}, "x@example.jp", "failed 5.4.6 mail.example.com mail-loop down", nil},
		{"own address", fakeDNS{"example.jp. MX": {"1 a."}, "a. A": {"192.0.2.99"}}, "x@example.jp", "failed 5.4.6 a mail-loop down", nil},
		{"own literal", fakeDNS{}, "x@[192.0.2.99]", "failed 5.4.6 [192.0.2.99] mail-loop down", nil},
		{"backup MX of it: only better ones", fakeDNS{"example.jp. MX": {"1 a.", "5 mail.example.com.", "5 b.", "9 c."}, "a. A": {"192.0.2.9"}, "b. A": {"192.0.2.1"}, "c. A": {"192.0.2.1"}},
			"x@example.jp", "deferred 4.4.1 a connect-refused down", []string{"192.0.2.9:25"}},
		{"name that leads to us with another port", fakeDNS{"example.jp. MX": {"1 a."}, "a. A": {"192.0.2.98"}}, "x@example.jp", "deferred 4.4.1 a connect-refused down", []string{"192.0.2.98:25"}},
		{"many addresses", fakeDNS{"example.jp. MX": {"1 a."}, "a. A": strings.Fields(strings.Repeat("192.0.2.50 ", 12))}, "x@example.jp", "deferred 4.4.1 a connect-refused down",
			strings.Fields(strings.Repeat("192.0.2.50:25 ", 10))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.dns)
			w.host(sinktest.Config{}, "192.0.2.1", "2001:db8::1")
			c := w.client(func(c *Config) {
				c.Own = OwnAddrs([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:25"), netip.MustParseAddrPort("192.0.2.98:2525")})
			})
			want(t, send(t, c, hello, tt.to), tt.want)
			if diff := cmp.Diff(tt.dials, w.dials); diff != "" {
				t.Errorf("dials (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOwnAddrs(t *testing.T) {
	own := OwnAddrs([]netip.AddrPort{netip.MustParseAddrPort("[::]:25")})
	for to, want := range map[string]bool{"127.0.0.1:25": true, "[::1]:25": true, "127.0.0.1:26": false, "192.0.2.1:25": false} {
		if got := own(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
}

// The host greets with our own name: by whatever way, we have come to ourselves.
func TestGreetedByItself(t *testing.T) {
	w := newWorld(t, oneHost())
	w.host(sinktest.Config{Hostname: "Mail.Example.com"}, "192.0.2.1")
	want(t, send(t, w.client(), hello, "hanako@example.jp"), "failed 5.4.6 mx.example.jp mail-loop down")
}

// Hosts of equal preference share the load.
func TestEqualPreference(t *testing.T) {
	seen := map[string]int{}
	for range 200 {
		g := groups([]*net.MX{{Host: "a.", Pref: 5}, {Host: "z.", Pref: 1}, {Host: "b.", Pref: 5}})
		if len(g) != 2 || !slices.Equal(g[0], group{"z"}) || len(g[1]) != 2 {
			t.Fatalf("groups %v", g)
		}
		seen[g[1][0]]++
	}
	if seen["a"] < 50 || seen["b"] < 50 {
		t.Errorf("first of the two: %v", seen)
	}
}

// Two domains with one provider share its connections.
func TestConnectionsPerHost(t *testing.T) {
	hung := make(chan struct{}, 3)
	w := newWorld(t, fakeDNS{"a.example. MX": {"1 mx.example.jp."}, "b.example. MX": {"1 mx.example.jp."}, "mx.example.jp. A": {"192.0.2.1"}})
	s := w.host(sinktest.Config{Script: func(ss *sinktest.Session, verb, _ string) string {
		if verb == "MAIL" && ss.Number <= 2 {
			hung <- struct{}{}
			return sinktest.Hang
		}
		return ""
	}}, "192.0.2.1")
	c := w.client(func(c *Config) { c.PerHost, c.Timeouts.Slot = 2, 50*time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			k := c.Courier(Destination{Domain: "a.example"})
			k.Deliver(ctx, message(hello, "x@a.example"))
			k.Close()
		})
	}
	<-hung
	<-hung
	want(t, send(t, c, hello, "x@b.example"), "deferred 4.4.5 mx.example.jp rate-limit down")
	cancel()
	wg.Wait()
	want(t, send(t, c, hello, "x@b.example"), "delivered 2.0.0 mx.example.jp")
	if n, _ := s.Sessions(); n != 3 || len(c.slots.used) != 0 {
		t.Errorf("%d connections; slots %v", n, c.slots.used)
	}
}
