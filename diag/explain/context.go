package explain

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// readContext turns labelled fields into the facts of the conversation, and
// fills what no label told from the sentences: "the server smtp.example.com",
// "outgoing (SMTP)", "imap.example.com:993".
func (f *facts) readContext() {
	f.fields = readFields(f.text)
	for _, loose := range []bool{false, true} {
		for _, x := range f.fields {
			if x.loose == loose {
				f.take(x)
			}
		}
	}
	f.looseServer()
	if f.ctx.Protocol == "" {
		f.ctx.Protocol = protocolWord(f.text)
	}
	if f.ctx.Port == 0 {
		f.ctx.Port = numberBehind(f.text, portWords)
	}
	if f.ctx.TLS == nil {
		f.looseTLS()
	}
}

// take sets a fact from a field if the value makes sense and none came before.
func (f *facts) take(x field) {
	c := &f.ctx
	set := func(to *string, value string) {
		if *to == "" && value != "" {
			*to = value
			f.quoted = append(f.quoted, x)
		}
	}
	switch x.name {
	case "account":
		if !x.loose || strings.ContainsAny(x.value, "@") {
			set(&c.Account, x.value)
		}
	case "server":
		set(&c.Server, f.serverValue(x))
	case "protocol":
		set(&c.Protocol, protocolOf(x.value))
	case "port":
		if n := leadingNumber(x.value); c.Port == 0 && n > 0 && n < 65536 {
			c.Port = n
			f.quoted = append(f.quoted, x)
		}
	case "tls":
		if on, ok := yesNo(x.value); ok && c.TLS == nil {
			c.TLS = &on
			f.quoted = append(f.quoted, x)
		}
	case "response":
		set(&c.ServerResponse, x.value)
	case "server_error":
		set(&c.ServerError, firstCode(x.value))
	case "socket_error":
		if n := leadingNumber(x.value); c.SocketError == 0 && n > 0 && !x.loose {
			c.SocketError = n
			f.quoted = append(f.quoted, x)
		}
	case "error_number":
		if code := firstCode(x.value); len(code) > 4 {
			set(&c.ErrorNumber, code)
		}
	case "recipient":
		set(&c.Recipient, addressIn(x.value))
	case "sender":
		set(&c.Sender, addressIn(x.value))
	case "subject":
		set(&c.Subject, x.value)
	}
}

// serverValue accepts a host name, an address or whatever a program put between
// quotation marks behind the label "server".
func (f *facts) serverValue(x field) string {
	v := strings.TrimRight(x.value, ".")
	if host, port := splitHostPort(v); port > 0 {
		if f.ctx.Port == 0 {
			f.ctx.Port = port
		}
		return host
	}
	if strings.ContainsAny(v, " ") {
		v, _, _ = strings.Cut(v, " ")
		v = strings.TrimRight(v, ",;")
		if !isHost(v) {
			return ""
		}
	}
	if x.loose && !isHost(v) {
		return ""
	}
	return v
}

// looseServer finds the host a sentence speaks of: behind a word for server, or
// before a word for answering.
func (f *facts) looseServer() {
	if f.ctx.Server != "" {
		return
	}
	s := cut(f.text, maxDialog)
	best, bestPort, weight := "", 0, 0
	var others []string // names of three parts: the only one of a text is the server's
	for i := 0; i < len(s); {
		if !isWord(s[i]) || i > 0 && (isWord(s[i-1]) || strings.IndexByte("@.-/_", s[i-1]) >= 0) {
			i++
			continue
		}
		end := i
		for end < len(s) && (isWord(s[end]) || s[end] == '.' || s[end] == '-') {
			end++
		}
		host := strings.TrimRight(s[i:end], ".-")
		if isHost(host) && (end >= len(s) || s[end] != '@') {
			if strings.Count(host, ".") > 1 && !strings.HasPrefix(strings.ToLower(host), "www.") && !slices.Contains(others, host) {
				others = append(others, host)
			}
			if w := f.hostWeight(s, i, i+len(host)); w > weight {
				best, weight, bestPort = host, w, portBehind(s[i+len(host):])
			} else if host == best && bestPort == 0 { // "192.0.2.10 (192.0.2.10:25)"
				bestPort = portBehind(s[i+len(host):])
			}
		}
		i = end
	}
	if weight == 0 && len(others) == 1 {
		best, weight = others[0], 1
	}
	if weight > 0 {
		f.ctx.Server = best
		if f.ctx.Port == 0 {
			f.ctx.Port = bestPort
		}
	}
}

