package explain

import (
	"strings"

	"mailsrv/codes"
)

// scanReply reads an SMTP reply code at place i, with the enhanced status behind
// it: "550 5.7.1", "550-5.7.26", "550 #5.1.0", and "550.1.1" as careless hands
// write it. Positive replies are no errors and never count.
func scanReply(s string, i int) []code {
	end := i + 3
	if s[i] != '4' && s[i] != '5' || s[i+1] > '7' || decimalPart(s, i, end) && !mangled(s, i) {
		return nil
	}
	reply := code{kind: kindReply, canon: s[i:end], raw: s[i:end], at: i, end: end, negative: true}
	if mangled(s, i) {
		status := s[i:i+1] + s[end:end+4]
		reply.raw, reply.end = s[i:end+4], end+4
		return []code{reply, {kind: kindEnhanced, canon: status, raw: reply.raw, at: end + 4, end: end + 4, from: reply.raw, negative: true}}
	}
	if at := statusBehind(s, end); at > 0 {
		if n := enhancedAt(s, at); n > 0 {
			return []code{reply, {kind: kindEnhanced, canon: s[at : at+n], raw: s[at : at+n], at: at, end: at + n, negative: true}}
		}
	}
	strength, cued := cueBefore(s, i)
	switch {
	case cued && strength == cueStrong, hasSuffixAny(strings.TrimRight(s[:i], " "), "<<<", "<--", "S:"):
	case end < len(s) && s[end] == '-' && (end+1 == len(s) || !isDigit(s[end+1])) && lineStart(s, i):
		// "550-text": the continuation line of a reply
	case lineStart(s, i) && end < len(s) && (s[end] == ' ' || s[end] == ':'):
		reply.weak = !mailish(lineAt(s, end)) && !codes.Refuses(wordsAt(s, end))
	case end < len(s) && s[end] == ' ' && (cued || hasSuffixAny(s[:i], ": ", "= ", ":", "「", "'", "\"")) && codes.Refuses(wordsAt(s, end)):
	case cued, enclosed(s, i, end) && codes.Known(s[i:end]), beginsSentence(s, i) && end < len(s) && s[end] == ' ' && saysMail(lineAt(s, end)), endOfClause(s, i, end), hasSuffixAny(s[:i], ": ", "= ") && end < len(s) && s[end] == ' ' && mailish(lineAt(s, end)):
		reply.weak = true
	default:
		return nil
	}
	return []code{reply}
}

// mangled tells "550.1.1": the reply code and the status run together.
func mangled(s string, i int) bool {
	e := i + 3
	return e+4 <= len(s) && s[e] == '.' && isDigit(s[e+1]) && s[e+2] == '.' && isDigit(s[e+3]) &&
		(e+4 == len(s) || !isWord(s[e+4]) && s[e+4] != '.')
}

// statusBehind returns where an enhanced status may begin behind a reply code.
func statusBehind(s string, end int) int {
	i := end
	for i < len(s) && i < end+4 && strings.IndexByte(" -#[(/\n", s[i]) >= 0 {
		i++
	}
	if i == end || i >= len(s) || !isDigit(s[i]) {
		return 0
	}
	return i
}

// enhancedAt returns the length of an enhanced status code at place i, or 0.
func enhancedAt(s string, i int) int {
	if i+5 > len(s) || s[i] != '2' && s[i] != '4' && s[i] != '5' || s[i+1] != '.' {
		return 0
	}
	n := digitsAt(s, i+2)
	if n != 1 || s[i+2] > '7' {
		return 0
	}
	j := i + 3
	if j >= len(s) || s[j] != '.' {
		return 0
	}
	n = digitsAt(s, j+1)
	if n == 0 || n > 3 {
		return 0
	}
	j += 1 + n
	if j < len(s) && (isWord(s[j]) || s[j] == '.' && j+1 < len(s) && isDigit(s[j+1])) {
		return 0
	}
	return j - i
}

