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
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Stages of a conversation, in order. They are part of the JSON documents.
const (
	StageName         = wire.StageName
	StageTCP          = wire.StageTCP
	StageTLS          = wire.StageTLS
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
const DefaultTimeout = wire.DefaultTimeout

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
type StageError = wire.StageError[Reply]

// Line is one line of the dialogue. Credentials are blanked.
type Line = wire.Line

// TLS are the facts of an encrypted connection.
type TLS = wire.TLS

// Conn is one conversation. It belongs to one goroutine.
type Conn struct {
	*wire.Conn
	helo     string
	greeting time.Duration

	Extensions map[string]string // of the last EHLO: upper-case keyword to parameters; nil after HELO
	Hello      string            // "EHLO" or "HELO", whichever was accepted last
}

// Dial connects; with ImplicitTLS it also shakes hands. The context governs the
// whole conversation: when it ends, so does the connection.
func Dial(ctx context.Context, addr string, opt Options) (*Conn, error) {
	if opt.Timeout <= 0 {
		opt.Timeout = DefaultTimeout
	}
	if opt.Greeting <= 0 {
		opt.Greeting = opt.Timeout
	}
	if opt.Helo == "" {
		opt.Helo = localName()
	}
	w, err := wire.Dial(ctx, addr, wire.Options{
		Dialer: opt.Dialer, Network: opt.Network, Timeout: opt.Timeout, RootCAs: opt.RootCAs,
		ServerName: opt.ServerName, ImplicitTLS: opt.ImplicitTLS, Now: opt.Now,
	})
	if err != nil {
		return nil, stageError(err)
	}
	return &Conn{Conn: w, helo: opt.Helo, greeting: opt.Greeting}, nil
}

// stageError gives an error of the connection the protocol's own type.
func stageError(err error) error { return wire.Stage[Reply](err) }

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

// read takes one reply; ok is the class of reply that counts as success.
func (c *Conn) read(stage string, ok int, before int64) (Reply, error) {
	reply, err := readReply(c.R, func(line string) { c.Say("S", stage, line) })
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
	return &StageError{Stage: stage, How: c.How(err, before), Err: err, Reply: reply}
}

// command sends a line and reads the reply. shown stands in the transcript
// instead of the line.
func (c *Conn) command(stage string, ok int, line, shown string) (Reply, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return Reply{}, &StageError{Stage: stage, How: "invalid", Err: fmt.Errorf("%q must not contain line ends", line)}
	}
	before := c.Limit()
	c.Say("C", stage, shown)
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		// The server may have said why before it closed.
		reply, rerr := readReply(c.R, func(line string) { c.Say("S", stage, line) })
		if rerr == nil {
			return reply, c.judge(stage, ok, reply)
		}
		return Reply{}, c.failed(stage, err, before, Reply{})
	}
	return c.read(stage, ok, before)
}