// hostWeight rates how surely the name at s[i:end] is the server's: 0 not at
// all.
func (f *facts) hostWeight(s string, i, end int) int {
	before := strings.ToLower(strings.TrimRight(s[max(0, i-40):i], " \t\n'\"(:"))
	named := hasSuffixAny(before, "(smtp)", "(pop)", "(pop3)", "(imap)", "(imap4)")
	before = strings.TrimRight(before, " )")
	w := 0
	if named || hasSuffixAny(before, serverWords...) {
		w = 3
	}
	after := strings.ToLower(strings.TrimLeft(s[end:min(len(s), end+40)], " \t\n'\")"))
	for _, verb := range answerWords {
		if strings.HasPrefix(after, verb) {
			w = max(w, 2)
		}
	}
	first, _, _ := strings.Cut(strings.ToLower(s[i:end]), ".")
	first = strings.TrimRight(first, "0123456789")
	for _, name := range []string{"smtp", "pop", "imap", "mail", "mx", "outbound", "inbound", "outlook", "securesmtp", "relay"} {
		if first == name || strings.HasPrefix(first, name+"-") {
			w = max(w, 1)
		}
	}
	return w
}

var (
	serverWords = []string{"server", "serveur", "servidor", "サーバー", "サーバ", "服务器", "伺服器", "host", "hôte", "smtp", "pop3", "imap", "connect to", "connecting to", "connection to", "server at", "host at", "verbindung zu", "login to", "ホスト", "主机", "主機", "error:", "error", "dial tcp"}
	answerWords = []string{"respond", "said", "timed out", "is not responding", "refused", "rejected", "uses an invalid", "responded", "に接続", "への接続", "が応答", "が見つかり", "could not be found", "antwortet", "hat geantwortet", "a répondu", "respondió", "ha risposto", "respondeu", "failed", "did not", "returned", "closed the connection"}
	portWords   = []string{"port", "ports", "ポート", "ポート番号", "puerto", "porta", "端口", "端口号", "連接埠"}
)

// looseTLS reads "ssl no" and "(SSL) off" without a separator.
func (f *facts) looseTLS() {
	low := strings.ToLower(cut(f.text, maxDialog))
	for _, label := range []string{"ssl", "tls"} {
		for at := 0; ; {
			i := strings.Index(low[at:], label)
			if i < 0 {
				break
			}
			at += i + len(label)
			word, _, _ := strings.Cut(strings.TrimLeft(low[at:min(len(low), at+24)], " )\t"), " ")
			if on, ok := yesNo(word); ok && word != "" {
				f.ctx.TLS = &on
				return
			}
		}
	}
}

// addresses finds who the message was for or from where the server's reply says
// so.
func (f *facts) addresses() {
	if f.ctx.Recipient == "" {
		f.ctx.Recipient = addressBehind(cut(f.text, maxDialog), recipientWords)
	}
	if f.ctx.Sender == "" {
		if a := addressBehind(cut(f.text, maxDialog), senderWords); a != f.ctx.Recipient {
			f.ctx.Sender = a
		}
	}
	if f.ctx.Account == "" && f.event == nil {
		f.ctx.Account = addressBehind(cut(f.text, maxDialog), accountWords)
	}
	f.replyAddresses()
	if f.ctx.Recipient == "" && f.ctx.Sender == "" && f.event == nil {
		f.ctx.Recipient = f.onlyAddress()
	}
}

// onlyAddress returns the recipient of a text that speaks of one without a label:
// the only address in it, the account's own aside.
func (f *facts) onlyAddress() string {
	s := cut(f.text, maxDialog)
	low := strings.ToLower(s)
	if longProse(s) || !slices.ContainsFunc(recipientWords, func(w string) bool { return strings.Contains(low, w) }) {
		return ""
	}
	only := ""
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return only
		}
		i += at
		at = i + 1
		a := addressIn(s[max(0, i-maxLocalPart):])
		if from := strings.Index(s[max(0, i-maxLocalPart):], a); a == "" || max(0, i-maxLocalPart)+from > i {
			continue
		}
		j := strings.IndexByte(a, '@')
		own := i+len(a)-j <= len(s) && strings.HasPrefix(s[i+len(a)-j:], " - ") // "Task 'a@example.com - Sending'"
		switch {
		case own, !isHost(a[j+1:]), strings.EqualFold(a, f.ctx.Account), strings.EqualFold(a, only):
		case only != "":
			return ""
		default:
			only = a
		}
	}
}

