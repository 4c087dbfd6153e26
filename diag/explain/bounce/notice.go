package bounce

import (
	"slices"
	"strings"

	"mailsrv/codes"
)

// notice is what a mail says to people, without the message it returns.
type notice struct {
	text     string // UTF-8, lines kept
	below    string // what stood below the line that introduces the returned message
	original Original
	json     *snsNotice

	fold string
}

// folded is the text in the form phrases are written in.
func (n *notice) folded() string {
	if n.fold == "" && n.text != "" {
		n.fold = codes.Fold(clip(n.text, maxNotice))
	}
	return n.fold
}

// maxNotice bounds the prose that is searched for words.
const maxNotice = 16 << 10

// readNotice gathers the prose in front of the returned message, and what the
// returned message says of itself.
func readNotice(m *message) *notice {
	n := &notice{}
	var text strings.Builder
	html := -1
	for i := range m.parts {
		p := &m.parts[i]
		if p.kind == originalPart || p.kind == textPart && m.multipart && returnedHeader(p.header) {
			n.original = originalOf(p)
			break
		}
		switch {
		case p.kind == textPart && text.Len() < maxText:
			text.WriteString(p.text())
			text.WriteByte('\n')
		case p.kind == htmlPart && html < 0:
			html = i
		}
	}
	n.text = text.String()
	if strings.TrimSpace(n.text) == "" && html >= 0 {
		n.text = htmlText(m.parts[html].text())
	}
	n.text, n.below = cutOriginal(n.text)
	if n.original == (Original{}) && n.below != "" {
		h, _ := parseHeader([]byte(strings.TrimLeft(n.below, "\n \t")))
		n.original = originalFrom(h)
	}
	n.json = readSNS(n.text)
	return n
}

// maxText bounds the prose that is kept of one mail.
const maxText = 256 << 10

// returnedHeader tells a part that is the returned message itself: its part
// header is a mail's header.
func returnedHeader(h header) bool {
	return h.has("Received") || h.has("Return-Path") || h.has("From") && h.has("Message-ID")
}

func originalOf(p *part) Original {
	if p.kind == textPart {
		return originalFrom(p.header)
	}
	b := p.content()
	for len(b) > 0 && (b[0] == '\n' || b[0] == ' ') {
		b = b[1:]
	}
	h, _ := parseHeader(b)
	return originalFrom(h)
}

func originalFrom(h header) Original {
	to := addressOf(h.get("To"))
	for _, name := range []string{"X-Original-To", "Delivered-To", "X-Apparently-To", "X-Rcpt-To", "Envelope-To", "X-HmXmrOriginalRecipient", "X-Original-Recipient"} {
		if to != "" {
			break
		}
		to = addressOf(h.get(name))
	}
	return Original{From: addressOf(h.get("From")), To: to, Subject: decodeWords(h.get("Subject"))}
}

// cutOriginal cuts text at the line that introduces the returned message, or
// where a mail header begins.
func cutOriginal(text string) (notice, below string) {
	blank := true
	at := 0
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			blank = true
			at += len(line)
			continue
		case at > 0 && introducesOriginal(trimmed):
			return text[:at], text[at+len(line):]
		case blank && at > 0 && (strings.HasPrefix(line, "Received:") || strings.HasPrefix(line, "Return-Path:") || strings.HasPrefix(line, "Return-path:")):
			return text[:at], text[at:]
		case strings.HasPrefix(line, "From ") && at > 0 && mboxLine([]byte(text[at:])):
			return text[:at], text[at+len(line):]
		}
		blank = false
		at += len(line)
	}
	return text, ""
}

// introducesOriginal tells the line above a returned message: a rule with
// words in it, or a short sentence that ends where the message begins.
func introducesOriginal(line string) bool {
	if len(line) > 160 || len(line) < 8 {
		return false
	}
	last := line[len(line)-1]
	rule := strings.IndexByte("-=*_#<", line[0]) >= 0 || strings.HasSuffix(line, "---")
	if !rule && last != ':' && !strings.HasSuffix(line, "follows.") && !strings.HasSuffix(line, "follow.") && !strings.HasSuffix(line, "\uFF1A") {
		return false
	}
	return codes.NoticeIn(codes.Fold(line), codes.OriginalBelow)
}

