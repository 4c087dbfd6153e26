package smtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	// maxHops is how many Received fields a message may have before it is
	// taken for one that goes round in circles (RFC 5321 6.3).
	maxHops = 100

	// maxExcess is how far beyond the limit a message is read, to its end if
	// that comes, so that the sender learns why it is refused.
	maxExcess = 64 << 20

	// A message is read in blocks of blockSize. Each has to come within the
	// idle time, and all together at minRate or faster, or a client could
	// hold a connection for days with one octet now and then.
	blockSize = 32 << 10
	minRate   = 1 << 10 // octets per second
)

func (s *session) data() {
	switch {
	case s.tx == nil:
		s.wrong(Reply{503, badSequence, "Send MAIL FROM first"})
		return
	case len(s.rcpts) == 0 && s.tried > 0:
		s.wrong(Reply{554, badSequence, "No recipient was accepted"})
		return
	case len(s.rcpts) == 0:
		s.wrong(Reply{503, badSequence, "Send RCPT TO first"})
		return
	}
	msg, reply := s.tx.Data()
	if msg == nil {
		s.reset()
		s.send(reply)
		return
	}
	defer msg.Abort() // after Commit it does nothing
	s.send(Reply{354, "", "End data with <CR><LF>.<CR><LF>"})
	if err := s.c.W.Flush(); err != nil {
		s.ended = true
		return
	}
	started := s.srv.now()
	r := &dataReader{r: s.c.R}
	_, writeErr := io.WriteString(msg, s.received(started))
	total, err := s.copyData(msg, r, &writeErr)
	log := s.log.With("id", s.id, "from", s.from.String(), "octets", total)
	switch {
	case errors.Is(err, errDotNextToLF):
		log.Warn("message refused", "why", "line of one dot next to a bare LF")
		s.end(r.lineEndReply())
		return
	case errors.Is(err, errEndless):
		log.Warn("message refused", "why", "too big, and no end in sight")
		s.end(*s.tooBig())
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		log.Info("session ended", "why", "timeout in DATA")
		s.end(timeoutReply)
		return
	case err != nil:
		s.ended = true
		log.Info("connection lost in DATA", "error", err)
		return
	}
	switch {
	case total > s.srv.Limits.MessageSize:
		reply = *s.tooBig()
	case r.bareLF || r.bareCR:
		reply = r.lineEndReply()
	case r.hops > maxHops:
		reply = Reply{554, "5.4.6", fmt.Sprintf("Routing loop: more than %d Received fields", maxHops)}
	default:
		// Also after a failed write: Commit knows what the failure means.
		reply = msg.Commit()
	}
	if reply.OK() {
		reply.Text += ": queued as " + s.id
		log.Info("message accepted", "to", s.recipients(), "helo", s.client.HELO, "user", s.client.User, "tls", s.client.TLS != nil)
	} else {
		log.Warn("message refused", "to", s.recipients(), "reply", reply.String())
	}
	s.reset()
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

var (
	errDotNextToLF = errors.New("line of one dot next to a bare LF")
	errEndless     = errors.New("message far beyond the size limit")
)

// copyData reads to the end of the message. What is too big, or can no longer
// be written, is read and dropped.
func (s *session) copyData(msg Message, r *dataReader, writeErr *error) (total int64, err error) {
	started := time.Now()
	extended := int64(-blockSize)
	for {
		if r.taken-extended >= blockSize {
			extended = r.taken
			slowest := s.srv.Limits.Idle + time.Duration((r.taken+blockSize)/minRate)*time.Second
			if err := s.c.Extend(min(s.srv.Limits.Idle, slowest-time.Since(started))); err != nil {
				return total, err
			}
		}
		chunk, end, err := r.next()
		if err != nil || end {
			return total, err
		}
		if total == 0 && (chunk[0] == ' ' || chunk[0] == '\t') && *writeErr == nil {
			// No header: it would continue the trace field above it.
			_, *writeErr = io.WriteString(msg, "\r\n")
		}
		total += int64(len(chunk))
		switch {
		case total > s.srv.Limits.MessageSize+maxExcess:
			return total, errEndless
		case total <= s.srv.Limits.MessageSize && *writeErr == nil && !r.bareLF && !r.bareCR:
			_, *writeErr = msg.Write(chunk)
		}
	}
}

// dataReader takes the dots off a message (RFC 5321 4.5.2), finds its end, and
// notes what is wrong with its lines. It holds no more than the reader's
// buffer, however long a line is.
type dataReader struct {
	r     *bufio.Reader
	taken int64 // octets read

	inLine  bool // the last octets were not a line end of either kind
	afterLF bool // the line before ended with a bare LF
	lastCR  bool // the last octet was CR
	inBody  bool
	hops    int
	bareLF  bool
	bareCR  bool
}

// next returns the next octets of the message, valid until the next call. end
// comes without octets.
func (d *dataReader) next() (chunk []byte, end bool, err error) {
	part, err := d.r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, false, err
	}
	d.taken += int64(len(part))
	startsLine, afterLF := !d.inLine, d.afterLF
	if startsLine && part[0] == '.' {
		switch {
		case string(part) == ".\r\n" && !afterLF:
			return nil, true, nil
		case string(part) == ".\n" || string(part) == ".\r\n":
			d.bareLF = true
			return nil, false, errDotNextToLF
		case !afterLF:
			part = part[1:]
		}
	}
	d.lines(part, startsLine && !afterLF)
	return part, false, nil
}

// lines notes how part ends, bare CRs in it, and the Received fields of the
// header.
func (d *dataReader) lines(part []byte, startsLine bool) {
	if startsLine && !d.inBody {
		const field = "received:"
		switch {
		case string(part) == "\r\n":
			d.inBody = true
		case len(part) >= len(field) && strings.EqualFold(string(part[:len(field)]), field):
			d.hops++
		}
	}
	hasLF := part[len(part)-1] == '\n'
	body := part
	if hasLF {
		body = part[:len(part)-1]
	}
	if d.lastCR && len(body) > 0 {
		d.bareCR = true
	}
	crlf := hasLF && (len(body) == 0 && d.lastCR || bytes.HasSuffix(body, []byte("\r")))
	if crlf && len(body) > 0 {
		body = body[:len(body)-1]
	}
	d.lastCR = !hasLF && bytes.HasSuffix(body, []byte("\r"))
	if d.lastCR {
		body = body[:len(body)-1]
	}
	if bytes.IndexByte(body, '\r') >= 0 {
		d.bareCR = true
	}
	d.inLine, d.afterLF = !hasLF, hasLF && !crlf
	d.bareLF = d.bareLF || d.afterLF
}

func (d *dataReader) lineEndReply() Reply {
	which := "LF"
	if !d.bareLF {
		which = "CR"
	}
	return Reply{550, badSyntax, "Message refused: it has " + which + " alone in a line; lines end with CRLF (RFC 5321 2.3.8)"}
}

// received is the trace field for the message (RFC 5321 4.4).
func (s *session) received(now time.Time) string {
	with := "SMTP"
	if s.esmtp {
		with = "ESMTP"
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
