package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServe(t *testing.T) {
	var ill atomic.Pointer[error]
	ill.Store(new(error))
	s := &Server{
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "things 1\n") },
		Health:  func() error { return *ill.Load() },
		Log:     slog.New(slog.DiscardHandler),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Serve(ctx, ln); close(ended) }()
	defer func() { cancel(); <-ended }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ask := func(method, path string) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+ln.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status + " " + resp.Header.Get("Content-Type") + " " + string(body)
	}
	const plain = "text/plain; charset=utf-8"
	for _, tt := range []struct {
		ill                error
		method, path, want string
	}{
		{nil, "GET", "/healthz", "200 OK " + plain + " ok\n"},
		{nil, "HEAD", "/healthz", "200 OK " + plain + " "},
		{errors.New("disk full"), "GET", "/healthz", "503 Service Unavailable " + plain + " disk full\n"},
		{nil, "GET", "/metrics", "200 OK text/plain; version=0.0.4; charset=utf-8 things 1\n"},
		{nil, "POST", "/metrics", "405 Method Not Allowed " + plain + " Method Not Allowed\n"},
		{nil, "GET", "/metrics/x", "404 Not Found " + plain + " 404 page not found\n"},
	} {
		ill.Store(&tt.ill)
		if got := ask(tt.method, tt.path); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
	// More connections than are served at once: the first to close lets the
	// next in, and a stopping server waits for none of them.
	var open []net.Conn
	for range maxConns + 5 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	for _, c := range open[:10] {
		c.Close()
	}
	if got := ask("GET", "/healthz"); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
}
