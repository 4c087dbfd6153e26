package deliver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/server/deliver/sinktest"
)

// A family in which nothing answers costs seconds, and only what it must: a
// host that answers slowly keeps its first family.
func TestFamilies(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: refusedError}
	type way struct {
		after time.Duration
		err   error // nil: the host is there
	}
	dead := way{after: time.Hour}
	for name, tt := range map[string]struct {
		four, six way
		took      time.Duration
		want      string // result and address
		dials     string
	}{
		"both are there":                {way{}, way{}, 0, "delivered 2.0.0 mx.example.jp 192.0.2.1:25", "4"},
		"IPv4 is slow":                  {way{after: 3 * time.Second}, way{}, 3 * time.Second, "delivered 2.0.0 mx.example.jp 192.0.2.1:25", "4"},
		"IPv4 is dead":                  {dead, way{}, 4 * time.Second, "delivered 2.0.0 mx.example.jp [2001:db8::1]:25", "46"},
		"IPv4 is dead, IPv6 slow":       {dead, way{after: 5 * time.Second}, 9 * time.Second, "delivered 2.0.0 mx.example.jp [2001:db8::1]:25", "46"},
		"IPv4 refuses":                  {way{err: refused}, way{}, 0, "delivered 2.0.0 mx.example.jp [2001:db8::1]:25", "46"},
		"IPv4 is very slow, IPv6 dead":  {way{after: 7 * time.Second}, dead, 7 * time.Second, "delivered 2.0.0 mx.example.jp 192.0.2.1:25", "46"},
		"IPv4 is very slow, no IPv6":    {way{after: 7 * time.Second}, way{err: refused}, 7 * time.Second, "delivered 2.0.0 mx.example.jp 192.0.2.1:25", "46"},
		"IPv4 refuses late, IPv6 later": {way{after: 5 * time.Second, err: refused}, way{after: 6 * time.Second}, 10 * time.Second, "delivered 2.0.0 mx.example.jp [2001:db8::1]:25", "46"},
		"both are dead":                 {dead, dead, 60 * time.Second, "deferred 4.4.1 mx.example.jp connect-timeout down [2001:db8::1]:25", "466"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := sinktest.NewPipe(t, sinktest.Config{})
				var mu sync.Mutex
				dials := ""
				dns := fakeDNS{"example.jp. MX": {"10 mx.example.jp."}, "mx.example.jp. A": {"192.0.2.1"}, "mx.example.jp. AAAA": {"2001:db8::1"}}
				c := New(Config{Hostname: "mail.example.com", Resolver: dns, Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
					w, family := tt.four, "4"
					if strings.HasPrefix(addr, "[") {
						w, family = tt.six, "6"
					}
					mu.Lock()
					dials += family
					mu.Unlock()
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(w.after):
					}
					if w.err != nil {
						return nil, w.err
					}
					return s.Dial()
				}})
				start := time.Now()
				got := send(t, c, hello, "a@example.jp")
				mu.Lock()
				defer mu.Unlock()
				if brief := brief(got)[0] + " " + got[0].Addr.String(); brief != tt.want || time.Since(start) != tt.took || dials != tt.dials {
					t.Errorf("%s after %v, dialled %s; want %s after %v, %s", brief, time.Since(start), dials, tt.want, tt.took, tt.dials)
				}
				if len(c.slots.used) != 0 {
					t.Errorf("slots %v", c.slots.used)
				}
				s.Close()
			})
		})
	}
}

// The address that won the race has had its say: it is not asked again.
func TestFamilyIsNotAskedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sinktest.NewPipe(t, sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "RCPT" {
				return "451 4.3.0 Not now"
			}
			return ""
		}})
		dns := fakeDNS{"example.jp. A": {"192.0.2.1"}, "example.jp. AAAA": {"2001:db8::1"}}
		c := New(Config{Hostname: "mail.example.com", Resolver: dns, Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "[") {
				return s.Dial()
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		want(t, send(t, c, hello, "a@example.jp"), "deferred 4.3.0 example.jp")
		if n, _ := s.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		s.Close()
	})
}

