package queue

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailsrv/server/deliver"
)

// internet is what a queue delivers to where no network is needed: each
// recipient gets the answer that answer gives.
type internet struct {
	t      testing.TB
	began  time.Time
	answer func(to string, try int) deliver.Result // nil: everything is delivered

	mu       sync.Mutex
	tries    map[string]int
	log      []string // "1m0s a@example.jp b@example.jp": when, and who was tried together
	got      []string // recipients delivered to, in order
	arrivals map[string][]time.Duration
	notices  []posted
	postErr  error
}

type posted struct {
	At time.Duration
	Notice
	Text string
}

func newInternet(t testing.TB) *internet {
	return &internet{t: t, began: time.Now(), tries: map[string]int{}, arrivals: map[string][]time.Duration{}}
}

func (n *internet) options() Options {
	return Options{
		Hostname: "mail.example.com",
		Destination: func(_, to string) deliver.Destination {
			_, domain, _ := strings.Cut(to, "@")
			return deliver.Destination{Domain: domain}
		},
		Courier: func(deliver.Destination) Courier { return &fakeCourier{n: n} },
		Post:    n.post,
	}
}

func (n *internet) post(p Notice) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.postErr != nil {
		return n.postErr
	}
	var b strings.Builder
	if err := p.Write(&b); err != nil {
		return err
	}
	n.notices = append(n.notices, posted{time.Since(n.began), p, b.String()})
	return nil
}

// told is what notices there have been: "20m0s delay to taro@example.com about MESSAGE1".
func (n *internet) told() (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.notices {
		out = append(out, fmt.Sprintf("%v %s to %s about %s", p.At, p.Kind, p.To, p.About))
	}
	return out
}

func (n *internet) lines() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

func (n *internet) delivered() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

type fakeCourier struct {
	n  *internet
	up bool
}

func (c *fakeCourier) Connected() bool { return c.up }
func (c *fakeCourier) Close()          { c.up = false }

func (c *fakeCourier) Deliver(ctx context.Context, m *deliver.Message) []deliver.Result {
	text, err := m.Open()
	if err != nil {
		c.n.t.Error(err)
		return nil
	}
	if b, err := io.ReadAll(text); err != nil || int64(len(b)) != m.Size {
		c.n.t.Errorf("text of %d octets, %v; want %d", len(b), err, m.Size)
	}
	text.Close()
	n := c.n
	n.mu.Lock()
	var names []string
	var out []deliver.Result
	for _, r := range m.Recipients {
		n.tries[r.Address]++
		names = append(names, r.Address)
		res := accepted
		if n.answer != nil {
			res = n.answer(r.Address, n.tries[r.Address])
		}
		out = append(out, res)
	}
	if slices.ContainsFunc(out, func(r deliver.Result) bool { return !r.Down }) {
		for i := range out {
			out[i].Down = false // the host was reached
		}
	}
	n.log = append(n.log, fmt.Sprintf("%v %s", time.Since(n.began), strings.Join(names, " ")))
	n.mu.Unlock()
	wait := time.Duration(0)
	for i := range out {
		if strings.HasPrefix(out[i].Text, "after ") {
			wait, _ = time.ParseDuration(strings.Fields(out[i].Text)[1])
		}
	}
	select {
	case <-ctx.Done():
		for i := range out {
			out[i] = deliver.Result{Outcome: deliver.Deferred, Enhanced: "4.3.2", Cause: "cancelled", Text: "stopping", Down: true}
		}
	case <-time.After(wait):
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, r := range m.Recipients {
		if out[i].Outcome == deliver.Delivered {
			n.got = append(n.got, r.Address)
			n.arrivals[r.Address] = append(n.arrivals[r.Address], time.Since(n.began))
		}
	}
	c.up = !out[0].Down
	return out
}

var host = deliver.Result{Host: "mx.example.jp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), TLS: "TLS 1.3"}

func replied(outcome deliver.Outcome, code int, enhanced, text, command string) deliver.Result {
	r := host
	r.Outcome, r.Code, r.Enhanced, r.Command = outcome, code, enhanced, command
	r.Text = fmt.Sprintf("%d %s %s", code, enhanced, text)
	return r
}

var (
	accepted = replied(deliver.Delivered, 250, "2.0.0", "Ok", "DATA")
	unknown  = replied(deliver.Failed, 550, "5.1.1", "User unknown", "RCPT")
	busy     = replied(deliver.Deferred, 451, "4.3.0", "Not now", "RCPT")
	dead     = deliver.Result{Outcome: deliver.Deferred, Enhanced: "4.4.1", Command: "CONN", Cause: "connect-refused", Host: "mx.example.jp",
		Addr: host.Addr, Text: "connect to mx.example.jp[192.0.2.1]:25: Connection refused", Down: true}
)

// after is a result that takes a while.
func after(d time.Duration, r deliver.Result) deliver.Result {
	r.Text = "after " + d.String() + " " + r.Text
	return r
}
