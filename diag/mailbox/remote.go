package mailbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Protocols of a server.
const (
	POP3 = "pop3"
	IMAP = "imap"
)

// TLS modes of a connection.
const (
	TLSAuto     = "auto"     // ports 993 and 995: from the start; else STARTTLS where offered
	TLSNone     = "none"     // never
	TLSStart    = "starttls" // STARTTLS, or no login
	TLSImplicit = "implicit" // from the start
)

// Server is an account on a server. Host, User and Password are required.
type Server struct {
	Protocol       string // empty: IMAP on ports 143 and 993, else POP3
	Host           string
	Port           int    // 0: 110 or 143, or with TLSImplicit 995 or 993
	TLS            string // empty: TLSAuto
	Name           string // that the certificate must carry; empty: Host
	User, Password string
	RootCAs        *x509.CertPool
	Timeout        time.Duration // of each step; 0: 10 s
	Dialer         dial.Dialer   // nil: dial.System
}

// Address is where the server listens.
func (s Server) Address() string {
	port := s.Port
	if port == 0 {
		plain, tls := 110, 995
		if s.Protocol == IMAP {
			plain, tls = 143, 993
		}
		port = plain
		if s.TLS == TLSImplicit {
			port = tls
		}
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(port))
}

// Speaks is the protocol that is spoken.
func (s Server) Speaks() string {
	if s.Protocol == "" && (s.Port == 143 || s.Port == 993) {
		return IMAP
	}
	return cmp.Or(s.Protocol, POP3)
}

// implicit tells whether TLS comes first.
func (s Server) implicit() bool {
	_, port, _ := net.SplitHostPort(s.Address())
	return s.TLS == TLSImplicit || s.TLS != TLSNone && s.TLS != TLSStart && (port == "995" || port == "993")
}

func (s Server) options() wire.Options {
	return wire.Options{Dialer: s.Dialer, Timeout: s.Timeout, RootCAs: s.RootCAs, ServerName: cmp.Or(s.Name, s.Host), ImplicitTLS: s.implicit()}
}

// trusted makes sure that a password goes to the right server, and tells
// whether it would go without TLS over a network.
func trusted(addr string, t *wire.TLS) (clear bool, err error) {
	ap, perr := netip.ParseAddrPort(addr)
	loopback := perr == nil && ap.Addr().Unmap().IsLoopback()
	if t != nil && t.Fault != "" && !loopback {
		return false, &CertError{t.Fault}
	}
	return t == nil && !loopback, nil
}

// OpenServer connects and logs in; clear tells that the password went over the
// network without TLS.
func OpenServer(ctx context.Context, s Server) (box Box, clear bool, err error) {
	if s.Speaks() == IMAP {
		r, err := openIMAP(ctx, s)
		if err != nil {
			return nil, false, err
		}
		return r, r.clear, nil
	}
	r, err := openPOP3(ctx, s)
	if err != nil {
		return nil, false, err
	}
	return r, r.clear, nil
}

// CertError says that the server may not be the one it should be, and gets no password.
type CertError struct{ Fault string }

func (e *CertError) Error() string {
	return "the server's certificate is not good (" + e.Fault + "); no password was sent. --ca-file, --name or --tls none may help"
}

// ErrNoSTLS says that TLS was asked for and is not to be had.
var ErrNoSTLS = errors.New("the server does not offer STARTTLS; no password was sent")

// ErrUncertain says that the server did not confirm a deletion.
var ErrUncertain = errors.New("the server did not confirm it; list the mailbox to see whether it is gone")

var errChangedMeanwhile = errors.New("the mailbox has changed meanwhile; list it again")

const (
	// maxReconnects is how many messages may break the connection before it is
	// given up.
	maxReconnects = 5
	// maxMessage is the largest message that is fetched, in octets.
	maxMessage = 2 << 30
)

// remote is what mailboxes on servers share.
type remote struct {
	server     Server
	clear      bool // the password went over the network without TLS
	reconnects int
}

// secure starts TLS where it is offered and wanted, and makes sure that the
// password may go out.
func (r *remote) secure(c *wire.Conn, offered bool, start func() error) (err error) {
	if c.TLS == nil && r.server.TLS != TLSNone {
		switch {
		case offered:
			if err := start(); err != nil {
				return err
			}
		case r.server.TLS == TLSStart:
			return ErrNoSTLS
		}
	}
	r.clear, err = trusted(c.Addr, c.TLS)
	return err
}

// resume logs in anew after the connection was lost, and makes sure that the
// messages have kept their numbers.
func (r *remote) resume(ctx context.Context, m Message, login func(context.Context) ([]Message, error)) error {
	if r.reconnects++; r.reconnects > maxReconnects {
		return errors.New("the connection breaks again and again")
	}
	ms, err := login(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(ms, func(x Message) bool { return x.Number == m.Number && x.UID == m.UID && x.Size == m.Size }) {
		return errChangedMeanwhile
	}
	return nil
}
