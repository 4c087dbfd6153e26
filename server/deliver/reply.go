package deliver

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a reply. RFC 5321 4.5.3.1.5 allows 512 octets a line; some hosts
// write more. Of lines beyond maxReplyLine, and of more than maxReplyLines, the
// rest is read and dropped: to take a long "250" after the final dot for a
// failure would send the message again and again. Beyond maxReply octets the
// host is taken for broken.
const (
	maxReplyLine  = 1000
	maxReplyLines = 200
	maxReplyText  = 1000
	maxReply      = 4 << 20
)

// reply is an SMTP reply. Texts are printable and free of line ends.
type reply struct {
	code     int
	enhanced string   // empty when the host gave none
	lines    []string // without codes
}

var errNoReply = errors.New("the answer is no SMTP reply")

// readReply reads one reply. The error is that of the connection, or
// errNoReply.
func readReply(r *bufio.Reader) (reply, error) {
	var out reply
	for left := maxReply; ; {
		line, err := readLine(r, &left)
		if err != nil {
			return reply{}, err
		}
		code, more, text, ok := parseLine(line)
		if !ok {
			return reply{}, fmt.Errorf("%w: %s", errNoReply, strconv.QuoteToASCII(clean(line[:min(len(line), 80)])))
		}
		enhanced, rest := cutEnhanced(code, text)
		if out.enhanced == "" {
			out.enhanced = enhanced
		}
		if out.code = code; len(out.lines) < maxReplyLines {
			out.lines = append(out.lines, rest)
		}
		if !more {
			return out, nil
		}
	}
}

// readLine reads a line without its end; of a long one only the beginning. left
// is how many octets the reply may still have.
func readLine(r *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("%w: it has no end", errNoReply)
		}
		line = append(line, part[:min(len(part), maxReplyLine-len(line))]...)
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
	}
}

// parseLine reads "250-text", "250 text" or "250".
func parseLine(s string) (code int, more bool, text string, ok bool) {
	if len(s) < 3 || s[0] < '2' || s[0] > '5' {
		return 0, false, "", false
	}
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(s[i]-'0')
	}
	if len(s) == 3 {
		return code, false, "", true
	}
	if s[3] != '-' && s[3] != ' ' {
		return 0, false, "", false
	}
	return code, s[3] == '-', clean(s[4:]), true
}

// cutEnhanced takes an enhanced code (RFC 2034) off a reply's text. One of
// another class than the reply's is not believed and stays in the text.
func cutEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !isEnhanced(word) || word[0] != byte('0'+code/100) {
		return "", text
	}
	return word, rest
}

func isEnhanced(s string) bool {
	class, rest, _ := strings.Cut(s, ".")
	subject, detail, ok := strings.Cut(rest, ".")
	return ok && (class == "2" || class == "4" || class == "5") && isNumber(subject) && isNumber(detail)
}

func isNumber(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// clean makes what a stranger sent fit for one line of a log, a terminal or a
// bounce.
func clean(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			if r == '\t' {
				return ' '
			}
			return '?'
		}
		return r
	}, s)
}

// String is the whole reply on one line: "550 5.1.1 No such user".
func (r reply) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.code))
	if r.enhanced != "" {
		b.WriteString(" " + r.enhanced)
	}
	for _, line := range r.lines {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(" " + line)
		}
		if b.Len() > maxReplyText {
			break
		}
	}
	s := b.String()
	if len(s) > maxReplyText {
		s = strings.ToValidUTF8(s[:maxReplyText], "") + " ..."
	}
	return s
}

func (r reply) ok() bool { return r.code/100 == 2 }

// tooMany tells whether the host wants fewer recipients at once (RFC 5321
// 4.5.3.1.10, which some older hosts say with 552).
func (r reply) tooMany() bool {
	switch r.code {
	case 452:
		return r.enhanced == "" || r.enhanced == "4.5.3"
	case 552:
		return r.enhanced == "5.5.3"
	}
	return false
}

// outcome of a reply that is not positive.
func (r reply) outcome() Outcome {
	if r.code/100 == 5 {
		return Failed
	}
	return Deferred
}
