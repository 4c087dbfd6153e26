package smtp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"mailsrv/server/address"
	"mailsrv/server/conn"
)

// maxCommand is the longest command line, CRLF included. RFC 5321 4.5.3.1.4
// asks for 512 and more with extensions; AUTH may be as long as maxAuthLine.
const maxCommand = 2048

// What a session may do that leads to no message. Beyond the first number of
// each pair answers come later and later, at the second the session ends.
const (
	patientErrors  = 10 // commands that were not understood or out of place
	maxErrors      = 20
	patientRefused = 20 // senders and messages refused; recipients refused to a client that has not logged in
	maxRefused     = 100

	maxIdle      = 100  // NOOP, RSET, VRFY, HELP, EHLO; each one more is an error
	maxOvershoot = 1000 // recipients beyond the limit, for a list sent in one group; each one more is an error

	defaultDelay = 250 * time.Millisecond
	maxDelay     = 5 * time.Second
)

// session is one connection.
type session struct {
	srv    *Server
	c      *conn.Conn
	log    *slog.Logger
	client Client

	esmtp        bool
	errors       int // commands that were not understood or out of place
	refused      int // senders, recipients, messages
	overshoot    int // recipients beyond the limit
	idle         int // commands that lead to nothing
	authFailures int
	ended        bool

	// The transaction under way; nil between transactions.
	tx    Transaction
	id    string
	from  address.Address
	utf8  bool // SMTPUTF8
	rcpts []address.Address
	tried int     // recipients, refused ones too
	in    *intake // the content, once it has begun
}

func (s *session) run() {
	defer s.reset()
	if s.srv.ImplicitTLS && !s.startTLS() {
		return
	}
	s.log.Debug("connected")
	s.send(Reply{220, "", s.srv.Hostname + " ESMTP mailsrv"})
	for !s.ended {
		line, err := s.c.ReadLine(conn.Line{Max: maxAuthLine, Between: s.tx == nil})
		if err == nil && len(line)+2 > maxCommand && !isAuth(line) {
			err = conn.ErrTooLong
		}
		switch err {
		case nil:
			s.command(line)
		case conn.ErrTooLong:
			s.wrong(Reply{500, badSyntax, "Line too long"})
		default:
			s.readFailed(err)
			return
		}
		s.patience()
	}
}

func isAuth(line []byte) bool {
	_, ok := cutPrefixFold(string(line[:min(len(line), 5)]), "AUTH ")
	return ok
}

// patience ends the session of a client that only goes wrong.
func (s *session) patience() {
	why, words := "", ""
	switch {
	case s.ended:
	case s.errors >= maxErrors:
		why, words = "too many errors", "Too many errors"
	case s.refused >= maxRefused:
		why, words = "too many refusals", "Too many senders, recipients or messages that are not accepted"
	}
	if why != "" {
		s.endedWhy(slog.LevelWarn, why)
		s.end(Reply{421, "4.7.0", s.srv.Hostname + " " + words})
	}
}

// endedWhy notes that the server ends the session.
func (s *session) endedWhy(level slog.Level, why string) {
	ended.Add(1, s.srv.Service, why)
	s.log.Log(context.Background(), level, "session ended", "why", why)
}

// slow holds back the reply to the n-th thing that is one too many.
func (s *session) slow(n int) {
	if n <= 0 {
		return
	}
	step := s.srv.Delay
	if step == 0 {
		step = defaultDelay
	}
	s.c.Pause(min(time.Duration(n)*step, maxDelay))
}

// readFailed says why the session ends when a line could not be read.
func (s *session) readFailed(err error) {
	switch {
	case errors.Is(err, conn.ErrFlood):
		s.endedWhy(slog.LevelWarn, "line without an end")
		s.end(Reply{500, badSyntax, "Line too long"})
	case errors.Is(err, conn.ErrBareLF):
		s.endedWhy(slog.LevelWarn, "bare LF in a command")
		s.end(Reply{500, badSyntax, "Line ended by LF alone: commands end with CRLF (with netcat: nc -C)"})
	case errors.Is(err, conn.ErrDraining):
		s.end(Reply{421, "4.3.2", s.srv.Hostname + " Server is stopping; try again later"})
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.endedWhy(slog.LevelInfo, "timeout")
		s.end(timeoutReply)
	case errors.Is(err, io.EOF):
		s.log.Debug("disconnected")
	default:
		s.log.Debug("connection lost", "error", err)
	}
}

