package explain

import (
	"strings"
)

// outcome is what became of a message or connection by a line of a log.
type outcome int

const (
	unclear  outcome = iota // the line says something, judge its words
	fine                    // delivered, accepted, routine
	deferred                // will be tried again
	failed                  // refused or given up
)

// event is one line of a server's log.
type event struct {
	line      string
	program   string // postfix/smtp, exim, sendmail, dovecot, ...
	host      string // the machine that wrote the log
	time      string // as written
	queueID   string
	sender    string
	recipient string
	client    string // who connected
	relay     string // who was connected to
	port      int
	protocol  string
	status    string // enhanced status, as a field of the line
	reply     string // the words of the server or system that say why
	command   string // SMTP command that was answered so
	outcome   outcome
}

// logReader reads the lines of one server's log. ok is false when the line is
// not one of its.
type logReader struct {
	name string
	read func(p logPrefix) (event, bool)
}

// logReaders in the order in which they are tried; the last takes any line
// with the prefix of a system log.
var logReaders = []logReader{
	{"hmailserver", readHMail},
	{"exchange", readExchange},
	{"iis", readIIS},
	{"postfix", readPostfix},
	{"sendmail", readSendmail},
	{"exim", readExim},
	{"qmail", readQmail},
	{"opensmtpd", readOpenSMTPD},
	{"courier", readCourier},
	{"dovecot", readDovecot},
	{"popper", readPopper},
	{"argosoft", readArgosoft},
	{"pairs", readPairs},
	{"syslog", readSyslog},
}

// readLog counts a text as the lines of a log. It returns nil when it is none.
func readLog(s string) *tally {
	t := &tally{}
	for line := range strings.Lines(s) {
		if !t.add(line) {
			return nil
		}
	}
	t.flush()
	if !t.isLog() {
		return nil
	}
	return t
}

func readLogLine(line string) (event, bool) {
	p := splitPrefix(line)
	for _, r := range logReaders {
		if e, ok := r.read(p); ok {
			e.line, e.host, e.time = line, p.host, p.time
			if e.program == "" {
				e.program = r.name
			}
			return e, true
		}
	}
	return event{}, false
}

// logPrefix is a log line taken apart: "May 13 10:00:01 mx postfix/smtp[99]: rest".
type logPrefix struct {
	line, time, host, program, rest string
}

// splitPrefix takes the time, host and program off a line, as far as they are
// there. time is empty when the line does not begin with one.
func splitPrefix(line string) logPrefix {
	p := logPrefix{line: line, rest: strings.TrimSpace(line)}
	p.rest = priority(p.rest)
	p.time, p.rest = takeTime(p.rest)
	if p.time == "" { // "mail.log:May 13 ..." of grep, "postfix-1  | May 13 ..." of docker
		for _, mark := range []string{":", "| "} {
			if i := strings.Index(p.rest[:min(len(p.rest), 80)], mark); i > 0 {
				if stamp, rest := takeTime(strings.TrimSpace(p.rest[i+len(mark):])); stamp != "" && digitsAt(stamp, 0) != 2 {
					p.time, p.rest = stamp, rest
					break
				}
			}
		}
	}
	if p.time == "" {
		p.program, p.rest = takeProgram(p.rest)
		return p
	}
	if prog, rest := takeProgram(p.rest); prog != "" {
		p.program, p.rest = prog, rest
		return p
	}
	if rest, ok := strings.CutPrefix(p.rest, "auth: "); ok { // of Dovecot's own log file
		p.program, p.rest = "auth", rest
		return p
	}
	host, rest, ok := strings.Cut(p.rest, " ")
	if prog, after := takeProgram(rest); ok && prog != "" && isHostLabel(host) {
		p.host, p.program, p.rest = host, prog, after
	}
	return p
}

// priority drops the "<22>" and "<22>1 " of the syslog protocol.
func priority(s string) string {
	if n := digitsAt(s, 1); strings.HasPrefix(s, "<") && n > 0 && n < 4 && strings.HasPrefix(s[1+n:], ">") {
		return strings.TrimPrefix(s[n+2:], "1 ")
	}
	return s
}

func isHostLabel(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '.' && s[i] != '-' && s[i] != ':' {
			return false
		}
	}
	return s != ""
}

// takeTime takes a time stamp off the start of a line: "May 13 10:00:01",
// "2025-05-13 10:00:01.123", "2025-05-13T10:00:01+09:00", "2001/09/30 17:50:04 -",
// "10:00:01".
func takeTime(s string) (stamp, rest string) {
	i := 0
	if month(s) {
		day := strings.TrimLeft(s[4:], " ")
		day = strings.TrimLeft(day[digitsAt(day, 0):], " ")
		i = len(s) - len(day)
		if n := clockAt(s, i); n > 0 {
			return s[:i+n], strings.TrimSpace(s[i+n:])
		}
		return "", s
	}
	if n := digitsAt(s, 0); n == 4 && len(s) > 10 && (s[4] == '-' || s[4] == '/') && s[7] == s[4] && digitsAt(s, 5) == 2 && digitsAt(s, 8) == 2 {
		i = 10
		if s[i] == 'T' || s[i] == ' ' {
			if n := clockAt(s, i+1); n > 0 {
				i += 1 + n
				rest = strings.TrimSpace(s[i:])
				if zone := zoneLen(rest); zone > 0 {
					rest = strings.TrimSpace(rest[zone:])
				}
				return s[:i], strings.TrimSpace(strings.TrimPrefix(rest, "- "))
			}
		}
		return "", s
	}
	if n := clockAt(s, 0); n >= 8 && n < len(s) && s[n] == ' ' {
		return s[:n], strings.TrimSpace(s[n:])
	}
	return "", s
}

