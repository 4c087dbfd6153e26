package account

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How failed logins are slowed down. The first few of a client or for a user
// cost nothing; each one more doubles the time until the next is looked at.
const (
	freeTries  = 3
	firstDelay = time.Second
	maxDelay   = 15 * time.Minute // for an address on the internet
	userDelay  = time.Minute      // for a user, from addresses never seen with the right password
	localDelay = 4 * time.Second  // for loopback and local networks, which are never locked out for long
	hold       = 5 * time.Second  // a wait up to this is waited; a longer one is told

	forgetAfter  = time.Hour           // without a further failure
	knownFor     = 30 * 24 * time.Hour // after the right password
	knownTries   = 10                  // failures in a row until a known client is one no more
	maxRemembers = 50_000              // entries of each kind
)

// ThrottledError refuses to look at a password because too many were wrong.
type ThrottledError struct{ Wait time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins; the next one is looked at in %d s", e.Seconds())
}

// Seconds is the wait in whole seconds, at least one.
func (e *ThrottledError) Seconds() int { return max(1, int((e.Wait+time.Second-1)/time.Second)) }

// Guard is a Directory that slows down whoever tries passwords: per client
// address (an IPv6 network of 64 bits) and per user, known or not. Clients that
// have had the right password for a user are spared what others do to that
// user. It remembers in memory only.
type Guard struct {
	Directory
	trusted []netip.Prefix
	log     *slog.Logger
	*memory
}

// memory is what a Guard remembers.
type memory struct {
	closed chan struct{}

	mu      sync.Mutex
	clients map[netip.Prefix]*tries
	users   map[string]*tries
	known   map[pair]*tries
}

// tries are the failures of a client, or for a user, in a row. A try counts as
// failed from its beginning on, so that many at once help nobody.
type tries struct {
	failures int
	last     time.Time
	until    time.Time // when the next is looked at
}

type pair struct {
	client netip.Prefix
	user   string
}

// NewGuard guards d. trusted networks count as local.
func NewGuard(d Directory, trusted []netip.Prefix, log *slog.Logger) *Guard {
	return &Guard{Directory: d, trusted: trusted, log: log, memory: &memory{closed: make(chan struct{}),
		clients: map[netip.Prefix]*tries{}, users: map[string]*tries{}, known: map[pair]*tries{}}}
}

// With is a guard for another directory and other networks that shares what g
// remembers: for a new configuration.
func (g *Guard) With(d Directory, trusted []netip.Prefix) *Guard {
	return &Guard{Directory: d, trusted: trusted, log: g.log, memory: g.memory}
}

// Close ends all waits: the server stops.
func (g *Guard) Close() { close(g.closed) }

// For is d for one client: the Directory to check that client's logins with.
func For(d Directory, client netip.Addr) Directory {
	if g, ok := d.(*Guard); ok {
		return &guarded{g, g, client.Unmap().WithZone("")}
	}
	return d
}

// Outcome tells d how a login ended that was not checked by Authenticate but
// with a Verifier.
func Outcome(d Directory, login string, ok bool) {
	if v, guards := d.(*guarded); guards && ok {
		v.g.succeeded(v.client, login)
	}
}

type guarded struct {
	Directory
	g      *Guard
	client netip.Addr
}

// Authenticate implements Directory; the error may be *ThrottledError too.
func (v *guarded) Authenticate(login, password string) (Account, error) {
	if err := v.g.begin(v.client, login); err != nil {
		return Account{}, err
	}
	a, err := v.g.Directory.Authenticate(login, password)
	switch {
	case err == nil:
		v.g.succeeded(v.client, login)
	case !errors.Is(err, ErrCredentials):
		v.g.unknown(v.client, login)
	}
	return a, err
}

// Verifier implements Directory; the error may be *ThrottledError too.
func (v *guarded) Verifier(login string) (Verifier, Account, error) {
	if err := v.g.begin(v.client, login); err != nil {
		return Verifier{}, Account{}, err
	}
	ver, a, err := v.g.Directory.Verifier(login)
	if err != nil {
		v.g.unknown(v.client, login)
	}
	return ver, a, err
}

