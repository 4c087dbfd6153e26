package simulate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// imapServer is as much of an IMAP server, RFC 9051, as it takes to log in, to
// look at the mailbox and to fetch a whole message.
type imapServer struct {
	*session
	selected bool
}

func (p *imapServer) greet() {
	said := p.event(onGreeting, "* OK [CAPABILITY "+p.capabilities()+"] mail.example.com IMAP4 ready")
	p.over = p.over || strings.HasPrefix(said, "* BYE")
}

func (p *imapServer) capabilities() string {
	if p.offersTLS() {
		return "IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN"
	}
	return "IMAP4rev1 SASL-IR AUTH=PLAIN"
}

func (p *imapServer) command(line string) {
	tag, rest, _ := strings.Cut(line, " ")
	if tag == "" || rest == "" {
		p.refuse("* BAD A command is a tag and a word")
		return
	}
	p.tag = tag
	defer func() { p.tag = "" }()
	verb, arg, _ := strings.Cut(rest, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "CAPABILITY":
		p.answer(rest, "* CAPABILITY "+p.capabilities()+"\r\nOK Capability completed.")
	case "NOOP":
		p.answer(rest, "OK NOOP completed.")
	case "ID":
		p.answer(rest, "* ID NIL\r\nOK ID completed.")
	case "LOGOUT":
		p.answer(rest, "* BYE Logging out\r\nOK Logout completed.")
		p.over = true
	case "STARTTLS":
		if !p.takesTLS() || p.loggedIn {
			p.refuse("BAD STARTTLS is not available")
			return
		}
		p.startTLS(rest, "OK Begin TLS negotiation now.")
	case "LOGIN", "AUTHENTICATE":
		p.login(rest, verb, arg)
	default:
		p.mailbox(rest, verb, arg)
	}
}

func (p *imapServer) login(line, verb, arg string) {
	switch {
	case p.loggedIn:
		p.refuse("BAD Already logged in")
		return
	case verb == "LOGIN":
		words := astrings(arg)
		if len(words) != 2 {
			p.refuse("BAD LOGIN takes a user name and a password")
			return
		}
		p.user = words[0]
	default:
		method, token, given := strings.Cut(arg, " ")
		if !strings.EqualFold(method, "PLAIN") {
			p.refuse("NO [CANNOT] Unsupported authentication mechanism.")
			return
		}
		if !given {
			p.refuse("+ ")
			if token, given = p.line(true); !given {
				return
			}
		}
		user, ok := plainUser(token)
		if !ok {
			p.refuse("BAD Malformed authentication data")
			return
		}
		p.user = user
	}
	said := p.either(line, onLogin, "OK Logged in")
	p.loggedIn = strings.HasPrefix(said, p.tag+" OK")
	p.over = p.over || strings.HasPrefix(said, "* BYE")
}

var astring = regexp.MustCompile(`^(?:"((?:[^"\\]|\\.)*)"|([^\s"(){]+))(?: |$)`)

// astrings reads words and quoted strings, RFC 9051 section 4.3; nil when there
// is something else among them.
func astrings(s string) []string {
	var out []string
	for s != "" {
		m := astring.FindStringSubmatch(s)
		if m == nil {
			return nil
		}
		word := m[2]
		if word == "" {
			word = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(m[1])
		}
		out, s = append(out, word), s[len(m[0]):]
	}
	return out
}

var wholeMessage = regexp.MustCompile(`(?i)^(\d+) \(?(BODY(?:\.PEEK)?\[\]|RFC822)\)?$`)

// mailbox answers the commands of somebody who has logged in.
func (p *imapServer) mailbox(line, verb, arg string) {
	if !p.loggedIn {
		p.refuse("BAD Log in first")
		return
	}
	switch verb {
	case "LIST":
		p.answer(line, "* LIST () \"/\" INBOX\r\nOK List completed.")
		return
	case "SELECT", "EXAMINE":
		if name := astrings(arg); len(name) != 1 || !strings.EqualFold(name[0], "INBOX") {
			p.refuse("NO [NONEXISTENT] There is only INBOX.")
			return
		}
		said := p.answer(line, fmt.Sprintf("* %d EXISTS\r\n* FLAGS (\\Seen \\Deleted)\r\n* OK [UIDVALIDITY 1] valid\r\nOK [READ-ONLY] %s completed.", len(mailbox), verb))
		p.selected = strings.Contains(said, p.tag+" OK")
		return
	}
	m := wholeMessage.FindStringSubmatch(arg)
	if verb != "FETCH" || !p.selected || m == nil {
		p.refuse("BAD This server cannot do that")
		return
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 1 || n > len(mailbox) {
		p.refuse("BAD There is no such message")
		return
	}
	item := strings.Replace(strings.ToUpper(m[2]), ".PEEK", "", 1)
	text := mailbox[n-1]
	p.answer(line, fmt.Sprintf("* %d FETCH (%s {%d}\r\n%s)\r\nOK Fetch completed.", n, item, len(text), text))
}