func month(s string) bool {
	return len(s) > 14 && s[3] == ' ' && strings.Contains("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ", s[:4])
}

// clockAt returns the length of "10:00:01.123Z" at place i.
func clockAt(s string, i int) int {
	if i+8 > len(s) || digitsAt(s, i) != 2 || s[i+2] != ':' || digitsAt(s, i+3) != 2 || s[i+5] != ':' || digitsAt(s, i+6) != 2 {
		return 0
	}
	n := 8
	if i+n < len(s) && (s[i+n] == '.' || s[i+n] == ',') {
		if d := digitsAt(s, i+n+1); d > 0 {
			n += 1 + d
		}
	}
	if i+n < len(s) && s[i+n] == 'Z' {
		return n + 1
	}
	return n + zoneLen(s[i+n:])
}

func zoneLen(s string) int {
	if len(s) < 5 || s[0] != '+' && s[0] != '-' || digitsAt(s, 1) < 2 {
		return 0
	}
	if digitsAt(s, 1) == 4 {
		return 5
	}
	if len(s) >= 6 && digitsAt(s, 1) == 2 && s[3] == ':' && digitsAt(s, 4) >= 2 {
		return 6
	}
	return 0
}

// takeProgram takes "postfix/smtp[99]: " off the start of s. A program is known
// by its number in brackets, or by its name.
func takeProgram(s string) (program, rest string) {
	i := 0
	for i < len(s) && (isWord(s[i]) || strings.IndexByte("/-.", s[i]) >= 0) {
		i++
	}
	if i == 0 || i >= len(s) {
		return "", s
	}
	name := s[:i]
	bracketed := false
	if s[i] == '[' {
		n := digitsAt(s, i+1)
		if n == 0 || i+1+n >= len(s) || s[i+1+n] != ']' {
			return "", s
		}
		i += n + 2
		bracketed = true
	}
	if i >= len(s) || s[i] != ':' || !bracketed && !knownProgram(name) {
		return "", s
	}
	return name, strings.TrimSpace(s[i+1:])
}

func knownProgram(name string) bool {
	first, _, _ := strings.Cut(strings.ToLower(name), "/")
	switch strings.TrimSuffix(strings.TrimSuffix(first, "-login"), "d") {
	case "postfix", "sendmail", "sm-mta", "exim", "exim4", "dovecot", "qmail", "courier", "courieresmtp", "couriertcp", "imap", "pop3", "popper", "qpopper", "opensmtp", "smtp", "smtpctl", "mailsrv", "maddy", "imapd-ssl", "pop3d-ssl", "authdaemon", "spam", "amavis", "queue":
		return true
	}
	return false
}

// Helpers that the readers share.

// between returns what stands between two marks in s.
func between(s, from, to string) string {
	i := strings.Index(s, from)
	if i < 0 {
		return ""
	}
	s = s[i+len(from):]
	if j := strings.Index(s, to); j >= 0 {
		return s[:j]
	}
	return s
}

// pairOf returns the value of key=value in a comma or blank separated list, and
// "" when it is not there. Angle brackets and quotation marks go.
func pairOf(s, key string) string {
	for at := 0; ; {
		i := strings.Index(s[at:], key+"=")
		if i < 0 {
			return ""
		}
		i += at
		at = i + len(key) + 1
		if i > 0 && (isWord(s[i-1]) || s[i-1] == '-' || s[i-1] == '_') {
			continue
		}
		v := s[at:]
		switch {
		case strings.HasPrefix(v, "<"):
			v, _, _ = strings.Cut(v[1:], ">")
		case strings.HasPrefix(v, `"`):
			v = quotedValue(v[1:])
		default:
			if j := strings.IndexAny(v, ", ;\t"); j >= 0 {
				v = v[:j]
			}
		}
		return v
	}
}

// quotedValue reads to the closing quotation mark; a backslash protects one.
func quotedValue(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		} else if v[i] == '"' {
			break
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// hostPort reads "mx.example.net[198.51.100.7]:25", "mx.example.net." and the
// like.
func hostPort(s string) (host string, port int) {
	name, rest, bracket := strings.Cut(s, "[")
	name = strings.TrimRight(strings.TrimSpace(name), ".")
	if bracket {
		ip, after, _ := strings.Cut(rest, "]")
		port = portBehind(after)
		if name == "" || name == "unknown" || name[0] == '(' {
			name = ip
		}
	} else if h, p := splitHostPort(name); p > 0 {
		name, port = h, p
	}
	if !isHost(name) && !isHostLabel(name) {
		return "", 0
	}
	return name, port
}