// Replies of a megabyte are replies: a "250" after the final dot above all.
func TestHugeReplies(t *testing.T) {
	for name, tt := range map[string]struct{ verb, answer, want string }{
		"one line at the end":   {"END", "250 2.0.0 " + strings.Repeat("x", 1<<20), "delivered 2.0.0 mx.example.jp"},
		"many lines at the end": {"END", strings.Repeat("250-2.0.0 x\r\n", 100_000) + "250 2.0.0 x", "delivered 2.0.0 mx.example.jp"},
		"a refusal":             {"RCPT", "550 5.1.1 " + strings.Repeat("x", 1<<20), "failed 5.1.1 mx.example.jp"},
		"a greeting":            {"CONN", strings.Repeat("220-x\r\n", 100_000) + "220 x", "delivered 2.0.0 mx.example.jp"},
		"an EHLO":               {"EHLO", strings.Repeat("250-x\r\n", 100_000) + "250 x", "delivered 2.0.0 mx.example.jp"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, oneHost())
			s := w.host(sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
				if verb == tt.verb {
					return tt.answer
				}
				return ""
			}}, "192.0.2.1")
			got := send(t, w.client(), hello, "a@example.jp")
			want(t, got, tt.want)
			if len(got[0].Text) > maxReplyText+10 {
				t.Errorf("text of %d octets", len(got[0].Text))
			}
			if n, _ := s.Sessions(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// A host that says 421 and then nothing is not waited for.
func Test421(t *testing.T) {
	for _, extensions := range [][]string{{"PIPELINING"}, {"8BITMIME"}} {
		for _, at := range []string{"CONN", "EHLO", "MAIL", "RCPT 1", "RCPT 2", "DATA", "END"} {
			t.Run(at+" "+extensions[0], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					said := false
					script := func(s *sinktest.Session, verb, _ string) string {
						if said {
							return sinktest.Hang
						}
						if verb == at || at == fmt.Sprint(verb, " ", 1+len(s.To)) {
							said = true
							return "421 4.3.2 Bye"
						}
						return ""
					}
					first, second := sinktest.NewPipe(t, sinktest.Config{Extensions: extensions, Script: script}), sinktest.NewPipe(t, sinktest.Config{})
					c := New(Config{Hostname: "mail.example.com", Resolver: fakeDNS{"example.jp. MX": {"1 a.", "2 b."}, "a. A": {"192.0.2.1"}, "b. A": {"192.0.2.2"}},
						Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
							if addr == "192.0.2.1:25" {
								return first.Dial()
							}
							return second.Dial()
						}})
					start := time.Now()
					want(t, send(t, c, hello, "a@example.jp", "b@example.jp"), "delivered 2.0.0 b", "delivered 2.0.0 b")
					// QUIT is said where a connection may be kept.
					if took := time.Since(start); took > c.Timeouts.Quit {
						t.Errorf("after %v", took)
					}
					if n := len(second.Messages()); n != 1 {
						t.Errorf("%d messages", n)
					}
					first.Close()
					second.Close()
				})
			})
		}
	}
}

// "552 5.5.3" is an older way to say "too many recipients"; another 552 is final
// for its recipient.
func TestTooManyRecipientsAs552(t *testing.T) {
	for answer, results := range map[string][]string{
		"552 5.5.3 Too many recipients": {"delivered 2.0.0 mx.example.jp", "delivered 2.0.0 mx.example.jp", "delivered 2.0.0 mx.example.jp"},
		"552 5.2.2 Mailbox is full":     {"delivered 2.0.0 mx.example.jp", "failed 5.2.2 mx.example.jp", "failed 5.2.2 mx.example.jp"},
	} {
		w := newWorld(t, oneHost())
		w.host(sinktest.Config{Script: func(s *sinktest.Session, verb, _ string) string {
			if verb == "RCPT" && len(s.To) == 1 {
				return answer
			}
			return ""
		}}, "192.0.2.1")
		want(t, send(t, w.client(), hello, "a@example.jp", "b@example.jp", "c@example.jp"), results...)
	}
}
