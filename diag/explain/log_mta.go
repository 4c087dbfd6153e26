package explain

import "strings"

// readPostfix reads Postfix: deliveries ("to=<..>, relay=.., status=.. (text)"),
// refusals ("NOQUEUE: reject: RCPT from ..") and what its daemons complain about.
func readPostfix(p logPrefix) (event, bool) {
	name, sub, _ := strings.Cut(p.program, "/")
	if !strings.HasPrefix(name, "postfix") {
		return event{}, false
	}
	e := event{program: p.program}
	rest := p.rest
	if id, after, ok := strings.Cut(rest, ": "); ok && queueID(id) {
		e.queueID, rest = id, after
	}
	e.recipient, e.sender = pairOf(rest, "to"), pairOf(rest, "from")
	switch status := pairOf(rest, "status"); {
	case strings.Contains(rest, "reject: "), strings.Contains(rest, "milter-reject: "):
		e.outcome = failed
		_, after, _ := strings.Cut(rest, "reject: ")
		e.command, after, _ = strings.Cut(after, " from ")
		e.client, _, _ = strings.Cut(after, ": ")
		_, reply, _ := strings.Cut(after, ": ")
		e.reply = untilPairs(reply)
		e.client, _ = hostPort(e.client)
	case status != "":
		e.outcome = map[string]outcome{"sent": fine, "deferred": deferred, "bounced": failed, "expired": failed, "undeliverable": failed, "deliverable": fine}[status]
		e.status = pairOf(rest, "dsn")
		if e.relay, e.port = hostPort(pairOf(rest, "relay")); !isHost(e.relay) {
			e.relay = "" // none, local, virtual
		}
		_, e.reply, _ = strings.Cut(rest, "status="+status)
		e.reply = strings.TrimSpace(e.reply)
		e.reply = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(e.reply, ", "), ")"), "(")
		e.takeRemote()
	case quietPostfix(rest):
		e.outcome = fine
	default:
		e.reply = rest
		if strings.HasPrefix(rest, "fatal: ") || strings.HasPrefix(rest, "panic: ") {
			e.outcome = failed
		}
		if host := between(rest, "connect to ", ":"); host != "" && strings.HasPrefix(rest, "connect to ") {
			e.relay, _ = hostPort(host)
			_, after, _ := strings.Cut(rest, "]:")
			e.port = portNumber(after[:digitsAt(after, 0)])
		} else if host, _, ok := strings.Cut(strings.TrimPrefix(rest, "warning: "), "]: "); ok && !strings.Contains(host, " ") && strings.Contains(host, "[") {
			e.client, _ = hostPort(host + "]") // "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed"
		} else if host := between(rest, " from ", ":"); host != "" && (sub == "smtpd" || strings.HasSuffix(sub, "/smtpd")) {
			e.client, _ = hostPort(strings.Fields(host + " ")[0])
		}
		e.takeRemote()
	}
	if e.command == "" {
		e.command = between(rest, "(in reply to ", " command)")
	}
	return e, true
}

// takeRemote reads "host mx.example.net[198.51.100.7] said: 550 ..." in the
// reply.
func (e *event) takeRemote() {
	before, after, ok := strings.Cut(e.reply, " said: ")
	if !ok {
		return
	}
	if _, host, ok := strings.Cut(before, "host "); ok && e.relay == "" {
		e.relay, _ = hostPort(host)
	}
	if i := strings.LastIndex(after, " (in reply to "); i >= 0 {
		e.command = strings.TrimSuffix(strings.TrimSuffix(after[i+len(" (in reply to "):], ")"), " command")
		after = after[:i]
	}
	e.reply = after
}

func queueID(id string) bool {
	if id == "NOQUEUE" {
		return true
	}
	if len(id) < 2 || len(id) > 20 {
		return false
	}
	for i := range len(id) {
		if !isDigit(id[i]) && !isAlpha(id[i]) {
			return false
		}
	}
	return strings.ContainsAny(id, "0123456789") && strings.ToLower(id) != id || len(id) >= 10
}

func quietPostfix(rest string) bool {
	for _, p := range []string{"connect from", "disconnect from", "removed", "client=", "message-id=", "from=<", "uid=", "statistics:", "starting", "daemon started", "Anonymous TLS", "Untrusted TLS", "Trusted TLS", "Verified TLS", "sender non-delivery", "sender delivery status", "setting up TLS", "PASS ", "CONNECT from", "DISCONNECT", "reload", "refreshing", "terminating", "replace:", "prepend:", "hold:", "info:", "stopping"} {
		if strings.HasPrefix(rest, p) {
			return !strings.Contains(rest, "status=expired")
		}
	}
	return false
}

