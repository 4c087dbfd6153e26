package deliver

import (
	"context"
	"net/netip"
	"sync"
)

// slots count the connections to each address: many domains have their mail
// with one provider, who counts connections and not domains.
type slots struct {
	mu   sync.Mutex
	used map[netip.Addr]*slot
}

type slot struct {
	users int           // connections, and those who wait for one
	open  chan struct{} // holds one element for each connection
}

// try takes a connection if one is free.
func (s *slots) try(a netip.Addr, most int) (free func(), ok bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	free, err := s.take(ctx, a, most)
	return free, err == nil
}

// take waits for a connection to be free. free gives it back.
func (s *slots) take(ctx context.Context, a netip.Addr, most int) (free func(), err error) {
	s.mu.Lock()
	if s.used == nil {
		s.used = map[netip.Addr]*slot{}
	}
	one := s.used[a]
	if one == nil {
		one = &slot{open: make(chan struct{}, most)}
		s.used[a] = one
	}
	one.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(s.used, a)
		}
	}
	select {
	case one.open <- struct{}{}:
		return sync.OnceFunc(func() { <-one.open; leave() }), nil
	default:
	}
	select {
	case one.open <- struct{}{}:
		return sync.OnceFunc(func() { <-one.open; leave() }), nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
