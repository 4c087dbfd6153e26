// Package smtp is a client for measuring mail servers: it takes one step at a
// time, says how each ended, keeps the whole dialogue, and neither hangs nor
// fills up whatever the other side does. It is not for sending mail: nothing
// is queued, retried or made safe.
//
//	c, err := smtp.Dial(ctx, "192.0.2.1:25", smtp.Options{Helo: "probe.example.com"})
//	if err != nil { ... }            // a *StageError: which step, how it ended
//	defer c.Close()
//	greeting, err := c.Greeting()
//	_, err = c.Ehlo()
//
// A step that the server refuses returns the reply and a *StageError whose
// outcome is temporary (4xx) or permanent (5xx).
package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert"
)

// Stages of a conversation, in order. They are part of the JSON documents.
const (
	StageName         = "name" // the host name has no usable address
	StageTCP          = "tcp"
	StageTLS          = "tls" // implicit TLS
	StageGreeting     = "greeting"
	StageCapabilities = "capabilities" // EHLO, HELO
	StageStartTLS     = "starttls"
	StageAuth         = "auth"
	StageMail         = "mail"
	StageRcpt         = "rcpt"
	StageData         = "data"
	StageRset         = "rset"
	StageQuit         = "quit"
)

// DefaultTimeout is the limit of one step.
const DefaultTimeout = 10 * time.Second

// Options say how to talk. The zero value works.
type Options struct {
	Dialer      dial.Dialer    // nil: dial.System
	Network     string         // "tcp" when empty; "tcp4" and "tcp6" fix the family
	Helo        string         // name given in EHLO; empty: this machine's host name
	Timeout     time.Duration  // of each step; 0: DefaultTimeout
	Greeting    time.Duration  // of the greeting, which may be slow on purpose; 0: Timeout
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
// temporary, ...
func (e *StageError) Outcome() string { return e.How }

func (e *StageError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: the server answered %q", e.Stage, e.Reply)
	}
	return fmt.Sprintf("%s: %v", e.Stage, e.Err)
}

func (e *StageError) Unwrap() error { return e.Err }

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
	r     *bufio.Reader
	began time.Time
	stop  func() bool // ends the watch over the context

	Local      string            // our own address
	Addr       string            // the address connected to
	Transcript []Line            // everything said so far
	Extensions map[string]string // of the last EHLO: upper-case keyword to parameters; nil after HELO
	Hello      string            // "EHLO" or "HELO", whichever was accepted last
	TLS        *TLS              // nil without TLS
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
	if opt.Greeting <= 0 {
		opt.Greeting = opt.Timeout
	}
	if opt.Network == "" {
		opt.Network = "tcp"
	}
	if opt.Helo == "" {
		opt.Helo = localName()
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
	c := &Conn{opt: opt, conn: nc, began: began, Addr: nc.RemoteAddr().String(), Local: nc.LocalAddr().String()}
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

// Close ends the connection without a word.
func (c *Conn) Close() error {
	c.stop()
	return c.conn.Close()
}

// Elapsed is the time since dialling began.
func (c *Conn) Elapsed() time.Duration { return time.Since(c.began) }

// Has tells whether the last EHLO offered the extension.
func (c *Conn) Has(extension string) bool {
	_, ok := c.Extensions[strings.ToUpper(extension)]
	return ok
}

// localName is what we say in EHLO when nothing is configured.
func localName() string {
	if h, err := os.Hostname(); err == nil && h != "" && !strings.ContainsAny(h, " \r\n") {
		return h
	}
	return "localhost"
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
func (c *Conn) limit() (received int64) { return c.within(c.opt.Timeout) }

func (c *Conn) within(d time.Duration) (received int64) {
	_ = c.conn.SetDeadline(time.Now().Add(d))
	if c.count.ended.Load() { // the context ended before the deadline was moved
		_ = c.conn.SetDeadline(time.Now())
	}
	return c.count.n
}

func (c *Conn) say(from, stage, text string) {
	ms := float64(time.Since(c.began).Microseconds()) / 1000
	c.Transcript = append(c.Transcript, Line{From: from, Stage: stage, Ms: ms, Text: text})
}

// read takes one reply; ok is the class of reply that counts as success.
func (c *Conn) read(stage string, ok int, before int64) (Reply, error) {
	reply, err := readReply(c.r, func(line string) { c.say("S", stage, line) })
	if err != nil {
		return reply, c.failed(stage, err, before, reply)
	}
	return reply, c.judge(stage, ok, reply)
}

func (c *Conn) judge(stage string, ok int, reply Reply) error {
	how := dial.Garbage
	switch reply.Class() {
	case ok:
		return nil
	case 4:
		how = dial.Temporary
	case 5:
		how = dial.Permanent
	}
	return &StageError{Stage: stage, How: how, Reply: reply}
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

// command sends a line and reads the reply. shown stands in the transcript
// instead of the line.
func (c *Conn) command(stage string, ok int, line, shown string) (Reply, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return Reply{}, &StageError{Stage: stage, How: "invalid", Err: fmt.Errorf("%q must not contain line ends", line)}
	}
	before := c.limit()
	c.say("C", stage, shown)
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		// The server may have said why before it closed.
		reply, rerr := readReply(c.r, func(line string) { c.say("S", stage, line) })
		if rerr == nil {
			return reply, c.judge(stage, ok, reply)
		}
		return Reply{}, c.failed(stage, err, before, Reply{})
	}
	return c.read(stage, ok, before)
}

// handshake turns the connection into a TLS one and notes its facts.
func (c *Conn) handshake(stage string) error {
	before := c.limit()
	if c.r.Buffered() > 0 { // RFC 3207 section 4.2: nothing may stand before the handshake
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
