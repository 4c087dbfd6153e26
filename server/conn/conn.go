// Package conn is what every line protocol of the server needs from a
// connection: lines of bounded length read against a deadline, replies sent
// per group of pipelined commands, the switch to TLS, limits, and an orderly
// end when the server stops.
package conn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// What can come of reading a line, besides the errors of the connection. After
// ErrTooLong the reader stands behind the line's end; after the others the
// session is to be ended.
var (
	ErrTooLong  = errors.New("line too long")
	ErrFlood    = errors.New("line without an end")
	ErrBareLF   = errors.New("line ended by LF without CR")
	ErrDraining = errors.New("the server is stopping")
)

// maxDiscard bounds how much of an endless line is read before giving up.
const maxDiscard = 1 << 20

// Conn is one accepted connection. Its methods belong to the goroutine that
// serves it.
type Conn struct {
	ID     string // names the session in log lines
	R      *bufio.Reader
	W      *bufio.Writer
	narrow *bufio.Reader // R as it was before Widen
	src    io.Reader     // what R reads: cur, behind what refill holds back
	raw    net.Conn      // TCP
	cur    net.Conn      // raw, or TLS over it
	tls    *tls.ConnectionState
	idle   time.Duration

	mu       sync.Mutex
	waiting  bool // between commands: may be interrupted
	draining bool
	stop     chan struct{} // closed when draining
}

const (
	bufferSize = 4 << 10  // keeps a thousand idle sessions small
	wideSize   = 32 << 10 // for content: fewer system calls
)

var wide = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, wideSize) }}

// Widen makes R another reader with a large buffer, until Narrow. What has been
// read and not used yet is in it.
func (c *Conn) Widen() {
	if c.narrow == nil {
		c.narrow = c.R
		w, _ := wide.Get().(*bufio.Reader)
		c.refill(w)
	}
}

// Narrow undoes Widen, if need be.
func (c *Conn) Narrow() {
	if c.narrow != nil {
		w := c.R
		c.refill(c.narrow)
		c.narrow = nil
		w.Reset(nil)
		wide.Put(w)
	}
}

// refill makes r what is read from. What is held back for it may be more than
// fits into it.
func (c *Conn) refill(r *bufio.Reader) {
	held := bytes.Clone(c.peek())
	if len(held) > 0 {
		c.src = io.MultiReader(bytes.NewReader(held), c.src)
	}
	c.R = r
	r.Reset(c.src)
	_, _ = r.Peek(min(len(held), r.Size())) // waits for nobody
}

// New wraps an accepted connection.
func New(raw net.Conn, idle time.Duration) *Conn {
	c := &Conn{ID: NewID(), raw: raw, cur: raw, src: raw, idle: idle, stop: make(chan struct{})}
	c.R = bufio.NewReaderSize(raw, bufferSize)
	c.W = bufio.NewWriterSize(writer{c}, bufferSize)
	return c
}

// writer gives each write to the network its own deadline, so that a long
// message needs no estimate of how long it takes.
type writer struct{ c *Conn }

func (w writer) Write(p []byte) (int, error) {
	if err := w.c.cur.SetWriteDeadline(time.Now().Add(w.c.idle)); err != nil {
		return 0, err
	}
	return w.c.cur.Write(p)
}

// NewID makes a name for a session or a transaction: ten letters and digits
// that cannot be mistaken for each other.
func NewID() string {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's 32
	var b [10]byte
	rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[b[i]&31]
	}
	return string(b[:])
}

// Remote is the client's address.
func (c *Conn) Remote() netip.AddrPort { return addrPort(c.raw.RemoteAddr()) }

