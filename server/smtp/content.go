package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
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

	// wideFrom is from where on a message is worth a large buffer.
	wideFrom = 8 << 10
)

var (
	errDotNextToLF = errors.New("line of one dot next to a bare LF")
	errDotNextToCR = errors.New("line of one dot next to a bare CR")
	errEndless     = errors.New("message far beyond the size limit")
)

// intake is a message whose content is coming in, by DATA or by BDAT.
type intake struct {
	s        *session
	msg      Message
	lines    lines
	total    int64 // octets of the message
	writeErr error // the first; Commit knows what it means
	started  time.Time
	taken    int64 // octets read
	extended int64 // taken when the deadline was set
}

// extend gives the client time for the next block.
func (in *intake) extend() error {
	if in.taken < in.extended+blockSize {
		return nil
	}
	in.extended = in.taken
	idle := in.s.srv.Limits.Idle
	slowest := idle + time.Duration((in.taken+blockSize)/minRate)*time.Second
	return in.s.c.Extend(min(idle, slowest-time.Since(in.started)))
}

// take adds octets of the message. What is too big, or can no longer be
// written, is dropped.
func (in *intake) take(p []byte) error {
	if in.total == 0 && (p[0] == ' ' || p[0] == '\t') && in.writeErr == nil {
		// No header: it would continue the trace field above it.
		_, in.writeErr = io.WriteString(in.msg, "\r\n")
	}
	before, afterCR := in.lines.bareLFs, in.lines.lastCR
	in.lines.look(p)
	in.total += int64(len(p))
	limit := in.s.srv.Limits.MessageSize
	switch {
	case in.total > limit+maxExcess:
		return errEndless
	case in.total <= limit && in.writeErr == nil && !in.lines.bareCR:
		if in.lines.bareLFs > before {
			p = wholeLineEnds(p, afterCR)
		}
		_, in.writeErr = in.msg.Write(p)
	}
	return nil
}

// wholeLineEnds makes CRLF of each LF alone. afterCR: the octet before p was CR.
func wholeLineEnds(p []byte, afterCR bool) []byte {
	out := make([]byte, 0, len(p)+len(p)/16+16)
	for _, c := range p {
		if c == '\n' && !afterCR {
			out = append(out, '\r')
		}
		out = append(out, c)
		afterCR = c == '\r'
	}
	return out
}

// lines notes what is wrong with the lines of a message, and what of its header
// matters here. It takes them in pieces of any size.
type lines struct {
	inLine  bool   // the last octets were not a line end of either kind
	afterLF bool   // the last line end was a bare LF
	afterCR bool   // the last line end was CR CR LF
	lastCR  bool   // the last octet was CR
	twoCR   bool   // and the one before it
	inBody  bool   // behind the blank line
	head    []byte // how the present line of the header begins
	hops    int    // Received fields
	bareLFs int64  // lines that ended with LF alone
	bareCR  bool
}

const receivedField = "received:"

func (l *lines) look(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		line := p
		if i >= 0 {
			line = p[:i]
		}
		if len(line) > 0 {
			cr := bytes.IndexByte(line, '\r')
			l.bareCR = l.bareCR || l.lastCR || cr >= 0 && cr < len(line)-1
			l.twoCR = line[len(line)-1] == '\r' && (len(line) == 1 && l.lastCR || len(line) > 1 && line[len(line)-2] == '\r')
			l.lastCR = line[len(line)-1] == '\r'
			if n := len(receivedField) - len(l.head); n > 0 && !l.inBody {
				l.head = append(l.head, line[:min(n, len(line))]...)
			}
		}
		if i < 0 {
			l.inLine = true
			return
		}
		if !l.inBody {
			l.inBody = len(l.head) == 0 || string(l.head) == "\r"
			if strings.EqualFold(string(l.head), receivedField) {
				l.hops++
			}
			l.head = l.head[:0]
		}
		if l.afterLF = !l.lastCR; l.afterLF {
			l.bareLFs++
		}
		l.afterCR = l.twoCR
		l.inLine, l.lastCR, l.twoCR = false, false, false
		p = p[i+1:]
	}
}

// badLineEnd refuses a message with "CR" or "LF" alone.
func badLineEnd(which string) *Reply {
	return &Reply{550, badSyntax, "Message refused: it has " + which + " alone in a line; lines end with CRLF (RFC 5321 2.3.8)"}
}

// dataReader takes the dots off the content that follows DATA (RFC 5321 4.5.2)
// and finds its end. It holds no more than the reader's buffer, however long a
// line is.
type dataReader struct {
	r     *bufio.Reader
	held  int   // octets that were returned and still lie in the buffer
	taken int64 // octets read
}

// next returns the next octets of the message, valid until the next call. end
// comes without octets. l knows the lines up to here.
func (d *dataReader) next(l *lines) (part []byte, end bool, err error) {
	d.release()
	b, err := peek(d.r, 1)
	if err != nil {
		return nil, false, err
	}
	if !l.inLine && b[0] == '.' {
		end, err := d.dot(l)
		if end || err != nil {
			return nil, end, err
		}
		if !l.afterLF {
			d.discard(1)
			if _, err = peek(d.r, 1); err != nil {
				return nil, false, err
			}
		}
	}
	b, _ = d.r.Peek(d.r.Buffered())
	if i := bytes.Index(b, []byte("\n.")); i >= 0 {
		b = b[:i+1]
	}
	d.held = len(b)
	return b, false, nil
}

// dot looks at a line that begins with a dot. It waits for no more of it than
// it needs.
func (d *dataReader) dot(l *lines) (end bool, err error) {
	b, err := peek(d.r, 2)
	if err == nil && b[1] == '\r' {
		b, err = peek(d.r, 3)
	}
	switch {
	case err != nil:
		return false, err
	case b[1] == '\n' || b[1] == '\r' && b[2] == '\n' && l.afterLF:
		d.discard(len(b))
		return false, errDotNextToLF
	case b[1] == '\r' && b[2] == '\n' && l.afterCR:
		d.discard(len(b))
		return false, errDotNextToCR
	case b[1] == '\r' && b[2] == '\n':
		d.discard(len(b))
		return true, nil
	}
	return false, nil
}

// peek waits for n octets. The end of the connection is no end of a message.
func peek(r *bufio.Reader, n int) ([]byte, error) {
	b, err := r.Peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// release gives up what next has returned.
func (d *dataReader) release() {
	d.discard(d.held)
	d.held = 0
}

func (d *dataReader) discard(n int) {
	_, _ = d.r.Discard(n) // lies in the buffer
	d.taken += int64(n)
}