// rejectedLocally returns the reason that Dovecot's delivery agent gives when
// it refuses a mail; it reports by a disposition notification.
func (n *notice) rejectedLocally() string {
	_, rest, ok := strings.Cut(n.text, "was automatically rejected:")
	if !ok {
		return ""
	}
	return oneLine(rest)
}

// entry is what a notice says of one recipient.
type entry struct {
	address string
	text    string // the words that follow, on one line
	command string
	host    string
	local   bool // the reporting system itself looked the recipient up
}

// entries reads who could not be reached, and why, out of prose. Almost every
// mail system sets the address at the start of a line, with the reason behind
// or below it; the rest name it in a sentence.
func (m *message) entries(n *notice) []entry {
	lines := strings.Split(n.text, "\n")
	if out := transcript(lines); len(out) > 0 {
		return out
	}
	own := strings.ToLower(addressOf(m.header.get("To")))
	from := strings.ToLower(addressOf(m.header.get("From")))
	notRecipient := func(a string) bool {
		a = strings.ToLower(a)
		return a == own || a == from
	}
	out := listed(lines, notRecipient)
	if len(out) == 0 {
		out = listed(lines, func(string) bool { return false })
	}
	if len(out) == 0 {
		out = named(lines, notRecipient)
	}
	return out
}

// listed finds entries whose address begins a line.
func listed(lines []string, skip func(string) bool) []entry {
	var l lister
	for _, line := range lines {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" {
			l.blanks++
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		a, rest, ok := headAddress(trimmed)
		deeper := len(l.group) > 0 && l.blanks == 0 && indent > l.indent // an address inside a reason
		if !ok || skip(a) || deeper {
			l.add(trimmed)
			continue
		}
		if !l.begin(a, rest, indent) {
			break
		}
	}
	l.end()
	for i := range l.out {
		if l.out[i].text == "" {
			return before(lines, l.out)
		}
	}
	return l.out
}

// lister collects entries. Addresses right below each other share the words
// that follow the last of them.
type lister struct {
	out    []entry
	group  []int // entries that the words are about
	words  []string
	indent int // of the last address
	blanks int // empty lines since the last words
}

// begin starts the entry of an address, or goes on with it. It returns false
// when there are too many.
func (l *lister) begin(address, rest string, indent int) bool {
	if len(l.words) > 0 {
		l.end()
	}
	at := slices.IndexFunc(l.out, func(e entry) bool { return strings.EqualFold(e.address, address) })
	if at < 0 {
		if len(l.out) == maxRecipients {
			return false
		}
		at = len(l.out)
		l.out = append(l.out, entry{address: address})
	}
	l.group, l.indent, l.blanks = append(l.group, at), indent, 0
	if rest != "" {
		l.words = append(l.words, rest)
	}
	return true
}

// add takes a line that may speak of the open entries: it does up to the first
// empty line behind words.
func (l *lister) add(line string) {
	if len(l.group) == 0 {
		return
	}
	if l.blanks > 0 && len(l.words) > 0 {
		l.end()
		return
	}
	l.words = append(l.words, line)
	l.blanks = 0
}

// end gives the open entries their words.
func (l *lister) end() {
	text := oneLine(strings.Join(l.words, " "))
	for _, at := range l.group {
		if e := &l.out[at]; !strings.Contains(e.text, text) {
			e.text = strings.TrimSpace(e.text + " " + text)
		}
	}
	l.group, l.words = nil, nil
}

// before gives entries without words the words in front of them: Notes names
// the reason first.
func before(lines []string, list []entry) []entry {
	var words, last []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		a, _, head := headAddress(line)
		switch {
		case head:
			if len(words) == 0 { // right below another address
				words = last
			}
			if e := entryOf(list, a); e != nil && e.text == "" {
				e.text = oneLine(strings.Join(words, " "))
			}
			words, last = nil, words
		case strings.HasPrefix(line, "--"):
			words = nil
		case line != "" && !codes.NoticeIn(codes.Fold(line), codes.BounceOpening):
			words = append(words, line)
		}
	}
	return list
}