// send writes a reply; it goes out with the next group.
func (s *session) send(r Reply) {
	_, _ = s.c.W.WriteString(clean(r.String()) + "\r\n") // an error shows at the next flush
}

// wrong sends a reply to a command that was not understood or out of place.
func (s *session) wrong(r Reply) {
	s.errors++
	s.slow(s.errors - patientErrors)
	s.send(r)
}

// refuse sends a refusal of what was well-formed and in place: somebody may be
// trying out what is accepted.
func (s *session) refuse(r Reply) {
	s.refused++
	s.slow(s.refused - patientRefused)
	s.send(r)
}

// harmless answers a command that leads to nothing, and is not meant to be
// sent for ever.
func (s *session) harmless(r Reply) {
	if s.idle++; s.idle > maxIdle {
		s.wrong(r)
		return
	}
	s.send(r)
}

// end sends a last reply and ends the session.
func (s *session) end(r Reply) {
	s.ended = true
	s.send(r)
}

// reset forgets the transaction. A message that was not committed is dropped.
func (s *session) reset() {
	if s.in != nil {
		s.in.msg.Abort()
	}
	s.tx, s.id, s.from, s.utf8, s.rcpts, s.tried, s.in = nil, "", address.Address{}, false, nil, 0, nil
}

// command splits a line into verb and argument and acts on it.
func (s *session) command(line []byte) {
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			s.wrong(Reply{500, badSyntax, "Control character in a command"})
			return
		}
	}
	verb, arg, hasArg := strings.Cut(string(line), " ")
	verb = strings.ToUpper(verb)
	arg = strings.TrimSpace(arg)
	hasArg = hasArg && arg != ""
	switch verb {
	case "HELO", "EHLO":
		s.hello(verb, arg)
	case "MAIL":
		s.mail(arg)
	case "RCPT":
		s.rcpt(arg)
	case "DATA":
		if s.noArgument(verb, hasArg) {
			s.data()
		}
	case "RSET":
		if s.noArgument(verb, hasArg) {
			s.reset()
			s.harmless(okReply)
		}
	case "BDAT":
		s.bdat(arg)
	case "NOOP":
		s.harmless(okReply)
	case "QUIT":
		if s.noArgument(verb, hasArg) {
			s.send(Reply{221, "2.0.0", s.srv.Hostname + " Bye"})
			s.ended = true
		}
	case "AUTH":
		s.auth(arg)
	case "STARTTLS":
		if s.noArgument(verb, hasArg) {
			s.startTLSCommand()
		}
	case "VRFY":
		if !hasArg {
			s.wrong(Reply{501, badArgument, "Syntax: VRFY address"})
			return
		}
		s.harmless(Reply{252, "2.5.0", "Not told here; RCPT TO says whether mail is accepted"})
	case "HELP":
		s.harmless(Reply{214, "2.0.0", "Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT"})
	case "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML":
		s.wrong(Reply{502, badSequence, "Command not implemented"})
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS":
		// A browser that was talked into speaking to a mail server.
		s.endedWhy(slog.LevelWarn, "HTTP on a mail port")
		s.end(Reply{421, "4.7.0", s.srv.Hostname + " This is SMTP, not HTTP"})
	default:
		s.wrong(Reply{500, badSyntax, "Command not recognized"})
	}
}

func (s *session) noArgument(verb string, hasArg bool) bool {
	if hasArg {
		s.wrong(Reply{501, badArgument, verb + " takes no argument"})
	}
	return !hasArg
}

func (s *session) startTLSCommand() {
	switch {
	case s.client.TLS != nil:
		s.wrong(Reply{503, badSequence, "TLS is on already"})
	case s.srv.TLS == nil:
		s.wrong(Reply{502, badSequence, "TLS is not available here"})
	case s.tx != nil:
		s.wrong(Reply{503, badSequence, "Not during a mail transaction"})
	default:
		s.send(Reply{220, "2.0.0", "Ready to start TLS"})
		if !s.startTLS() {
			s.ended = true
		}
	}
}

// startTLS does the handshake. What was known of the client without TLS is
// forgotten (RFC 3207 4.2).
func (s *session) startTLS() bool {
	discarded, err := s.c.StartTLS(s.srv.TLS)
	if discarded > 0 {
		s.log.Warn("input before the TLS handshake was thrown away", "octets", discarded)
	}
	if err != nil {
		s.log.Info("TLS handshake failed", "error", err)
		return false
	}
	s.client.TLS, s.client.HELO, s.client.User, s.esmtp = s.c.TLS(), "", "", false
	s.reset()
	return true
}
