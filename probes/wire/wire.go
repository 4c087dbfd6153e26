// Package wire is the connection that the measuring clients of line protocols
// share: it dials, shakes hands, keeps the dialogue and the time, and turns
// every way a connection can fail into one outcome word. What the lines mean is
// for the protocol's own package.
package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert"
)

// Stages that every protocol begins with. They are part of the JSON documents.
const (
	StageName = "name" // the host name has no usable address
	StageTCP  = "tcp"
	StageTLS  = "tls" // implicit TLS
)

// DefaultTimeout is the limit of one step.
const DefaultTimeout = 10 * time.Second

// Options say how to connect. The zero value works.
type Options struct {
	Dialer      dial.Dialer    // nil: dial.System
	Network     string         // "tcp" when empty; "tcp4" and "tcp6" fix the family
	Timeout     time.Duration  // of each step; 0: DefaultTimeout
	RootCAs     *x509.CertPool // nil: the system's
	ServerName  string         // the name the certificate must carry; empty: the host dialled
	ImplicitTLS bool           // TLS from the first octet
	Now         time.Time      // the time certificates are judged at; zero: now
}

// Error says which step of the connection failed and how.
type Error struct {
	Stage string
	How   string // outcome word: see dial.Outcome
	Err   error
}

func (e *Error) Error() string   { return e.Stage + ": " + dial.Describe(e.How, e.Err) }
func (e *Error) Unwrap() error   { return e.Err }
func (e *Error) Outcome() string { return e.How }

// StageError says which step of a protocol failed and how; R is the protocol's
// reply.
type StageError[R fmt.Stringer] struct {
	Stage string
	How   string // outcome word: see dial.Outcome
	Err   error  // nil when the server's reply is the whole story
	Reply R      // the reply, if one came
}

// Outcome is the word for how the step ended: refused, timeout, silent,
// temporary, in-use, ...
func (e *StageError[R]) Outcome() string { return e.How }

func (e *StageError[R]) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: the server answered %q", e.Stage, e.Reply.String())
	}
	return e.Stage + ": " + dial.Describe(e.How, e.Err)
}

func (e *StageError[R]) Unwrap() error { return e.Err }

// Stage gives an error of the connection the protocol's own type.
func Stage[R fmt.Stringer](err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &StageError[R]{Stage: e.Stage, How: e.How, Err: e.Err}
	}
	return err
}