// Local is the address that the client reached.
func (c *Conn) Local() netip.AddrPort { return addrPort(c.raw.LocalAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	return netip.AddrPort{}
}

// TLS is the state of the encryption, nil without.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// SetIdle changes how long the client may take for a command.
func (c *Conn) SetIdle(d time.Duration) { c.idle = d }

// Extend gives the client d from now for what is read outside ReadLine.
func (c *Conn) Extend(d time.Duration) error { return c.cur.SetReadDeadline(time.Now().Add(d)) }

// Pause holds a client up: what has been written is sent, and d passes, unless
// the server stops.
func (c *Conn) Pause(d time.Duration) {
	if c.W.Flush() != nil {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.stop:
	}
}

// Line says how ReadLine reads.
type Line struct {
	Max     int  // octets, line end included
	Between bool // nothing is under way: a stopping server may end the session here
	LaxLF   bool // LF alone ends a line too
}

// ReadLine reads one line without its end. What has been written is sent
// before it waits. The whole line has to arrive within the idle time, however
// small the pieces it comes in.
func (c *Conn) ReadLine(how Line) ([]byte, error) {
	if !bytes.ContainsRune(c.peek(), '\n') {
		if err := c.W.Flush(); err != nil {
			return nil, err
		}
		if err := c.await(how.Between); err != nil {
			return nil, err
		}
	}
	line, err := c.readLine(how)
	c.mu.Lock()
	c.waiting = false
	if err != nil && c.draining && how.Between && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrDraining
	}
	c.mu.Unlock()
	return line, err
}

func (c *Conn) peek() []byte {
	b, _ := c.R.Peek(c.R.Buffered())
	return b
}

// await sets the deadline for the next line and lets interrupt in.
func (c *Conn) await(between bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if between && c.draining {
		return ErrDraining
	}
	c.waiting = between
	return c.cur.SetReadDeadline(time.Now().Add(c.idle))
}

func (c *Conn) readLine(how Line) ([]byte, error) {
	var line []byte
	size, last := 0, byte(0)
	for {
		part, err := c.R.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			if err == io.EOF && size+len(part) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		size += len(part)
		if size <= how.Max {
			line = append(line, part...)
		} else if line = nil; size > maxDiscard {
			return nil, ErrFlood
		}
		if len(part) > 1 {
			last = part[len(part)-2]
		}
		if err == nil {
			switch {
			case last != '\r' && !how.LaxLF:
				return nil, ErrBareLF
			case size > how.Max:
				return nil, ErrTooLong
			case last == '\r':
				return line[:size-2], nil
			}
			return line[:size-1], nil
		}
		last = part[len(part)-1]
	}
}

// interrupt asks the session to end. One that waits between commands notices
// at once, another when it comes to the next such point.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		close(c.stop)
	}
	if c.waiting {
		_ = c.cur.SetReadDeadline(time.Unix(1, 0))
	}
}

// handshakeTime bounds a TLS handshake.
const handshakeTime = 30 * time.Second

// StartTLS sends what has been written and switches to TLS. Input that came
// before the handshake is thrown away (RFC 3207 6, CVE-2011-0411): discarded
// says how many octets.
func (c *Conn) StartTLS(cfg *tls.Config) (discarded int, err error) {
	if err := c.W.Flush(); err != nil {
		return 0, err
	}
	discarded = c.R.Buffered()
	t := tls.Server(c.raw, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := c.raw.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return discarded, err
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return discarded, err
	}
	state := t.ConnectionState()
	c.mu.Lock()
	c.cur, c.src, c.tls = t, t, &state
	c.mu.Unlock()
	c.R.Reset(t)
	c.W.Reset(writer{c})
	return discarded, nil
}

// lingerTime bounds how long hangup waits for the client to notice; a server
// that stops has less patience.
const (
	lingerTime     = 2 * time.Second
	lingerStopping = 100 * time.Millisecond
)

// hangup ends the session from this side: it sends what has been written, says
// that nothing more comes, and reads a little on, because closing with unread
// input would reset the connection and take the last reply with it.
func (c *Conn) hangup() {
	if c.W.Flush() != nil {
		return
	}
	if c.tls != nil {
		if t, ok := c.cur.(*tls.Conn); ok {
			_ = t.CloseWrite()
		}
	}
	t, ok := c.raw.(*net.TCPConn)
	if !ok || t.CloseWrite() != nil {
		return
	}
	c.mu.Lock()
	wait := lingerTime
	if c.draining {
		wait = lingerStopping
	}
	c.waiting = true
	_ = c.raw.SetReadDeadline(time.Now().Add(wait))
	c.mu.Unlock()
	_, _ = io.CopyN(io.Discard, c.raw, maxDiscard)
}
