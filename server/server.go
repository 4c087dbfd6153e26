// Package server puts the rooms together: it takes a configuration, locks the
// data directory, listens everywhere or nowhere, serves until it is told to
// stop, and lets what is under way finish.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/conn"
	"mailsrv/server/deliver"
	"mailsrv/server/keys"
	"mailsrv/server/policy"
	"mailsrv/server/pop3"
	"mailsrv/server/privilege"
	"mailsrv/server/queue"
	"mailsrv/server/quota"
	"mailsrv/server/smtp"
	"mailsrv/server/store"
)

// grace is how long a stopping server waits for what is under way.
const grace = 30 * time.Second

// Server is a mail server on one data directory.
//
// What follows from the configuration is a state, which Reload replaces as a
// whole. What has to outlive a reload is a field here.
type Server struct {
	version string
	log     *slog.Logger
	dataDir string
	lang    codes.Lang // of notices, where the configuration names none
	started time.Time
	user    *privilege.User
	lock    *store.Lock
	store   store.Store
	queue   *queue.Queue
	group   *conn.Group
	state   atomic.Pointer[state]

	serving   chan struct{} // closed once Run serves
	reloading sync.Mutex
	stopping  atomic.Bool

	mu    sync.Mutex
	bound []*bound
	web   *webs
}

// state is what a configuration leads to.
type state struct {
	cfg      *config.Config
	accounts *account.Files
	guard    *account.Guard // accounts for logins
	policy   *policy.Policy
	meter    *quota.Meter
	tls      *tls.Config
	client   *deliver.Client
}

// bound is a listener that is open.
type bound struct {
	config.Listener
	ln      net.Listener
	service *conn.Service // nil before Run, and for HTTP
}

