package pop3

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/conn"
	"mailsrv/server/store"
)

const (
	maxCommand = 2048 // a password may have 1024 octets
	maxErrors  = 20   // commands that are not understood or out of place, until the session is ended
	maxRefused = 1000 // commands for messages that are not there
	maxBefore  = 100  // commands before the login

	loginTime = 3 * time.Minute
	deadAfter = 40 * time.Second // a client whose machine is gone keeps its mailbox locked so long

	slowest = 256 // octets a second that a client takes at least, besides the time for a command
)

// session is one connection.
type session struct {
	srv *Server
	c   *conn.Conn
	log *slog.Logger

	user         string // of USER
	errors       int
	refused      int
	before       int       // commands before the login
	loginBy      time.Time // end of the time for it
	authFailures int
	ended        bool

	// After the login.
	account   account.Account
	box       store.Mailbox // nil before it
	deleted   map[int]bool
	retrieved int
}

func (s *session) run() {
	if s.srv.ImplicitTLS && !s.startTLS() {
		return
	}
	s.log.Debug("connected")
	s.ok(s.srv.Hostname + " POP3 mailsrv")
	for !s.ended {
		s.limit()
		line, err := s.c.ReadLine(conn.Line{Max: maxCommand, Between: len(s.deleted) == 0, LaxLF: true})
		switch err {
		case nil:
			s.command(string(line))
		case conn.ErrTooLong:
			s.wrong("Line too long")
		default:
			s.readFailed(err)
			return
		}
		switch {
		case s.ended:
		case s.errors >= maxErrors:
			s.log.Warn("session ended", "why", "too many errors")
			s.end("Too many errors")
		case s.refused >= maxRefused:
			s.log.Warn("session ended", "why", "too many commands for messages that are not there")
			s.end("Too many commands for messages that are not there; nothing was deleted")
		case s.before >= maxBefore:
			s.log.Warn("session ended", "why", "too many commands without a login")
			s.end("Too many commands without a login")
		}
	}
}

// limit sets how long the next line may take.
func (s *session) limit() {
	idle := s.srv.Limits.Idle
	if s.box == nil {
		s.before++
		idle = min(idle, max(time.Until(s.loginBy), 100*time.Millisecond))
	}
	s.c.SetIdle(idle)
}

func (s *session) readFailed(err error) {
	switch {
	case errors.Is(err, conn.ErrFlood):
		s.log.Warn("session ended", "why", "line without an end")
		s.end("Line too long")
	case errors.Is(err, conn.ErrDraining):
		s.end("[SYS/TEMP] Server is stopping; nothing was deleted; try again later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log.Info("session ended", "why", "timeout")
		s.end("Timeout waiting for the client; nothing was deleted")
	case errors.Is(err, io.EOF):
		s.log.Debug("disconnected")
	default:
		s.log.Debug("connection lost", "error", err)
	}
}

// close ends the session without QUIT: nothing is deleted (RFC 1939 6).
func (s *session) close() {
	if s.box != nil {
		if err := s.box.Close(); err != nil {
			s.log.Error("mailbox could not be closed", "error", err)
		}
		s.box = nil
	}
}

// An error of a write shows at the next flush.
func (s *session) line(text string) { _, _ = s.c.W.WriteString(text + "\r\n") }

func (s *session) ok(text string) { s.line("+OK " + clean(text)) }

func (s *session) err(text string) { s.line("-ERR " + clean(text)) }

// wrong answers a command that was not understood or out of place.
func (s *session) wrong(text string) {
	s.errors++
	s.err(text)
}

// refuse answers a command for a message that is not there.
func (s *session) refuse(text string) {
	s.refused++
	s.err(text)
}

// end sends a last reply and ends the session.
func (s *session) end(text string) {
	s.ended = true
	s.err(text)
	s.close()
}

func (s *session) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "CAPA", "QUIT":
		switch {
		case strings.TrimSpace(arg) != "":
			s.wrong(verb + " takes no argument") // nothing is deleted on a guess
		case verb == "QUIT":
			s.quit()
		default:
			s.capa()
		}
		return
	case "NOOP":
		if s.box != nil && arg == "" {
			s.ok("Nothing done")
			return
		}
	}
	if s.box == nil {
		s.authorization(verb, arg)
	} else {
		s.transaction(verb, strings.Fields(arg))
	}
}

func (s *session) capa() {
	s.ok("Capability list follows")
	list := []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "EXPIRE NEVER"}
	if s.mayLogin() {
		list = append(list, "USER", "SASL "+strings.Join(s.srv.Mechanisms, " "))
	}
	if s.mayStartTLS() {
		list = append(list, "STLS")
	}
	list = append(list, "IMPLEMENTATION mailsrv")
	for _, item := range list {
		s.line(item)
	}
	s.line(".")
}

func (s *session) transaction(verb string, args []string) {
	switch verb {
	case "STAT", "RSET", "NOOP":
		if len(args) > 0 {
			s.wrong(verb + " takes no argument")
			return
		}
		if verb == "RSET" {
			s.deleted = nil
		}
		n, size := s.total()
		if verb == "RSET" {
			s.ok(fmt.Sprintf("Mailbox has %d messages (%d octets)", n, size))
		} else {
			s.ok(fmt.Sprintf("%d %d", n, size))
		}
	case "LIST":
		s.listing(args, func(b []byte, m store.Message) []byte { return strconv.AppendInt(b, m.Size, 10) })
	case "UIDL":
		s.listing(args, func(b []byte, m store.Message) []byte { return append(b, m.UID...) })
	case "RETR":
		if i, ok := s.message(args, 1); ok {
			s.retr(i, -1)
		}
	case "TOP":
		s.top(args)
	case "DELE":
		if i, ok := s.message(args, 1); ok {
			if s.deleted == nil {
				s.deleted = map[int]bool{}
			}
			s.deleted[i] = true
			s.ok(fmt.Sprintf("Message %d will be deleted at QUIT", i+1))
		}
	case "USER", "PASS", "AUTH", "APOP", "STLS", "UTF8":
		s.wrong("You are logged in already")
	default:
		s.wrong("Unknown command")
	}
}

