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
	"time"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/conn"
	"mailsrv/server/deliver"
	"mailsrv/server/keys"
	"mailsrv/server/policy"
	"mailsrv/server/pop3"
	"mailsrv/server/queue"
	"mailsrv/server/quota"
	"mailsrv/server/smtp"
	"mailsrv/server/store"
)

// grace is how long a stopping server waits for what is under way.
const grace = 10 * time.Second

// Server is a mail server on one data directory.
type Server struct {
	cfg      *config.Config
	version  string
	log      *slog.Logger
	lock     *store.Lock
	accounts *account.Files
	guard    *account.Guard // accounts for logins
	policy   *policy.Policy
	meter    *quota.Meter
	lang     codes.Lang // of notices
	store    store.Store
	client   *deliver.Client
	queue    *queue.Queue
	tls      *tls.Config
	group    *conn.Group
	bound    []bound
}

type bound struct {
	config.Listener
	ln net.Listener
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

// New locks the data directory and makes ready; the error is
// *store.LockedError when another server has it, *CertError when the
// certificate is unusable, and *PasswordError when the password for the smart
// host cannot be read. lang is that of notices to senders. Without an error, Close or Run ends the server.
func New(cfg *config.Config, version string, lang codes.Lang, log *slog.Logger) (*Server, error) {
	lock, err := store.Acquire(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, version: version, log: log, lock: lock,
		accounts: account.Open(cfg.DataDir, cfg.Domains),
	}
	s.guard = account.NewGuard(s.accounts, cfg.Relay.Networks, log)
	maildirs := store.New(cfg.DataDir)
	maildirs.Keep = cfg.Mailbox.KeepDeleted
	s.store = maildirs
	s.meter, s.lang = quota.New(cfg.DataDir, cfg.Mailbox.Quota), lang
	s.policy = policy.New(cfg, s.accounts)
	s.policy.Rooms, s.policy.Log = s.meter, log
	s.group = &conn.Group{
		Limits: conn.Limits{Total: cfg.Limits.Connections, PerIP: cfg.Limits.ConnectionsPerIP, Idle: cfg.Limits.IdleTimeout},
		Log:    log,
		Panic:  s.crashed,
	}
	err = maildirs.Start(log)
	if err == nil {
		err = s.loadTLS()
	}
	if err == nil {
		err = s.openQueue(lang)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) loadTLS() (err error) {
	switch {
	case !s.cfg.OffersTLS():
	case s.cfg.TLS.Cert != "":
		if s.tls, err = keys.Load(s.cfg.TLS.Cert, s.cfg.TLS.Key); err != nil {
			return &CertError{err}
		}
	default:
		s.tls, err = keys.SelfSigned(s.cfg.DataDir, s.cfg.Hostname, time.Now())
	}
	return err
}

// Listen opens all listeners, or none and returns *ListenError.
func (s *Server) Listen() error {
	for _, l := range s.cfg.Listen {
		ln, err := net.Listen(l.Network(), l.Addr)
		if err != nil {
			s.closeListeners()
			return &ListenError{Service: l.Service, Addr: l.Addr, Err: err}
		}
		s.bound = append(s.bound, bound{l, ln})
	}
	s.client.Own = deliver.OwnAddrs(s.smtpAddrs())
	return nil
}

func (s *Server) closeListeners() {
	for _, b := range s.bound {
		_ = b.ln.Close()
	}
	s.bound = nil
}

// Addrs is where each service listens, after Listen.
func (s *Server) Addrs() []store.RunAddr {
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
	all, damaged, err := s.accounts.List()
	if err != nil || len(damaged) > 0 {
		return account.Account{}, "", false, err
	}
	if len(all) > 0 {
		return account.Account{}, "", false, s.required(all)
	}
	password = account.GeneratePassword()
	a, err = s.accounts.Add("postmaster", s.cfg.Domains[0], password)
	return a, password, err == nil, err
}

func (s *Server) required(all []account.Account) error {
	all = slices.DeleteFunc(all, func(a account.Account) bool { return !a.Mailbox || !a.Expires.IsZero() })
	if len(all) == 0 {
		return nil
	}
	oldest := slices.MinFunc(all, func(a, b account.Account) int { return a.Created.Compare(b.Created) })
	for _, role := range []string{"postmaster", "abuse"} {
		domain := s.accounts.Domains()[0]
		if _, err := s.accounts.Resolve(role, domain); !errors.Is(err, account.ErrNotFound) {
			continue
		}
		if err := s.accounts.SetForward(role, domain, []string{oldest.Address()}); err != nil {
			return err
		}
		s.log.Info("required address made", "address", role+"@"+domain, "goes_to", oldest.Address())
	}
	return nil
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
	for _, b := range s.bound {
		s.log.Info("listening", "service", b.Service, "addr", b.ln.Addr().String())
		s.group.Serve(b.Service, b.ln, s.handler(b.Listener))
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.sweep(ctx) })
	wg.Go(func() { s.expire(ctx) })
	wg.Go(func() { s.queue.Run(ctx) })
	<-ctx.Done()
	s.log.Info("stopping")
	s.guard.Close()
	stopCtx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	cut := s.group.Stop(stopCtx)
	wg.Wait()
	err := s.store.Close()
	s.log.Info("stopped", "sessions_cut", cut)
	return errors.Join(err, s.lock.Release())
}

func (s *Server) announce() error {
	file := s.cfg.File
	if file != "" {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
	}
	return s.lock.Announce(s.cfg.DataDir, store.Run{
		PID: os.Getpid(), Version: s.version, Config: file, Started: time.Now().UTC().Truncate(time.Second), Listen: s.Addrs(),
	})
}

// popLogin opens relaying for the client of a POP login where that is on.
func (s *Server) popLogin(user string, client netip.Addr) {
	if s.policy.Passes != nil {
		s.policy.Passes.LoggedIn(user, client, s.log)
	}
}

func (s *Server) handler(l config.Listener) conn.Handler {
	c := s.cfg
	log := s.log
	switch l.Service {
	case config.POP3, config.POP3S:
		return &pop3.Server{
			LoggedIn: s.popLogin,
			Service:  l.Service, Hostname: c.Hostname,
			TLS: s.tls, ImplicitTLS: l.ImplicitTLS(), RequireTLS: c.Auth.RequireTLS,
			Mechanisms: c.Auth.Mechanisms, Accounts: s.guard, Store: s.store, Log: log,
			// RFC 1939 3 asks for ten minutes where SMTP makes do with five.
			Limits: pop3.Limits{AuthFailures: c.Limits.AuthFailures, Idle: 2 * c.Limits.IdleTimeout},
		}
	default:
		return &smtp.Server{
			Service: l.Service, Hostname: c.Hostname,
			TLS: s.tls, ImplicitTLS: l.ImplicitTLS(), RequireTLS: c.Auth.RequireTLS,
			Mechanisms: c.Auth.Mechanisms, Accounts: s.guard, Log: log,
			Backend: &backend{policy: s.policy, store: s.store, queue: s.queue, meter: s.meter, warn: s.warnFull, log: log},
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
	expired, err := s.accounts.Expired()
	if err != nil {
		s.log.Error("temporary accounts cannot be listed", "error", err)
	}
	for _, a := range expired {
		err := errors.Join(s.accounts.Remove(a.Name, a.Domain), s.store.Remove(boxOf(a)))
		if err != nil {
			s.log.Error("temporary account cannot be removed", "user", a.Address(), "error", err)
			continue
		}
		s.log.Info("temporary account removed", "user", a.Address())
	}
}
