package imap

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Greeting reads the server's first line. A goodbye is a refusal.
func (c *Conn) Greeting() (Reply, error) {
	before := c.Limit()
	reply, err := c.next(StageGreeting)
	if err != nil {
		return reply, c.failed(StageGreeting, err, before, reply)
	}
	if reply.Tag != "*" || reply.Status == "" {
		err := &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("%q is no IMAP greeting", wire.Shorten(reply.Raw))}
		return reply, c.failed(StageGreeting, err, before, reply)
	}
	c.LoggedIn = reply.Status == Preauth
	c.listed(reply.Code)
	return reply, judge(StageGreeting, reply)
}

// listed keeps the capabilities of a line "CAPABILITY IMAP4rev2 ...".
func (c *Conn) listed(line string) {
	f := strings.Fields(strings.ToUpper(line))
	if len(f) > 0 && f[0] == "CAPABILITY" {
		c.Capabilities = f[1:]
	}
}

// Capability asks what the server can do.
func (c *Conn) Capability() (Reply, error) {
	return c.command(StageCapabilities, "CAPABILITY", "CAPABILITY", c.listed, nil)
}

// StartTLS says STARTTLS and shakes hands, RFC 9051 section 6.2.1. Any
// certificate is taken; c.TLS says what is wrong with it. Ask Capability again
// afterwards.
func (c *Conn) StartTLS() (Reply, error) {
	reply, err := c.command(StageStartTLS, "STARTTLS", "STARTTLS", nil, nil)
	if err != nil {
		return reply, err
	}
	if err := c.Handshake(StageStartTLS); err != nil {
		return reply, stageError(err)
	}
	c.Capabilities = nil
	return reply, nil
}

// Login logs in with LOGIN, or with AUTHENTICATE PLAIN where the server does
// not want LOGIN, or the words cannot stand in it.
func (c *Conn) Login(user, password string) (reply Reply, err error) {
	if c.Has("AUTH=PLAIN") && (c.Has("LOGINDISABLED") || !plainASCII(user+password)) {
		reply, err = c.authenticate(user, password)
	} else {
		reply, err = c.command(StageAuth, "LOGIN "+quote(user)+" "+quote(password), "LOGIN "+wire.Clean(quote(user))+" ***", nil, nil)
	}
	if err == nil {
		c.LoggedIn = true
		c.listed(reply.Code)
	}
	return reply, err
}

func plainASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// quote writes a quoted string, RFC 9051 section 4.3.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// authenticate is SASL PLAIN, the token in the command where the server can do
// that (RFC 4959).
func (c *Conn) authenticate(user, password string) (Reply, error) {
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	if c.Has("SASL-IR") {
		return c.command(StageAuth, "AUTHENTICATE PLAIN "+token, "AUTHENTICATE PLAIN ***", nil, nil)
	}
	tag, before, err := c.send(StageAuth, "AUTHENTICATE PLAIN", "AUTHENTICATE PLAIN")
	if err != nil {
		return Reply{}, err
	}
	for range maxLines {
		reply, err := c.next(StageAuth)
		switch {
		case err != nil:
			return reply, c.failed(StageAuth, err, before, reply)
		case reply.Tag == tag:
			return reply, judge(StageAuth, reply)
		case reply.Tag == "+":
			before = c.Limit()
			c.Say("C", StageAuth, "***")
			if _, err := c.Write([]byte(token + "\r\n")); err != nil {
				return Reply{}, c.failed(StageAuth, err, before, Reply{})
			}
			return c.answer(StageAuth, tag, before, nil, nil)
		}
	}
	return Reply{}, c.failed(StageAuth, errTooManyLines, before, Reply{})
}

// Examine opens a mailbox for reading only and returns how many messages it
// has.
func (c *Conn) Examine(mailbox string) (messages int, err error) {
	return c.open("EXAMINE", mailbox)
}

// Select opens a mailbox for changing it, too.
func (c *Conn) Select(mailbox string) (messages int, err error) { return c.open("SELECT", mailbox) }

func (c *Conn) open(command, mailbox string) (messages int, err error) {
	messages = -1
	line := command + " " + quote(mailbox)
	reply, err := c.command(StageList, line, wire.Clean(line), func(line string) {
		if f := strings.Fields(line); len(f) == 2 && strings.EqualFold(f[1], "EXISTS") {
			if n, err := strconv.Atoi(f[0]); err == nil && n >= 0 {
				messages = n
			}
		}
	}, nil)
	if err == nil && messages < 0 {
		err = &StageError{Stage: StageList, How: dial.Garbage, Err: errors.New("the server does not say how many messages there are"), Reply: reply}
	}
	return messages, err
}

// Logout says goodbye and closes.
func (c *Conn) Logout() (Reply, error) {
	reply, err := c.command(StageQuit, "LOGOUT", "LOGOUT", nil, nil)
	_ = c.Close() // the conversation is over either way
	return reply, err
}
