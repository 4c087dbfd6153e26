package pop3

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Greeting reads the server's first line.
func (c *Conn) Greeting() (Reply, error) {
	return c.read(StageGreeting, c.Limit())
}

// Capa asks what the server can do, RFC 2449. Old servers answer -ERR, which
// leaves Capabilities nil and is their good right.
func (c *Conn) Capa() (Reply, error) {
	c.Capabilities = nil
	var list []string
	reply, err := c.listing(StageCapabilities, "CAPA", true, func(line string) error {
		list = append(list, line)
		return nil
	})
	if err == nil {
		c.Capabilities = list
	}
	return reply, err
}

// StartTLS says STLS and shakes hands, RFC 2595 section 4. Any certificate is
// taken; c.TLS says what is wrong with it. Ask Capa again afterwards.
func (c *Conn) StartTLS() (Reply, error) {
	reply, err := c.command(StageStartTLS, "STLS", "STLS")
	if err != nil {
		return reply, err
	}
	if err := c.Handshake(StageStartTLS); err != nil {
		return reply, stageError(err)
	}
	c.Capabilities = nil
	return reply, nil
}

// Login logs in with USER and PASS, or with SASL PLAIN (RFC 5034) when the
// server lists that and not USER.
func (c *Conn) Login(user, password string) (Reply, error) {
	if !c.Has("USER") && c.hasSASL("PLAIN") {
		token := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		return c.command(StageAuth, "AUTH PLAIN "+token, "AUTH PLAIN ***")
	}
	if reply, err := c.User(user); err != nil {
		return reply, err
	}
	return c.command(StageAuth, "PASS "+password, "PASS ***")
}

// User says the name of a user and no password: how far a server goes with
// that tells whether it takes logins here at all.
func (c *Conn) User(name string) (Reply, error) {
	return c.command(StageAuth, "USER "+name, "USER "+wire.Clean(name))
}

// TakesUser is false for a server that lists other ways to log in, but not USER
// (RFC 2449 section 6.3).
func (c *Conn) TakesUser() bool { return c.Has("USER") || !c.hasSASL("PLAIN") }

func (c *Conn) hasSASL(mechanism string) bool {
	for _, line := range c.Capabilities {
		if f := strings.Fields(line); len(f) > 1 && strings.EqualFold(f[0], "SASL") {
			for _, m := range f[1:] {
				if strings.EqualFold(m, mechanism) {
					return true
				}
			}
		}
	}
	return false
}

// Stat returns how many messages there are and their octets together.
func (c *Conn) Stat() (messages int, octets int64, err error) {
	reply, err := c.command(StageList, "STAT", "STAT")
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(reply.Text)
	if len(f) < 2 {
		return 0, 0, c.garbage(StageList, reply)
	}
	messages, err1 := strconv.Atoi(f[0])
	octets, err2 := strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil || messages < 0 || octets < 0 {
		return 0, 0, c.garbage(StageList, reply)
	}
	return messages, octets, nil
}

func (c *Conn) garbage(stage string, reply Reply) error {
	return &StageError{Stage: stage, How: dial.Garbage, Err: fmt.Errorf("the server's answer makes no sense: %q", wire.Shorten(reply.Raw)), Reply: reply}
}

// Message is one line of LIST or UIDL.
type Message struct {
	Number int
	Size   int64  // octets, by LIST
	UID    string // by UIDL
}

// List returns the messages and their sizes.
func (c *Conn) List() ([]Message, error) {
	return c.messages("LIST", func(m *Message, word string) (err error) {
		m.Size, err = strconv.ParseInt(word, 10, 64)
		return err
	})
}

// Uidl returns the messages and their unique ids.
func (c *Conn) Uidl() ([]Message, error) {
	return c.messages("UIDL", func(m *Message, word string) error {
		m.UID = word
		return nil
	})
}

