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
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/deliver"
	"mailsrv/server/queue"
	"mailsrv/server/store"
)

// PasswordError says that the password for a smart host cannot be read, and
// which setting names it.
type PasswordError struct {
	Key string
	Err error
}

func (e *PasswordError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *PasswordError) Unwrap() error { return e.Err }

// newClient makes the client that a configuration asks for.
func newClient(cfg *config.Config, ways smartHosts) *deliver.Client {
	return deliver.New(deliver.Config{
		Hostname:  cfg.Hostname,
		Resolver:  deliver.NewResolver(cfg.DNS.Servers),
		SmartHost: ways.of,
	})
}

// smartHosts say which way a sender's mail goes.
type smartHosts struct {
	usual  *deliver.SmartHost // nil: straight to the mail hosts
	routes []smartRoute
}

type smartRoute struct {
	senders []address.Pattern
	host    *deliver.SmartHost
}

func (w smartHosts) of(sender string) *deliver.SmartHost {
	if len(w.routes) == 0 {
		return w.usual
	}
	var a address.Address // the null sender
	if sender != "" {
		var err error
		if a, err = address.Parse(sender); err != nil {
			return w.usual
		}
	}
	for _, r := range w.routes {
		if slices.ContainsFunc(r.senders, func(p address.Pattern) bool { return p.Match(a) }) {
			return r.host
		}
	}
	return w.usual
}

// newSmartHosts reads the passwords. The same host with the same login is one
// smart host, whose connections are shared; with another login it is another.
func newSmartHosts(r config.Relay) (w smartHosts, err error) {
	type login struct {
		host string
		auth config.RelayAuth
	}
	known := map[login]*deliver.SmartHost{}
	for _, way := range r.Ways() {
		h, err := smartHost(way)
		if err != nil {
			return w, &PasswordError{way.PasswordKey(), err}
		}
		known[login{way.SmartHost, way.Auth}] = h
	}
	w.usual = known[login{r.SmartHost, r.Auth}]
	for _, route := range r.Routes {
		w.routes = append(w.routes, smartRoute{route.Senders, known[login{route.SmartHost, route.Auth}]})
	}
	return w, nil
}

func (s *Server) queueOptions(st *state) queue.Options {
	return queue.Options{
		Hostname:     st.cfg.Hostname,
		Retry:        queue.Retry(st.cfg.Retry),
		Log:          s.log,
		Lang:         s.langOf,
		Destination:  st.client.Destination,
		Courier:      func(d deliver.Destination) queue.Courier { return st.client.Courier(d) },
		Post:         s.post,
		DoubleBounce: s.postmaster,
		Grace:        grace,
	}
}

func smartHost(way config.Way) (*deliver.SmartHost, error) {
	host, port, err := net.SplitHostPort(way.SmartHost)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	password, err := way.Auth.Secret()
	return &deliver.SmartHost{Host: host, Port: uint16(n), Username: way.Auth.Username, Password: password}, err
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

// langOf is the language in which this server writes to an address: that of the
// account, or of the first one that its mail goes to and that has one, else the
// configuration's, which those elsewhere get, too.
func (s *Server) langOf(address string) codes.Lang {
	name, domain, _ := account.SplitAddress(address)
	accounts := s.accounts()
	if d, err := config.ParseDomain(domain); err == nil && slices.Contains(accounts.Domains(), d) {
		var all []account.Account
		if a, err := accounts.Lookup(name, d); err == nil {
			all = append(all, a)
		}
		if route, err := accounts.Resolve(name, d); err == nil {
			all = append(all, route.Boxes...)
		}
		for _, a := range all {
			if lang, ok := codes.ParseLang(a.Lang); ok {
				return lang
			}
		}
	}
	if lang, ok := codes.ParseLang(s.cfg().Lang); ok {
		return lang
	}
	return s.lang
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
