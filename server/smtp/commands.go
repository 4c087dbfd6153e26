package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mailsrv/server/address"
	"mailsrv/server/conn"
)

func (s *session) hello(verb, name string) {
	if !isHelloName(name) {
		s.wrong(Reply{501, badArgument, "Syntax: " + verb + " hostname"})
		return
	}
	s.reset()
	s.client.HELO, s.esmtp = name, verb == "EHLO"
	if !s.esmtp {
		s.send(Reply{250, "", s.srv.Hostname})
		return
	}
	lines := []string{s.srv.Hostname, "PIPELINING", "SIZE " + strconv.FormatInt(s.srv.Limits.MessageSize, 10), "8BITMIME", "ENHANCEDSTATUSCODES"}
	if s.srv.TLS != nil && s.client.TLS == nil {
		lines = append(lines, "STARTTLS")
	}
	if s.mayAuth() && s.client.User == "" {
		lines = append(lines, "AUTH "+strings.Join(s.srv.Mechanisms, " "))
	}
	lines = append(lines, "HELP")
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		_, _ = s.c.W.WriteString("250" + sep + line + "\r\n")
	}
}

// isHelloName takes what can stand in a Received field; RFC 5321 4.1.4 forbids
// to refuse more than that.
func isHelloName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(".-_:[]", c) < 0 {
			return false
		}
	}
	return true
}

func (s *session) mail(arg string) {
	rest, ok := cutPrefixFold(arg, "FROM:")
	switch {
	case s.client.HELO == "":
		s.wrong(Reply{503, badSequence, "Send HELO or EHLO first"})
		return
	case s.tx != nil:
		s.wrong(Reply{503, badSequence, "A message is under way already; RSET gives it up"})
		return
	case !ok:
		s.wrong(Reply{501, badArgument, "Syntax: MAIL FROM:<address>"})
		return
	}
	from, rest, err := address.ParsePath(strings.TrimLeft(rest, " "))
	if err != nil {
		s.wrong(addressReply(err, "5.1.7", "MAIL FROM"))
		return
	}
	params, bad := parseParams(rest)
	if bad != nil {
		s.wrong(*bad)
		return
	}
	for _, p := range params {
		if r := s.mailParam(p); r != nil {
			s.wrong(*r)
			return
		}
	}
	id := conn.NewID()
	tx := s.srv.Backend.Begin(id, s.client)
	from, reply := tx.Mail(from)
	if reply.OK() {
		s.tx, s.id, s.from = tx, id, from
	}
	s.send(reply)
}

// mailParam checks a parameter of MAIL.
func (s *session) mailParam(p param) *Reply {
	switch p.name {
	case "SIZE": // RFC 1870
		n, err := strconv.ParseInt(p.value, 10, 64)
		digits := strings.Trim(p.value, "0123456789") == "" && p.value != "" && len(p.value) <= 20
		switch {
		case !digits:
			return &Reply{501, badArgument, "SIZE wants a number of octets"}
		case err != nil || n > s.srv.Limits.MessageSize:
			return s.tooBig()
		}
	case "BODY": // RFC 6152
		if v := strings.ToUpper(p.value); v != "7BIT" && v != "8BITMIME" {
			return &Reply{501, badArgument, "BODY must be 7BIT or 8BITMIME"}
		}
	case "AUTH": // RFC 4954 5: taken from anybody, believed from nobody
		if p.value == "" {
			return &Reply{501, badArgument, "AUTH wants a mailbox or <>"}
		}
	default:
		return &Reply{555, badArgument, "MAIL parameter " + p.name + " is not known here"}
	}
	return nil
}

func (s *session) tooBig() *Reply {
	return &Reply{552, "5.3.4", fmt.Sprintf("Message is too big; at most %d octets are accepted", s.srv.Limits.MessageSize)}
}

func (s *session) rcpt(arg string) {
	rest, ok := cutPrefixFold(arg, "TO:")
	switch {
	case s.tx == nil:
		s.wrong(Reply{503, badSequence, "Send MAIL FROM first"})
		return
	case !ok:
		s.wrong(Reply{501, badArgument, "Syntax: RCPT TO:<address>"})
		return
	}
	s.tried++
	to, rest, err := address.ParsePath(strings.TrimLeft(rest, " "))
	if err == nil && to.IsNull() {
		err = address.ErrSyntax
	}
	if err != nil {
		s.wrong(addressReply(err, "5.1.3", "RCPT TO"))
		return
	}
	params, bad := parseParams(rest)
	if bad != nil {
		s.wrong(*bad)
		return
	}
	if len(params) > 0 {
		s.wrong(Reply{555, badArgument, "RCPT parameter " + params[0].name + " is not known here"})
		return
	}
	if len(s.rcpts) >= s.srv.Limits.Recipients {
		s.send(Reply{452, "4.5.3", fmt.Sprintf("Too many recipients; at most %d are taken at once", s.srv.Limits.Recipients)})
		return
	}
	to, reply := s.tx.Rcpt(to)
	if reply.OK() {
		s.rcpts = append(s.rcpts, to)
	}
	s.send(reply)
}

func addressReply(err error, enhanced, command string) Reply {
	if errors.Is(err, address.ErrNonASCII) {
		return Reply{553, "5.6.7", "Address " + err.Error()} // RFC 6531 3.5
	}
	if errors.Is(err, address.ErrTooLong) {
		return Reply{501, enhanced, "Address " + err.Error()}
	}
	return Reply{501, enhanced, "Syntax: " + command + ":<user@example.com>"}
}

// param is an ESMTP parameter; name is in upper case.
type param struct{ name, value string }

// parseParams reads what follows the address of MAIL and RCPT (RFC 5321 4.1.2).
func parseParams(s string) ([]param, *Reply) {
	if s == "" {
		return nil, nil
	}
	if s[0] != ' ' {
		return nil, &Reply{501, badArgument, "A blank is missing after the address"}
	}
	var out []param
	for word := range strings.FieldsSeq(s) {
		name, value, hasValue := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		if !isKeyword(name) || hasValue && value == "" {
			return nil, &Reply{501, badArgument, "Parameters have the form NAME=VALUE"}
		}
		for _, p := range out {
			if p.name == name {
				return nil, &Reply{501, badArgument, "Parameter " + name + " stands twice"}
			}
		}
		out = append(out, param{name, value})
	}
	return out, nil
}

func isKeyword(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}
