package smtp

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// bdat takes a chunk of a message (RFC 3030). Its octets follow the command
// whatever the reply will be, so they are always read, or the session ends.
func (s *session) bdat(arg string) {
	size, last, ok := parseBDAT(arg)
	switch {
	case arg == "":
		s.wrong(Reply{501, badArgument, "Syntax: BDAT size [LAST]"})
		return
	case !ok:
		// Nobody knows how much of what follows are commands.
		s.endedWhy(slog.LevelWarn, "BDAT without a size")
		s.end(Reply{501, badArgument, "Syntax: BDAT size [LAST]"})
		return
	}
	fault := s.notReady()
	if fault == nil && s.in == nil {
		if reply, ok := s.begin(); !ok {
			if s.skip(size) {
				s.send(reply)
			}
			return
		}
	}
	if fault != nil {
		if s.skip(size) {
			s.wrong(*fault)
		}
		return
	}
	if err := s.in.chunk(size); err != nil {
		s.cutShort(err)
		return
	}
	if fault, rule := s.in.fault(); fault != nil && !last {
		// The client may have sent further chunks already; without a
		// transaction they are read and refused.
		s.log.Warn("message refused", "id", s.id, "from", s.from.String(), "octets", s.in.total, "to", s.recipients(), "reply", fault.String())
		messages.Add(1, s.srv.Service, fault.result())
		Refusals.Add(1, s.srv.Service, rule)
		s.reset()
		s.refuse(*fault)
		return
	}
	if !last {
		s.send(Reply{250, "2.0.0", fmt.Sprintf("%d octets received", size)})
		return
	}
	if s.in.lines.inLine && s.in.lines.lastCR {
		s.in.lines.bareCR = true
	} else if s.in.lines.inLine && s.in.take([]byte("\r\n")) != nil {
		s.end(*s.tooBig())
		return
	}
	s.commit()
}

// parseBDAT reads "size [LAST]".
func parseBDAT(arg string) (size int64, last, ok bool) {
	number, rest, more := strings.Cut(arg, " ")
	if more {
		if last = strings.EqualFold(strings.TrimLeft(rest, " "), "LAST"); !last {
			return 0, false, false
		}
	}
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(number, 10, 64)
	return size, last, err == nil
}

// chunk reads n octets of the message.
func (in *intake) chunk(n int64) error {
	if n > wideFrom {
		in.s.c.Widen()
		defer in.s.c.Narrow()
	}
	r := in.s.c.R
	in.extended = in.taken - blockSize // the next octets get their own time
	for n > 0 {
		if err := in.extend(); err != nil {
			return err
		}
		if _, err := peek(r, 1); err != nil {
			return err
		}
		p, _ := r.Peek(int(min(n, int64(r.Buffered()))))
		if err := in.take(p); err != nil {
			return err
		}
		_, _ = r.Discard(len(p)) // lies in the buffer
		in.taken += int64(len(p))
		n -= int64(len(p))
	}
	return nil
}

// skip reads a chunk that nobody wants. false: the session is over.
func (s *session) skip(n int64) bool {
	s.in = s.intake(nowhere{})
	if err := s.in.chunk(n); err != nil {
		s.cutShort(err)
		return false
	}
	s.in = nil
	return true
}

// nowhere is the message that nobody wants.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Commit() Reply               { return Reply{} }
func (nowhere) Abort()                      {}
