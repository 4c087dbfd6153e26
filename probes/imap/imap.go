// Package imap is a client for measuring IMAP servers (RFC 9051, and RFC 3501
// before it): it takes one step at a time, says how each ended, keeps the whole
// dialogue, and neither hangs nor fills up whatever the other side does.
//
//	c, err := imap.Dial(ctx, "192.0.2.1:143", imap.Options{})
//	if err != nil { ... }            // a *StageError: which step, how it ended
//	defer c.Close()
//	greeting, err := c.Greeting()
//	_, err = c.Capability()
//
// A step that the server refuses returns the reply and a *StageError whose
// outcome is in-use, temporary or permanent. Messages are only looked at:
// nothing is marked as read or deleted.
package imap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailsrv/probes/wire"
)

// Stages of a conversation, in order. They are part of the JSON documents.
const (
	StageName         = wire.StageName
	StageTCP          = wire.StageTCP
	StageTLS          = wire.StageTLS
	StageGreeting     = "greeting"
	StageCapabilities = "capabilities" // CAPABILITY
	StageStartTLS     = "starttls"
	StageAuth         = "auth"
	StageList         = "list" // EXAMINE
	StageRetr         = "retr" // FETCH
	StageDele         = "dele" // STORE, EXPUNGE
	StageQuit         = "quit" // LOGOUT
)

// DefaultTimeout is the limit of one step.
const DefaultTimeout = wire.DefaultTimeout

// Options say how to connect. The zero value works.
type Options = wire.Options

// StageError says which step failed and how.
type StageError = wire.StageError[Reply]

// As returns the StageError in err, or nil.
func As(err error) *StageError { return wire.As[Reply](err) }

// Conn is one conversation. It belongs to one goroutine.
type Conn struct {
	*wire.Conn

	Capabilities []string // as last listed, upper case; nil when they are not known
	LoggedIn     bool     // by us, or already by the greeting (PREAUTH)

	commands int
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

// Has tells whether the server lists the capability.
func (c *Conn) Has(capability string) bool {
	for _, word := range c.Capabilities {
		if strings.EqualFold(word, capability) {
			return true
		}
	}
	return false
}

func (c *Conn) failed(stage string, err error, before int64, reply Reply) error {
	return &StageError{Stage: stage, How: c.How(err, before), Err: err, Reply: reply}
}

// judge makes an error of a reply that refuses.
func judge(stage string, reply Reply) error {
	if reply.OK {
		return nil
	}
	return &StageError{Stage: stage, How: reply.how(), Reply: reply}
}

// command sends a command and reads up to its answer. Shown stands in the
// transcript instead of the line. Each line that belongs to no command goes to
// see, each literal to take.
func (c *Conn) command(stage, line, shown string, see func(line string), take literals) (Reply, error) {
	tag, before, err := c.send(stage, line, shown)
	if err != nil {
		return Reply{}, err
	}
	return c.answer(stage, tag, before, see, take)
}

func (c *Conn) send(stage, line, shown string) (tag string, before int64, err error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return "", 0, &StageError{Stage: stage, How: "invalid", Err: errors.New("a command must not contain line ends")}
	}
	c.commands++
	tag = fmt.Sprintf("a%d", c.commands)
	before = c.Limit()
	c.Say("C", stage, tag+" "+shown)
	if _, werr := c.Write([]byte(tag + " " + line + "\r\n")); werr != nil {
		// The server may have said why before it closed.
		if reply, rerr := c.next(stage); rerr == nil && reply.Status == Bye {
			return "", 0, judge(stage, reply)
		}
		return "", 0, c.failed(stage, werr, before, Reply{})
	}
	return tag, before, nil
}

// answer reads until the command with that tag is answered, RFC 9051 section
// 2.2.2. When the server says goodbye instead, that is the answer.
func (c *Conn) answer(stage, tag string, before int64, see func(line string), take literals) (Reply, error) {
	var bye Reply
	for range maxLines {
		reply, err := c.nextWith(stage, take)
		switch {
		case err != nil && bye.Raw != "":
			return bye, judge(stage, bye)
		case err != nil:
			return reply, c.failed(stage, err, before, reply)
		case reply.Tag == tag:
			return reply, judge(stage, reply)
		case reply.Status == Bye:
			bye = reply
		case reply.Tag == "*" && see != nil:
			see(strings.TrimPrefix(reply.Raw, "* "))
		}
	}
	return Reply{}, c.failed(stage, errTooManyLines, before, Reply{})
}

// next reads one line outside of any command.
func (c *Conn) next(stage string) (Reply, error) { return c.nextWith(stage, nil) }

func (c *Conn) nextWith(stage string, take literals) (Reply, error) {
	return readReply(c.R, func(line string) { c.Say("S", stage, line) }, take)
}