// total counts what is not deleted.
func (s *session) total() (n int, size int64) {
	for i, m := range s.box.Messages() {
		if !s.deleted[i] {
			n, size = n+1, size+m.Size
		}
	}
	return n, size
}

// message reads a message number, the first of want arguments.
func (s *session) message(args []string, want int) (int, bool) {
	if len(args) != want {
		s.wrong("The command wants a message number")
		return 0, false
	}
	n, ok := number(args[0])
	switch {
	case !ok:
		s.wrong("The message number is no number")
	case n < 1 || n > len(s.box.Messages()):
		s.refuse(fmt.Sprintf("No such message, only %d messages in mailbox", len(s.box.Messages())))
	case s.deleted[n-1]:
		s.refuse(fmt.Sprintf("Message %d is deleted", n))
	default:
		return n - 1, true
	}
	return 0, false
}

// number reads digits. A number that no int can hold is the largest one: it is
// beyond every message and every line all the same.
func number(s string) (n int, ok bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		n = math.MaxInt
	}
	return n, true
}

// listing answers LIST and UIDL, for one message or all.
func (s *session) listing(args []string, column func([]byte, store.Message) []byte) {
	line := func(b []byte, i int) []byte {
		return column(append(strconv.AppendInt(b, int64(i+1), 10), ' '), s.box.Messages()[i])
	}
	if len(args) > 0 {
		if i, ok := s.message(args, 1); ok {
			s.ok(string(line(nil, i)))
		}
		return
	}
	n, size := s.total()
	s.ok(fmt.Sprintf("%d messages (%d octets)", n, size))
	pace, sent := s.pace(), 0
	for i := range s.box.Messages() {
		if s.deleted[i] {
			continue
		}
		k, _ := s.c.W.Write(append(line(s.c.W.AvailableBuffer(), i), "\r\n"...))
		sent += k
		if sent/paceEvery != (sent-k)/paceEvery && pace(int64(sent)) != nil {
			s.log.Info("session ended", "why", "slow client")
			s.ended = true
			return
		}
	}
	s.line(".")
}

func (s *session) top(args []string) {
	if len(args) != 2 {
		s.wrong("TOP wants a message number and a number of lines")
		return
	}
	lines, ok := number(args[1])
	if !ok {
		s.wrong("The number of lines is no number")
		return
	}
	if i, ok := s.message(args[:1], 1); ok {
		s.retr(i, lines)
	}
}

var errSlow = errors.New("the client takes it too slowly")

// pace returns what to ask while a long reply is sent.
func (s *session) pace() func(sent int64) error {
	began := time.Now()
	return func(sent int64) error {
		if time.Since(began) > s.srv.Limits.Idle+time.Duration(sent/slowest)*time.Second {
			return errSlow
		}
		return nil
	}
}

// retr sends message i: all of it, or its header and so many lines.
func (s *session) retr(i, lines int) {
	m := s.box.Messages()[i]
	r, err := s.box.Read(i)
	if err != nil {
		if errors.Is(err, store.ErrGone) {
			s.log.Warn("message is gone", "uid", m.UID, "error", err)
			s.refuse(fmt.Sprintf("[SYS/TEMP] Message %d is gone: another program has deleted its file; log in again to see what is there", i+1))
			return
		}
		s.log.Error("message cannot be read", "uid", m.UID, "error", err)
		s.refuse(fmt.Sprintf("[SYS/TEMP] Message %d cannot be read at present", i+1))
		return
	}
	defer r.Close()
	if lines < 0 {
		s.ok(strconv.FormatInt(m.Size, 10) + " octets")
	} else {
		s.ok("Top of message follows")
	}
	sent, err := sendStuffed(s.c.W, r, lines, s.pace())
	octets.Add(sent, s.srv.Service)
	if err != nil {
		// The reply is under way: only the end of the connection says that
		// something is missing.
		s.log.Error("message could not be sent whole", "uid", m.UID, "error", err)
		s.ended = true
		return
	}
	if lines < 0 {
		s.retrieved++
		retrieved.Add(1, s.srv.Service)
		if sent != m.Size {
			s.log.Warn("message is not as long as was said: its file is damaged or was changed", "uid", m.UID, "octets", sent, "said", m.Size)
		}
	}
}

// quit deletes what was marked, and only then says so.
func (s *session) quit() {
	s.ended = true
	if s.box == nil {
		s.ok("Bye")
		return
	}
	var marked []int
	for i := range s.box.Messages() {
		if s.deleted[i] {
			marked = append(marked, i)
		}
	}
	err := s.box.Delete(marked)
	messages := s.box.Messages()
	s.close()
	user := s.account.Address()
	if err != nil {
		for _, i := range marked {
			s.log.Warn("message was to be deleted", "user", user, "uid", messages[i].UID)
		}
		s.log.Error("not all of these messages could be deleted", "user", user, "error", err)
		s.err("[SYS/TEMP] Some deleted messages could not be removed")
		return
	}
	deletions.Add(int64(len(marked)), s.srv.Service)
	for _, i := range marked {
		s.log.Info("message deleted", "user", user, "uid", messages[i].UID)
	}
	s.log.Info("logged out", "user", user, "retrieved", s.retrieved, "deleted", len(marked), "left", len(messages)-len(marked))
	s.ok("Bye")
}
