package explain

import (
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
)

// readOpenSMTPD reads "mta delivery ... result="PermFail" stat="550 ..."" and
// "smtp failed-command command=".." result=".."".
func readOpenSMTPD(p logPrefix) (event, bool) {
	if p.program != "smtpd" && !strings.HasPrefix(p.program, "opensmtpd") {
		return event{}, false
	}
	rest := p.rest
	e := event{program: "opensmtpd", recipient: trimAddress(pairOf(rest, "to")), sender: trimAddress(pairOf(rest, "from"))}
	if e.recipient == "" {
		e.recipient = trimAddress(pairOf(rest, "rcpt"))
	}
	e.queueID, _, _ = strings.Cut(rest, " ")
	if r := pairOf(rest, "relay"); r != "" {
		e.relay = between(r, "(", ")")
		if e.relay == "" {
			e.relay, _, _ = strings.Cut(r, " ")
		}
	}
	result := pairOf(rest, "result")
	switch {
	case strings.Contains(rest, "failed-command"):
		e.outcome, e.reply, e.command = failed, result, pairOf(rest, "command")
		e.client = pairOf(rest, "host")
		if e.recipient == "" {
			e.recipient = between(e.command, "<", ">")
		}
	case strings.Contains(rest, "delivery"), strings.Contains(rest, "relay: "):
		e.reply = pairOf(rest, "stat")
		switch {
		case result == "Ok", strings.Contains(rest, "relay: Ok"):
			e.outcome = fine
		case result == "TempFail", strings.Contains(rest, "relay: TempFail"):
			e.outcome = deferred
		default:
			e.outcome = failed
		}
	case strings.Contains(rest, "smtp connected"), strings.Contains(rest, "smtp disconnected"), strings.Contains(rest, "smtp message"), strings.Contains(rest, "mta connecting"), strings.Contains(rest, "mta connected"), strings.Contains(rest, "mta disconnected reason=quit"), strings.Contains(rest, "smtp authentication") && strings.Contains(rest, "result=ok"), strings.Contains(rest, "smtp tls"), strings.Contains(rest, "mta tls"), strings.Contains(rest, "mta starttls"):
		e.outcome = fine
	default:
		e.reply = rest
	}
	return e, true
}

func trimAddress(s string) string { return strings.Trim(s, "<>") }

// readCourier reads courieresmtp ("id=..,from=<>,addr=<>: 550 ..") and Courier's
// POP3 and IMAP daemons.
func readCourier(p logPrefix) (event, bool) {
	if !strings.HasPrefix(p.program, "courier") && p.program != "pop3d" && p.program != "imapd" && p.program != "pop3d-ssl" && p.program != "imapd-ssl" && p.program != "pop3login" && p.program != "imaplogin" {
		return event{}, false
	}
	rest := p.rest
	e := event{program: p.program, queueID: pairOf(rest, "id"), sender: pairOf(rest, "from"), recipient: pairOf(rest, "addr"), outcome: fine}
	switch {
	case strings.Contains(rest, "status: success"), strings.HasPrefix(rest, "newmsg"), strings.HasPrefix(rest, "started"), strings.HasPrefix(rest, "completed"), strings.HasPrefix(rest, "Connection,"), strings.HasPrefix(rest, "LOGIN,"), strings.HasPrefix(rest, "LOGOUT,"):
	case strings.Contains(rest, "status: failure"), strings.Contains(rest, "status: deferred"):
		// the line before it said why
	default:
		e.outcome, e.reply = unclear, rest
		if e.recipient != "" {
			e.outcome = failed
			_, e.reply, _ = strings.Cut(rest, ">: ")
		}
		e.client = between(rest, "ip=[", "]")
	}
	return e, true
}

