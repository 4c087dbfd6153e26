// Package smtp speaks the server's side of SMTP (RFC 5321) and message
// submission (RFC 6409): it turns octets into calls and answers into replies.
// Who may send what, and where messages go, is decided behind the Backend and
// account.Directory interfaces.
//
// No two servers may see different messages in the same octets ("SMTP
// smuggling"). A command ends with CRLF and with nothing else, and so does the
// line of one dot that ends a message. A line of one dot next to a bare LF, or
// behind CR CR LF, may be that end for one server and not for another: the
// session is ended there with 550 5.5.2, because nothing that follows can be
// trusted. A message with a bare CR is
// refused after its end with the same reply. Other lines may end with LF alone,
// as programs send them that take a text file for a message (curl): such an LF
// is made CRLF before anybody else sees it. All other octets are kept.
package smtp

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/conn"
	"mailsrv/server/metrics"
)

// Server is the engine for one listener.
type Server struct {
	Service     string // "smtp", "submission", "submissions": for Client and the log
	Hostname    string
	TLS         *tls.Config // nil: no TLS
	ImplicitTLS bool        // TLS before the greeting
	RequireTLS  bool        // logins need TLS on addresses other than loopback
	Mechanisms  []string    // SASL mechanisms in the order to announce
	Accounts    account.Directory
	Backend     Backend
	Limits      Limits
	Log         *slog.Logger
	Now         func() time.Time // time.Now when nil

	// Delay is by how much each further error of a session is answered later
	// than the one before; 250 ms when 0.
	Delay time.Duration
}

// Limits of a session.
type Limits struct {
	MessageSize  int64 // octets of the message as it is sent
	Recipients   int   // of one message
	AuthFailures int   // until the session is ended
	Idle         time.Duration
}

// Client is who speaks to the server.
type Client struct {
	Session string
	Service string
	Addr    netip.AddrPort
	HELO    string
	TLS     *tls.ConnectionState // nil without TLS
	User    string               // address of the account that logged in
}

// Backend decides and stores.
type Backend interface {
	// Begin starts a mail transaction. id names it in replies, Received fields
	// and the log.
	Begin(id string, c Client) Transaction
}

// Sender is what MAIL FROM says.
type Sender struct {
	Address address.Address
	Size    int64  // octets announced (RFC 1870); 0 when none were
	UTF8    bool   // SMTPUTF8: addresses and header may go beyond ASCII (RFC 6531)
	Ret     string // RFC 3461 4.3: "FULL", "HDRS" or empty
	EnvID   string // RFC 3461 4.4, in xtext
}

// Recipient is what RCPT TO says.
type Recipient struct {
	Address address.Address
	Notify  string // RFC 3461 4.1, in upper case: "NEVER", "SUCCESS,DELAY", ... or empty
	ORCPT   string // RFC 3461 4.2: type, ";" and xtext
}

// Transaction is one message from MAIL to the end of its content. A transaction that
// comes to nothing is just dropped.
type Transaction interface {
	// Mail judges the sender and returns its address completed.
	Mail(from Sender) (address.Address, Reply)

	// Rcpt judges one recipient and returns its address completed.
	Rcpt(to Recipient) (address.Address, Reply)

	// Data makes ready to store the message for all recipients that were
	// accepted. Without a message the reply says why.
	Data() (Message, Reply)
}

// Message takes the octets of a message. Either Commit or Abort ends it.
type Message interface {
	io.Writer

	// Commit makes the message durable and only then says 250. The reply's
	// text is completed with the transaction's id.
	Commit() Reply

	Abort()
}

// Reply is an SMTP reply. Enhanced is empty where RFC 2034 wants none.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
}

// OK tells a positive reply.
func (r Reply) OK() bool { return r.Code/100 == 2 }

func (r Reply) String() string {
	s := strconv.Itoa(r.Code) + " "
	if r.Enhanced != "" {
		s += r.Enhanced + " "
	}
	return s + r.Text
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

// Labels "result": accepted, refused (5xx), deferred (4xx); for logins ok,
// failed, throttled, error.
var (
	messages   = metrics.NewCounter("mailsrv_smtp_messages_total", "Messages that came to their end, and what was said to them.", "service", "result")
	octets     = metrics.NewCounter("mailsrv_smtp_octets_total", "Octets of the messages that were accepted.", "service")
	recipients = metrics.NewCounter("mailsrv_smtp_recipients_total", "Recipients, and what was said to them.", "service", "result")
	logins     = metrics.NewCounter("mailsrv_smtp_logins_total", "Logins.", "service", "result")
	ended      = metrics.NewCounter("mailsrv_smtp_sessions_ended_total", "Sessions that the server ended.", "service", "why")

	// Refusals is counted by the Backend for what it refuses, and here for what
	// is wrong with the octets of a message.
	Refusals = metrics.NewCounter("mailsrv_smtp_refused_total", "Senders, recipients and messages refused or put off, by the rule or limit that decided.", "service", "rule")
)

// result is the label for what a reply means.
func (r Reply) result() string {
	switch {
	case r.OK():
		return "accepted"
	case r.Code/100 == 4:
		return "deferred"
	}
	return "refused"
}

// Replies that more than one place gives.
var (
	okReply      = Reply{250, "2.0.0", "Ok"}
	badSequence  = "5.5.1"
	badSyntax    = "5.5.2"
	badArgument  = "5.5.4"
	timeoutReply = Reply{421, "4.4.2", "Timeout waiting for the client"}
)

// Serve implements conn.Handler.
func (s *Server) Serve(c *conn.Conn) {
	ss := &session{srv: s, c: c}
	ss.client = Client{Session: c.ID, Service: s.Service, Addr: c.Remote()}
	ss.log = s.Log.With("session", c.ID, "service", s.Service, "client", c.Remote().Addr().String())
	ss.run()
}

// Refuse implements conn.Handler.
func (s *Server) Refuse(c *conn.Conn, why string) {
	if !s.ImplicitTLS { // inside TLS nothing can be said before a handshake
		_, _ = c.W.WriteString(Reply{421, "4.7.0", s.Hostname + " " + why + "; try again later"}.String() + "\r\n")
	}
}

// Crashed implements conn.Handler.
func (s *Server) Crashed(c *conn.Conn) {
	_, _ = c.W.WriteString(Reply{421, "4.3.0", s.Hostname + " This session failed on our side and is recorded as " + c.ID + "; try again later"}.String() + "\r\n")
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
