package deliver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mailsrv/server/deliver/sinktest"
)

// The limits of RFC 5321 4.5.3.2, to the second.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		verb string
		want string
		text string
		took time.Duration
	}{
		{"DIAL", "deferred 4.4.1 mx.example.jp connect-timeout down", "connect to mx.example.jp[192.0.2.1]:25: Connection timed out", 30 * time.Second},
		{"CONN", "deferred 4.4.2 mx.example.jp server-timeout down", "conversation with mx.example.jp[192.0.2.1]:25 timed out while waiting for the greeting", 5 * time.Minute},
		{"EHLO", "deferred 4.4.2 mx.example.jp server-timeout down", "conversation with mx.example.jp[192.0.2.1]:25 timed out while sending EHLO", 5 * time.Minute},
		{"MAIL", "deferred 4.4.2 mx.example.jp server-timeout", "conversation with mx.example.jp[192.0.2.1]:25 timed out while sending MAIL FROM", 5 * time.Minute},
		{"RCPT", "deferred 4.4.2 mx.example.jp server-timeout", "conversation with mx.example.jp[192.0.2.1]:25 timed out while sending RCPT TO", 5 * time.Minute},
		{"DATA", "deferred 4.4.2 mx.example.jp server-timeout", "conversation with mx.example.jp[192.0.2.1]:25 timed out while sending DATA", 2 * time.Minute},
		{"END", "deferred 4.4.2 mx.example.jp server-timeout uncertain", "conversation with mx.example.jp[192.0.2.1]:25 timed out after the end of the message was sent; it may have been taken", 10 * time.Minute},
		{"QUIT", "delivered 2.0.0 mx.example.jp", "250 2.0.0 Ok: taken", 5 * time.Second},
	} {
		for _, extensions := range [][]string{{"PIPELINING"}, {"8BITMIME"}} {
			t.Run(tt.verb+" "+extensions[0], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := sinktest.NewPipe(t, sinktest.Config{Extensions: extensions, Script: func(_ *sinktest.Session, verb, _ string) string {
						if verb == tt.verb {
							return sinktest.Hang
						}
						return ""
					}})
					c := New(Config{Hostname: "mail.example.com", Resolver: oneHost(), Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
						if tt.verb == "DIAL" {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return s.Dial()
					}})
					start := time.Now()
					got := send(t, c, hello, "a@example.jp")
					want(t, got, tt.want)
					if took := time.Since(start); took != tt.took || got[0].Text != tt.text {
						t.Errorf("after %v: %q; want %v: %q", took, got[0].Text, tt.took, tt.text)
					}
					s.Close()
				})
			})
		}
	}
}

// A host that sends its reply one octet a minute does not gain time by it.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Hostname: "mail.example.com", Resolver: oneHost(), Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				for range 100 {
					if _, err := there.Write([]byte("2")); err != nil {
						return
					}
					time.Sleep(time.Minute)
				}
			}()
			return here, nil
		}})
		start := time.Now()
		want(t, send(t, c, hello, "a@example.jp"), "deferred 4.4.2 mx.example.jp server-timeout down")
		if took := time.Since(start); took != 5*time.Minute {
			t.Errorf("took %v", took)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A host that takes nothing more of the text.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sinktest.NewPipe(t, sinktest.Config{})
		c := New(Config{Hostname: "mail.example.com", Resolver: oneHost(), Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			mid, far := net.Pipe()
			go s.Serve(far)
			go relay(mid, there, 1<<20)
			go relay(there, mid, 300)
			return here, nil
		}})
		start := time.Now()
		m := message(hello, "a@example.jp")
		text := make([]byte, 1<<20)
		m.Open, m.Size = open(string(text)), int64(len(text))
		k := c.Courier(Destination{Domain: "example.jp"})
		got := k.Deliver(t.Context(), m)
		k.Close()
		want(t, got, "deferred 4.4.2 mx.example.jp server-timeout")
		if took := time.Since(start); took != 3*time.Minute+5*time.Second { // and a look whether the host says why
			t.Errorf("took %v: %s", took, got[0].Text)
		}
		s.Close()
	})
}

// relay copies n octets and then nothing more.
func relay(from, to net.Conn, n int) {
	buf := make([]byte, 100)
	for n > 0 {
		got, err := from.Read(buf[:min(n, len(buf))])
		if err != nil {
			_ = to.Close()
			return
		}
		n -= got
		if _, err := to.Write(buf[:got]); err != nil {
			_ = from.Close()
			return
		}
	}
}

func addrPorts(s ...string) (out []netip.AddrPort) {
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}
