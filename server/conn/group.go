package conn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/server/metrics"
)

var (
	accepted = metrics.NewCounter("mailsrv_connections_total", "Connections that clients have opened, refused ones too.", "service")
	refused  = metrics.NewCounter("mailsrv_connections_refused_total", "Connections beyond limits.connections (total) or limits.connections_per_ip (address).", "service", "limit")
)

// Handler speaks one protocol.
type Handler interface {
	// Serve holds one session. When it returns, what it has written is sent and
	// the connection is closed.
	Serve(c *Conn)

	// Refuse says why there is no session: too many connections.
	Refuse(c *Conn, why string)

	// Crashed says goodbye after Serve has panicked.
	Crashed(c *Conn)
}

// Limits of a Group. Zero values mean no limit.
type Limits struct {
	Total int           // connections at once
	PerIP int           // of one IPv4 address or IPv6 /64 network, to one service
	Idle  time.Duration // for one command
}

// Group serves listeners, which share its limits and its end.
type Group struct {
	Limits Limits // changed by SetLimits once a listener is served
	Log    *slog.Logger
	Panic  func(c *Conn, value any, stack []byte) // keeps the evidence of a crash

	mu       sync.Mutex
	stopping bool
	conns    map[*Conn]string // the service's name
	perIP    map[origin]int
	refusing int // connections that are being told why not
	services []*Service
	wg       sync.WaitGroup
}

// origin is what Limits.PerIP counts: a client that floods one service, or shares
// its address with one that does, can still use the others.
type origin struct {
	service string
	network netip.Addr
}

// Service is one listener of a Group.
type Service struct {
	name    string
	ln      net.Listener
	handler atomic.Pointer[Handler]
}

// Handle replaces the handler for connections from now on.
func (s *Service) Handle(h Handler) { s.handler.Store(&h) }

// Close ends the listener. Its sessions go on.
func (s *Service) Close() error { return s.ln.Close() }

// Serve accepts connections until Stop, in a goroutine of its own. name is the
// service's, for the log.
func (g *Group) Serve(name string, ln net.Listener, h Handler) *Service {
	s := &Service{name: name, ln: ln}
	s.Handle(h)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.services = append(g.services, s)
	g.wg.Go(func() { g.accept(s) })
	return s
}

// SetLimits replaces the limits for connections from now on.
func (g *Group) SetLimits(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Limits = l
}

// Open returns how many sessions each service has.
func (g *Group) Open() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]int{}
	for _, s := range g.services {
		out[s.name] = 0
	}
	for _, name := range g.conns {
		out[name]++
	}
	return out
}

func (g *Group) accept(s *Service) {
	defer g.forget(s)
	name, ln := s.name, s.ln
	wait := time.Duration(0)
	for {
		raw, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors and the like: others will be closed.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			g.Log.Error("cannot accept a connection", "service", name, "addr", ln.Addr().String(), "error", err)
			time.Sleep(wait)
			continue
		}
		wait = 0
		c, why, stopping := g.enter(name, raw)
		h := *s.handler.Load()
		if stopping {
			_ = raw.Close()
			return
		}
		g.wg.Go(func() {
			if why == "" {
				defer g.leave(c)
				g.serve(c, h)
				return
			}
			defer c.raw.Close()
			g.Log.Warn("connection refused", "service", name, "client", c.Remote().Addr(), "why", why)
			g.refuse(c, h, why)
		})
	}
}

// serve keeps a panic inside its connection.
func (g *Group) serve(c *Conn, h Handler) {
	defer func() {
		if v := recover(); v != nil {
			if g.Panic != nil {
				g.Panic(c, v, debug.Stack())
			}
			h.Crashed(c)
		}
	}()
	h.Serve(c)
}

// forget drops a listener that is closed.
func (g *Group) forget(s *Service) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.services = slices.DeleteFunc(g.services, func(o *Service) bool { return o == s })
}

// enter counts a connection; why says which limit forbids it.
func (g *Group) enter(service string, raw net.Conn) (c *Conn, why string, stopping bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return nil, "", true
	}
	c = New(raw, g.Limits.Idle)
	if g.conns == nil {
		g.conns, g.perIP = map[*Conn]string{}, map[origin]int{}
	}
	accepted.Add(1, service)
	from := origin{service, network(c.Remote().Addr())}
	switch {
	case g.Limits.Total > 0 && len(g.conns) >= g.Limits.Total:
		refused.Add(1, service, "total")
		return c, fmt.Sprintf("too many connections, at most %d are served", g.Limits.Total), false
	case g.Limits.PerIP > 0 && g.perIP[from] >= g.Limits.PerIP:
		refused.Add(1, service, "address")
		return c, fmt.Sprintf("too many connections from your address, at most %d are served", g.Limits.PerIP), false
	}
	g.conns[c] = service
	g.perIP[from]++
	return c, "", false
}

func (g *Group) leave(c *Conn) {
	c.hangup()
	_ = c.raw.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	from := origin{g.conns[c], network(c.Remote().Addr())}
	delete(g.conns, c)
	if g.perIP[from]--; g.perIP[from] <= 0 {
		delete(g.perIP, from)
	}
}

// maxRefusing bounds how many refused clients are told the reason at once; in
// a flood the others are just cut off.
const maxRefusing = 64

func (g *Group) refuse(c *Conn, h Handler, why string) {
	g.mu.Lock()
	tooMany := g.refusing >= maxRefusing
	g.refusing++
	g.mu.Unlock()
	if !tooMany {
		h.Refuse(c, why)
		c.hangup()
	}
	g.mu.Lock()
	g.refusing--
	g.mu.Unlock()
}

// network is what one client may be assumed to have of addresses.
func network(ip netip.Addr) netip.Addr {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// Stop closes the listeners, ends sessions that have nothing under way, waits
// for the others until ctx ends, and then cuts them off. When it returns, no
// goroutine of the group is left. cut says how many sessions were cut off.
func (g *Group) Stop(ctx context.Context) (cut int) {
	g.mu.Lock()
	g.stopping = true
	for _, s := range g.services {
		_ = s.Close()
	}
	for c := range g.conns {
		c.interrupt()
	}
	g.mu.Unlock()

	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return 0
	case <-ctx.Done():
	}
	g.mu.Lock()
	cut = len(g.conns)
	for c := range g.conns {
		_ = c.raw.Close()
	}
	g.mu.Unlock()
	<-done
	return cut
}
