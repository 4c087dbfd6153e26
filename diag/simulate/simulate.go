// Package simulate plays known failures of mail servers on loopback: a busy
// lock, a reset in the middle of a message, an expired certificate, a resolver
// that lies. What is played is data, one entry of codes/data/simulations.toml
// each; the healthy server around it, which accepts whatever the entry does not
// refuse, is here, one file per protocol.
//
//	srv, err := simulate.Start(codes.SimulationOf("pop3-lock-busy"), simulate.Options{})
//	if err != nil { ... }
//	defer srv.Close()
//	// srv.Addr is where it listens
//
// It is for trying out mail programs, monitoring and the diagnosis of mailsrv
// itself: nothing is stored or sent anywhere.
package simulate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"mailsrv/codes"
	"mailsrv/probes/dns/dnstest"
)

// Limits of one server.
const (
	maxConns = 100              // connections at a time; more wait
	idle     = 10 * time.Minute // RFC 1939 section 3: at least ten minutes
)

// Options say how to play. The zero value works.
type Options struct {
	Listen   string                          // addr:port; empty: a free port of 127.0.0.1
	Once     bool                            // end after one connection
	Now      func() time.Time                // nil: time.Now
	Log      func(line string)               // one line per connection, or question to a resolver; nil: none
	Dialogue func(n int, from, words string) // every line said in connection n; from is S or C; nil: none
}

// Server is a failure that is being played.
type Server struct {
	Addr string // host:port

	sim   *codes.Simulation
	opt   Options
	rules []rule
	tls   *tls.Config // nil: no TLS

	close   func()
	ctx     context.Context // ends with Close
	running sync.WaitGroup
	done    chan struct{}
	ended   sync.Once

	mu    sync.Mutex
	conns int
	tried map[string]time.Time // <until>: when a client, sender and recipient first came
}

// ErrCannotPlay says that this system cannot play the failure.
var ErrCannotPlay = errors.New("cannot be played on this system")

// Start begins to play. Only the address of the options is listened on.
func Start(sim *codes.Simulation, opt Options) (*Server, error) {
	if opt.Listen == "" {
		opt.Listen = "127.0.0.1:0"
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = func(string) {}
	}
	if opt.Dialogue == nil {
		opt.Dialogue = func(int, string, string) {}
	}
	s := &Server{sim: sim, opt: opt, done: make(chan struct{}), tried: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.close = cancel
	if err := s.listen(); err != nil {
		cancel()
		return nil, fmt.Errorf("simulate %s: %w", sim.ID, err)
	}
	return s, nil
}

func (s *Server) listen() (err error) {
	switch s.plays() {
	case "dns":
		return s.listenDNS()
	case "refused":
		return s.hold(refuse)
	case "full":
		return s.hold(ignore)
	}
	if s.rules, err = parseScript(s.sim.Script); err != nil {
		return err
	}
	if s.sim.TLS != "" {
		if s.tls, err = tlsConfig(s.sim.Certificate, s.sim.TLSVersion); err != nil {
			return err
		}
	}
	l, err := net.Listen(network(s.opt.Listen), s.opt.Listen)
	if err != nil {
		return err
	}
	s.Addr = l.Addr().String()
	s.alsoClose(func() { _ = l.Close() })
	s.running.Go(func() { s.accept(l) })
	return nil
}

// network is that of the address's own family: to package net, 0.0.0.0 on "tcp"
// means IPv6 as well.
func network(addr string) string {
	if ap, err := netip.ParseAddrPort(addr); err == nil && ap.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// plays is the kind of server.
func (s *Server) plays() string {
	if s.sim.Plays != "" {
		return s.sim.Plays
	}
	return s.sim.Protocol
}

// alsoClose adds to what Close does.
func (s *Server) alsoClose(more func()) {
	first := s.close
	s.close = func() { first(); more() }
}

// Close ends all connections and waits for them.
func (s *Server) Close() {
	s.close()
	s.running.Wait()
}

// Done is closed when the one connection of Options.Once has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

func (s *Server) accept(l net.Listener) {
	free := make(chan struct{}, maxConns)
	for {
		select {
		case free <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := l.Accept()
		if err != nil {
			return
		}
		if s.opt.Once {
			_ = l.Close() // the next one finds nobody
		}
		n := s.count()
		s.opt.Log(fmt.Sprintf("connection %d from %s", n, c.RemoteAddr()))
		s.running.Go(func() {
			defer func() { <-free }()
			stop := context.AfterFunc(s.ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			newSession(s, n, c).run()
			if s.opt.Once {
				_ = c.Close()
				s.ended.Do(func() { close(s.done) })
			}
		})
	}
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	return s.conns
}

// waits tells whether a rule with <until> still stands for this client, sender
// and recipient.
func (s *Server) waits(key string, until time.Duration) bool {
	const most = 100_000
	s.mu.Lock()
	defer s.mu.Unlock()
	first, ok := s.tried[key]
	if !ok {
		if len(s.tried) >= most {
			clear(s.tried)
		}
		first = s.opt.Now()
		s.tried[key] = first
	}
	return s.opt.Now().Sub(first) < until
}

// listenDNS plays a resolver; a question counts as a connection.
func (s *Server) listenDNS() error {
	srv, err := dnstest.StartAt(s.opt.Listen, s.sim.Script, func(query string) {
		s.opt.Log(fmt.Sprintf("question %d: %s", s.count(), query))
		if s.opt.Once {
			s.ended.Do(func() { close(s.done) })
		}
	})
	if err != nil {
		return err
	}
	s.Addr = srv.Addr
	s.alsoClose(srv.Close)
	return nil
}

// hold takes the port in a way that no connection comes about.
func (s *Server) hold(how func(addr string) (at string, release func(), err error)) error {
	at, release, err := how(s.opt.Listen)
	if err != nil {
		return err
	}
	s.Addr = at
	s.alsoClose(release)
	return nil
}