// readDovecot reads Dovecot's login, mailbox and delivery messages.
func readDovecot(p logPrefix) (event, bool) {
	program, rest := p.program, p.rest
	if program != "dovecot" {
		for _, part := range []string{"lmtp(", "lda(", "imap(", "pop3("} { // Dovecot's own log file names the part and the user
			if p.time != "" && program == "" && strings.HasPrefix(rest, part) {
				program = "dovecot"
			}
			if strings.HasPrefix(program, part) {
				program, rest = "dovecot", program+": "+rest
			}
		}
	}
	if program != "dovecot" {
		if !strings.HasSuffix(program, "-login") && program != "auth" {
			return event{}, false
		}
	}
	e := event{program: "dovecot", reply: rest, client: pairOf(rest, "rip"), sender: ""}
	low := strings.ToLower(rest)
	switch {
	case strings.Contains(low, "imap"):
		e.protocol = "IMAP"
	case strings.Contains(low, "pop3"):
		e.protocol = "POP3"
	}
	switch {
	case strings.Contains(rest, "saved mail to"), strings.Contains(rest, "stored mail into"):
		e.outcome = fine
	case strings.Contains(rest, "Login: "), strings.Contains(low, "logged out"), strings.Contains(low, "connection closed") && strings.Contains(low, "in="), strings.Contains(low, "disconnected for inactivity"), strings.Contains(rest, "(no auth attempts"), strings.Contains(rest, "Info: Connect"):
		e.outcome = fine
		if strings.Contains(low, "tls handshaking") || strings.Contains(low, "too many invalid commands") || strings.Contains(low, "ssl") && strings.Contains(low, "error") {
			e.outcome = unclear
		}
	case strings.Contains(low, "lmtp(") || strings.Contains(low, "lda("):
		e.recipient = addressIn(between(rest, "lmtp(", ")") + " " + between(rest, "lda(", ")"))
	}
	return e, true
}

// readPopper reads qpopper: "user at host (ip): -ERR ...".
func readPopper(p logPrefix) (event, bool) {
	if !strings.HasSuffix(p.program, "popper") {
		return event{}, false
	}
	e := event{program: p.program, protocol: "POP3", reply: p.rest}
	if i := strings.Index(p.rest, "-ERR"); i >= 0 {
		e.outcome = failed
		e.reply = p.rest[i:]
		e.client = between(p.rest, "(", ")")
	} else if strings.HasPrefix(p.rest, "Stats:") || strings.HasPrefix(p.rest, "(v") || strings.Contains(p.rest, "POP login by") {
		e.outcome = fine
	}
	return e, true
}

// readArgosoft reads ArGoSoft's window log: "10:00:01 ( 12) 550 ...", "[ ***]Server
// error: [10054] ..", "2001/09/30 17:50:04 - Error starting POP3 server: ..".
func readArgosoft(p logPrefix) (event, bool) {
	rest := p.rest
	var open, shut byte = '(', ')'
	if strings.HasPrefix(rest, "[") {
		open, shut = '[', ']'
	}
	if !strings.HasPrefix(rest, string(open)) {
		if p.time == "" || !strings.Contains(rest, " server") || !(strings.HasPrefix(rest, "Error starting") || strings.HasSuffix(rest, "started.") || strings.Contains(rest, "Server started")) {
			return event{}, false
		}
		e := event{program: "argosoft", reply: rest}
		if strings.Contains(rest, "started. ") || strings.HasSuffix(rest, "started.") {
			e.outcome = fine
		}
		return e, true
	}
	i := strings.IndexByte(rest, shut)
	if i < 0 || i > 8 || strings.Trim(rest[1:i], " *0123456789") != "" || p.time == "" && rest[1] != ' ' {
		return event{}, false
	}
	words := strings.TrimSpace(rest[i+1:])
	e := event{program: "argosoft", reply: words}
	if len(words) > 3 && digitsAt(words, 0) == 3 && (words[0] == '2' || words[0] == '3') || strings.HasPrefix(words, "+OK") {
		e.outcome = fine
	}
	if upper, _, _ := strings.Cut(words, " "); open == '(' && upper != "" && len(upper) <= 5 && strings.ToUpper(upper) == upper && isAlpha(upper[0]) {
		e.outcome = fine // a command of the client
	}
	return e, true
}