// untilPairs cuts "554 5.7.1 ... ; from=<a> to=<b> proto=ESMTP" before the list.
func untilPairs(s string) string {
	for _, mark := range []string{"; from=<", "; proto=", "; to=<"} {
		if i := strings.Index(s, mark); i >= 0 {
			s = s[:i]
		}
	}
	return s
}

// readSendmail reads sendmail: "to=.., relay=.., dsn=.., stat=.." and
// "ruleset=check_rcpt, arg1=<..>, relay=.., reject=..".
func readSendmail(p logPrefix) (event, bool) {
	if p.program != "sendmail" && !strings.HasPrefix(p.program, "sm-") && p.program != "sendmail-in" {
		return event{}, false
	}
	e := event{program: p.program}
	rest := p.rest
	if id, after, ok := strings.Cut(rest, ": "); ok && len(id) >= 3 && !strings.ContainsAny(id, " =,") {
		e.queueID, rest = id, after
	}
	e.status = pairOf(rest, "dsn")
	relay := between(rest, "relay=", ",")
	if i := strings.Index(relay, " "); i > 0 {
		relay = relay[:i] + strings.TrimSpace(relay[i:])
	}
	switch {
	case strings.Contains(rest, "reject="):
		e.outcome = failed
		_, e.reply, _ = strings.Cut(rest, "reject=")
		e.recipient = addressIn(pairOf(rest, "arg1"))
		if strings.Contains(rest, "check_mail") {
			e.sender, e.recipient = e.recipient, ""
		}
		e.client, _ = hostPort(relay)
	case strings.Contains(rest, "stat="):
		_, e.reply, _ = strings.Cut(rest, "stat=")
		e.recipient, e.sender = addressIn(pairOf(rest, "to")), addressIn(pairOf(rest, "ctladdr"))
		e.relay, e.port = hostPort(relay)
		switch {
		case strings.HasPrefix(e.reply, "Sent"), strings.HasPrefix(e.reply, "queued"):
			e.outcome = fine
		case strings.HasPrefix(e.reply, "Deferred"), strings.HasPrefix(e.reply, "4"):
			e.outcome = deferred
		default:
			e.outcome = failed
		}
	case strings.HasPrefix(rest, "from="), strings.HasPrefix(rest, "STARTTLS="), strings.HasPrefix(rest, "alias"), strings.HasPrefix(rest, "AUTH="), strings.HasPrefix(rest, "starting"):
		e.outcome = fine
		if strings.Contains(rest, "failed") || strings.Contains(rest, "verify=FAIL") {
			e.outcome, e.reply = unclear, rest
		}
	default:
		e.reply = rest
	}
	return e, true
}

// readExim reads Exim's main log: "== addr R=.. T=.. defer (110): ..", "** addr
// ..: SMTP error ..", "H=.. F=<> rejected RCPT <>: ..".
func readExim(p logPrefix) (event, bool) {
	rest := p.rest
	exim := strings.HasPrefix(p.program, "exim")
	if strings.HasPrefix(rest, "[") { // "[4711] " with log_selector = +pid
		if n := digitsAt(rest, 1); n > 0 && strings.HasPrefix(rest[1+n:], "] ") {
			rest = rest[n+3:]
		}
	}
	e := event{}
	if id, after, ok := strings.Cut(rest, " "); ok && eximID(id) {
		e.queueID, rest, exim = id, after, true
	}
	if !exim && !strings.Contains(rest, " rejected ") && !strings.Contains(rest, "authenticator failed") && !strings.Contains(rest, "SMTP error from remote") {
		return event{}, false
	}
	if p.time == "" && !exim {
		return event{}, false
	}
	e.program = "exim"
	flag, addr, _ := strings.Cut(rest, " ")
	switch flag {
	case "<=", "=>", "->", "*>", ">>", "Completed", "(=":
		e.outcome = fine
		return e, true
	case "==", "**":
		e.outcome = map[string]outcome{"==": deferred, "**": failed}[flag]
		e.recipient = addressIn(addr)
		if i := strings.LastIndex(addr, " R="); i >= 0 {
			addr = addr[i+1:]
		}
		e.relay, _ = hostPort(pairOf(addr, "H") + " " + between(addr+" ", "H="+pairOf(addr, "H")+" ", ":"))
		e.reply = behindPairs(addr)
		e.eximRemote()
		return e, true
	}
	e.reply = rest
	e.recipient, e.sender = between(rest, "RCPT <", ">"), pairOf(rest, "F")
	if host := pairOf(rest, "H"); host != "" {
		e.client, _ = hostPort(host + " " + between(rest+" ", "H="+host+" ", " "))
	}
	if _, after, ok := strings.Cut(rest, " rejected "); ok {
		e.outcome = failed
		e.command, _, _ = strings.Cut(after, " ")
		_, e.reply, _ = strings.Cut(after, ": ")
		if e.reply == "" {
			e.reply = after
		}
	}
	for _, quiet := range []string{"Start queue run", "End queue run", "daemon started", "no host name found", "removed by", "Spool file is locked"} {
		if strings.Contains(rest, quiet) {
			e.outcome = fine
		}
	}
	e.eximRemote()
	return e, true
}

