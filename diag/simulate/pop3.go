package simulate

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// pop3Server is a POP3 server, RFC 1939, with a mailbox of two messages for
// whoever logs in.
type pop3Server struct {
	*session
	deleted [len(mailbox)]bool
}

// mailbox is what everybody finds.
var mailbox = [...]string{
	message("Welcome", "This mailbox belongs to a simulated server.", 8),
	message("Second message", "It is a little longer than the first one.", 40),
}

func message(subject, words string, lines int) string {
	return strings.ReplaceAll("From: Postmaster <postmaster@example.com>\nTo: taro@example.com\nSubject: "+subject+
		"\nDate: Mon, 01 Jan 2024 02:00:00 +0000\nMessage-ID: <"+strconv.Itoa(lines)+"@example.com>\n\n"+strings.Repeat(words+"\n", lines), "\n", "\r\n")
}

func (p *pop3Server) greet() { p.event(onGreeting, "+OK mail.example.com POP3 server ready") }

// command checks the order of commands as a healthy server does; what is in
// order is left to the script.
func (p *pop3Server) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "CAPA":
		p.answer(line, p.capabilities())
	case "QUIT":
		p.answer(line, "+OK Bye")
		p.over = true
	case "STLS":
		if !p.takesTLS() || p.loggedIn {
			p.refuse("-ERR Command not permitted")
			return
		}
		p.startTLS(line, "+OK Begin TLS negotiation now")
	case "USER", "PASS", "AUTH", "APOP":
		if p.loggedIn {
			p.refuse("-ERR Already logged in")
			return
		}
		p.login(line, verb, arg)
	case "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "NOOP", "RSET":
		if !p.loggedIn {
			p.refuse("-ERR Log in first")
			return
		}
		p.transaction(line, verb, arg)
	default:
		p.answer(line, "-ERR Unknown command")
	}
}

func (p *pop3Server) capabilities() string {
	list := []string{"+OK Capability list follows", "TOP", "USER", "SASL PLAIN", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"}
	if p.offersTLS() {
		list = append(list, "STLS")
	}
	return strings.Join(append(list, "."), "\r\n")
}

func (p *pop3Server) login(line, verb, arg string) {
	switch verb {
	case "USER":
		if arg == "" {
			p.refuse("-ERR Missing user name")
			return
		}
		p.user = arg
		if said := p.answer(line, "+OK"); !strings.HasPrefix(said, "+OK") {
			p.user = ""
		}
	case "PASS":
		if p.user == "" {
			p.refuse("-ERR No user name given")
			return
		}
		p.credentials(line)
	case "AUTH":
		p.auth(line, arg)
	case "APOP":
		p.answer(line, "-ERR APOP is not available")
	}
}

// credentials answers once user and password are known.
func (p *pop3Server) credentials(line string) {
	p.loggedIn = strings.HasPrefix(p.either(line, onLogin, "+OK Logged in."), "+OK")
}

// auth is SASL PLAIN, RFC 5034.
func (p *pop3Server) auth(line, arg string) {
	mechanism, token, given := strings.Cut(arg, " ")
	if arg == "" {
		p.answer(line, "+OK\r\nPLAIN\r\n.")
		return
	}
	if r := p.onCommand(line); r != nil {
		p.perform(r, "-ERR Unsupported authentication mechanism")
		return
	}
	if !strings.EqualFold(mechanism, "PLAIN") {
		p.refuse("-ERR Unsupported authentication mechanism")
		return
	}
	if !given {
		p.refuse("+ ")
		var ok bool
		if token, ok = p.line(true); !ok {
			return
		}
	}
	user, ok := plainUser(token)
	if !ok {
		p.refuse("-ERR Malformed authentication data")
		return
	}
	p.user = user
	p.credentials(line)
}

// plainUser reads the user out of SASL PLAIN, RFC 4616.
func plainUser(token string) (user string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	part := strings.Split(string(raw), "\x00")
	if err != nil || len(part) != 3 || part[1] == "" || strings.ContainsAny(part[1], "\r\n") {
		return "", false
	}
	return part[1], true
}

func (p *pop3Server) transaction(line, verb, arg string) {
	number, rest, _ := strings.Cut(arg, " ")
	n, err := strconv.Atoi(number)
	exists := err == nil && n >= 1 && n <= len(mailbox) && !p.deleted[n-1]
	needsOne := verb == "RETR" || verb == "TOP" || verb == "DELE" || arg != "" && (verb == "LIST" || verb == "UIDL")
	if needsOne && !exists {
		p.refuse("-ERR No such message")
		return
	}
	usual := "+OK"
	switch verb {
	case "STAT":
		count, octets := p.left()
		usual = fmt.Sprintf("+OK %d %d", count, octets)
	case "LIST", "UIDL":
		usual = p.listing(verb, n)
	case "RETR":
		m := mailbox[n-1]
		usual = fmt.Sprintf("+OK %d octets\r\n%s.", len(m), m)
	case "TOP":
		lines, _ := strconv.Atoi(rest)
		usual = "+OK\r\n" + top(mailbox[n-1], lines) + "."
	case "DELE":
		if strings.HasPrefix(p.answer(line, "+OK Marked"), "+OK") {
			p.deleted[n-1] = true
		}
		return
	case "RSET":
		p.deleted = [len(mailbox)]bool{}
	}
	p.answer(line, usual)
}

func (p *pop3Server) left() (count, octets int) {
	for i, m := range mailbox {
		if !p.deleted[i] {
			count, octets = count+1, octets+len(m)
		}
	}
	return count, octets
}

// listing answers LIST and UIDL, of message n or, with 0, of all.
func (p *pop3Server) listing(verb string, n int) string {
	one := func(i int) string {
		if verb == "UIDL" {
			return fmt.Sprintf("%d simulated-%d", i+1, i+1)
		}
		return fmt.Sprintf("%d %d", i+1, len(mailbox[i]))
	}
	if n > 0 {
		return "+OK " + one(n-1)
	}
	out := "+OK\r\n"
	for i := range mailbox {
		if !p.deleted[i] {
			out += one(i) + "\r\n"
		}
	}
	return out + "."
}

// top is the header and some lines of the body.
func top(m string, lines int) string {
	header, body, _ := strings.Cut(m, "\r\n\r\n")
	out := header + "\r\n\r\n"
	for line := range strings.Lines(body) {
		if lines--; lines < 0 {
			break
		}
		out += line
	}
	return out
}
