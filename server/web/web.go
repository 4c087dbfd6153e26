// Package web is the server's HTTP side: /metrics for Prometheus and /healthz
// for whoever restarts what is ill. Neither needs a login nor tells anything
// about users or mail, so the address that listen.web names decides who may
// read them.
package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server answers HTTP on a listener.
type Server struct {
	Metrics func(io.Writer) // in Prometheus' text format
	Health  func() error    // why the server is not well, nil when it is
	Log     *slog.Logger
}

// maxConns bounds the connections at once; more wait.
const maxConns = 32

// goodbye is how long requests under way may take once the server stops.
const goodbye = 2 * time.Second

// Serve answers until ctx ends, and returns when no request is left.
func (s *Server) Serve(ctx context.Context, ln net.Listener) {
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(stopped)
		<-ended.Done()
		bye, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		if h.Shutdown(bye) != nil {
			_ = h.Close()
		}
	}()
	err := h.Serve(&limited{ln, make(chan struct{}, maxConns)})
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.Log.Error("HTTP has ended", "addr", ln.Addr().String(), "error", err)
	}
}

// Handler answers the requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		s.Metrics(&b)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(b.Bytes())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := s.Health(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, err.Error()+"\n")
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}

// limited is a listener with at most cap(open) connections at once.
type limited struct {
	net.Listener
	open chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.open <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &counted{Conn: c, open: l.open}, nil
}

type counted struct {
	net.Conn
	open chan struct{}
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { <-c.open }) // net/http may close twice
	return c.Conn.Close()
}
