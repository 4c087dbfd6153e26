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
	"context"
	"errors"
	"strings"

	"mailsrv/probes/wire"
)

// Stages of a conversation, in order. They are part of the JSON documents.
const (
	StageName         = wire.StageName
	StageTCP          = wire.StageTCP
	StageTLS          = wire.StageTLS
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
const DefaultTimeout = wire.DefaultTimeout

// Options say how to connect. The zero value works.
type Options = wire.Options

// StageError says which step failed and how.
type StageError = wire.StageError[Reply]

// Line is one line of the dialogue. Credentials are blanked.
type Line = wire.Line

// TLS are the facts of an encrypted connection.
type TLS = wire.TLS

// Conn is one conversation. It belongs to one goroutine. Closing it without
// Quit deletes nothing that was marked.
type Conn struct {
	*wire.Conn

	Capabilities []string // of the last CAPA, as listed; nil when the server does not know CAPA
}

// Dial connects; with ImplicitTLS it also shakes hands. The context governs the
// whole conversation: when it ends, so does the connection.
func Dial(ctx context.Context, addr string, opt Options) (*Conn, error) {
	w, err := wire.Dial(ctx, addr, opt)
	if err != nil {
		return nil, stageError(err)
	}
	return &Conn{Conn: w}, nil
}

// stageError gives an error of the connection the protocol's own type.
func stageError(err error) error { return wire.Stage[Reply](err) }

// Has tells whether the last CAPA listed the capability.
func (c *Conn) Has(capability string) bool {
	for _, line := range c.Capabilities {
		if word, _, _ := strings.Cut(line, " "); strings.EqualFold(word, capability) {
			return true
		}
	}
	return false
}

func (c *Conn) read(stage string, before int64) (Reply, error) {
	reply, err := readReply(c.R, func(line string) { c.Say("S", stage, line) })
	if err != nil {
		return reply, c.failed(stage, err, before, reply)
	}
	if !reply.OK {
		return reply, &StageError{Stage: stage, How: reply.how(), Reply: reply}
	}
	return reply, nil
}

func (c *Conn) failed(stage string, err error, before int64, reply Reply) error {
	return &StageError{Stage: stage, How: c.How(err, before), Err: err, Reply: reply}
}

// command sends a line and reads the first line of the answer. shown stands in
// the transcript instead of the line.
func (c *Conn) command(stage, line, shown string) (Reply, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return Reply{}, &StageError{Stage: stage, How: "invalid", Err: errors.New("a command must not contain line ends")}
	}
	before := c.Limit()
	c.Say("C", stage, shown)
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		// The server may have said why before it closed.
		reply, rerr := readReply(c.R, func(line string) { c.Say("S", stage, line) })
		if rerr == nil && !reply.OK {
			return reply, &StageError{Stage: stage, How: reply.how(), Reply: reply}
		}
		return Reply{}, c.failed(stage, err, before, Reply{})
	}
	return c.read(stage, before)
}
