package simulate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// smtpServer is an SMTP server, RFC 5321, that takes any login, and mail from
// anybody to anybody, and throws it away.
type smtpServer struct {
	*session
	refused  bool     // greeted with a refusal
	hello    bool     // EHLO or HELO was accepted
	methods  []string // of AUTH, as offered
	limit    int64    // of SIZE, as offered; 0: none
	mail     bool     // MAIL was accepted
	rcpts    int      // recipients that were accepted
	messages int
}

// greet may refuse the client; then nothing but QUIT is taken, RFC 5321 section
// 3.1.
func (p *smtpServer) greet() {
	said := p.event(onGreeting, "220 mail.example.com ESMTP Postfix")
	p.refused = strings.HasPrefix(said, "5")
	p.over = p.over || strings.HasPrefix(said, "421")
}

// reply answers a command by script or as usual and tells whether the client
// may go on. 421 ends the conversation, RFC 5321 section 3.8.
func (p *smtpServer) reply(line, usual string) bool { return p.judge(p.answer(line, usual)) }

func (p *smtpServer) judge(said string) bool {
	p.over = p.over || strings.HasPrefix(said, "421")
	return strings.HasPrefix(said, "2") || strings.HasPrefix(said, "3")
}

func (p *smtpServer) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch {
	case verb == "QUIT":
		p.reply(line, "221 2.0.0 Bye")
		p.over = true
	case p.refused:
		p.refuse("503 5.5.1 Bad sequence of commands: only QUIT is taken")
	case verb == "EHLO" || verb == "HELO":
		p.helo(line, verb, arg)
	case verb == "STARTTLS":
		if !p.takesTLS() {
			p.refuse("502 5.5.1 STARTTLS is not available")
		} else if p.startTLS(line, "220 2.0.0 Ready to start TLS") {
			p.forget()
			p.hello, p.loggedIn = false, false
		}
	case verb == "AUTH":
		p.auth(line, arg)
	case verb == "MAIL":
		p.sender(line, arg)
	case verb == "RCPT":
		p.recipient(line, arg)
	case verb == "DATA":
		p.data(line)
	case verb == "RSET":
		p.forget()
		p.reply(line, "250 2.0.0 Ok")
	case verb == "NOOP":
		p.reply(line, "250 2.0.0 Ok")
	case verb == "VRFY":
		p.reply(line, "252 2.0.0 "+arg)
	default:
		p.reply(line, "502 5.5.2 Error: command not recognized")
	}
}

// forget is what RSET does.
func (p *smtpServer) forget() { p.mail, p.rcpts, p.from, p.to = false, 0, "", "" }

func (p *smtpServer) helo(line, verb, name string) {
	if strings.TrimSpace(name) == "" {
		p.refuse("501 5.5.4 Syntax: " + verb + " hostname")
		return
	}
	usual := "250 mail.example.com"
	if verb == "EHLO" {
		list := []string{"mail.example.com", "PIPELINING", "SIZE 26214400"}
		if p.offersTLS() {
			list = append(list, "STARTTLS")
		}
		list = append(list, "AUTH PLAIN LOGIN", "ENHANCEDSTATUSCODES")
		usual = "250-" + strings.Join(list, "\r\n250-") + "\r\n250 8BITMIME"
	}
	said := p.answer(line, usual)
	if p.hello = p.judge(said); p.hello {
		p.forget()
		p.offered(said)
	}
}

// offered reads our own offers, so that a script that changes them need not say
// what follows from it.
func (p *smtpServer) offered(said string) {
	p.methods, p.limit = nil, 0
	for line := range strings.Lines(said) {
		if len(line) < 4 {
			continue
		}
		f := strings.Fields(line[4:])
		switch {
		case len(f) > 1 && f[0] == "AUTH":
			p.methods = f[1:]
		case len(f) > 1 && f[0] == "SIZE":
			p.limit, _ = strconv.ParseInt(f[1], 10, 64) // 0, none, for what is no number
		}
	}
}

