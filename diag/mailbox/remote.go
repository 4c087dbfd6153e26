package mailbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/pop3"
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
	r, err := OpenRemote(ctx, s)
	if err != nil {
		return nil, false, err
	}
	return r, r.Clear, nil
}

// CertError says that the server may not be the one it should be, and gets no password.
type CertError struct{ Fault string }

func (e *CertError) Error() string {
	return "the server's certificate is not good (" + e.Fault + "); no password was sent. --ca-file, --name or --tls none may help"
}

// ErrNoSTLS says that TLS was asked for and is not to be had.
var ErrNoSTLS = errors.New("the server does not offer STARTTLS; no password was sent")

// OpenRemote connects to a POP3 server and logs in.
func OpenRemote(ctx context.Context, s Server) (box *Remote, err error) {
	r := &Remote{server: s}
	if err := r.login(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Remote is a mailbox on a POP3 server.
type Remote struct {
	server Server
	c      *pop3.Conn
	// Clear: the password went over the network without TLS.
	Clear bool
	// tops counts the headers that the server has handed out: one of them
	// shows that it knows TOP.
	tops       int
	reconnects int
}

func (r *Remote) login(ctx context.Context) error {
	s := r.server
	c, err := pop3.Dial(ctx, s.Address(), s.options())
	if err != nil {
		return err
	}
	if err := r.introduce(c); err != nil {
		c.Close()
		return err
	}
	r.c = c
	return nil
}

// introduce goes from the greeting to the login.
func (r *Remote) introduce(c *pop3.Conn) error {
	s := r.server
	if _, err := c.Greeting(); err != nil {
		return err
	}
	if err := capa(c); err != nil {
		return err
	}
	if c.TLS == nil && s.TLS != TLSNone {
		switch {
		case c.Has("STLS"):
			if _, err := c.StartTLS(); err != nil {
				return err
			}
			if err := capa(c); err != nil {
				return err
			}
		case s.TLS == TLSStart:
			return ErrNoSTLS
		}
	}
	var err error
	if r.Clear, err = trusted(c.Addr, c.TLS); err != nil {
		return err
	}
	_, err = c.Login(s.User, s.Password)
	return err
}

// capa asks for the capabilities; servers from before RFC 2449 refuse that.
func capa(c *pop3.Conn) error {
	_, err := c.Capa()
	if refused(err) {
		return nil
	}
	return err
}

// refused tells whether the server answered -ERR, so that the conversation can
// go on.
func refused(err error) bool {
	e := pop3.As(err)
	return e != nil && e.Err == nil
}

// Close ends the session; nothing is deleted by it.
func (r *Remote) Close() error {
	if r.c == nil {
		return nil
	}
	_, err := r.c.Quit()
	r.c = nil
	return err
}

// List implements Box. A server without UIDL gives no ids.
func (r *Remote) List(context.Context) ([]Message, error) {
	sizes, err := r.c.List()
	if err != nil {
		return nil, err
	}
	uids, err := r.c.Uidl()
	if err != nil && !refused(err) {
		return nil, err
	}
	at := map[int]string{}
	for _, m := range uids {
		at[m.Number] = m.UID
	}
	out := []Message{}
	for _, m := range sizes {
		out = append(out, Message{Number: m.Number, UID: at[m.Number], Size: m.Size})
	}
	return out, nil
}

// maxReconnects is how many messages may break the connection before it is
// given up.
const maxReconnects = 5

// Head implements Box, by TOP. A message on which the server hangs or drops the
// connection costs only itself: it is asked for the others in a new session.
func (r *Remote) Head(ctx context.Context, m Message, lines int) ([]byte, error) {
	head, err := r.c.Top(m.Number, lines, maxHead)
	switch {
	case err == nil:
		r.tops++
		return head, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case refused(err) && r.tops == 0 && !r.c.Has("TOP"):
		return nil, ErrNoHead
	case refused(err):
		return nil, &MessageError{m.Number, err}
	}
	if rerr := r.again(ctx, m); rerr != nil {
		return nil, fmt.Errorf("message %d: %w; after it: %w", m.Number, err, rerr)
	}
	return nil, &MessageError{m.Number, err}
}

// again logs in anew after the connection was lost, and makes sure that the
// messages have kept their numbers.
func (r *Remote) again(ctx context.Context, m Message) error {
	_ = r.c.Close() // it is dead
	if r.reconnects++; r.reconnects > maxReconnects {
		return errors.New("the connection breaks again and again")
	}
	// The server may need a moment to see that the old session is over.
	for try := 1; ; try++ {
		err := r.login(ctx)
		if err == nil {
			break
		}
		if e := pop3.As(err); e == nil || e.How != dial.InUse || try == 5 {
			return err
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	ms, err := r.List(ctx)
	if err != nil {
		return err
	}
	for _, x := range ms {
		if x.Number == m.Number && x.UID == m.UID && x.Size == m.Size {
			return nil
		}
	}
	return errChangedMeanwhile
}

var errChangedMeanwhile = errors.New("the mailbox has changed meanwhile; list it again")

// maxMessage is the largest message that is fetched, in octets.
const maxMessage = 2 << 30

// Copy implements Box, by RETR.
func (r *Remote) Copy(_ context.Context, m Message, w io.Writer) error {
	b, err := r.c.Retr(m.Number, min(maxMessage, 2*m.Size+1<<20))
	if err != nil {
		return &MessageError{m.Number, err}
	}
	_, err = w.Write(b)
	return err
}

// ErrUncertain says that the server did not confirm a deletion.
var ErrUncertain = errors.New("the server did not confirm it; list the mailbox to see whether it is gone")

// Delete implements Box: DELE each, then QUIT, which makes the server do it.
// When one cannot be deleted, none is. The session is over then.
func (r *Remote) Delete(_ context.Context, ms []Message) error {
	c := r.c
	r.c = nil
	for _, m := range ms {
		if _, err := c.Dele(m.Number); err != nil {
			_ = c.Close() // without QUIT nothing is deleted
			return &MessageError{m.Number, err}
		}
	}
	if _, err := c.Quit(); err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return nil
}