// headAddress reads an address at the start of a line, behind bullets and
// inside brackets or quotes, when what follows it shows that the line is about
// it.
func headAddress(line string) (addr, rest string, ok bool) {
	s := strings.TrimLeft(line, "*->\u2022\u30FB\u25A0\u25CF ")
	bracket := false
	if strings.HasPrefix(s, "<") {
		s, bracket = s[1:], true
	} else if strings.HasPrefix(line, "<") {
		bracket = true
	}
	quoted := strings.HasPrefix(s, `"`) && strings.Contains(s, `":`)
	if quoted {
		s = s[1:]
	}
	at := strings.IndexByte(s, '@')
	if at <= 0 || at > 128 {
		return "", "", false
	}
	a, end := findAddress(s)
	if a == "" || !strings.HasPrefix(s, a) {
		if i := strings.Index(s, "<mailto:"); i > 0 && i < 80 { // "Name<mailto:user@example.com>"
			if b, e := findAddress(s[i:]); b != "" {
				return b, s[i+e:], true
			}
		}
		return "", "", false
	}
	rest = s[end:]
	switch {
	case bracket:
		rest, ok = strings.CutPrefix(rest, ">")
		if !ok {
			return "", "", false
		}
	case quoted:
		rest = strings.TrimPrefix(rest, `"`)
	}
	trimmed := strings.TrimSpace(rest)
	if trimmed == "" || strings.IndexByte(":;,([.<=-", trimmed[0]) >= 0 || trimmed[0] >= 0x80 || bracket && !strings.HasPrefix(trimmed, "does ") {
		return a, strings.TrimLeft(strings.TrimPrefix(trimmed, ":"), " "), true
	}
	if word, date, ok := strings.Cut(trimmed, " "); ok && len(word) <= len("den") && date != "" && digit(date[0]) { // "am 03.03.2026 10:00", as Outlook writes in its languages
		return a, trimmed, true
	}
	for _, w := range []string{"on ", "delivery failed", "Invalid Address", "failed", "was not", "User unknown", "could not", "is not", "cannot", "unknown"} {
		if strings.HasPrefix(trimmed, w) {
			return a, trimmed, true
		}
	}
	return "", "", false
}

// labels stand in front of a recipient inside a line or sentence.
var labels = []string{
	"recipient address:", "recipient:", "recipients:", "failed recipient(s):", "rejected recipient", "final-recipient:", "addressed to:",
	"unknown user:", "delivery userid:", "exceeds allowed size:", "user mailbox", "unknown local user:", "userid:",
	"unable to deliver message to:", "unable to deliver message to", "deliver your message to", "delivering your mail to", "deliver mail to", "delivered to:", "delivered to", "delivery to", "deliver to",
	"message to", "mail to", "rcpt to:", "generated by", "generated from", "message-id in", "failed to", "sent to", "received by", "destinataire", "wasn't delivered to",
	"宛先:", "宛先", "受信者:", "送信先:", "送信先", "メールアドレス:", "to:",
}

// named finds entries whose address stands in a sentence, behind a word that
// tells recipients; without such a word every address that is not the reader's
// own or the mail system's counts.
func named(lines []string, skip func(string) bool) []entry {
	var out, others []entry
	add := func(list []entry, a string) []entry {
		for i := range list {
			if strings.EqualFold(list[i].address, a) {
				return list
			}
		}
		return append(list, entry{address: a})
	}
	for _, line := range lines {
		for pos := 0; pos < len(line) && len(out)+len(others) < maxRecipients; {
			a, end := findAddress(line[pos:])
			if a == "" {
				break
			}
			before := strings.ToLower(strings.TrimRight(line[:pos+strings.Index(line[pos:], a)], " <\"'(\t"))
			pos += end
			if skip(a) {
				continue
			}
			labelled := false
			for _, l := range labels {
				if strings.HasSuffix(before, l) {
					labelled = true
					break
				}
			}
			if labelled {
				out = add(out, a)
			} else if !strings.Contains(before, "contact") && !strings.Contains(before, "postmaster") && !strings.Contains(before, "from") && !strings.Contains(before, "by ") {
				others = add(others, a)
			}
		}
	}
	if len(out) == 0 {
		return others
	}
	return out
}
