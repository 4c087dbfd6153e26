package smtp

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Greeting reads the server's first reply.
func (c *Conn) Greeting() (Reply, error) {
	return c.read(StageGreeting, 2, c.Within(c.greeting))
}

// Ehlo says EHLO, and HELO when the server does not know EHLO.
func (c *Conn) Ehlo() (Reply, error) {
	c.Extensions, c.Hello = nil, ""
	reply, err := c.command(StageCapabilities, 2, "EHLO "+c.helo, "EHLO "+c.helo)
	if err == nil {
		c.Hello = "EHLO"
		c.Extensions = map[string]string{}
		for _, line := range reply.Lines[1:] {
			keyword, params, _ := strings.Cut(line, " ")
			// "AUTH=PLAIN LOGIN" is an old spelling that some servers add.
			keyword, old, _ := strings.Cut(keyword, "=")
			keyword = strings.ToUpper(keyword)
			params = strings.TrimSpace(old + " " + params)
			if had := c.Extensions[keyword]; had != "" {
				params = had + " " + params
			}
			c.Extensions[keyword] = params
		}
		return reply, nil
	}
	if reply.Class() != 5 {
		return reply, err
	}
	return c.Helo()
}

// Helo says HELO, the greeting of servers without extensions.
func (c *Conn) Helo() (Reply, error) {
	c.Extensions, c.Hello = nil, ""
	reply, err := c.command(StageCapabilities, 2, "HELO "+c.helo, "HELO "+c.helo)
	if err == nil {
		c.Hello = "HELO"
	}
	return reply, err
}

// StartTLS asks for TLS and shakes hands. Any certificate is taken; c.TLS says
// what is wrong with it. Say Ehlo again afterwards, RFC 3207 section 4.2.
func (c *Conn) StartTLS() (Reply, error) {
	reply, err := c.command(StageStartTLS, 2, "STARTTLS", "STARTTLS")
	if err != nil {
		return reply, err
	}
	if err := c.Handshake(StageStartTLS); err != nil {
		return reply, stageError(err)
	}
	c.Extensions = nil
	return reply, nil
}

// Mechanisms lists what AUTH offers, upper case, each once.
func (c *Conn) Mechanisms() []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range strings.Fields(strings.ToUpper(c.Extensions["AUTH"])) {
		if !seen[m] {
			seen[m] = true
			out = append(out, m)
		}
	}
	return out
}

// Auth logs in with the mechanism PLAIN or LOGIN; empty chooses what the server
// offers, PLAIN first.
func (c *Conn) Auth(mechanism, user, password string) (Reply, error) {
	if mechanism == "" {
		mechanism = "PLAIN"
		offered := " " + strings.Join(c.Mechanisms(), " ") + " "
		if !strings.Contains(offered, " PLAIN ") && strings.Contains(offered, " LOGIN ") {
			mechanism = "LOGIN"
		}
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	switch strings.ToUpper(mechanism) {
	case "PLAIN": // RFC 4616
		return c.command(StageAuth, 2, "AUTH PLAIN "+b64("\x00"+user+"\x00"+password), "AUTH PLAIN ***")
	case "LOGIN":
		if reply, err := c.command(StageAuth, 3, "AUTH LOGIN", "AUTH LOGIN"); err != nil {
			return reply, err
		}
		if reply, err := c.command(StageAuth, 3, b64(user), "***"); err != nil {
			return reply, err
		}
		return c.command(StageAuth, 2, b64(password), "***")
	}
	return Reply{}, &StageError{Stage: StageAuth, How: "invalid", Err: fmt.Errorf("mechanism %q: only PLAIN and LOGIN are spoken here", mechanism)}
}

// Mail names the sender; an empty address is the null sender. Params are added
// as they stand, such as "SIZE=1000".
func (c *Conn) Mail(from string, params ...string) (Reply, error) {
	line := strings.Join(append([]string{"MAIL FROM:<" + from + ">"}, params...), " ")
	return c.command(StageMail, 2, line, line)
}

// Rcpt names a recipient.
func (c *Conn) Rcpt(to string) (Reply, error) {
	line := "RCPT TO:<" + to + ">"
	return c.command(StageRcpt, 2, line, line)
}

// Rset forgets sender and recipients.
func (c *Conn) Rset() (Reply, error) { return c.command(StageRset, 2, "RSET", "RSET") }

// Data really sends a message: the bytes of msg with line ends made CRLF and
// dots doubled. The reply is the one after the final dot.
func (c *Conn) Data(msg []byte) (Reply, error) {
	if reply, err := c.command(StageData, 3, "DATA", "DATA"); err != nil {
		return reply, err
	}
	before := c.Limit()
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(msg), "\r\n", "\n"), "\n"), "\n")
	var b strings.Builder
	for _, l := range lines {
		if strings.HasPrefix(l, ".") {
			b.WriteByte('.')
		}
		b.WriteString(l)
		b.WriteString("\r\n")
	}
	c.Say("C", StageData, fmt.Sprintf("(message of %d octets)", b.Len()))
	b.WriteString(".\r\n")
	c.Say("C", StageData, ".")
	// The step's limit is for the server's answer; a long message may take longer.
	for rest := b.String(); rest != ""; {
		n := min(len(rest), 64<<10)
		c.Limit()
		if _, err := c.Write([]byte(rest[:n])); err != nil {
			return Reply{}, c.failed(StageData, err, before, Reply{})
		}
		rest = rest[n:]
	}
	return c.read(StageData, 2, c.Limit())
}

// Quit says goodbye and closes.
func (c *Conn) Quit() (Reply, error) {
	reply, err := c.command(StageQuit, 2, "QUIT", "QUIT")
	_ = c.Close() // the conversation is over either way
	return reply, err
}

// TestMessage is a small complete message between two addresses, for probes
// that must send one.
func TestMessage(from, to, subject, body string) []byte {
	id := strings.ToLower(rand.Text())
	domain := "localhost"
	if _, d, ok := strings.Cut(from, "@"); ok {
		domain = d
	}
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nAuto-Submitted: auto-generated\r\n\r\n%s\r\n",
		(&mail.Address{Address: from}).String(), (&mail.Address{Address: to}).String(), subject, time.Now().Format(time.RFC1123Z), id, domain, body)
}

// As returns the StageError in err, or nil.
func As(err error) *StageError { return wire.As[Reply](err) }

// OutcomeOf is the outcome word of a step: "ok", or how it failed.
func OutcomeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return dial.Outcome(err)
}
