// Package pop3 is a client for measuring POP3 servers (RFC 1939, 2449, 2595):
// it takes one step at a time, says how each ended, keeps the whole dialogue,
// and neither hangs nor fills up whatever the other side does.
//
//	c, err := pop3.Dial(ctx, "192.0.2.1:110", pop3.Options{})
//	if err != nil { ... }            // a *StageError: which step, how it ended
//	defer c.Close()
//	greeting, err := c.Greeting()
//	_, err = c.Capa()
//
// A step that the server refuses returns the reply and a *StageError whose
// outcome is in-use, temporary or permanent.
package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/smtp"
	"mailsrv/probes/tlscert"
)

// Stages of a conversation, in order. They are part of the JSON documents.
const (
	StageName         = "name" // the host name has no usable address
	StageTCP          = "tcp"
	StageTLS          = "tls" // implicit TLS
	StageGreeting     = "greeting"
	StageCapabilities = "capabilities" // CAPA
	StageStartTLS     = "starttls"     // STLS
	StageAuth         = "auth"
	StageList         = "list" // STAT, LIST, UIDL
	StageRetr         = "retr" // RETR, TOP
	StageDele         = "dele"
	StageQuit         = "quit"
)

// DefaultTimeout is the limit of one step.
const DefaultTimeout = 10 * time.Second

// Options say how to talk. The zero value works.
type Options struct {
	Dialer      dial.Dialer    // nil: dial.System
	Network     string         // "tcp" when empty
	Timeout     time.Duration  // of each step; 0: DefaultTimeout
	RootCAs     *x509.CertPool // nil: the system's
	ServerName  string         // the name the certificate must carry; empty: the host dialled
	ImplicitTLS bool           // TLS from the first octet
	Now         time.Time      // the time certificates are judged at; zero: now
}

// StageError says which step failed and how.
type StageError struct {
	Stage string
	How   string // outcome word: see dial.Outcome
	Err   error  // nil when the server's reply is the whole story
	Reply Reply  // the reply, if one came
}

// Outcome is the word for how the step ended: refused, timeout, silent,
// in-use, ...
func (e *StageError) Outcome() string { return e.How }

func (e *StageError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: the server answered %q", e.Stage, e.Reply.Raw)
	}
	return fmt.Sprintf("%s: %v", e.Stage, e.Err)
}

func (e *StageError) Unwrap() error { return e.Err }

// Line is one line of the dialogue. Credentials are blanked.
type Line = smtp.Line

// TLS are the facts of an encrypted connection.
type TLS = smtp.TLS

// Conn is one conversation. It belongs to one goroutine.
type Conn struct {
	opt   Options
	conn  net.Conn
	count *counter
	r     *bufio.Reader
	began time.Time
	stop  func() bool // ends the watch over the context

	Addr         string   // the address connected to
	Transcript   []Line   // everything said so far
	Capabilities []string // of the last CAPA, as listed; nil when the server does not know CAPA
	TLS          *TLS     // nil without TLS
}

// Dial connects; with ImplicitTLS it also shakes hands. The context governs the
// whole conversation: when it ends, so does the connection.
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
		return nil, &StageError{Stage: StageName, How: "invalid", Err: fmt.Errorf("%q is no host:port", addr)}
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
		return nil, &StageError{Stage: stage, How: dial.Outcome(err), Err: err}
	}
	c := &Conn{opt: opt, conn: nc, began: began, Addr: nc.RemoteAddr().String()}
	c.count = &counter{Conn: nc}
	c.r = newReader(c.count)
	c.stop = context.AfterFunc(ctx, func() {
		c.count.ended.Store(true)
		_ = nc.SetDeadline(time.Now())
	})
	if opt.ImplicitTLS {
		if err := c.handshake(StageTLS); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends the connection without a word: nothing marked is deleted.
func (c *Conn) Close() error {
	c.stop()
	return c.conn.Close()
}

// Elapsed is the time since dialling began.
func (c *Conn) Elapsed() time.Duration { return time.Since(c.began) }

// Has tells whether the last CAPA listed the capability.
func (c *Conn) Has(capability string) bool {
	for _, line := range c.Capabilities {
		if word, _, _ := strings.Cut(line, " "); strings.EqualFold(word, capability) {
			return true
		}
	}
	return false
}

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

// limit sets the deadline of the step that begins.
func (c *Conn) limit() (received int64) {
	_ = c.conn.SetDeadline(time.Now().Add(c.opt.Timeout))
	if c.count.ended.Load() { // the context ended before the deadline was moved
		_ = c.conn.SetDeadline(time.Now())
	}
	return c.count.n
}

func (c *Conn) say(from, stage, text string) {
	ms := float64(time.Since(c.began).Microseconds()) / 1000
	c.Transcript = append(c.Transcript, Line{From: from, Stage: stage, Ms: ms, Text: text})
}

func (c *Conn) read(stage string, before int64) (Reply, error) {
	reply, err := readReply(c.r, func(line string) { c.say("S", stage, line) })
	if err != nil {
		return reply, c.failed(stage, err, before, reply)
	}
	if !reply.OK {
		return reply, &StageError{Stage: stage, How: reply.how(), Reply: reply}
	}
	return reply, nil
}

func (c *Conn) failed(stage string, err error, before int64, reply Reply) error {
	how := dial.Outcome(err)
	if how == dial.Timeout {
		how = dial.Silent
		if c.count.n > before {
			how = dial.Drip
		}
	}
	return &StageError{Stage: stage, How: how, Err: err, Reply: reply}
}

// command sends a line and reads the first line of the answer. shown stands in
// the transcript instead of the line.
func (c *Conn) command(stage, line, shown string) (Reply, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return Reply{}, &StageError{Stage: stage, How: "invalid", Err: errors.New("a command must not contain line ends")}
	}
	before := c.limit()
	c.say("C", stage, shown)
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		// The server may have said why before it closed.
		reply, rerr := readReply(c.r, func(line string) { c.say("S", stage, line) })
		if rerr == nil && !reply.OK {
			return reply, &StageError{Stage: stage, How: reply.how(), Reply: reply}
		}
		return Reply{}, c.failed(stage, err, before, Reply{})
	}
	return c.read(stage, before)
}

// handshake turns the connection into a TLS one and notes its facts.
func (c *Conn) handshake(stage string) error {
	before := c.limit()
	if c.r.Buffered() > 0 { // nothing may stand between the reply and the handshake
		return &StageError{Stage: stage, How: dial.Garbage, Err: errors.New("the server sent more than its reply before the TLS handshake")}
	}
	tc := tls.Client(c.count, tlscert.MeasuringConfig(c.opt.ServerName))
	if err := tc.Handshake(); err != nil {
		return c.failed(stage, err, before, Reply{})
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
	c.r = newReader(tc)
	return nil
}