// ListenError says which address a service could not listen on, and what the
// system said.
type ListenError struct {
	Service string
	Addr    string
	Err     error // wraps the system's error number
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("%s cannot listen on %s: %v", e.Service, e.Addr, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// CertError says that the certificate of the configuration cannot be used.
type CertError struct{ Err error }

func (e *CertError) Error() string { return e.Err.Error() }
func (e *CertError) Unwrap() error { return e.Err }

// UserError says that the server cannot become the user of the configuration.
type UserError struct{ Err error }

func (e *UserError) Error() string { return e.Err.Error() }
func (e *UserError) Unwrap() error { return e.Err }

// New locks the data directory and makes ready; the error is
// *store.LockedError when another server has it, *CertError when the
// certificate is unusable, *PasswordError when the password for a smart host
// cannot be read, and *UserError when the configuration names a user that the
// server cannot become. lang is that of notices where cfg names none. Without an error,
// Close or Run ends the server.
func New(cfg *config.Config, version string, lang codes.Lang, log *slog.Logger) (*Server, error) {
	user, err := privilege.Begin(cfg.User, cfg.DataDir)
	if err != nil {
		return nil, &UserError{err}
	}
	lock, err := store.Acquire(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		version: version, log: log, dataDir: cfg.DataDir, lang: lang, started: time.Now(), user: user, lock: lock,
		serving: make(chan struct{}),
	}
	maildirs := store.New(cfg.DataDir)
	maildirs.Keep = cfg.Mailbox.KeepDeleted
	keeper := queue.NewKeeper(cfg.DataDir)
	maildirs.Tenant = keeper
	s.store = maildirs
	s.group = &conn.Group{Limits: connLimits(cfg), Log: log, Panic: s.crashed}
	s.web = &webs{s: s}
	var st *state
	if err = maildirs.Start(log); err == nil {
		st, err = s.prepare(cfg)
	}
	if err == nil {
		s.state.Store(st)
		// Also where no mail may go out: what lies there from before still
		// does, and the queue commands work.
		s.queue, err = keeper.Open(maildirs.Journal(), s.queueOptions(st))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connLimits(c *config.Config) conn.Limits {
	return conn.Limits{Total: c.Limits.Connections, PerIP: c.Limits.ConnectionsPerIP, Idle: c.Limits.IdleTimeout}
}

// prepare reads what a configuration names and changes nothing yet.
func (s *Server) prepare(cfg *config.Config) (*state, error) {
	st := &state{cfg: cfg, accounts: account.Open(cfg.DataDir, cfg.Domains)}
	for _, n := range cfg.Relay.Networks {
		if config.HoldsStrangers(n) && cfg.Relay.Allow {
			s.log.Warn("open relay: strangers may send to strangers through this server", "setting", "relay.networks", "network", n.String())
		}
	}
	if old := s.state.Load(); old == nil {
		st.guard = account.NewGuard(st.accounts, cfg.Relay.Networks, s.log)
	} else {
		st.guard = old.guard.With(st.accounts, cfg.Relay.Networks)
	}
	st.meter = quota.New(cfg.DataDir, cfg.Mailbox.Quota)
	st.policy = policy.New(cfg, st.accounts)
	st.policy.Rooms, st.policy.Log = st.meter, s.log
	var ways smartHosts
	err := s.user.AsRoot(func() (err error) { // keys and passwords are often root's
		if st.tls, err = loadTLS(cfg); err == nil {
			ways, err = newSmartHosts(cfg.Relay)
		}
		return err
	})
	if err == nil && cfg.OffersTLS() && st.tls == nil {
		st.tls, err = keys.SelfSigned(cfg.DataDir, cfg.Hostname, time.Now())
	}
	st.client = newClient(cfg, ways)
	return st, err
}

// loadTLS reads the certificate of the configuration, if it names one.
func loadTLS(cfg *config.Config) (*tls.Config, error) {
	if !cfg.OffersTLS() || cfg.TLS.Cert == "" {
		return nil, nil
	}
	c, err := keys.Load(cfg.TLS.Cert, cfg.TLS.Key)
	if err != nil {
		return nil, &CertError{err}
	}
	return c, nil
}

func (s *Server) cfg() *config.Config { return s.state.Load().cfg }

func (s *Server) accounts() *account.Files { return s.state.Load().accounts }

// Listen opens all listeners, or none and returns *ListenError. After it root's
// rights are gone.
func (s *Server) Listen() error {
	st := s.state.Load()
	opened, err := s.open(slices.Concat(st.cfg.Listen, st.cfg.Web))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.bound = opened
	s.mu.Unlock()
	st.client.Own = deliver.OwnAddrs(s.smtpAddrs())
	if err := s.user.Drop(); err != nil {
		s.closeListeners()
		return &UserError{err}
	}
	return nil
}

// open opens listeners, all or none.
func (s *Server) open(listeners []config.Listener) ([]*bound, error) {
	var out []*bound
	for _, l := range listeners {
		var ln net.Listener
		err := s.user.AsRoot(func() (err error) {
			ln, err = net.Listen(l.Network(), l.Addr)
			return err
		})
		if err != nil {
			for _, b := range out {
				_ = b.ln.Close()
			}
			return nil, &ListenError{Service: l.Service, Addr: l.Addr, Err: err}
		}
		out = append(out, &bound{Listener: l, ln: ln})
	}
	return out, nil
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bound {
		_ = b.ln.Close()
	}
	s.bound = nil
}

// Addrs is where each service listens, after Listen.
func (s *Server) Addrs() []store.RunAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.RunAddr
	for _, b := range s.bound {
		out = append(out, store.RunAddr{Service: b.Service, Addr: b.ln.Addr().String()})
	}
	return out
}

// FirstAccount makes the account postmaster in the main domain, with a
// generated password, if there is no account at all. created is false when
// there is one: then it sees to it that mail for postmaster and abuse, which
// every domain must have, reaches the oldest.
func (s *Server) FirstAccount() (a account.Account, password string, created bool, err error) {
	all, damaged, err := s.accounts().List()
	if err != nil || len(damaged) > 0 {
		return account.Account{}, "", false, err
	}
	if len(all) > 0 {
		domain := s.accounts().Domains()[0]
		_, err := s.required("postmaster", domain)
		_, abuse := s.required("abuse", domain)
		return account.Account{}, "", false, errors.Join(err, abuse)
	}
	password = account.GeneratePassword()
	a, err = s.accounts().Add("postmaster", s.cfg().Domains[0], password)
	return a, password, err == nil, err
}

// required makes a role address of a domain lead to its oldest account, or to
// the oldest of all, if it leads nowhere. ok tells whether it leads somewhere.
func (s *Server) required(role, domain string) (ok bool, err error) {
	if _, err := s.accounts().Resolve(role, domain); !errors.Is(err, account.ErrNotFound) {
		return err == nil, nil
	}
	all, damaged, err := s.accounts().List()
	all = slices.DeleteFunc(all, func(a account.Account) bool { return !a.Mailbox || !a.Expires.IsZero() })
	if err != nil || len(damaged) > 0 || len(all) == 0 {
		return false, err
	}
	oldest := slices.MinFunc(all, func(a, b account.Account) int {
		if here := a.Domain == domain; here != (b.Domain == domain) {
			return map[bool]int{true: -1, false: 1}[here]
		}
		return a.Created.Compare(b.Created)
	})
	if err := s.accounts().SetForward(role, domain, []string{oldest.Address()}); err != nil {
		return false, err
	}
	s.log.Info("required address made", "address", role+"@"+domain, "goes_to", oldest.Address())
	return true, nil
}

// Close ends a server that does not Run.
func (s *Server) Close() error {
	s.closeListeners()
	return errors.Join(s.store.Close(), s.lock.Release())
}

// Run serves until ctx ends, then finishes what is under way, for a while. It
// returns when nothing of the server is left.
func (s *Server) Run(ctx context.Context) error {
	if err := s.announce(); err != nil {
		return errors.Join(err, s.Close())
	}
	webCtx, stopWeb := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWeb()
	s.mu.Lock()
	s.web.ctx = webCtx
	for _, b := range s.bound {
		s.serve(b, s.state.Load())
	}
	s.mu.Unlock()
	close(s.serving)
	var wg sync.WaitGroup
	wg.Go(func() { s.sweep(ctx) })
	wg.Go(func() { s.expire(ctx) })
	wg.Go(func() { s.queue.Run(ctx) })
	<-ctx.Done()
	s.stopping.Store(true)
	s.reloading.Lock() // none from here on
	defer s.reloading.Unlock()
	s.log.Info("stopping", "sessions", s.sessions())
	s.state.Load().guard.Close()
	stopCtx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	cut := s.group.Stop(stopCtx)
	wg.Wait()
	stopWeb()
	s.web.wg.Wait()
	err := s.store.Close()
	s.log.Info("stopped", "sessions_cut", cut)
	return errors.Join(err, s.lock.Release())
}

// serve begins to answer on a listener. s.mu is held.
func (s *Server) serve(b *bound, st *state) {
	s.log.Info("listening", "service", b.Service, "addr", b.ln.Addr().String())
	if b.Service == config.Web {
		s.web.serve(b.ln)
		return
	}
	b.service = s.group.Serve(b.Service, b.ln, s.handler(b.Listener, st))
}

func (s *Server) sessions() (n int) {
	for _, open := range s.group.Open() {
		n += open
	}
	return n
}

func (s *Server) announce() error {
	file := s.cfg().File
	if file != "" {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
	}
	return s.lock.Announce(s.dataDir, store.Run{
		PID: os.Getpid(), Version: s.version, Config: file, Started: s.started.UTC().Truncate(time.Second), Listen: s.Addrs(),
	})
}

// popLogin opens relaying for the client of a POP login where that is on.
func (s *Server) popLogin(user string, client netip.Addr) {
	if passes := s.state.Load().policy.Passes; passes != nil {
		passes.LoggedIn(user, client, s.log)
	}
}

func (s *Server) handler(l config.Listener, st *state) conn.Handler {
	c := st.cfg
	log := s.log
	switch l.Service {
	case config.POP3, config.POP3S:
		return &pop3.Server{
			LoggedIn: s.popLogin,
			Service:  l.Service, Hostname: c.Hostname,
			TLS: st.tls, ImplicitTLS: l.ImplicitTLS(), RequireTLS: c.Auth.RequireTLS,
			Mechanisms: c.Auth.Mechanisms, Accounts: st.guard, Store: s.store, Log: log,
			// RFC 1939 3 asks for ten minutes where SMTP makes do with five.
			Limits: pop3.Limits{AuthFailures: c.Limits.AuthFailures, Idle: 2 * c.Limits.IdleTimeout},
		}
	default:
		return &smtp.Server{
			Service: l.Service, Hostname: c.Hostname,
			TLS: st.tls, ImplicitTLS: l.ImplicitTLS(), RequireTLS: c.Auth.RequireTLS,
			Mechanisms: c.Auth.Mechanisms, Accounts: st.guard, Log: log,
			Backend: &backend{policy: st.policy, store: s.store, queue: s.queue, meter: st.meter, warn: s.warnFull, required: s.required, log: log},
			Limits:  smtp.Limits{MessageSize: c.Limits.MessageSize, Recipients: c.Limits.Recipients, AuthFailures: c.Limits.AuthFailures, Idle: c.Limits.IdleTimeout},
		}
	}
}

// sweepEvery is how often temporary accounts are looked for whose time is over
// and whose maker has not come back.
const sweepEvery = time.Minute

func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		s.sweepOnce()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Server) sweepOnce() {
	expired, err := s.accounts().Expired()
	if err != nil {
		s.log.Error("temporary accounts cannot be listed", "error", err)
	}
	for _, a := range expired {
		err := errors.Join(s.accounts().Remove(a.Name, a.Domain), s.store.Remove(boxOf(a)))
		if err != nil {
			s.log.Error("temporary account cannot be removed", "user", a.Address(), "error", err)
			continue
		}
		s.log.Info("temporary account removed", "user", a.Address())
	}
}
