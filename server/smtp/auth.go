package smtp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/sasl"
)

// maxAuthLine is the longest line of a login exchange (RFC 4954 4).
const maxAuthLine = 12288

// mayAuth tells whether a password may cross this connection.
func (s *session) mayAuth() bool {
	return len(s.srv.Mechanisms) > 0 && (s.client.TLS != nil || !s.srv.RequireTLS || s.c.Local().Addr().IsLoopback())
}

func (s *session) auth(arg string) {
	name, initial, hasInitial := strings.Cut(arg, " ")
	name = strings.ToUpper(name)
	switch {
	case !s.esmtp:
		s.wrong(Reply{503, badSequence, "Send EHLO first"})
		return
	case s.client.User != "":
		s.wrong(Reply{503, badSequence, "Logged in already"})
		return
	case s.tx != nil:
		s.wrong(Reply{503, badSequence, "Not during a mail transaction"})
		return
	case name == "":
		s.wrong(Reply{501, badArgument, "Syntax: AUTH mechanism"})
		return
	case !s.mayAuth():
		s.log.Warn("login refused", "why", "no TLS")
		s.wrong(Reply{538, "5.7.11", "Encryption required: send STARTTLS first"})
		return
	case !slices.Contains(s.srv.Mechanisms, name):
		s.wrong(Reply{504, badArgument, "Mechanism is not offered; these are: " + strings.Join(s.srv.Mechanisms, " ")})
		return
	}
	exchange := sasl.New(name, account.For(s.srv.Accounts, s.client.Addr.Addr()))
	var message []byte
	if hasInitial {
		var ok bool
		if message, ok = decodeResponse(initial, true); !ok {
			s.wrong(Reply{501, badSyntax, "Initial response is no base64"})
			return
		}
	}
	for {
		challenge, done, err := exchange.Next(message)
		if err != nil || done {
			s.authEnded(name, exchange, err)
			return
		}
		s.send(Reply{334, "", base64.StdEncoding.EncodeToString(challenge)})
		line, err := s.c.ReadLine(conn.Line{Max: maxAuthLine})
		switch {
		case errors.Is(err, conn.ErrTooLong):
			s.wrong(Reply{500, "5.5.6", "Line of the login is too long"})
			return
		case err != nil:
			s.ended = true
			s.readFailed(err)
			return
		case string(line) == "*":
			s.harmless(Reply{501, "5.7.0", "Login cancelled"})
			return
		}
		var ok bool
		if message, ok = decodeResponse(string(line), false); !ok {
			s.wrong(Reply{501, badSyntax, "Response is no base64"})
			return
		}
	}
}

// decodeResponse never returns nil for a response that was sent: an initial one
// is "=" when it is empty (RFC 4954 4).
func decodeResponse(s string, initial bool) ([]byte, bool) {
	if initial && s == "=" {
		return []byte{}, true
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if b == nil {
		b = []byte{}
	}
	return b, err == nil && !strings.Contains(s, "\r") // which the decoder skips
}

func (s *session) authEnded(mechanism string, exchange sasl.Exchange, err error) {
	login, a := exchange.Result()
	var throttled *account.ThrottledError
	switch {
	case err == nil:
		logins.Add(1, s.srv.Service, "ok")
		s.client.User = a.Address()
		s.log.Info("logged in", "user", a.Address(), "mechanism", mechanism, "tls", s.client.TLS != nil)
		s.send(Reply{235, "2.7.0", "Authentication successful"})
	case errors.Is(err, sasl.ErrMalformed):
		s.wrong(Reply{501, badSyntax, "Message of the login is malformed"})
	case errors.Is(err, account.ErrCredentials):
		logins.Add(1, s.srv.Service, "failed")
		s.log.Warn("login failed", "user", login, "mechanism", mechanism)
		s.authFailed(Reply{535, "5.7.8", "Authentication credentials invalid"})
	case errors.As(err, &throttled):
		logins.Add(1, s.srv.Service, "throttled")
		s.authFailed(Reply{454, "4.7.0", fmt.Sprintf("Too many failed logins; try again in %d seconds", throttled.Seconds())})
	default:
		logins.Add(1, s.srv.Service, "error")
		s.log.Error("login could not be checked", "user", login, "error", err)
		s.send(Reply{454, "4.7.0", "Login cannot be checked at present; try again later"})
	}
}

// authFailed answers a login that failed, and ends the session after too many.
func (s *session) authFailed(r Reply) {
	s.authFailures++
	s.send(r)
	if s.authFailures >= s.srv.Limits.AuthFailures {
		s.endedWhy(slog.LevelWarn, "too many failed logins")
		s.end(Reply{421, "4.7.0", s.srv.Hostname + " Too many failed logins"})
	}
}
