package dns

import (
	"context"
	"sync"
	"time"
)

// Cache asks each question once per run and shares the answer, also among
// those who ask while it is under way. It keeps the newest answers up to its
// limit, so that a long run has bounded memory.
type Cache struct {
	of  Lookuper
	max int

	mu    sync.Mutex
	kept  map[key]*flight
	order []key // ring of kept keys, oldest at next
	next  int
}

type key struct {
	name string
	t    Type
}

type flight struct {
	done   chan struct{}
	answer *Answer // nil: the one who asked gave up
}

// NewCache keeps at most max answers of l.
func NewCache(l Lookuper, max int) *Cache {
	return &Cache{of: l, max: max, kept: map[key]*flight{}}
}

// Lookup returns the kept answer, waits for the one under way, or asks. The
// answer is shared: nobody may change it.
func (c *Cache) Lookup(ctx context.Context, name string, t Type) *Answer {
	k := key{Name(name), t}
	for {
		c.mu.Lock()
		f := c.kept[k]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			c.keep(k, f)
			c.mu.Unlock()
			return c.ask(ctx, k, f)
		}
		c.mu.Unlock()
		select {
		case <-f.done:
			if f.answer != nil {
				return f.answer
			}
		case <-ctx.Done():
			return &Answer{Name: k.name, Type: t, Outcome: Timeout, Err: ctx.Err()}
		}
	}
}

func (c *Cache) ask(ctx context.Context, k key, f *flight) *Answer {
	a := c.of.Lookup(ctx, k.name, k.t)
	c.mu.Lock()
	if !a.Outcome.Found() && over(ctx) {
		if c.kept[k] == f { // we ran out of time: that says nothing to others
			delete(c.kept, k)
		}
	} else {
		f.answer = a
	}
	c.mu.Unlock()
	close(f.done)
	return a
}

// over tells that the time of ctx is up. A socket with the same deadline can be
// a moment ahead of ctx.Err.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// keep notes the flight and forgets the oldest one beyond the limit.
func (c *Cache) keep(k key, f *flight) {
	if len(c.order) < c.max {
		c.order = append(c.order, k)
	} else {
		delete(c.kept, c.order[c.next])
		c.order[c.next] = k
		c.next = (c.next + 1) % c.max
	}
	c.kept[k] = f
}