func (c *Conn) messages(command string, set func(m *Message, word string) error) ([]Message, error) {
	var out []Message
	_, err := c.listing(StageList, command, true, func(line string) error {
		f := strings.Fields(line)
		if len(f) < 2 {
			return fmt.Errorf("%s: %q is no \"number value\"", command, wire.Shorten(line))
		}
		n, err := strconv.Atoi(f[0])
		if err != nil || n < 1 {
			return fmt.Errorf("%s: %q is no message number", command, wire.Shorten(f[0]))
		}
		m := Message{Number: n}
		if err := set(&m, f[1]); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// listing sends a command whose good answer has many lines. Each is handed to
// take; an error of take is garbage from the server.
func (c *Conn) listing(stage, command string, show bool, take func(line string) error) (Reply, error) {
	reply, err := c.command(stage, command, command)
	if err != nil {
		return reply, err
	}
	before := c.Limit()
	var wrong error
	err = readListing(c.R, func(line string) {
		if show && len(c.Transcript) < maxTranscript {
			c.Say("S", stage, line)
		}
		if wrong == nil {
			wrong = take(line)
		}
	})
	if err != nil {
		return reply, c.failed(stage, err, before, reply)
	}
	if wrong != nil {
		return reply, &StageError{Stage: stage, How: dial.Garbage, Err: wrong, Reply: reply}
	}
	return reply, nil
}

// maxTranscript is how many lines of long listings are kept.
const maxTranscript = 500

// Retr fetches a message of at most max octets, dots undone, line ends as the
// server sends them. Progress of at least 1 KiB within the step's limit keeps
// it going.
func (c *Conn) Retr(n int, max int64) ([]byte, error) {
	return c.fetch(fmt.Sprintf("RETR %d", n), max)
}

// Top fetches the header of a message and some lines of its body.
func (c *Conn) Top(n, lines int, max int64) ([]byte, error) {
	return c.fetch(fmt.Sprintf("TOP %d %d", n, lines), max)
}

func (c *Conn) fetch(command string, max int64) ([]byte, error) {
	reply, err := c.command(StageRetr, command, command)
	if err != nil {
		return nil, err
	}
	// What came in one piece with the reply belongs to the message.
	before := c.Limit() - int64(c.R.Buffered())
	msg, err := readMessage(c.R, max, func() {
		const progress = 1 << 10
		if c.Received() >= before+progress {
			before = c.Limit()
		}
	})
	if err != nil {
		c.Say("S", StageRetr, fmt.Sprintf("(%d octets, then no more)", len(msg)))
		return msg, c.failed(StageRetr, err, before, reply)
	}
	c.Say("S", StageRetr, fmt.Sprintf("(message of %d octets)", len(msg)))
	return msg, nil
}

// readMessage reads up to the final dot. Lines may be of any length.
func readMessage(r *bufio.Reader, max int64, progress func()) ([]byte, error) {
	var msg bytes.Buffer
	for start := true; ; {
		part, err := r.ReadSlice('\n')
		progress()
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return msg.Bytes(), unexpectedEnd(err)
		}
		if start && len(part) > 0 && part[0] == '.' {
			if len(wire.TrimEnd(part)) == 1 && whole {
				return msg.Bytes(), nil
			}
			part = part[1:]
		}
		start = whole
		if int64(msg.Len()+len(part)) > max {
			return msg.Bytes(), &wire.ProtocolError{Word: "too-large", Text: fmt.Sprintf("the message is larger than the %d octets asked for", max)}
		}
		msg.Write(part)
	}
}

// Dele marks a message for deletion at QUIT.
func (c *Conn) Dele(n int) (Reply, error) {
	line := fmt.Sprintf("DELE %d", n)
	return c.command(StageDele, line, line)
}

// Quit says goodbye, which deletes what is marked, and closes.
func (c *Conn) Quit() (Reply, error) {
	reply, err := c.command(StageQuit, "QUIT", "QUIT")
	_ = c.Close() // the conversation is over either way
	return reply, err
}

// As returns the StageError in err, or nil.
func As(err error) *StageError { return wire.As[Reply](err) }