// scanEnhanced reads an enhanced status code that stands by itself. Versions of
// programs look the same, so without a word that announces a code it is weak,
// and behind any other word it does not count.
func scanEnhanced(s string, i int) []code {
	n := enhancedAt(s, i)
	if n == 0 || s[i] == '2' || i > 0 && (s[i-1] == '.' || s[i-1] == '/' || s[i-1] == ',') {
		return nil
	}
	c := code{kind: kindEnhanced, canon: s[i : i+n], raw: s[i : i+n], at: i, end: i + n, negative: true}
	before := strings.TrimRight(s[max(0, i-32):i], " \t\n")
	strength, cued := cueBefore(s, i)
	switch {
	case strings.HasSuffix(before, "#") && len(before) > 1 && isWord(before[len(before)-2]):
		return nil // a link: CHANGELOG.md#4.3.1
	case cued && strength == cueStrong, strings.HasSuffix(before, ":") && codes.Refuses(wordsAt(s, i+n)), strings.HasSuffix(before, "#"), hasSuffixAny(strings.ToLower(before), "dsn=", "status:", "status="):
	case before != "" && (isWord(before[len(before)-1]) || before[len(before)-1] >= 0x80) && !cued:
		return nil
	case versionWord(before):
		return nil
	default:
		c.weak = !aloneOnLine(s, i, i+n)
	}
	return []code{c}
}

// aloneOnLine tells a code that somebody put on a line of its own.
func aloneOnLine(s string, i, end int) bool {
	return lineStart(s, i) && strings.Trim(lineAt(s, end), " \t\"'.)]>*") == ""
}

func versionWord(before string) bool {
	w := strings.ToLower(lastWord(strings.TrimRight(before, " :=")))
	return hasSuffixAny(w, "version", "versión", "versione", "versão", "ver", "v", "release", "build", "バージョン", "版")
}

// lineStart tells whether place i is the first thing on its line, quotation
// marks and brackets aside.
func lineStart(s string, i int) bool {
	from := max(0, i-maxLineAt)
	n := strings.LastIndexByte(s[from:i], '\n')
	if n < 0 && from > 0 {
		return false
	}
	line := s[from+n+1 : i]
	return strings.Trim(line, " \t\"'([<*-!]") == ""
}

// maxLineAt bounds what is looked at behind a number: a file may be one line of a
// megabyte, with a number every few bytes.
const maxLineAt = 1000

// lineAt is the rest of the line from place i, as far as it is looked at.
func lineAt(s string, i int) string {
	s = s[:min(len(s), i+maxLineAt)]
	if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
		return s[i : i+n]
	}
	return s[i:]
}

// wordsAt is the rest of the line from place i, and of the next one if the
// sentence may go on there.
func wordsAt(s string, i int) string {
	line := lineAt(s, i)
	if next := i + len(line) + 1; len(line) < maxLineAt && next < len(s) && !hasSuffixAny(strings.TrimRight(line, " "), ".", "。", "!", "'", "\"") {
		return s[i : next+len(lineAt(s, next))]
	}
	return line
}

func enclosed(s string, i, end int) bool {
	return i > 0 && end < len(s) && strings.IndexByte("([\"'#", s[i-1]) >= 0 && strings.IndexByte(")]\"',", s[end]) >= 0
}

// beginsSentence tells whether place i is where a sentence begins.
func beginsSentence(s string, i int) bool {
	return hasSuffixAny(strings.TrimRight(s[:i], " "), ".", "。", "!", "?", ":", ",", "、", ")")
}

// endOfClause tells "mailbox unavailable - 550".
func endOfClause(s string, i, end int) bool {
	before := strings.TrimRight(s[:i], " ")
	return strings.HasSuffix(before, " -") && strings.TrimLeft(lineAt(s, end), " .\"')") == ""
}

// mailish tells whether the words behind a number can be those of a mail server.
func mailish(line string) bool {
	line = strings.ToLower(line)
	if strings.ContainsAny(line, "<@") {
		return true
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r < 'a' || r > 'z' })
	if len(words) <= 2 && len(line) < 40 {
		return true
	}
	return saysMail(line)
}

// saysMail tells whether a word of mail servers stands in the line.
func saysMail(line string) bool {
	for _, w := range strings.FieldsFunc(strings.ToLower(line), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if _, ok := mailWords[w]; ok {
			return true
		}
	}
	return false
}

var mailWords = wordSet(`mail mailbox mailhost maildrop message messages recipient recipients sender relay relaying relayed server smtp
	denied deny rejected reject refused unknown unavailable invalid syntax command commands sequence argument parameter unrecognized
	authentication authenticate authenticated authorization auth credentials login password tls starttls encryption ssl
	quota exceeded storage spam blocked blacklisted blocklist listed policy spf dkim dmarc dns host hostname domain helo ehlo
	greylisted greylist deferred temporarily temporary try retry timeout timed connection connections closing transmission channel transaction
	mx rcpt virus bounce undeliverable ip frequency limited rate exceeded banned abuse`)