// readHMail reads hMailServer: tab-separated, each column in quotation marks:
// "SMTPD" 3268 12 "time" "ip" "SENT: 550 ...".
func readHMail(p logPrefix) (event, bool) {
	cols := strings.Split(p.line, "\t")
	if len(cols) < 4 || !strings.HasPrefix(cols[0], `"`) {
		return event{}, false
	}
	unit := strings.Trim(cols[0], `"`)
	e := event{program: "hmailserver", reply: strings.Trim(cols[len(cols)-1], `"`)}
	switch unit {
	case "SMTPD", "SMTPC":
		e.protocol = "SMTP"
	case "POP3D", "POP3C":
		e.protocol = "POP3"
	case "IMAPD", "IMAPC":
		e.protocol = "IMAP"
	case "TCPIP", "APPLICATION", "ERROR", "DEBUG", "AWSTATS":
	default:
		return event{}, false
	}
	if len(cols) >= 6 {
		peer := strings.Trim(cols[len(cols)-2], `"`)
		if strings.HasSuffix(unit, "C") {
			e.relay = peer
		} else {
			e.client = peer
		}
	}
	dir, words, ok := strings.Cut(e.reply, ": ")
	if ok && (dir == "SENT" || dir == "RECEIVED") {
		e.reply = words
		serverSpeaks := (dir == "SENT") == strings.HasSuffix(unit, "D")
		bad := strings.HasPrefix(words, "4") || strings.HasPrefix(words, "5") || strings.HasPrefix(words, "-ERR") || strings.Contains(words, " NO ") || strings.Contains(words, " BAD ")
		switch {
		case !serverSpeaks, !bad:
			e.outcome = fine
		case strings.HasPrefix(words, "4"):
			e.outcome = deferred
		default:
			e.outcome = failed
		}
		e.recipient = addressIn(words)
	}
	return e, true
}

// readExchange reads the CSV lines of Exchange's message tracking and protocol
// logs.
func readExchange(p logPrefix) (event, bool) {
	if strings.Count(p.line, ",") < 6 || !strings.Contains(p.line[:min(len(p.line), 40)], "T") || digitsAt(p.line, 0) != 4 {
		return event{}, false
	}
	r := csv.NewReader(strings.NewReader(p.line))
	r.LazyQuotes = true
	cols, err := r.Read()
	if err != nil || len(cols) < 7 {
		return event{}, false
	}
	e := event{program: "exchange"}
	if len(cols) >= 8 && len(cols) <= 10 && (cols[6] == "<" || cols[6] == ">" || cols[6] == "*" || cols[6] == "+" || cols[6] == "-") {
		e.reply = cols[7]
		e.relay, _ = splitHostPort(cols[5])
		n := digitsAt(e.reply, 0)
		if cols[6] == "+" || cols[6] == "-" || n == 3 && (e.reply[0] == '2' || e.reply[0] == '3') || n != 3 && cols[6] != "*" {
			e.outcome = fine
		}
		return e, true
	}
	if len(cols) < 12 {
		return event{}, false
	}
	for i, c := range cols {
		switch strings.ToUpper(c) {
		case "FAIL", "BADMAIL", "DEFER", "DSN":
			e.outcome = map[bool]outcome{true: deferred, false: failed}[strings.ToUpper(c) == "DEFER"]
		case "DELIVER", "SEND", "RECEIVE", "SUBMIT", "EXPAND", "RESOLVE", "TRANSFER", "REDIRECT", "HAREDIRECT", "HARECEIVE", "HADISCARD", "NOTIFYMAPI":
			if e.reply == "" && e.outcome == unclear {
				e.outcome = fine
			}
		}
		if e.recipient == "" && i > 8 && strings.Contains(c, "@") && !strings.HasPrefix(c, "<") {
			e.recipient = addressIn(c)
		}
		if n := digitsAt(c, 0); i > 8 && n == 3 && (c[0] == '4' || c[0] == '5') && len(c) > 4 {
			e.reply = c
		} else if i > 8 && e.reply == "" && (strings.Contains(c, "LED=") || strings.HasPrefix(c, "[{")) {
			e.reply = c
		}
	}
	return e, true
}