// As returns the protocol's StageError in err, or nil.
func As[R fmt.Stringer](err error) *StageError[R] {
	var e *StageError[R]
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Line is one line of the dialogue. Credentials are blanked.
type Line struct {
	From  string  `json:"from"` // "C" or "S"
	Stage string  `json:"stage"`
	Ms    float64 `json:"ms"` // since the conversation began
	Text  string  `json:"text"`
}

// TLS are the facts of an encrypted connection.
type TLS struct {
	Version string `json:"version"` // "TLS 1.3"
	Cipher  string `json:"cipher"`
	tlscert.Facts
	VersionID uint16 `json:"-"` // tls.VersionTLS13
}

// Conn is one conversation. It belongs to one goroutine.
type Conn struct {
	opt   Options
	conn  net.Conn
	count *counter
	began time.Time
	stop  func() bool // ends the watch over the context

	R          *bufio.Reader // its buffer is the limit of a line
	Local      string        // our own address
	Addr       string        // the address connected to
	Transcript []Line        // everything said so far
	TLS        *TLS          // nil without TLS
}

// Dial connects; with ImplicitTLS it also shakes hands. The context governs the
// whole conversation: when it ends, so does the connection. The error is an
// *Error.
func Dial(ctx context.Context, addr string, opt Options) (*Conn, error) {
	if opt.Dialer == nil {
		opt.Dialer = dial.System
	}
	if opt.Timeout <= 0 {
		opt.Timeout = DefaultTimeout
	}
	if opt.Network == "" {
		opt.Network = "tcp"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &Error{StageName, "invalid", fmt.Errorf("%q is no host:port", addr)}
	}
	if opt.ServerName == "" {
		opt.ServerName = host
	}
	began := time.Now()
	dctx, cancel := context.WithTimeout(ctx, opt.Timeout)
	nc, err := opt.Dialer.DialContext(dctx, opt.Network, addr)
	cancel()
	if err != nil {
		var dnsErr *net.DNSError
		stage := StageTCP
		if errors.As(err, &dnsErr) {
			stage = StageName
		}
		return nil, &Error{stage, dial.Outcome(err), err}
	}
	c := &Conn{opt: opt, conn: nc, began: began, Addr: nc.RemoteAddr().String(), Local: nc.LocalAddr().String()}
	c.count = &counter{Conn: nc}
	c.R = NewReader(c.count)
	c.stop = context.AfterFunc(ctx, func() {
		c.count.ended.Store(true)
		_ = nc.SetDeadline(time.Now())
	})
	if opt.ImplicitTLS {
		if err := c.Handshake(StageTLS); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends the connection without a word.
func (c *Conn) Close() error {
	c.stop()
	return c.conn.Close()
}

// Elapsed is the time since dialling began.
func (c *Conn) Elapsed() time.Duration { return time.Since(c.began) }

// counter counts the octets received, so that silence and dripping can be told
// apart, and knows whether the context has ended.
type counter struct {
	net.Conn
	n     int64
	ended atomic.Bool
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += int64(n)
	return n, err
}

// Limit sets the deadline of the step that begins to the usual time, and
// returns the octets received so far for How.
func (c *Conn) Limit() (received int64) { return c.Within(c.opt.Timeout) }

// Within is Limit with another time.
func (c *Conn) Within(d time.Duration) (received int64) {
	_ = c.conn.SetDeadline(time.Now().Add(d))
	if c.count.ended.Load() { // the context ended before the deadline was moved
		_ = c.conn.SetDeadline(time.Now())
	}
	return c.count.n
}

// Received is how many octets have come from the server.
func (c *Conn) Received() int64 { return c.count.n }

// Say notes a line of the dialogue.
func (c *Conn) Say(from, stage, text string) {
	ms := float64(time.Since(c.began).Microseconds()) / 1000
	c.Transcript = append(c.Transcript, Line{From: from, Stage: stage, Ms: ms, Text: text})
}

// Write sends octets within the present limit.
func (c *Conn) Write(p []byte) (int, error) { return c.conn.Write(p) }

// How is the outcome word of an error in a step that began when so many octets
// had been received.
func (c *Conn) How(err error, before int64) string {
	how := dial.Outcome(err)
	if how == dial.Timeout {
		how = dial.Silent
		if c.count.n > before {
			how = dial.Drip
		}
	}
	return how
}

// Handshake turns the connection into a TLS one and notes its facts. Any
// certificate is taken; TLS says what is wrong with it. The error is an *Error.
func (c *Conn) Handshake(stage string) error {
	before := c.Limit()
	if c.R.Buffered() > 0 { // RFC 3207 section 4.2: nothing may stand before the handshake
		return &Error{stage, dial.Garbage, errors.New("the server sent more than its reply before the TLS handshake")}
	}
	tc := tls.Client(c.count, tlscert.MeasuringConfig(c.opt.ServerName))
	if err := tc.Handshake(); err != nil {
		return &Error{stage, c.How(err, before), err}
	}
	st := tc.ConnectionState()
	now := c.opt.Now
	if now.IsZero() {
		now = time.Now()
	}
	c.TLS = &TLS{
		Version: tls.VersionName(st.Version), VersionID: st.Version, Cipher: tls.CipherSuiteName(st.CipherSuite),
		Facts: tlscert.Inspect(st.PeerCertificates, c.opt.ServerName, c.opt.RootCAs, now),
	}
	c.conn = tc
	c.R = NewReader(tc)
	return nil
}
