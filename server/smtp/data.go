package smtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// notReady says why no content can follow now, or nil.
func (s *session) notReady() *Reply {
	switch {
	case s.tx == nil:
		return &Reply{503, badSequence, "Send MAIL FROM first"}
	case len(s.rcpts) == 0 && s.tried > 0:
		return &Reply{554, badSequence, "No recipient was accepted"}
	case len(s.rcpts) == 0:
		return &Reply{503, badSequence, "Send RCPT TO first"}
	}
	return nil
}

// begin makes ready for the content. If that fails the transaction is over, and
// the reply says why.
func (s *session) begin() (Reply, bool) {
	msg, reply := s.tx.Data()
	if msg == nil {
		s.reset()
		return reply, false
	}
	started := s.srv.now()
	s.in = s.intake(msg)
	_, s.in.writeErr = io.WriteString(msg, s.received(started))
	return Reply{}, true
}

func (s *session) intake(msg Message) *intake {
	return &intake{s: s, msg: msg, started: time.Now(), extended: -blockSize}
}

func (s *session) data() {
	fault := s.notReady()
	if fault == nil && s.in != nil {
		fault = &Reply{503, badSequence, "The message is coming by BDAT already; RSET gives it up"} // RFC 3030 2
	}
	if fault != nil {
		s.wrong(*fault)
		return
	}
	if reply, ok := s.begin(); !ok {
		s.send(reply)
		return
	}
	s.send(Reply{354, "", "End data with <CR><LF>.<CR><LF>"})
	if err := s.c.W.Flush(); err != nil {
		s.ended = true
		return
	}
	if err := s.in.data(); err != nil {
		s.cutShort(err)
		return
	}
	s.commit()
}

// data reads to the end of the message.
func (in *intake) data() error {
	defer in.s.c.Narrow()
	r := &dataReader{r: in.s.c.R}
	for {
		in.taken = r.taken
		if err := in.extend(); err != nil {
			return err
		}
		part, end, err := r.next(&in.lines)
		if err != nil || end {
			return err
		}
		if err := in.take(part); err != nil {
			return err
		}
		if in.total > wideFrom {
			r.release()
			in.s.c.Widen()
			r.r = in.s.c.R
		}
	}
}

// cutShort ends the session because the content has no end that can be trusted.
func (s *session) cutShort(err error) {
	log := s.log.With("id", s.id, "from", s.from.String(), "octets", s.in.total)
	refuse := func(why, rule string, r Reply) {
		log.Warn("message refused", "why", why)
		messages.Add(1, s.srv.Service, r.result())
		Refusals.Add(1, s.srv.Service, rule)
		s.end(r)
	}
	switch {
	case errors.Is(err, errDotNextToLF):
		refuse("line of one dot next to a bare LF", ruleLineEnd, *badLineEnd("LF"))
	case errors.Is(err, errDotNextToCR):
		refuse("line of one dot next to a bare CR", ruleLineEnd, *badLineEnd("CR"))
	case errors.Is(err, errEndless):
		refuse("too big, and no end in sight", ruleSize, *s.tooBig())
	case errors.Is(err, os.ErrDeadlineExceeded):
		ended.Add(1, s.srv.Service, "timeout")
		log.Info("session ended", "why", "timeout in the content of a message")
		s.end(timeoutReply)
	default:
		s.ended = true
		log.Info("connection lost in the content of a message", "error", err)
	}
}

// Labels "rule" of Refusals for what is wrong with the content of a message.
const (
	ruleSize    = "message.size"
	ruleLineEnd = "message.line_end"
	ruleHops    = "message.hops"
)

// fault is what is wrong with the content so far, nil if nothing is.
func (in *intake) fault() (r *Reply, rule string) {
	switch {
	case in.total > in.s.srv.Limits.MessageSize:
		return in.s.tooBig(), ruleSize
	case in.lines.bareCR:
		return badLineEnd("CR"), ruleLineEnd
	case in.lines.hops > maxHops:
		return &Reply{554, "5.4.6", fmt.Sprintf("Routing loop: more than %d Received fields", maxHops)}, ruleHops
	}
	return nil, ""
}

// commit answers a message that has come to its end.
func (s *session) commit() {
	var reply Reply
	if fault, rule := s.in.fault(); fault != nil {
		reply = *fault
		Refusals.Add(1, s.srv.Service, rule)
	} else {
		// Also after a failed write: Commit knows what the failure means.
		reply = s.in.msg.Commit()
	}
	log := s.log.With("id", s.id, "from", s.from.String(), "octets", s.in.total)
	messages.Add(1, s.srv.Service, reply.result())
	if reply.OK() {
		octets.Add(s.in.total, s.srv.Service)
		reply.Text += ": queued as " + s.id
		s.idle, s.refused, s.overshoot = 0, 0, 0
		if s.in.lines.bareLFs > 0 {
			log = log.With("lines_ended_by_lf", s.in.lines.bareLFs)
		}
		log.Info("message accepted", "to", s.recipients(), "helo", s.client.HELO, "user", s.client.User, "tls", s.client.TLS != nil)
	} else {
		log.Warn("message refused", "to", s.recipients(), "reply", reply.String())
	}
	s.reset()
	if reply.Code/100 == 5 {
		s.refuse(reply)
		return
	}
	s.send(reply)
}

func (s *session) recipients() string {
	var out []string
	for i, to := range s.rcpts {
		if i == 10 {
			out = append(out, fmt.Sprintf("and %d more", len(s.rcpts)-i))
			break
		}
		out = append(out, to.String())
	}
	return strings.Join(out, " ")
}

// received is the trace field for the message (RFC 5321 4.4).
func (s *session) received(now time.Time) string {
	with := "SMTP"
	if s.esmtp || s.utf8 {
		with = "ESMTP" // RFC 3848
		if s.utf8 {
			with = "UTF8SMTP" // RFC 6531 3.7.3
		}
		if s.client.TLS != nil {
			with += "S"
		}
		if s.client.User != "" {
			with += "A"
		}
	}
	ip := s.client.Addr.Addr()
	literal := ip.String()
	if ip.Is6() {
		literal = "IPv6:" + literal
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from %s ([%s])\r\n", s.client.HELO, literal)
	if s.client.TLS != nil {
		fmt.Fprintf(&b, "\t(using %s)\r\n", describeTLS(s.client.TLS))
	}
	fmt.Fprintf(&b, "\tby %s with %s id %s", s.srv.Hostname, with, s.id)
	if len(s.rcpts) == 1 {
		fmt.Fprintf(&b, "\r\n\tfor <%s>", s.rcpts[0])
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	return b.String()
}

func describeTLS(s *tls.ConnectionState) string {
	return tls.VersionName(s.Version) + " with cipher " + tls.CipherSuiteName(s.CipherSuite)
}
