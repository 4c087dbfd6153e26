package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/deliver"
	"mailsrv/server/queue"
	"mailsrv/server/store"
)

// PasswordError says that the password for the smart host cannot be read.
type PasswordError struct{ Err error }

func (e *PasswordError) Error() string { return e.Err.Error() }
func (e *PasswordError) Unwrap() error { return e.Err }

// newClient makes the client that a configuration asks for.
func newClient(cfg *config.Config, smart *deliver.SmartHost) *deliver.Client {
	return deliver.New(deliver.Config{
		Hostname:  cfg.Hostname,
		Resolver:  deliver.NewResolver(cfg.DNS.Servers),
		SmartHost: func(string) *deliver.SmartHost { return smart },
	})
}

func (s *Server) queueOptions(st *state) queue.Options {
	return queue.Options{
		Hostname:     st.cfg.Hostname,
		Retry:        queue.Retry(st.cfg.Retry),
		Log:          s.log,
		Lang:         func(string) codes.Lang { return s.lang },
		Destination:  st.client.Destination,
		Courier:      func(d deliver.Destination) queue.Courier { return st.client.Courier(d) },
		Post:         s.post,
		DoubleBounce: s.postmaster,
		Grace:        grace,
	}
}

func smartHost(r config.Relay) (*deliver.SmartHost, error) {
	if r.SmartHost == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(r.SmartHost)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	password, err := r.Auth.Secret()
	return &deliver.SmartHost{Host: host, Port: uint16(n), Username: r.Auth.Username, Password: password}, err
}

// smtpAddrs is where this server itself takes mail.
func (s *Server) smtpAddrs() (out []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.bound {
		switch b.Service {
		case config.SMTP, config.Submission, config.Submissions:
			if a, ok := b.ln.Addr().(*net.TCPAddr); ok {
				out = append(out, a.AddrPort())
			}
		}
	}
	return out
}

// post takes in a notice for a sender.
func (s *Server) post(n queue.Notice) error {
	name, domain, _ := account.SplitAddress(n.To)
	d, err := config.ParseDomain(domain)
	if err != nil || !slices.Contains(s.accounts().Domains(), d) {
		return s.postOut(n, []string{n.To})
	}
	route, err := s.accounts().Resolve(name, d)
	var dead *account.ForwardError
	if errors.Is(err, account.ErrNotFound) || errors.As(err, &dead) {
		// Whoever sent it is gone: there is nobody to tell.
		s.log.Warn("notice dropped", "id", n.About, "notice", n.ID, "to", n.To, "why", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if len(route.Remote) > 0 && s.cfg().Relay.Allow {
		var to []string
		for _, r := range route.Remote {
			to = append(to, r.To)
		}
		if err := s.postOut(n, to); err != nil {
			return err
		}
	}
	if len(route.Boxes) == 0 {
		return nil
	}
	var to []store.Box
	for _, a := range route.Boxes {
		to = append(to, boxOf(a))
	}
	m, err := s.store.Begin(n.ID, to)
	if err != nil {
		return err
	}
	defer m.Abort()
	if _, err := io.WriteString(m, "Return-Path: <>\r\n"); err != nil {
		return err
	}
	if err := n.Write(m); err != nil {
		return err
	}
	return m.Commit()
}

// postOut sends a notice to addresses elsewhere.
func (s *Server) postOut(n queue.Notice, addresses []string) error {
	to := make([]queue.Recipient, len(addresses))
	for i, a := range addresses {
		to[i].Address = a
	}
	m, err := s.queue.Begin(queue.Envelope{ID: n.ID, Notice: n.Kind, UTF8: true, Recipients: to})
	if err != nil {
		return err
	}
	defer m.Abort()
	if err := n.Write(m); err != nil {
		return err
	}
	return m.Commit()
}

// postmaster is who hears of a message that failed and has no sender: nobody
// where there is no such address.
func (s *Server) postmaster(*queue.Envelope) string {
	address := "postmaster@" + s.cfg().Domains[0]
	if _, err := s.accounts().Resolve("postmaster", s.cfg().Domains[0]); err != nil {
		s.log.Warn("nobody hears of failed bounces: there is no "+address+" (mailsrv user add --required)", "error", err)
		return ""
	}
	return address
}