// readIIS reads the W3C log of the SMTP service of Windows, which writes "+" for
// a blank: "... OutboundConnectionResponse SMTPSVC1 ... 550+5.1.1+<..> ...".
func readIIS(p logPrefix) (event, bool) {
	if !strings.Contains(p.line, " SMTPSVC") || p.time == "" {
		return event{}, false
	}
	e := event{program: "iis", protocol: "SMTP", outcome: fine}
	for _, f := range strings.Fields(p.rest) {
		if n := digitsAt(f, 0); n == 3 && len(f) > 4 && (f[3] == '+' || f[3] == '-') {
			e.reply = strings.ReplaceAll(f, "+", " ")
			e.recipient = addressIn(e.reply)
			e.outcome = map[byte]outcome{'4': deferred, '5': failed}[f[0]]
			if f[0] == '2' || f[0] == '3' {
				e.outcome = fine
			}
		} else if e.relay == "" && isHost(f) {
			e.relay = f
		}
	}
	return e, true
}

// readPairs reads logs that are lists of key=value or a JSON object: mailsrv's
// own, and maddy's.
func readPairs(p logPrefix) (event, bool) {
	rest := p.line
	if i := strings.IndexByte(rest, '{'); i >= 0 && strings.HasSuffix(strings.TrimSpace(rest), "}") && (p.time != "" || p.program != "" || i == 0) {
		var m map[string]any
		if json.Unmarshal([]byte(rest[i:]), &m) != nil {
			return event{}, false
		}
		get := func(keys ...string) string {
			for _, k := range keys {
				if s, ok := m[k].(string); ok && s != "" {
					return s
				}
			}
			return ""
		}
		e := pairEvent(get)
		words := strings.Trim(rest[:i], " \t:")
		if p.program != "" {
			words = strings.Trim(strings.TrimSuffix(p.rest, rest[i:]), " \t:")
		}
		if code, ok := m["smtp_code"].(float64); ok && e.reply != "" && code > 200 {
			e.reply = strings.TrimSpace(strconv.Itoa(int(code)) + " " + get("smtp_enchcode", "smtp_enhcode") + " " + get("smtp_msg", "reason"))
		}
		e.reply = strings.TrimSpace(words + "\n" + e.reply)
		return e, e.known()
	}
	if pairOf(rest, "level") == "" || pairOf(rest, "msg") == "" {
		return event{}, false
	}
	get := func(keys ...string) string {
		for _, k := range keys {
			if v := pairOf(rest, k); v != "" {
				return v
			}
		}
		return ""
	}
	e := pairEvent(get)
	level := strings.ToUpper(pairOf(rest, "level"))
	e.reply = strings.TrimSpace(pairOf(rest, "msg") + "\n" + e.reply)
	if (level == "INFO" || level == "DEBUG") && get("err", "error", "reply", "status") == "" {
		e.outcome = fine
	}
	return e, true
}

// pairEvent makes an event of named values, by the names programs give them.
func pairEvent(get func(...string) string) event {
	e := event{
		queueID:   get("qid", "queue_id", "msg_id", "id", "tx"),
		recipient: trimAddress(get("rcpt", "to", "recipient")),
		sender:    trimAddress(get("from", "sender", "mail_from")),
		client:    get("client", "src_ip", "remote", "peer", "addr"),
		relay:     get("relay", "remote_server", "mx", "host"),
		status:    get("dsn", "enhanced", "smtp_enchcode"),
		reply:     get("reply", "response", "smtp_msg", "reason", "err", "error"),
	}
	if h, p := splitHostPort(e.relay); p > 0 {
		e.relay, e.port = h, p
	}
	switch strings.ToLower(get("status", "result", "outcome")) {
	case "sent", "delivered", "ok":
		e.outcome = fine
	case "deferred", "retry", "delayed":
		e.outcome = deferred
	case "bounced", "failed", "rejected":
		e.outcome = failed
	}
	return e
}

func (e event) known() bool {
	return e.recipient != "" || e.reply != "" || e.queueID != ""
}

// readSyslog takes any line with the prefix of a system log: its words are
// judged as they stand.
func readSyslog(p logPrefix) (event, bool) {
	if p.program == "" || p.time == "" {
		return event{}, false
	}
	e := event{program: p.program, reply: p.rest, recipient: trimAddress(pairOf(p.rest, "to")), sender: trimAddress(pairOf(p.rest, "from"))}
	if i := strings.Index(p.rest, "-ERR"); i >= 0 {
		e.reply, e.protocol = p.rest[i:], "POP3"
	}
	return e, true
}