// auth knows PLAIN and LOGIN, RFC 4954. A script may refuse the command, or the
// credentials.
func (p *smtpServer) auth(line, arg string) {
	method, token, given := strings.Cut(arg, " ")
	method = strings.ToUpper(method)
	switch {
	case !p.hello || p.loggedIn || p.mail:
		p.refuse("503 5.5.1 Bad sequence of commands")
	case p.onCommand(line) != nil:
		p.loggedIn = p.reply(line, "235 2.7.0 Authentication successful")
	case !slices.Contains(p.methods, method) || method != "PLAIN" && method != "LOGIN":
		p.refuse("504 5.5.4 Unrecognized authentication type")
	default:
		user, ok := p.credentials(method, token, given)
		if p.over {
			return
		}
		if !ok {
			p.refuse("501 5.5.2 Malformed authentication data")
			return
		}
		p.user = user
		p.loggedIn = p.judge(p.event(onLogin, "235 2.7.0 Authentication successful"))
	}
}

func (p *smtpServer) credentials(method, token string, given bool) (user string, ok bool) {
	if method == "PLAIN" {
		if !given {
			token = p.ask("")
		}
		return plainUser(token)
	}
	if !given {
		token = p.ask("Username:")
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if p.over || err != nil || bytes.ContainsAny(raw, "\r\n") {
		return "", false
	}
	_, err = base64.StdEncoding.DecodeString(p.ask("Password:"))
	return string(raw), err == nil
}

// ask sends a challenge and returns the answer.
func (p *smtpServer) ask(challenge string) string {
	p.refuse("334 " + base64.StdEncoding.EncodeToString([]byte(challenge)))
	line, _ := p.line(true)
	return line
}

func (p *smtpServer) sender(line, arg string) {
	path, params, ok := pathOf(arg, "FROM:")
	switch {
	case !ok:
		p.refuse("501 5.5.4 Syntax: MAIL FROM:<address>")
		return
	case !p.hello:
		p.refuse("503 5.5.1 Error: send HELO/EHLO first")
		return
	case p.mail:
		p.refuse("503 5.5.1 Error: nested MAIL command")
		return
	}
	for _, param := range strings.Fields(params) {
		if n, found := strings.CutPrefix(strings.ToUpper(param), "SIZE="); found {
			if size, err := strconv.ParseInt(n, 10, 64); err == nil && p.tooLarge(size) {
				p.refuse("552 5.3.4 Message size exceeds fixed limit")
				return
			}
		}
	}
	p.from = path
	p.mail = p.reply(line, "250 2.1.0 Ok")
}

// tooLarge judges by the limit offered, RFC 1870 section 6.
func (p *smtpServer) tooLarge(size int64) bool { return p.limit > 0 && size > p.limit }

func (p *smtpServer) recipient(line, arg string) {
	path, _, ok := pathOf(arg, "TO:")
	switch {
	case !p.mail:
		p.refuse("503 5.5.1 Error: need MAIL command")
		return
	case !ok || path == "":
		p.refuse("501 5.5.4 Syntax: RCPT TO:<address>")
		return
	}
	p.to = path
	if p.reply(line, "250 2.1.5 Ok") {
		p.rcpts++
	}
}

// pathOf reads "FROM:<path> params".
func pathOf(arg, keyword string) (path, params string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(arg[len(keyword):]), "<")
	i := strings.LastIndexByte(rest, '>')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

func (p *smtpServer) data(line string) {
	if !p.mail || p.rcpts == 0 {
		p.refuse("503 5.5.1 Error: need RCPT command")
		return
	}
	if !p.reply(line, "354 End data with <CR><LF>.<CR><LF>") || p.over {
		return
	}
	size, ok := p.message()
	if !ok {
		return
	}
	p.messages++
	if p.tooLarge(size) {
		p.refuse("552 5.3.4 Error: message file too big")
	} else {
		p.judge(p.event(onMessage, fmt.Sprintf("250 2.0.0 Ok: queued as SIM%04d", p.messages)))
	}
	p.forget()
}

// message reads up to the line with a single dot and keeps nothing.
func (p *smtpServer) message() (size int64, ok bool) {
	for start := true; ; {
		_ = p.conn.SetReadDeadline(time.Now().Add(idle))
		part, err := p.r.ReadSlice('\n')
		whole := err == nil
		if len(part) == 0 || !whole && len(part) < maxLine {
			p.over = true
			return 0, false
		}
		if start && whole && string(bytes.TrimRight(part, "\r\n")) == "." {
			p.srv.opt.Dialogue(p.n, "C", fmt.Sprintf("(message of %d octets)", size))
			return size, true
		}
		size, start = size+int64(len(part)), whole
	}
}
