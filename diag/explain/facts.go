package explain

import (
	"slices"
	"strconv"
	"strings"

	"mailsrv/codes"
)

// facts is what the readers found in one input, or in one line of a log.
type facts struct {
	text    string // cleaned
	kind    Kind
	ctx     Context
	fields  []field // labelled values, in the order of the text
	quoted  []field // those the context was taken from
	reply   string  // the server's own words
	codes   []code
	words   []word
	tally   *tally   // of a log
	events  []*facts // of a bounce: one per recipient
	event   *event   // the line these facts are about
	bounces []Bounce // of a mail
	cause   string   // what mailsrv's own notice gives as the cause of these facts
	reason  string   // the bounce reason of the recipient these facts are about
	tool    map[string][]string
	program *codes.Program // the mail program that shows the dialog; empty when it is not known
	near    string         // a single word that looks like a code but is none we know

	judgement []candidate // see candidates
	judged    bool
}

// readText reads whatever is neither a bare code nor a mail.
func (f *facts) readText() {
	if f.tool = readTool(f.text); f.tool != nil {
		f.kind = KindText
		f.words = toolWords(f.tool)
		return
	}
	if f.tally = readLog(f.text); f.tally != nil {
		f.kind = KindLog
		return
	}
	f.kind = KindText
	f.readContext()
	f.reply = f.serverWords()
	f.addresses()
	f.codes = scanCodes(cut(f.text, maxDialog))
	f.fieldCodes()
	f.readWords()
	f.weigh()
	if len(f.codes) > 0 || len(f.words) > 0 || len(f.quoted) > 2 || f.reply != "" {
		f.kind = KindDialog
		if f.ctx.ServerResponse == "" {
			f.ctx.ServerResponse, _, _ = strings.Cut(f.reply, "\n\n")
		}
	} else {
		f.ctx, f.quoted = Context{}, nil
	}
}

// eventFacts reads the words of one log line.
func eventFacts(e event) *facts {
	f := &facts{text: e.reply, kind: KindLog, reply: e.reply, event: &e}
	f.ctx = Context{Recipient: e.recipient, Sender: e.sender, Server: e.relay, Port: e.port, Client: e.client, Protocol: e.protocol, ServerResponse: e.reply}
	if e.queueID != "NOQUEUE" {
		f.ctx.QueueID = e.queueID
	}
	f.codes = scanCodes(e.reply)
	if n := enhancedAt(e.status, 0); n > 0 && n == len(e.status) && e.status[0] != '2' {
		f.addCode(code{kind: kindEnhanced, canon: e.status, raw: e.status, at: -1, end: -1, negative: true})
	}
	f.readWords()
	f.weigh()
	return f
}

// fieldCodes adds what stands in fields made for codes, whatever it looks like
// to the scanner.
func (f *facts) fieldCodes() {
	for _, x := range f.quoted {
		switch x.name {
		case "error_number", "server_error", "socket_error":
		default:
			continue
		}
		canon := firstCode(x.value)
		if x.name == "socket_error" {
			canon = strconv.Itoa(f.ctx.SocketError)
		}
		if canon == "" {
			continue
		}
		c := code{canon: canon, raw: x.value, at: strings.Index(f.text, x.value)}
		switch n := leadingNumber(canon); {
		case strings.HasPrefix(canon, "0x"):
			c.kind = kindHResult
		case x.name == "server_error" && len(canon) == 3:
			c.kind, c.negative = kindReply, canon[0] >= '4'
		case x.name == "socket_error" && n < 1000:
			c.kind, c.symbol = kindErrno, errnoNames[n]
		case socketRange(n):
			c.kind = kindSocket
		default:
			continue
		}
		c.end = c.at + len(canon)
		f.addCode(c)
	}
}

// addCode adds a code unless it is there; one that was weak is now certain.
func (f *facts) addCode(c code) {
	for i := range f.codes {
		if f.codes[i].canon == c.canon {
			f.codes[i].weak = false
			return
		}
	}
	f.codes = append(f.codes, c)
}

// weigh drops what counts only beside other signs of an error when there are
// none, and what stands in long prose.
func (f *facts) weigh() {
	sure := f.ctx.ErrorNumber != "" || f.ctx.SocketError != 0 || f.ctx.ServerError != ""
	for _, c := range f.codes {
		sure = sure || !c.weak
	}
	if !sure && f.reply == "" && longProse(f.text) {
		f.words = nil
	}
	for _, w := range f.words {
		sure = sure || w.cause != "none" && !w.beside
	}
	if f.event != nil && f.event.outcome == failed {
		sure = true
	}
	f.codes = slices.DeleteFunc(f.codes, func(c code) bool { return c.weak && !sure })
	// A hint is no sign of an error, and none is needed where something says why.
	why := slices.ContainsFunc(f.words, func(w word) bool { return !w.weak })
	f.words = slices.DeleteFunc(f.words, func(w word) bool { return w.beside && (why || !sure) })
}

// longProse tells texts in which words for errors are no error: a newsletter, a
// manual page, a thread.
func longProse(s string) bool { return len(s) > 2500 || strings.Count(s, "\n") > 40 }