// replyAddresses takes the address that the server's reply names.
func (f *facts) replyAddresses() {
	r := f.reply
	low := strings.ToLower(r)
	addr := addressIn(r)
	if addr == "" {
		return
	}
	switch {
	case strings.Contains(low, "sender"), strings.Contains(low, "mail from"):
		if f.ctx.Sender == "" && f.ctx.Recipient != addr {
			f.ctx.Sender = addr
		}
	case strings.Contains(low, "recipient"), strings.Contains(low, "user"), strings.Contains(low, "relay"), strings.Contains(low, "rcpt"), strings.Contains(low, "mailbox"):
		if f.ctx.Recipient == "" && f.ctx.Sender != addr {
			f.ctx.Recipient = addr
		}
	case opensReply(r, addr): // "5.7.1 <hanako@example.jp>: ...", as Postfix and sendmail begin
		if f.ctx.Recipient == "" && f.ctx.Sender != addr {
			f.ctx.Recipient = addr
		}
	}
}

// opensReply tells whether a server's words begin with the address.
func opensReply(reply, addr string) bool {
	words := strings.TrimLeft(reply, "0123456789.- #")
	return strings.HasPrefix(words, "<"+addr+">")
}

// recipientWords announce the address a message was for, in running text.
var recipientWords = []string{"recipient", "recipients", "rcpt to", "empfänger", "empfängers", "destinataire", "destinatario", "destinatário", "宛先", "受信者", "受信者のアドレス", "宛先のアドレス", "宛先アドレス", "收件人", "收件者"}

// accountWords announce the address an account is known by.
var accountWords = []string{"account", "アカウント", "konto", "compte", "cuenta", "conta", "帐户", "账户", "帳戶"}

// senderWords announce the address a message came from.
var senderWords = []string{"sender address", "sender", "from address", "absenderadresse", "absender", "l'adresse de l'expéditeur", "l'expéditeur", "expéditeur", "remitente", "mittente", "remetente", "送信者", "送信者のアドレス", "差出人", "差出人アドレス", "差出人のアドレス", "发件人", "发件人地址", "寄件者"}

// maxLocalPart bounds how far an address is followed back from its "@" (RFC 5321
// section 4.5.3.1.1 allows 64).
const maxLocalPart = 80

// addressBehind returns the first address that stands right behind one of the
// words, quotation marks and a verb aside.
func addressBehind(s string, words []string) string {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return ""
		}
		at += i + 1
		from, least := at-1, max(0, at-maxLocalPart)
		for from > least && s[from-1] > ' ' && s[from-1] != '@' && strings.IndexByte("\"'<>(:,;", s[from-1]) < 0 && s[from-1] < utf8.RuneSelf {
			from--
		}
		before := strings.ToLower(strings.TrimRight(s[max(0, from-40):from], " \"'<(:"))
		if hasSuffixAny(before, words...) {
			return addressIn(s[from:])
		}
	}
}

func protocolOf(v string) string {
	v = strings.ToUpper(v)
	switch {
	case strings.Contains(v, "SMTP"):
		return "SMTP"
	case strings.Contains(v, "POP"):
		return "POP3"
	case strings.Contains(v, "IMAP"):
		return "IMAP"
	case strings.Contains(v, "HTTPMAIL"):
		return "HTTPMail"
	case strings.Contains(v, "NNTP"):
		return "NNTP"
	case strings.Contains(v, "HTTP"):
		return "HTTP"
	}
	return ""
}

// protocolWord names the protocol a text speaks of, if it is one only.
func protocolWord(s string) string {
	s = strings.ToUpper(cut(s, maxDialog))
	for _, form := range []string{"(%)", "% PORT", "%-SERVER", "% SERVER", "SERVER %", "SERVEUR %", "SERVIDOR %", "% SERVICE", "% ERROR", "%サーバ", "% サーバ"} {
		found := ""
		for _, p := range [][2]string{{"SMTP", "SMTP"}, {"POP3", "POP3"}, {"POP", "POP3"}, {"IMAP", "IMAP"}, {"IMAP4", "IMAP"}} {
			if strings.Contains(s, strings.ReplaceAll(form, "%", p[0])) {
				if found != "" && found != p[1] {
					return ""
				}
				found = p[1]
			}
		}
		if found != "" {
			return found
		}
	}
	return ""
}
