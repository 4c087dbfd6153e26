package deliver

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// otherFamily is the next address of t's host in the other address family.
func otherFamily(t target, rest []target) netip.AddrPort {
	for _, o := range rest {
		if o.name == t.name && o.addr.Addr().Is4() != t.addr.Addr().Is4() {
			return o.addr
		}
	}
	return netip.AddrPort{}
}

// dial connects to s's address. If that does not answer within Timeouts.Family,
// other is tried beside it, and the first that answers becomes s's address: a
// network in which one family leads nowhere costs seconds, not a whole timeout.
func (s *session) dial(ctx context.Context, other netip.AddrPort) (net.Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, s.c.Timeouts.Connect)
	defer cancel()
	if !other.IsValid() {
		return s.c.Dial(dctx, "tcp", s.at.addr.String())
	}
	type end struct {
		nc  net.Conn
		err error
	}
	start := func(to netip.AddrPort) chan end {
		done := make(chan end, 1)
		go func() {
			nc, err := s.c.Dial(dctx, "tcp", to.String())
			done <- end{nc, err}
		}()
		return done
	}
	drop := func(late chan end) { // and wait for it
		cancel()
		if e := <-late; e.err == nil {
			_ = e.nc.Close()
		}
	}
	first := start(s.at.addr)
	timer := time.NewTimer(s.c.Timeouts.Family)
	defer timer.Stop()
	select {
	case e := <-first:
		return e.nc, e.err // the next round is other's
	case <-timer.C:
	}
	free, ok := func() {}, true
	if s.smart == nil {
		free, ok = s.c.slots.try(other.Addr(), s.c.PerHost)
	}
	if !ok {
		e := <-first
		return e.nc, e.err
	}
	second := start(other)
	select {
	case e := <-first:
		if e.err == nil {
			drop(second)
			free()
			return e.nc, nil
		}
		if o := <-second; o.err == nil {
			s.moveTo(other, free)
			return o.nc, nil
		}
		free()
		return nil, e.err
	case o := <-second:
		if o.err == nil {
			drop(first)
			s.moveTo(other, free)
			return o.nc, nil
		}
		free()
		e := <-first
		return e.nc, e.err
	}
}

// moveTo makes another address of the host the session's.
func (s *session) moveTo(addr netip.AddrPort, free func()) {
	s.free()
	s.at.addr, s.free = addr, free
}
