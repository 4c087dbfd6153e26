package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

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
		s.harmless(Reply{250, "", s.srv.Hostname})
		return
	}
	if s.idle++; s.idle > maxIdle {
		s.errors++
		s.slow(s.errors - patientErrors)
	}
	lines := []string{s.srv.Hostname, "PIPELINING", "SIZE " + strconv.FormatInt(s.srv.Limits.MessageSize, 10),
		"8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"}
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
	addr, rest, err := address.ParsePath(strings.TrimLeft(rest, " "))
	if err != nil {
		s.wrong(addressReply(err, "5.1.7", "MAIL FROM"))
		return
	}
	params, bad := parseParams(rest)
	if bad != nil {
		s.wrong(*bad)
		return
	}
	from := Sender{Address: addr}
	for _, p := range params {
		if r := s.mailParam(&from, p); r != nil {
			s.wrong(*r)
			return
		}
	}
	if !from.UTF8 && !addr.ASCII() {
		s.wrong(needsUTF8)
		return
	}
	id := conn.NewID()
	tx := s.srv.Backend.Begin(id, s.client)
	addr, reply := tx.Mail(from)
	if !reply.OK() {
		s.refuse(reply)
		return
	}
	s.tx, s.id, s.from, s.utf8 = tx, id, addr, from.UTF8
	s.send(reply)
}

// needsUTF8: RFC 6531 3.5.
var needsUTF8 = Reply{553, "5.6.7", "Address has characters beyond ASCII: MAIL FROM needs the parameter SMTPUTF8"}

// mailParam reads a parameter of MAIL.
func (s *session) mailParam(from *Sender, p param) *Reply {
	switch p.name {
	case "SIZE": // RFC 1870
		n, err := strconv.ParseInt(p.value, 10, 64)
		digits := strings.Trim(p.value, "0123456789") == "" && p.value != "" && len(p.value) <= 20
		switch {
		case !digits:
			return &Reply{501, badArgument, "SIZE wants a number of octets"}
		case err != nil || n > s.srv.Limits.MessageSize:
			Refusals.Add(1, s.srv.Service, ruleSize)
			return s.tooBig()
		}
		from.Size = n
	case "BODY": // RFC 6152
		if v := strings.ToUpper(p.value); v != "7BIT" && v != "8BITMIME" {
			return &Reply{501, badArgument, "BODY must be 7BIT or 8BITMIME"}
		}
	case "SMTPUTF8": // RFC 6531 3.4
		if p.value != "" {
			return &Reply{501, badArgument, "SMTPUTF8 takes no value"}
		}
		from.UTF8 = true
	case "RET": // RFC 3461 4.3
		if from.Ret = strings.ToUpper(p.value); from.Ret != "FULL" && from.Ret != "HDRS" {
			return &Reply{501, badArgument, "RET must be FULL or HDRS"}
		}
	case "ENVID": // RFC 3461 4.4
		if from.EnvID = p.value; !isXtext(p.value) || len(p.value) > 100 {
			return &Reply{501, badArgument, "ENVID must be xtext of at most 100 characters (RFC 3461 4)"}
		}
	case "AUTH": // RFC 4954 5: taken from anybody, believed from nobody
		if p.value != "<>" && !isXtext(p.value) {
			return &Reply{501, badArgument, "AUTH wants a mailbox in xtext, or <>"}
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
	case s.in != nil:
		s.wrong(Reply{503, badSequence, "The message has begun already; RSET gives it up"})
		return
	case !ok:
		s.wrong(Reply{501, badArgument, "Syntax: RCPT TO:<address>"})
		return
	}
	s.tried++
	addr, rest, err := address.ParsePath(strings.TrimLeft(rest, " "))
	if err == nil && addr.IsNull() {
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
	to := Recipient{Address: addr}
	for _, p := range params {
		if r := s.rcptParam(&to, p); r != nil {
			s.wrong(*r)
			return
		}
	}
	if !s.utf8 && !addr.ASCII() {
		s.wrong(needsUTF8)
		return
	}
	if len(s.rcpts) >= s.srv.Limits.Recipients {
		full := Reply{452, "4.5.3", fmt.Sprintf("Too many recipients; at most %d are taken at once", s.srv.Limits.Recipients)}
		if s.overshoot++; s.overshoot > maxOvershoot {
			s.wrong(full)
		} else {
			s.send(full)
		}
		return
	}
	addr, reply := s.tx.Rcpt(to)
	recipients.Add(1, s.srv.Service, reply.result())
	if reply.Code/100 == 5 && s.client.User == "" {
		s.refuse(reply)
		return
	}
	if reply.OK() {
		s.rcpts = append(s.rcpts, addr)
	}
	s.send(reply)
}

// rcptParam reads a parameter of RCPT.
func (s *session) rcptParam(to *Recipient, p param) *Reply {
	switch p.name {
	case "NOTIFY": // RFC 3461 4.1
		if to.Notify = strings.ToUpper(p.value); !isNotify(to.Notify) {
			return &Reply{501, badArgument, "NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY"}
		}
	case "ORCPT": // RFC 3461 4.2, RFC 6533 3
		kind, addr, _ := strings.Cut(p.value, ";")
		if to.ORCPT = p.value; !isKeyword(strings.ToUpper(kind)) || addr == "" || !isXtext(addr) && !(s.utf8 && isUTF8Xtext(addr)) || len(p.value) > 500 {
			return &Reply{501, badArgument, "ORCPT has the form rfc822;user@example.com in xtext (RFC 3461 4.2)"}
		}
	default:
		return &Reply{555, badArgument, "RCPT parameter " + p.name + " is not known here"}
	}
	return nil
}

func isNotify(s string) bool {
	if s == "NEVER" {
		return true
	}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(s, ",") {
		if word != "SUCCESS" && word != "FAILURE" && word != "DELAY" || seen[word] {
			return false
		}
		seen[word] = true
	}
	return true
}

// isXtext: RFC 3461 4. Escaped control characters, which could end up in a
// header, are none.
func isXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || c == '=':
			return false
		case c == '+':
			if i+3 > len(s) || strings.Trim(s[i+1:i+3], "0123456789ABCDEF") != "" {
				return false
			}
			if n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8); n < ' ' || n == 0x7f {
				return false
			}
			i += 2
		}
	}
	return s != ""
}

// isUTF8Xtext takes characters beyond ASCII too, as RFC 6533 does.
func isUTF8Xtext(s string) bool {
	ascii := strings.Map(func(r rune) rune {
		if r >= 0xa0 && r != utf8.RuneError {
			return 'x'
		}
		return r
	}, s)
	return isXtext(ascii)
}

func addressReply(err error, enhanced, command string) Reply {
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
		if !isKeyword(name) || hasValue && (value == "" || strings.Contains(value, "=")) {
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
