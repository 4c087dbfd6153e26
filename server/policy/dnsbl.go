package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailsrv/server/config"
)

const (
	healthyFor = time.Hour        // until a list is tried again
	brokenFor  = 10 * time.Minute // the same of one that failed
)

// resolverRefused is how lists say that they do not answer this resolver,
// usually one that many share.
var resolverRefused = netip.MustParsePrefix("127.255.255.0/24")

// list is a DNSBL. Before it is believed it has to show that it works: 127.0.0.2
// must be listed, 127.0.0.1 must not (RFC 5782 5). One that does not is not
// asked until it does again.
type list struct {
	config.DNSBL

	mu     sync.Mutex
	tried  time.Time
	broken string // why
}

// askLists looks the client up in all lists at once.
func (p *Policy) askLists(d *Decision, r *Request) {
	type result struct {
		listed bool
		why    string
	}
	results := make([]result, len(p.lists))
	var wg sync.WaitGroup
	for i, l := range p.lists {
		if l.Action == config.Off {
			continue
		}
		wg.Go(func() { results[i].listed, results[i].why = p.listed(l, r.Client.Unmap()) })
	}
	wg.Wait()
	for i, l := range p.lists {
		name := "dnsbl." + l.Zone
		switch {
		case l.Action == config.Off:
		case !results[i].listed:
			d.passed(name, results[i].why)
		case d.Verdict == Accept:
			refusal := reject(554, "5.7.1", fmt.Sprintf("Service unavailable; Client host [%s] blocked using %s", r.Client.Unmap(), l.Zone))
			if l.Reply != (config.Reply{}) {
				refusal = reject(l.Reply.Code, l.Reply.Enhanced, l.Reply.Text)
			}
			d.found(name, results[i].why, l.Action, refusal)
		}
	}
}

func (p *Policy) listed(l *list, client netip.Addr) (bool, string) {
	if why := p.health(l); why != "" {
		return false, "is not asked, because it does not work: " + why
	}
	addrs, err := p.dns.addresses(reversed(client) + "." + l.Zone)
	switch {
	case err != nil:
		return false, "gave no answer about " + client.String() + ": " + err.Error()
	case len(addrs) == 0:
		return false, client.String() + " is not listed"
	}
	for _, a := range addrs {
		if resolverRefused.Contains(a.Unmap()) {
			l.mu.Lock()
			l.broken, l.tried = refusedWhy(a), time.Now()
			p.Log.Warn("list of junk senders switched off", "zone", l.Zone, "why", l.broken, "for", brokenFor.String())
			l.mu.Unlock()
			return false, refusedWhy(a)
		}
		if _, ok := contains(l.Codes, a); ok {
			return true, fmt.Sprintf("%s is listed (%s)", client, a)
		}
	}
	return false, fmt.Sprintf("answered %s about %s, which is none of its codes", addrs[0], client)
}

func refusedWhy(a netip.Addr) string {
	return fmt.Sprintf("it answers %s: it does not serve this resolver; use one of your own ([dns] servers)", a)
}

// health tries a list when its time has come and returns what is wrong with it.
func (p *Policy) health(l *list) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := healthyFor
	if l.broken != "" {
		fresh = brokenFor
	}
	if !l.tried.IsZero() && time.Since(l.tried) < fresh {
		return l.broken
	}
	was, first := l.broken, l.tried.IsZero()
	l.broken, l.tried = p.tryList(l), time.Now()
	switch {
	case l.broken != "" && l.broken != was:
		p.Log.Warn("list of junk senders switched off", "zone", l.Zone, "why", l.broken, "for", brokenFor.String())
	case l.broken == "" && was != "" && !first:
		p.Log.Info("list of junk senders works again", "zone", l.Zone)
	}
	return l.broken
}

func (p *Policy) tryList(l *list) string {
	type reply struct {
		addrs []netip.Addr
		err   error
	}
	ask := func(test string) chan reply {
		c := make(chan reply, 1)
		go func() {
			addrs, err := p.dns.addresses(test + "." + l.Zone)
			c <- reply{addrs, err}
		}()
		return c
	}
	two, one := ask("2.0.0.127"), ask("1.0.0.127")
	listed, notListed := <-two, <-one
	switch {
	case listed.err != nil:
		return "no answer about its test address 127.0.0.2: " + listed.err.Error()
	case notListed.err != nil:
		return "no answer about its test address 127.0.0.1: " + notListed.err.Error()
	}
	for _, a := range append(listed.addrs, notListed.addrs...) {
		if resolverRefused.Contains(a.Unmap()) {
			return refusedWhy(a)
		}
	}
	switch {
	case len(listed.addrs) == 0:
		return "its test address 127.0.0.2 is not listed: is it a list of addresses, and is it still there?"
	case len(notListed.addrs) > 0:
		return "it lists 127.0.0.1, which no list may: it seems to list everybody"
	}
	return ""
}

// reversed is an address as a list wants it (RFC 5782 2.1, 2.4).
func reversed(a netip.Addr) string {
	var parts []string
	if a.Is4() {
		for _, b := range a.As4() {
			parts = append([]string{strconv.Itoa(int(b))}, parts...)
		}
		return strings.Join(parts, ".")
	}
	const hex = "0123456789abcdef"
	raw := a.As16()
	for i := 15; i >= 0; i-- {
		parts = append(parts, hex[raw[i]&15:raw[i]&15+1], hex[raw[i]>>4:raw[i]>>4+1])
	}
	return strings.Join(parts, ".")
}
