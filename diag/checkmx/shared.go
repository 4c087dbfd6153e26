package checkmx

import (
	"context"
	"sync"
	"time"
)

// shared does a piece of work once for each key and gives the result to all who
// ask, also while it is under way. It keeps the newest max results.
type shared[K comparable, V any] struct {
	max int

	mu    sync.Mutex
	kept  map[K]*work[V]
	order []K // ring of kept keys, oldest at next
	next  int
}

type work[V any] struct {
	done chan struct{}
	v    V
	ok   bool // false: the one who worked ran out of time
}

func newShared[K comparable, V any](max int) *shared[K, V] {
	return &shared[K, V]{max: max, kept: map[K]*work[V]{}}
}

// do returns the result for k; it runs f unless somebody has, or does. What f
// leaves when its context ends is for its own caller only.
func (s *shared[K, V]) do(ctx context.Context, k K, f func() V) V {
	for {
		s.mu.Lock()
		w := s.kept[k]
		if w == nil {
			w = &work[V]{done: make(chan struct{})}
			s.keep(k, w)
			s.mu.Unlock()
			v := f()
			s.mu.Lock()
			if w.v, w.ok = v, !over(ctx); !w.ok && s.kept[k] == w {
				delete(s.kept, k)
			}
			s.mu.Unlock()
			close(w.done)
			return v
		}
		s.mu.Unlock()
		select {
		case <-w.done:
			if w.ok {
				return w.v
			}
		case <-ctx.Done():
			var zero V
			return zero
		}
	}
}

// over tells that the time of ctx is up. A socket with the same deadline can be
// a moment ahead of ctx.Err.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

func (s *shared[K, V]) keep(k K, w *work[V]) {
	if len(s.order) < s.max {
		s.order = append(s.order, k)
	} else {
		delete(s.kept, s.order[s.next])
		s.order[s.next] = k
		s.next = (s.next + 1) % s.max
	}
	s.kept[k] = w
}
