package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"mailsrv/server/deliver"
)

const (
	dnsTimeout = 5 * time.Second // for one question, whatever the resolver does
	dnsKeep    = 5 * time.Minute // how long an answer is believed
	dnsKeepBad = 30 * time.Second
	maxAnswers = 10_000
)

var errNullMX = errors.New("null MX")

// dnsCache asks a resolver, and does not ask the same again for a while.
type dnsCache struct {
	resolver deliver.Resolver

	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	addrs []netip.Addr // of addresses
	takes bool         // of takesMail
	err   error
	until time.Time
}

func newDNSCache(r deliver.Resolver) *dnsCache {
	return &dnsCache{resolver: r, answers: map[string]answer{}}
}

// remember returns what is known under key, or asks.
func (c *dnsCache) remember(key string, ask func(context.Context) answer) answer {
	now := time.Now()
	c.mu.Lock()
	a, ok := c.answers[key]
	c.mu.Unlock()
	if ok && now.Before(a.until) {
		return a
	}
	ctx, cancel := context.WithTimeout(context.Background(), dnsTimeout)
	defer cancel()
	a = ask(ctx)
	keep := dnsKeep
	if a.err != nil {
		keep = dnsKeepBad
	}
	a.until = now.Add(keep)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) >= maxAnswers {
		clear(c.answers)
	}
	c.answers[key] = a
	return a
}

// addresses are the A records of a name, none when there are none.
func (c *dnsCache) addresses(name string) ([]netip.Addr, error) {
	a := c.remember("A "+name, func(ctx context.Context) (a answer) {
		a.addrs, a.err = c.resolver.LookupNetIP(ctx, "ip4", name+".")
		if nothing(a.err) {
			a.err = nil
		}
		return a
	})
	return a.addrs, a.err
}

// takesMail tells whether mail could be sent to a domain; the error is errNullMX
// when it says itself that it cannot.
func (c *dnsCache) takesMail(domain string) (bool, error) {
	a := c.remember("MX "+domain, func(ctx context.Context) (a answer) {
		mxs, err := c.resolver.LookupMX(ctx, domain+".")
		switch {
		case len(mxs) == 1 && (mxs[0].Host == "." || mxs[0].Host == ""):
			a.err = errNullMX
			return a
		case len(mxs) > 0:
			a.takes = true
			return a
		case err != nil && !nothing(err):
			a.err = err
			return a
		}
		addrs, err := c.resolver.LookupNetIP(ctx, "ip", domain+".")
		a.takes = len(addrs) > 0
		if err != nil && !nothing(err) && !a.takes {
			a.err = err
		}
		return a
	})
	return a.takes, a.err
}

// nothing tells that a name server has said that there is nothing.
func nothing(err error) bool {
	var dnsErr *net.DNSError
	return errors.As(err, &dnsErr) && dnsErr.IsNotFound
}
