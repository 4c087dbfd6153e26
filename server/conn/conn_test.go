package conn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines feeds input to a connection and returns what ReadLine makes of it.
func lines(t testing.TB, input string, how Line) (out []string, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	here, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	sent := make(chan struct{})
	go func() {
		_, _ = io.WriteString(here, input)
		here.Close()
		close(sent)
	}()
	defer func() { <-sent }()
	defer there.Close()
	c := New(there, 10*time.Second)
	for {
		line, err := c.ReadLine(how)
		switch {
		case errors.Is(err, ErrTooLong):
			out = append(out, "TOO LONG")
		case err != nil:
			return out, err
		default:
			out = append(out, string(line))
		}
	}
}

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", 20)
	huge := strings.Repeat("x", 3*bufferSize)
	for _, tt := range []struct {
		in   string
		how  Line
		want string
		err  error
	}{
		{"a\r\nb\r\n\r\n", Line{Max: 10}, "a|b|", io.EOF},
		{"a\rb\r\n", Line{Max: 10}, "a\rb", io.EOF},
		{"a\r\r\n", Line{Max: 10}, "a\r", io.EOF},
		{"12345678\r\n", Line{Max: 10}, "12345678", io.EOF},
		{"123456789\r\nb\r\n", Line{Max: 10}, "TOO LONG|b", io.EOF},
		{long + "\r\nb\r\n", Line{Max: 10}, "TOO LONG|b", io.EOF},
		{huge + "\r\nb\r\n", Line{Max: 10}, "TOO LONG|b", io.EOF},
		{huge[:bufferSize-1] + "\r\nb\r\n", Line{Max: 2 * bufferSize}, huge[:bufferSize-1] + "|b", io.EOF},
		{huge[:bufferSize] + "\r\nb\r\n", Line{Max: 2 * bufferSize}, huge[:bufferSize] + "|b", io.EOF},
		{"a\nb\r\n", Line{Max: 10}, "", ErrBareLF},
		{"\n", Line{Max: 10}, "", ErrBareLF},
		{long + "\n", Line{Max: 10}, "", ErrBareLF},
		{"a\nb\r\n\n", Line{Max: 10, LaxLF: true}, "a|b|", io.EOF},
		{"half", Line{Max: 10}, "", io.ErrUnexpectedEOF},
		{strings.Repeat("x", maxDiscard+2*bufferSize), Line{Max: 10}, "", ErrFlood},
	} {
		out, err := lines(t, tt.in, tt.how)
		if got := strings.Join(out, "|"); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%.40q: %.60q, %v; want %.60q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add("a\r\nb\r\n", 10, false)
	f.Add("a\nb\r\r\n", 3, true)
	f.Fuzz(func(t *testing.T, input string, most int, lax bool) {
		how := Line{Max: 2 + most&0xff, LaxLF: lax}
		out, err := lines(t, input, how)
		if err == nil || errors.Is(err, ErrBareLF) && lax {
			t.Fatalf("%q: ended with %v", input, err)
		}
		for _, line := range out {
			if line != "TOO LONG" && (len(line)+1 > how.Max || strings.Contains(line, "\n")) {
				t.Errorf("%q: line %q", input, line)
			}
		}
	})
}

// hold is a handler whose sessions last until released.
type hold struct{ release chan struct{} }

func (h hold) Serve(c *Conn) {
	_, _ = c.W.WriteString("hello\r\n")
	_ = c.W.Flush()
	<-h.release
}
func (h hold) Refuse(c *Conn, why string) { _, _ = c.W.WriteString(why + "\r\n") }
func (h hold) Crashed(c *Conn)            {}

func TestTotalLimitAndCut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := hold{make(chan struct{})}
	g := &Group{Limits: Limits{Total: 2, Idle: time.Minute}, Log: slog.New(slog.DiscardHandler)}
	g.Serve("test", ln, h)
	dial := func() (net.Conn, string) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 100)
		n, _ := c.Read(b)
		return c, string(b[:n])
	}
	for range 2 {
		if _, said := dial(); said != "hello\r\n" {
			t.Errorf("within the limit: %q", said)
		}
	}
	c, said := dial()
	if said != "too many connections, at most 2 are served\r\n" {
		t.Errorf("beyond the limit: %q", said)
	}
	c.Close()
	done := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		done <- g.Stop(ctx)
	}()
	// The sessions hang: they are cut off, and Stop still waits for them.
	time.AfterFunc(100*time.Millisecond, func() { close(h.release) })
	if cut := <-done; cut != 2 {
		t.Errorf("%d sessions cut off, want 2", cut)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("still listening after Stop")
	}
}

// One address has its connections to each service.
func TestLimitOfAnAddress(t *testing.T) {
	h := hold{make(chan struct{})}
	g := &Group{Limits: Limits{Total: 10, PerIP: 2, Idle: time.Minute}, Log: slog.New(slog.DiscardHandler)}
	var addrs []string
	for _, service := range []string{"smtp", "pop3"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g.Serve(service, ln, h)
		addrs = append(addrs, ln.Addr().String())
	}
	for _, want := range []string{"hello\r\n", "hello\r\n", "too many connections from your address, at most 2 are served\r\n"} {
		for _, addr := range addrs {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			b := make([]byte, 100)
			if n, _ := c.Read(b); string(b[:n]) != want {
				t.Errorf("%q, want %q", b[:n], want)
			}
		}
	}
	close(h.release)
	g.Stop(context.Background())
	if len(g.perIP) != 0 {
		t.Errorf("still counted: %v", g.perIP)
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":         "192.0.2.7",
		"2001:db8::1:2:3:4": "2001:db8::",
		"2001:db8:0:1::9":   "2001:db8:0:1::",
	} {
		if got := network(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("network(%s) = %s, want %s", in, got, want)
		}
	}
}

// However often the buffer is exchanged, no octet is lost or doubled.
func TestWidenAndNarrow(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 40*wideSize)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		_, err := here.Write(want)
		sent <- errors.Join(err, here.Close())
	}()
	c := New(there, 10*time.Second)
	var got []byte
	for {
		if rng.IntN(2) == 0 {
			c.Widen()
		} else {
			c.Narrow()
		}
		b := make([]byte, rng.IntN(2*bufferSize))
		n, err := c.R.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
	}
	if err := <-sent; err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets of %d came, or others; %v", len(got), len(want), err)
	}
}
