// Package pop3 speaks the server's side of POP3 (RFC 1939) with CAPA (RFC
// 2449), STLS (RFC 2595), SASL logins (RFC 5034), UTF8 (RFC 6856) and response
// codes (RFC 2449, 3206). Messages are sent as they are in either mode: what is
// not ASCII in a header is more use to a client than a refusal. Accounts and mailboxes are behind account.Directory and store.Store.
//
// A mailbox is locked by the session that has it open and by nothing else, so
// that a lock ends with its connection. Messages are deleted at QUIT only.
package pop3

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/metrics"
	"mailsrv/server/store"
)

// Server is the engine for one listener.
type Server struct {
	Service     string // "pop3" or "pop3s", for the log
	Hostname    string
	TLS         *tls.Config // nil: no TLS
	ImplicitTLS bool        // TLS before the greeting
	RequireTLS  bool        // logins need TLS on addresses other than loopback
	Mechanisms  []string    // SASL mechanisms in the order to announce
	Accounts    account.Directory
	Store       store.Store
	Limits      Limits
	Log         *slog.Logger

	// LoggedIn is told of each login, when the mailbox is open; nil: nobody.
	LoggedIn func(user string, client netip.Addr)
}

// Limits of a session.
type Limits struct {
	AuthFailures int           // until the session is ended
	Idle         time.Duration // for one command; RFC 1939 3 asks for 10 minutes
	Login        time.Duration // from the greeting to the end of the login; 0: 3 minutes
}

// Labels "result" of logins: ok, failed (name or password), throttled, in_use,
// error.
var (
	logins    = metrics.NewCounter("mailsrv_pop3_logins_total", "Logins.", "service", "result")
	retrieved = metrics.NewCounter("mailsrv_pop3_retrieved_total", "Messages that were sent whole to their owners.", "service")
	octets    = metrics.NewCounter("mailsrv_pop3_octets_total", "Octets of the messages and parts of messages that were sent.", "service")
	deletions = metrics.NewCounter("mailsrv_pop3_deleted_total", "Messages deleted at the end of sessions.", "service")
)

// Serve implements conn.Handler.
func (s *Server) Serve(c *conn.Conn) {
	ss := &session{srv: s, c: c}
	login := s.Limits.Login
	if login == 0 {
		login = loginTime
	}
	ss.loginBy = time.Now().Add(login)
	ss.log = s.Log.With("session", c.ID, "service", s.Service, "client", c.Remote().Addr().String())
	defer ss.close()
	ss.run()
}

// Refuse implements conn.Handler.
func (s *Server) Refuse(c *conn.Conn, why string) {
	if !s.ImplicitTLS { // inside TLS nothing can be said before a handshake
		_, _ = c.W.WriteString("-ERR [SYS/TEMP] " + why + "; try again later\r\n")
	}
}

// Crashed implements conn.Handler.
func (s *Server) Crashed(c *conn.Conn) {
	_, _ = c.W.WriteString("-ERR [SYS/TEMP] This session failed on our side and is recorded as " + c.ID + "; nothing was deleted\r\n")
}

// clean keeps what a client sent from breaking a reply line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 400)]
}
