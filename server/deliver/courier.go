package deliver

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
)

// A connection is given up after this many messages: some hosts count.
const maxMessages = 100

// Courier delivers messages to one destination, one after the other, over one
// connection at a time. It belongs to one goroutine.
type Courier struct {
	c    *Client
	dest Destination
	s    *session // kept from the last message; nil when there is none
}

// Courier returns a courier for a destination. Nothing is connected yet.
func (c *Client) Courier(d Destination) *Courier { return &Courier{c: c, dest: d} }

// Connected tells whether a connection is kept for the next message.
func (k *Courier) Connected() bool { return k.s != nil }

// Close takes leave of the host. It waits Timeouts.Quit at most.
func (k *Courier) Close() {
	if k.s != nil {
		k.s.quit()
		k.s = nil
	}
}

// Deliver delivers a message to its recipients and returns a result for each
// of them, in their order. When ctx ends, so does the connection.
func (k *Courier) Deliver(ctx context.Context, m *Message) []Result {
	r := &round{k: k, m: m, results: make([]Result, len(m.Recipients))}
	for i := range m.Recipients {
		r.pending = append(r.pending, i)
	}
	text, err := m.Open()
	if err != nil {
		r.failAll(Result{Outcome: Deferred, Enhanced: "4.3.0", Cause: causeOwnDisk, Text: "the message file cannot be read: " + clean(err.Error())})
		return r.results
	}
	defer text.Close()
	r.text = text
	r.run(ctx)
	for i := range r.results {
		r.results[i].Down = r.results[i].Down && !r.reached
	}
	return r.results
}

// round is one message on its way through the hosts.
type round struct {
	k       *Courier
	m       *Message
	text    io.ReadSeeker
	results []Result
	pending []int // recipients for whom another host may know better
	reached bool  // a host has got MAIL
	skip    []target
	tried   int // addresses
}

func (r *round) run(ctx context.Context) {
	k := r.k
	if k.s != nil {
		kept := target{k.s.at.host, k.s.at.addr}
		if r.offer(ctx) { // else it was closed: worth a new connection
			r.skip = append(r.skip, kept)
		}
	}
	if len(r.pending) == 0 || ctx.Err() != nil {
		r.cancelled(ctx)
		return
	}
	groups, fault := k.c.route(ctx, k.dest)
	if fault != nil {
		r.unreachable(*fault)
		return
	}
	for n, g := range groups {
		targets, faults, self := k.c.targets(ctx, k.dest, g)
		for _, f := range faults {
			r.unreachable(f)
		}
		if self {
			if n == 0 {
				r.unreachable(r.loop(g))
			}
			return
		}
		for i, t := range targets {
			if r.tried == maxAddrs || len(r.pending) == 0 || ctx.Err() != nil {
				r.cancelled(ctx)
				return
			}
			if slices.Contains(r.skip, t) {
				continue
			}
			r.tried++
			r.host(ctx, t, otherFamily(t, targets[i+1:]))
		}
	}
	r.cancelled(ctx)
}

// host tries one address.
func (r *round) host(ctx context.Context, t target, other netip.AddrPort) {
	for {
		r.k.Close()
		s, fault := r.k.c.open(ctx, t, other, r.k.dest.Smart)
		if fault != nil {
			r.unreachable(*fault)
			return
		}
		r.k.s = s
		if s.at.addr != t.addr {
			r.skip = append(r.skip, target{t.name, s.at.addr})
		}
		// A host that ends the session after so many recipients gets the rest
		// over a new one.
		if left := len(r.pending); r.offer(ctx) || len(r.pending) == left || ctx.Err() != nil {
			return
		}
	}
}

// offer offers the message on the present connection; false when that was
// closed before all recipients had their turn.
func (r *round) offer(ctx context.Context) bool {
	s := r.k.s
	stop := s.watch(ctx)
	defer func() {
		stop()
		if s.dead || ctx.Err() != nil {
			s.drop()
			r.k.s = nil
		} else if s.used >= maxMessages {
			r.k.Close()
		}
	}()
	offer := r.pending
	r.pending = nil
	for len(offer) > 0 {
		again, err := s.transact(r.m, offer, r.text, r.done)
		if errors.Is(err, errStale) {
			r.pending = append(r.pending, offer...)
			return false
		}
		r.reached = true
		if s.dead && len(again) > 0 {
			r.pending = append(r.pending, again...)
			return false
		}
		offer = again
	}
	return true
}

// done takes a host's word on one recipient.
func (r *round) done(i int, res Result) {
	r.results[i] = merge(r.results[i], res)
	if res.Outcome == Deferred && !res.Uncertain {
		r.pending = append(r.pending, i)
	}
}

// unreachable notes a host that nothing could be offered to.
func (r *round) unreachable(res Result) {
	res.Down = true
	// What is wrong with the smart host is for the administrator to mend, no
	// reason to return mail.
	if r.k.dest.Smart != nil {
		res.Outcome = Deferred
	}
	for _, i := range r.pending {
		r.results[i] = merge(r.results[i], res)
	}
}

func (r *round) failAll(res Result) {
	for i := range r.results {
		r.results[i] = res
	}
}

// cancelled gives those a result who have none because ctx has ended, or
// because the host ended the session before their turn.
func (r *round) cancelled(ctx context.Context) {
	res := Result{Outcome: Deferred, Enhanced: "4.4.2", Cause: causeReset, Text: "the host ended the session before this recipient's turn"}
	if ctx.Err() != nil {
		res.Enhanced, res.Cause, res.Text = "4.3.2", causeCancelled, "delivery was interrupted: this server is stopping"
	}
	for _, i := range r.pending {
		if r.results[i].Outcome == "" {
			r.results[i] = res
		}
	}
}

// loop is the result when this server itself is the best host.
func (r *round) loop(g group) Result {
	d := r.k.dest
	res := Result{Outcome: Failed, Enhanced: "5.4.6", Command: "CONN", Cause: causeLoop, Host: g[0],
		Text: "mail for " + d.Domain + " loops back to myself: its best mail host is this server, which does not have the domain among its own"}
	if d.Smart != nil {
		res.Enhanced = "4.4.6"
		res.Text = "mail loops back to myself: the smart host " + d.Smart.addr() + " is this server"
	}
	return res
}

// merge joins what two hosts came to. What a host says about the message
// counts more than that another one could not be reached, and a hope for later
// more than an unreachable host's refusal.
func merge(before, now Result) Result {
	switch {
	case before.Outcome == "":
		return now
	case !now.Down:
		return now
	case before.Outcome == Deferred && (now.Outcome == Failed || before.Code > 0 && now.Code == 0):
		return before
	case !before.Down:
		return before
	}
	return now
}
