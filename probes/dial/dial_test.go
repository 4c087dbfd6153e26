package dial_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert/certtest"
)

func TestMap(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := dial.ParseMap(strings.NewReader(fmt.Sprintf(`
# the lab
192.0.2.1:25  %s
192.0.2.2:25  refuse   # closed
192.0.2.3:25  drop
[2001:db8::1]:25 %[1]s
`, l.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		addr, how string
		winsock   int
	}{
		{"192.0.2.1:25", "", 0},
		{"[2001:db8::1]:25", "", 0},
		{"[::ffff:192.0.2.1]:25", "", 0},
		{"192.0.2.1:26", dial.Unreachable, 10065},
		{"192.0.2.2:25", dial.Refused, 10061},
		{"192.0.2.3:25", dial.Timeout, 10060},
		{"192.0.2.9:25", dial.Unreachable, 10065},
		{"mx.example.test:25", dial.Unreachable, 10065},
	} {
		for _, network := range []string{"tcp", "tcp6"} {
			c, err := m.DialContext(context.Background(), network, tt.addr)
			if got := dial.Outcome(err); got != tt.how || dial.Winsock(err) != tt.winsock {
				t.Errorf("%s %s: %v: %s %d", network, tt.addr, err, got, dial.Winsock(err))
			}
			if err == nil {
				_ = c.Close()
			}
		}
	}
	for addr, want := range map[string]bool{"192.0.2.3": true, "::ffff:192.0.2.3": true, "192.0.2.9": false} {
		if m.Lists(netip.MustParseAddr(addr)) != want {
			t.Errorf("Lists(%s) is not %v", addr, want)
		}
	}
	if !m.ListsPort(25) || m.ListsPort(53) {
		t.Error("the map lists port 25 only")
	}
	if (*dial.Map)(nil).Lists(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no map lists an address")
	}
}

func TestParseMapErrors(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:25":                      "line 1: want ADDR:PORT and TARGET",
		"\n\n192.0.2.1 refuse":              "line 3: \"192.0.2.1\" is no ADDR:PORT",
		"mx.example:25 refuse":              "is no ADDR:PORT",
		"192.0.2.1:25 nowhere":              "\"nowhere\" is no TARGET",
		"192.0.2.1:25 :25":                  "is no TARGET",
		"192.0.2.1:25 127.0.0.1:99999":      "is no TARGET",
		"192.0.2.1:25 refuse drop":          "line 1: want",
		strings.Repeat("x", 5000) + " drop": "line 1",
	} {
		if _, err := dial.ParseMap(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
}

func FuzzParseMap(f *testing.F) {
	f.Add("192.0.2.1:25 127.0.0.1:2525\n[2001:db8::1]:25 refuse\n# x\n192.0.2.1:443 drop")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := dial.ParseMap(strings.NewReader(s))
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
	})
}

type ownOutcome struct{}

func (ownOutcome) Error() string   { return "own" }
func (ownOutcome) Outcome() string { return "drip" }

func TestOutcome(t *testing.T) {
	op := func(e error) error { return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", e)} }
	ctx, cancel := context.WithTimeout(context.Background(), -time.Second)
	defer cancel()
	for _, tt := range []struct {
		err     error
		outcome string
		errno   string
		winsock int
	}{
		{nil, "", "", 0},
		{op(syscall.ECONNREFUSED), "refused", "ECONNREFUSED", 10061},
		{op(syscall.ECONNRESET), "reset", "ECONNRESET", 10054},
		{op(syscall.ETIMEDOUT), "timeout", "ETIMEDOUT", 10060},
		{fmt.Errorf("wrapped: %w", op(syscall.EADDRINUSE)), "in-use", "EADDRINUSE", 10048},
		{os.ErrDeadlineExceeded, "timeout", "ETIMEDOUT", 10060},
		{ctx.Err(), "timeout", "ETIMEDOUT", 10060},
		{context.Canceled, "cancelled", "", 0},
		{io.EOF, "closed", "", 0},
		{net.ErrClosed, "closed", "", 0},
		{&net.DNSError{IsNotFound: true}, "nxdomain", "", 11001},
		{&net.DNSError{IsTemporary: true}, "servfail", "", 11002},
		{&net.DNSError{IsTimeout: true}, "timeout", "ETIMEDOUT", 10060},
		{ownOutcome{}, "drip", "", 0},
		{errors.New("other"), "failed", "", 0},
	} {
		if o, e, w := dial.Outcome(tt.err), dial.Errno(tt.err), dial.Winsock(tt.err); o != tt.outcome || e != tt.errno || w != tt.winsock {
			t.Errorf("%v: %s %s %d, want %s %s %d", tt.err, o, e, w, tt.outcome, tt.errno, tt.winsock)
		}
	}
}

// The alerts of a TLS server are told apart by their numbers.
func TestTLSAlerts(t *testing.T) {
	cert := certtest.NewCA().Issue(certtest.Leaf{Names: []string{"mail.example.com"}})
	for want, server := range map[string]*tls.Config{
		dial.Version:   {Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
		dial.Handshake: {Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}},
	} {
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(b, server).Handshake() }()
		err := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}).Handshake()
		if got := dial.Outcome(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
		a.Close()
		<-done // it failed, too
		b.Close()
	}
}

// What people read names the error number and nothing of Go's.
func TestDescribe(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		outcome string
		err     error
		want    string
	}{
		{dial.Refused, refused, "refused: ECONNREFUSED, Winsock 10061"},
		{dial.Silent, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, "silent"},
		{dial.Closed, io.EOF, "closed"},
		{dial.NXDomain, &net.DNSError{Err: "no such host", Name: "x.test", Server: "192.0.2.53:53", IsNotFound: true}, "nxdomain: no such name (192.0.2.53:53)"},
		{dial.Timeout, &net.DNSError{Err: "i/o timeout", Name: "x.test", IsTimeout: true}, "timeout: the resolver did not answer"},
		{dial.Handshake, &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "handshake: tls: bad certificate"},
		{"failed", errors.New("nobody knows"), "nobody knows"},
		{dial.Permanent, nil, "permanent"},
	} {
		if got := dial.Describe(tt.outcome, tt.err); got != tt.want {
			t.Errorf("%s %v: %q, want %q", tt.outcome, tt.err, got, tt.want)
		}
	}
	if !dial.NoRoute(&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}) || dial.NoRoute(refused) || dial.NoRoute(nil) {
		t.Error("NoRoute")
	}
}
