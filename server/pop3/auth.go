package pop3

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/sasl"
	"mailsrv/server/store"
)

// maxAuthLine is the longest line of a login exchange.
const maxAuthLine = 12288

// mayLogin tells whether a password may cross this connection.
func (s *session) mayLogin() bool {
	return s.c.TLS() != nil || !s.srv.RequireTLS || s.c.Local().Addr().IsLoopback()
}

func (s *session) mayStartTLS() bool {
	return s.srv.TLS != nil && s.c.TLS() == nil && s.box == nil
}

func (s *session) authorization(verb, arg string) {
	switch verb {
	case "USER":
		switch {
		case !s.allowLogin():
		case arg == "":
			s.wrong("USER wants a name")
		default:
			s.user = arg // known or not: the answer is the same
			s.ok("Password please")
		}
	case "PASS":
		switch {
		case !s.allowLogin():
		case s.user == "":
			s.wrong("Send USER first")
		default:
			a, err := account.For(s.srv.Accounts, s.c.Remote().Addr()).Authenticate(s.user, arg)
			s.loggedIn("USER", s.user, a, err)
			s.user = ""
		}
	case "AUTH":
		s.auth(arg)
	case "UTF8":
		if strings.TrimSpace(arg) != "" {
			s.wrong("UTF8 takes no argument")
			return
		}
		s.ok("UTF8 enabled")
	case "STLS":
		switch {
		case strings.TrimSpace(arg) != "":
			s.wrong("STLS takes no argument")
		case s.c.TLS() != nil:
			s.wrong("TLS is on already")
		case s.srv.TLS == nil:
			s.wrong("TLS is not available here")
		default:
			s.ok("Begin TLS")
			if !s.startTLS() {
				s.ended = true
			}
		}
	case "APOP":
		s.wrong("APOP is not available: passwords are kept in a form that it cannot use; log in with USER or AUTH over TLS")
	case "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP":
		s.wrong("Log in first")
	default:
		s.wrong("Unknown command")
	}
}

func (s *session) startTLS() bool {
	discarded, err := s.c.StartTLS(s.srv.TLS)
	if discarded > 0 {
		s.log.Warn("input before the TLS handshake was thrown away", "octets", discarded)
	}
	if err != nil {
		s.log.Info("TLS handshake failed", "error", err)
		return false
	}
	s.user = ""
	return true
}

func (s *session) allowLogin() bool {
	if s.mayLogin() {
		return true
	}
	s.log.Warn("login refused", "why", "no TLS")
	how := "use the TLS port"
	if s.mayStartTLS() {
		how = "send STLS first"
	}
	s.wrong("Login needs TLS here: " + how)
	return false
}

func (s *session) auth(arg string) {
	if !s.allowLogin() {
		return
	}
	name, initial, hasInitial := strings.Cut(arg, " ")
	name = strings.ToUpper(name)
	if name == "" { // what clients of RFC 1734's time ask
		s.ok("Mechanisms follow")
		for _, m := range s.srv.Mechanisms {
			s.line(m)
		}
		s.line(".")
		return
	}
	if !slices.Contains(s.srv.Mechanisms, name) {
		s.wrong("Mechanism is not offered; these are: " + strings.Join(s.srv.Mechanisms, " "))
		return
	}
	exchange := sasl.New(name, account.For(s.srv.Accounts, s.c.Remote().Addr()))
	var message []byte
	ok := true
	if hasInitial {
		if message, ok = decodeResponse(initial, true); !ok {
			s.wrong("Initial response is no base64")
			return
		}
	}
	for {
		challenge, done, err := exchange.Next(message)
		if err != nil || done {
			login, a := exchange.Result()
			s.loggedIn(name, login, a, err)
			return
		}
		s.line("+ " + base64.StdEncoding.EncodeToString(challenge))
		line, err := s.c.ReadLine(conn.Line{Max: maxAuthLine, LaxLF: true})
		switch {
		case errors.Is(err, conn.ErrTooLong):
			s.wrong("Line of the login is too long")
			return
		case err != nil:
			s.ended = true
			s.readFailed(err)
			return
		case string(line) == "*":
			s.err("Login cancelled")
			return
		}
		if message, ok = decodeResponse(string(line), false); !ok {
			s.wrong("Response is no base64")
			return
		}
	}
}

// decodeResponse never returns nil for a response that was sent: an initial one
// is "=" when it is empty (RFC 5034 4).
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

// loggedIn ends a login: it opens the mailbox, or says why not.
func (s *session) loggedIn(how, login string, a account.Account, err error) {
	var throttled *account.ThrottledError
	switch {
	case errors.Is(err, sasl.ErrMalformed):
		s.wrong("Message of the login is malformed")
		return
	case errors.Is(err, account.ErrCredentials):
		logins.Add(1, s.srv.Service, "failed")
		s.log.Warn("login failed", "user", login, "mechanism", how)
		s.authFailed("[AUTH] User name or password is wrong", "; too many failed logins")
		return
	case errors.As(err, &throttled):
		logins.Add(1, s.srv.Service, "throttled")
		s.authFailed(fmt.Sprintf("[SYS/TEMP] Too many failed logins; try again in %d seconds", throttled.Seconds()), "")
		return
	case err != nil:
		logins.Add(1, s.srv.Service, "error")
		s.log.Error("login could not be checked", "user", login, "error", err)
		s.err("[SYS/TEMP] Login cannot be checked at present; try again later")
		return
	}
	box, err := s.srv.Store.Open(store.Box{Name: a.Name, Domain: a.Domain}, store.By{Client: s.c.Remote().Addr().String(), Protocol: s.srv.Service, Session: s.c.ID})
	var inUse *store.InUseError
	switch {
	case errors.As(err, &inUse):
		logins.Add(1, s.srv.Service, "in_use")
		s.log.Warn("mailbox in use", "user", a.Address(), "holder", inUse.Holder, "since", inUse.Since.Format(time.RFC3339))
		s.err(fmt.Sprintf("[IN-USE] Mailbox is open in another session, from %s since %s", inUse.Holder, inUse.Since.Format(time.RFC3339)))
		return
	case err != nil:
		logins.Add(1, s.srv.Service, "error")
		s.log.Error("mailbox cannot be opened", "user", a.Address(), "error", err)
		s.err("[SYS/TEMP] Mailbox cannot be opened at present; try again later")
		return
	}
	logins.Add(1, s.srv.Service, "ok")
	s.account, s.box = a, box
	if s.srv.LoggedIn != nil {
		s.srv.LoggedIn(a.Address(), s.c.Remote().Addr())
	}
	s.c.Alive(deadAfter)
	n, size := s.total()
	s.log.Info("logged in", "user", a.Address(), "mechanism", how, "tls", s.c.TLS() != nil, "messages", n, "octets", size)
	s.ok(fmt.Sprintf("Mailbox has %d messages (%d octets)", n, size))
}

// authFailed answers a login that failed, and ends the session after too many.
func (s *session) authFailed(text, last string) {
	s.authFailures++
	if s.authFailures < s.srv.Limits.AuthFailures {
		s.err(text)
		return
	}
	s.log.Warn("session ended", "why", "too many failed logins")
	s.end(text + last)
}