// serverWords returns what the server itself said: the field for it, else the
// replies that stand in the text.
func (f *facts) serverWords() string {
	var parts []string
	if r := withoutAdvice(f.ctx.ServerResponse); r != "" {
		f.ctx.ServerResponse = r
		parts = append(parts, r)
	}
	for _, words := range repliesIn(cut(f.text, maxDialog)) {
		known := func(p string) bool {
			a, b := oneLine(words), oneLine(p)
			return strings.Contains(a, b) || strings.Contains(b, a)
		}
		if i := slices.IndexFunc(parts, known); i < 0 {
			parts = append(parts, words)
		} else if rest, ok := strings.CutPrefix(oneLine(words), oneLine(parts[i])); ok && rest != "" && !strings.ContainsRune("'\"", rune(rest[0])) {
			parts[i] = words // the field ended too early
		}
	}
	return strings.Join(parts, "\n\n")
}

// maxReplies limits how many replies of one text are judged, maxReply how long
// one may be.
const (
	maxReplies = 40
	maxReply   = 600
)

// repliesIn returns the negative replies of servers in a text. A reply goes on
// until a blank line, the next reply, or a line that begins with a label.
func repliesIn(s string) []string {
	var out []string
	open := false
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		i := replyIn(line)
		switch {
		case i >= 0 && len(out) < maxReplies:
			out, open = append(out, cut(strings.Trim(line[i:], " '\""), maxReply)), true
		case line == "" || len(findMarks(line)) > 0 || i >= 0:
			open = false
		case open && len(out[len(out)-1]) < maxReply:
			out[len(out)-1] += "\n" + cut(line, maxReply)
		}
	}
	for i, words := range out {
		out[i] = withoutAdvice(words)
	}
	return out
}

// advice are the words with which mail programs go on behind the server's reply
// that they quote: what they name there is no trouble.
var advice = []string{
	"Please check the", "Please verify", "Please ensure", "Please make sure", "Please enter", "Bitte überprüfen Sie", "Bitte prüfen Sie", "Bitte kontrollieren Sie", "Verifizieren Sie",
	"Veuillez vérifier", "Veuillez essayer", "Vérifiez que", "Asegúrese de", "Verifique ", "Compruebe ", "Verificare ", "Controllare ", "Garanta ", "请确保", "请检查", "请验证", "請檢查", "請確認",
	"送信に使用する", "メッセージの受信者", "アカウント設定で",
}

// withoutAdvice ends a reply where the mail program's own advice begins: at a
// new sentence, never within one.
func withoutAdvice(reply string) string {
	for _, words := range advice {
		if i := strings.Index(reply, words); i > 0 && strings.HasSuffix(strings.TrimRight(reply[:i], " \n'\""), ".") || i > 0 && strings.HasSuffix(reply[:i], "\n") || i > 0 && strings.HasSuffix(reply[:i], "。") {
			reply = strings.TrimRight(reply[:i], " \n")
		}
	}
	return reply
}

// replyIn returns where a negative reply of a server begins in a line, or -1:
// "-ERR ...", "550 5.7.1 ...", "a1 NO [..]", "* BYE ...", "[AUTH] ...".
func replyIn(line string) int {
	if i := strings.Index(line, "-ERR"); i >= 0 {
		return i
	}
	for _, c := range scanCodes(line) {
		// "Server Error: 553, Error Number: ..." is a field's value, no reply.
		isValue := strings.HasPrefix(line[c.end:], ",") || strings.HasPrefix(line[c.end:], "、")
		if c.kind == kindReply && !isValue && (!c.weak || lineStart(line, c.at)) && strings.TrimSpace(line[c.end:]) != "" && (mailish(line[c.end:]) || codes.Refuses(line[c.end:])) {
			return c.at
		}
		if c.kind == kindEnhanced && c.from == "" && (!c.weak || mailish(line[c.end:])) && len(line) > c.end+3 {
			return c.at
		}
	}
	for _, mark := range []string{" NO ", " BAD ", "* BYE ", "* NO ", "* BAD "} {
		if i := strings.Index(line, mark); i >= 0 && i < 12 && (mark[0] == '*' && i == 0 || imapTag(line[:i])) {
			return i
		}
	}
	if i := strings.IndexByte(line, '['); i >= 0 {
		if word, _, ok := strings.Cut(line[i+1:], "]"); ok && responseCodes[word] {
			if strings.HasSuffix(line[:i], "NO ") || strings.HasSuffix(line[:i], "BAD ") {
				i = strings.LastIndexByte(line[:i-1], ' ') + 1
			}
			return i
		}
	}
	return -1
}

// imapTag tells what a client may put before its commands and the server repeats
// before its answers: "a1", "A001", ".".
func imapTag(s string) bool {
	return s == "." || strings.ContainsAny(s, "0123456789") && !strings.ContainsAny(s, " \t\"'()<>[]{}:,")
}

// responseCodes are the words in brackets that POP3 and IMAP servers put before
// their text (RFC 2449, RFC 3206, RFC 5530, RFC 9051).
var responseCodes = map[string]bool{
	"IN-USE": true, "LOGIN-DELAY": true, "SYS/TEMP": true, "SYS/PERM": true, "AUTH": true,
	"AUTHENTICATIONFAILED": true, "AUTHORIZATIONFAILED": true, "EXPIRED": true, "PRIVACYREQUIRED": true,
	"CONTACTADMIN": true, "NOPERM": true, "INUSE": true, "UNAVAILABLE": true, "CORRUPTION": true, "SERVERBUG": true,
	"CLIENTBUG": true, "CANNOT": true, "LIMIT": true, "OVERQUOTA": true, "ALERT": true, "NONEXISTENT": true, "TRYCREATE": true,
}
