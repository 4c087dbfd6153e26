package conn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
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
	PerIP int           // of one IPv4 address or IPv6 /64 network
	Idle  time.Duration // for one command
}

// Group serves listeners, which share its limits and its end.
type Group struct {
	Limits Limits
	Log    *slog.Logger
	Panic  func(c *Conn, value any, stack []byte) // keeps the evidence of a crash

	mu        sync.Mutex
	stopping  bool
	conns     map[*Conn]struct{}
	perIP     map[netip.Addr]int
	refusing  int // connections that are being told why not
	listeners []net.Listener
	wg        sync.WaitGroup
}

// Serve accepts connections until Stop, in a goroutine of its own. name is the
// service's, for the log.
func (g *Group) Serve(name string, ln net.Listener, h Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = append(g.listeners, ln)
	g.wg.Go(func() { g.accept(name, ln, h) })
}

func (g *Group) accept(name string, ln net.Listener, h Handler) {
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
		c := New(raw, g.Limits.Idle)
		why, stopping := g.enter(c)
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

// enter counts a connection; why says which limit forbids it.
func (g *Group) enter(c *Conn) (why string, stopping bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return "", true
	}
	if g.conns == nil {
		g.conns, g.perIP = map[*Conn]struct{}{}, map[netip.Addr]int{}
	}
	ip := network(c.Remote().Addr())
	switch {
	case g.Limits.Total > 0 && len(g.conns) >= g.Limits.Total:
		return fmt.Sprintf("too many connections, at most %d are served", g.Limits.Total), false
	case g.Limits.PerIP > 0 && g.perIP[ip] >= g.Limits.PerIP:
		return fmt.Sprintf("too many connections from your address, at most %d are served", g.Limits.PerIP), false
	}
	g.conns[c] = struct{}{}
	g.perIP[ip]++
	return "", false
}

func (g *Group) leave(c *Conn) {
	c.hangup()
	_ = c.raw.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	ip := network(c.Remote().Addr())
	if g.perIP[ip]--; g.perIP[ip] <= 0 {
		delete(g.perIP, ip)
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
	for _, ln := range g.listeners {
		_ = ln.Close()
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