// network is what counts as one client.
func network(client netip.Addr) netip.Prefix {
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	p, _ := client.Prefix(bits) // fails for the zero Addr only, which is a client too
	return p
}

func (g *Guard) isLocal(client netip.Addr) bool {
	if client.IsLoopback() || client.IsPrivate() || client.IsLinkLocalUnicast() {
		return true
	}
	for _, n := range g.trusted {
		if n.Contains(client) {
			return true
		}
	}
	return false
}

func (g *Guard) user(login string) string {
	login = strings.ToLower(login)
	if local := g.Domains(); !strings.Contains(login, "@") && len(local) > 0 {
		login += "@" + local[0]
	}
	return login
}

// delay is how long the next try is put off after n failures.
func delay(n int, most time.Duration) time.Duration {
	if n <= freeTries {
		return 0
	}
	if n > freeTries+20 {
		return most
	}
	return min(firstDelay<<(n-freeTries-1), most)
}

// begin counts a try and waits until it may be looked at.
func (g *Guard) begin(client netip.Addr, login string) error {
	user, net := g.user(login), network(client)
	most, mostUser := maxDelay, userDelay
	if g.isLocal(client) {
		most, mostUser = localDelay, localDelay
	}
	now := time.Now()
	g.mu.Lock()
	if k := g.known[pair{net, user}]; k != nil && now.Sub(k.last) < knownFor {
		if k.failures++; k.failures >= knownTries {
			delete(g.known, pair{net, user})
		}
		g.mu.Unlock()
		return nil
	}
	c, u := entryOf(g.clients, net, now), entryOf(g.users, user, now)
	start := now
	if c.until.After(start) {
		start = c.until
	}
	// What others did to a user holds up a local client for a moment only.
	until := u.until
	if latest := now.Add(mostUser); until.After(latest) {
		until = latest
	}
	if until.After(start) {
		start = until
	}
	wait := start.Sub(now)
	if wait > hold {
		g.mu.Unlock()
		g.log.Warn("login not looked at", "user", login, "client", client.String(), "why", "too many failed logins", "wait", wait.Round(time.Second).String())
		return &ThrottledError{wait}
	}
	c.count(start, delay(c.failures+1, most))
	u.count(start, delay(u.failures+1, userDelay))
	g.mu.Unlock()
	return g.sleep(wait)
}

func (t *tries) count(at time.Time, delay time.Duration) {
	t.failures, t.last, t.until = t.failures+1, at, at.Add(delay)
}

func (g *Guard) sleep(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.closed:
		return &ThrottledError{time.Second}
	}
}

// succeeded takes back the try that began, and forgets the failures of the user.
func (g *Guard) succeeded(client netip.Addr, login string) {
	user, net := g.user(login), network(client)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	p := pair{net, user}
	if g.known[p] == nil {
		g.uncount(net, user)
		makeRoom(g.known, now, knownFor)
	}
	g.known[p] = &tries{last: now}
}

// unknown takes back a try of which nobody knows how it would have ended.
func (g *Guard) unknown(client netip.Addr, login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	net, user := network(client), g.user(login)
	if k := g.known[pair{net, user}]; k != nil {
		k.failures--
		return
	}
	g.uncount(net, user)
}

func (g *Guard) uncount(net netip.Prefix, user string) {
	for _, t := range []*tries{g.clients[net], g.users[user]} {
		if t == nil {
			continue
		}
		if t.failures--; t.failures <= freeTries {
			t.until = time.Time{}
		}
	}
}

// entryOf returns the entry of key, a new one where there is none or its time
// is over.
func entryOf[K comparable](m map[K]*tries, key K, now time.Time) *tries {
	t := m[key]
	if t == nil || now.Sub(t.last) > forgetAfter && now.After(t.until) {
		makeRoom(m, now, forgetAfter)
		t = &tries{}
		m[key] = t
	}
	return t
}

// makeRoom forgets what is old when there is much, and anything when that is
// not enough.
func makeRoom[K comparable](m map[K]*tries, now time.Time, after time.Duration) {
	if len(m) < maxRemembers {
		return
	}
	for k, t := range m {
		if now.Sub(t.last) > after {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < maxRemembers/2 {
			break
		}
		delete(m, k)
	}
}