// eximRemote reads "SMTP error from remote mail server after RCPT TO:<..>: host
// mx.example.net [198.51.100.7]: 550 ..." and leaves the reply.
func (e *event) eximRemote() {
	_, after, ok := strings.Cut(e.reply, "SMTP error from remote mail")
	if !ok {
		return
	}
	e.command = strings.Trim(between(after, "after ", ":"), " ")
	_, host, ok := strings.Cut(after, ": host ")
	if ok {
		name, reply, found := strings.Cut(host, "]: ")
		if found {
			e.relay, _ = hostPort(strings.ReplaceAll(name, " ", "") + "]")
			e.reply = reply
		}
		return
	}
	if i := strings.Index(after, ">: "); i >= 0 {
		e.reply = after[i+3:]
	}
}

// eximID tells "1uEabc-000001-AB" and the longer form of Exim 4.97.
func eximID(s string) bool {
	parts := strings.Split(s, "-")
	return len(parts) == 3 && len(parts[0]) == 6 && (len(parts[1]) == 6 || len(parts[1]) == 11) && (len(parts[2]) == 2 || len(parts[2]) == 4)
}

// behindPairs drops "R=dnslookup T=remote_smtp H=mx [ip] X=.." before the words.
func behindPairs(s string) string {
	fields := strings.Split(s, " ")
	for i, f := range fields {
		key, _, pair := strings.Cut(f, "=")
		if pair && len(key) <= 3 && strings.ToUpper(key) == key && !strings.HasSuffix(f, ":") || strings.HasPrefix(f, "[") && !strings.HasSuffix(f, ":") {
			continue
		}
		if strings.HasSuffix(f, ":") && (pair && len(key) <= 3 || strings.HasPrefix(f, "[")) {
			continue
		}
		return strings.Join(fields[i:], " ")
	}
	return s
}

// readQmail reads qmail-send: "delivery 3: failure: 192.0.2.1_does_not_like_recipient./...".
func readQmail(p logPrefix) (event, bool) {
	rest := p.rest
	if n := digitsAt(rest, 0); n >= 9 && strings.HasPrefix(rest[n:], ".") { // multilog's own time
		if _, after, ok := strings.Cut(rest, " "); ok {
			rest = after
		}
	}
	if strings.HasPrefix(rest, "@4000") {
		_, rest, _ = strings.Cut(rest, " ")
	}
	number := strings.TrimPrefix(strings.TrimPrefix(rest, "starting "), "delivery ")
	if len(number) == len(rest) || digitsAt(number, 0) == 0 {
		return event{}, false
	}
	e := event{program: "qmail"}
	if strings.HasPrefix(rest, "starting") {
		e.recipient, e.outcome = addressIn(rest), fine
		return e, true
	}
	_, rest, _ = strings.Cut(rest, ": ")
	kind, words, _ := strings.Cut(rest, ": ")
	words = strings.ReplaceAll(words, "_", " ")
	if ip, after, ok := strings.Cut(words, " "); ok && isHost(ip) {
		e.relay, words = ip, after
	}
	words = strings.ReplaceAll(strings.TrimRight(words, "/"), "/", "\n")
	switch kind {
	case "success":
		e.outcome = fine
	case "deferral":
		e.outcome = deferred
	default:
		e.outcome = failed
	}
	if _, said, ok := strings.Cut(words, "Remote host said: "); ok {
		words = said
	}
	e.reply = words
	return e, true
}
