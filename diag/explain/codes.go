package explain

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mailsrv/codes"
)

// code is a code that stands in the text.
type code struct {
	kind     codeKind
	canon    string // "0x800CCC0E", "10061", "111", "550", "5.7.1", "WSAECONNREFUSED"
	raw      string // as written
	at, end  int    // its place in the text
	symbol   string // errno: its name
	from     string // the code it was derived from, when it does not stand in the text itself
	weak     bool   // counts only beside other signs of an error
	negative bool   // a reply or status that says no (4xx, 5xx)
}

// scanCodes finds the codes in running text. Numbers count only where a person
// or program writes codes: behind a word such as "error", in brackets, at the
// start of a reply. Ports, dates, sizes, addresses and prices do not stand there.
func scanCodes(s string) []code {
	var out []code
	for i := 0; i < len(s); {
		c := s[i]
		start := i == 0 || !isWord(s[i-1])
		if !start || !isWord(c) && c != '-' {
			i++
			continue
		}
		found := scanAt(s, i)
		if len(found) == 0 {
			i++
			for c != '-' && i < len(s) && isWord(s[i]) {
				i++
			}
			continue
		}
		out = append(out, found...)
		i = found[len(found)-1].end
	}
	return append(out, socketsBeside(s, out)...)
}

// besideCode is how far from a mail program's code a bare number of Winsock may
// stand to belong to it: "0x800CCC0E and 10061".
const besideCode = 40

// socketsBeside finds the numbers of Winsock that a person wrote beside the mail
// program's code, without a word that announces them.
func socketsBeside(s string, found []code) []code {
	var out []code
	for _, c := range found {
		if c.kind != kindHResult {
			continue
		}
		from, to := max(0, c.at-besideCode), min(len(s), c.end+besideCode)
		for i := from; i < to; {
			n := digitsAt(s, i)
			if n == 0 {
				i++
				continue
			}
			end := i + n
			outside := end <= c.at || i >= c.end
			if n == 5 && outside && (i == 0 || !isWord(s[i-1]) && s[i-1] != '-') && (end == len(s) || !isWord(s[end])) && !decimalPart(s, i, end) && codes.Known(s[i:end]) {
				if v, _ := strconv.Atoi(s[i:end]); socketRange(v) && !slices.ContainsFunc(found, func(o code) bool { return o.canon == s[i:end] }) {
					out = append(out, code{kind: kindSocket, canon: s[i:end], raw: s[i:end], at: i, end: end})
				}
			}
			i = end
		}
	}
	return out
}

func scanAt(s string, i int) []code {
	switch c := s[i]; {
	case c == '-':
		return scanSigned(s, i)
	case isDigit(c) || (c == 'O' || c == 'o') && i+1 < len(s) && (s[i+1]|0x20 == 'x'):
		if found := scanHex(s, i); found != nil {
			return found
		}
		return scanNumber(s, i)
	case isAlpha(c):
		return scanSymbol(s, i)
	}
	return nil
}

func scanHex(s string, i int) []code {
	canon, n, prefixed := hexCode(s[i:])
	if n == 0 || canon[2] != '8' && !strings.HasPrefix(canon, "0xC0000") {
		return nil
	}
	raw := s[i : i+n]
	known := codes.Known(canon)
	weak := false
	if !prefixed && !(known && aloneOnLine(s, i, i+n)) {
		letters := strings.ContainsAny(strings.ToUpper(raw), "ABCDEF")
		switch _, cued := cueBefore(s, i); {
		case cued:
		case known && letters:
		case known || letters && codeFacility(canon):
			weak = true
		default:
			return nil
		}
	}
	return []code{{kind: kindHResult, canon: canon, raw: raw, at: i, end: i + n, weak: weak}}
}

// codeFacility tells the facilities of Windows that mail programs report from:
// Outlook's own, the internet ones, Win32, security and certificates.
func codeFacility(canon string) bool {
	switch canon[:6] {
	case "0x8000", "0x8004", "0x8007", "0x8009", "0x800B", "0x800C", "0x8DE0":
		return true
	}
	return false
}

func scanSigned(s string, i int) []code {
	n := digitsAt(s, i+1)
	if n < 9 || n > 10 || i+1+n < len(s) && isWord(s[i+1+n]) {
		return nil
	}
	canon, ok := hresultOf(s[i : i+1+n])
	if !ok {
		return nil
	}
	weak := !codes.Known(canon) && !codeFacility(canon)
	return []code{{kind: kindHResult, canon: canon, raw: s[i : i+1+n], at: i, end: i + 1 + n, weak: weak}}
}

func scanNumber(s string, i int) []code {
	n := digitsAt(s, i)
	end := i + n
	if n > 10 || end < len(s) && (isWord(s[end]) || s[end] == ',' && end+1 < len(s) && isDigit(s[end+1])) {
		return nil
	}
	switch n {
	case 10:
		return scanUnsigned(s, i)
	case 5:
		return scanSocket(s, i)
	case 3:
		if found := scanReply(s, i); found != nil {
			return found
		}
		return scanErrno(s, i, end)
	case 1, 2:
		if found := scanEnhanced(s, i); found != nil {
			return found
		}
		return scanErrno(s, i, end)
	}
	return nil
}

func scanUnsigned(s string, i int) []code {
	canon, ok := hresultOf(s[i : i+10])
	if !ok {
		return nil
	}
	strength, cued := cueBefore(s, i)
	known := codes.Known(canon)
	if !cued && !known {
		return nil
	}
	weak := !known || strength != cueStrong && !aloneOnLine(s, i, i+10)
	return []code{{kind: kindHResult, canon: canon, raw: s[i : i+10], at: i, end: i + 10, weak: weak}}
}

func scanSocket(s string, i int) []code {
	end := i + 5
	v, _ := strconv.Atoi(s[i:end])
	if !socketRange(v) || decimalPart(s, i, end) {
		return nil
	}
	strength, cued := cueBefore(s, i)
	bracket := i > 0 && end < len(s) && s[i-1] == '[' && s[end] == ']'
	paren := i > 0 && end < len(s) && s[i-1] == '(' && s[end] == ')'
	switch {
	case bracket && codes.Known(s[i:end]), cued && strength == cueStrong, i > 0 && s[i-1] == '#', codes.Known(s[i:end]) && behindErrnoWords(s[:i]):
		return []code{{kind: kindSocket, canon: s[i:end], raw: s[i:end], at: i, end: end}}
	case paren, bracket, cued, aloneOnLine(s, i, end), lineStart(s, i) && strings.HasPrefix(strings.TrimLeft(s[end:], " "), ":"):
		return []code{{kind: kindSocket, canon: s[i:end], raw: s[i:end], at: i, end: end, weak: true}}
	}
	return nil
}

// behindErrnoWords tells a number right behind the sentence of an error:
// "Connection timed out 10060".
func behindErrnoWords(before string) bool {
	before = strings.ToLower(strings.TrimRight(before[max(0, len(before)-48):], " (:,"))
	for words := range errnoWords {
		if strings.HasSuffix(before, words) {
			return true
		}
	}
	return false
}

// scanErrno accepts a small number as an error number of Unix only beside the
// sentence of that very error or behind the word errno.
func scanErrno(s string, i, end int) []code {
	v, err := strconv.Atoi(s[i:end])
	if err != nil || decimalPart(s, i, end) {
		return nil
	}
	name := errnoNames[v]
	before := strings.ToLower(s[max(0, i-24):i])
	cued := hasSuffixAny(strings.TrimRight(before, " :=("), "errno", "os error", "winerror", "posixerrordomain error")
	if strings.HasSuffix(strings.TrimRight(before, " :"), "code") && v > 97 && name != "" { // what Gmail shows
		return []code{{kind: kindErrno, canon: s[i:end], raw: s[i:end], at: i, end: end, symbol: name, weak: true}}
	}
	inParens := i > 0 && s[i-1] == '(' && end < len(s) && s[end] == ')'
	after := strings.ToLower(strings.TrimLeft(s[end:min(len(s), end+40)], "):] "))
	beside := ""
	for words, e := range errnoWords {
		if strings.HasPrefix(after, words) || strings.HasSuffix(strings.TrimRight(before, " ("), words) {
			beside = e
		}
	}
	if beside == "" && inParens && v == 11 && strings.Contains(s[max(0, i-60):i], "session active?") {
		beside = "EAGAIN" // qpopper's lock message ends with the errno of the lock call
	}
	if (inParens || cued) && beside != "" {
		name = beside
	} else if !cued || name == "" {
		return nil
	}
	return []code{{kind: kindErrno, canon: s[i:end], raw: s[i:end], at: i, end: end, symbol: name}}
}

// decimalPart tells numbers that are a piece of a larger one: a price, an
// address, a time, a date.
func decimalPart(s string, i, end int) bool {
	if i >= 2 && (s[i-1] == '.' || s[i-1] == ',' || s[i-1] == ':' || s[i-1] == '/') && isDigit(s[i-2]) {
		return true
	}
	return end+1 < len(s) && (s[end] == '.' || s[end] == ':' || s[end] == '/' || s[end] == '-' && end-i == 5) && isDigit(s[end+1])
}

// scanSymbol accepts names of errors that nothing else is called.
func scanSymbol(s string, i int) []code {
	end := i
	for end < len(s) && isWord(s[end]) {
		end++
	}
	word := s[i:end]
	if len(word) < 5 || strings.ToUpper(word) != word {
		if found := scanHex(s, i); found != nil {
			return found
		}
		return nil
	}
	if !errorName(word) {
		return scanHex(s, i)
	}
	return []code{{kind: kindSymbol, canon: word, raw: word, at: i, end: end}}
}

// errorName tells names of errors from other words in capitals: what Winsock,
// Unix and MAPI define, and names with an underscore such as
// SSL_ERROR_BAD_CERT_DOMAIN.
func errorName(word string) bool {
	if strings.HasPrefix(word, "E") && isErrnoName(word) {
		return true
	}
	for _, family := range codes.FamiliesWith(word) {
		switch family {
		case "winsock", "mapi", "errno":
			return true
		case "text":
			return strings.Contains(word, "_") || strings.HasPrefix(word, "E") || word == "NXDOMAIN" || word == "SERVFAIL"
		}
	}
	return false
}

func isErrnoName(word string) bool {
	for _, name := range errnoNames {
		if name == word {
			return true
		}
	}
	return false
}

type cue int

const (
	cueWeak cue = iota
	cueStrong
)

// cueBefore tells whether the word before place i announces an error number.
func cueBefore(s string, i int) (cue, bool) {
	before := s[max(0, i-64):i]
	for len(before) > 0 && !utf8.RuneStart(before[0]) {
		before = before[1:]
	}
	before = strings.TrimRight(before, " \t\n:=#([{\"'<>*-.")
	before = strings.TrimSuffix(before, "は")
	before = strings.TrimSuffix(before, "が")
	word := strings.ToLower(lastWord(strings.TrimRight(before, " ")))
	if word == "" {
		return cueWeak, false
	}
	if _, ok := strongCues[word]; ok {
		return cueStrong, true
	}
	if _, ok := weakCues[word]; ok {
		rest := strings.TrimRight(strings.TrimSuffix(strings.ToLower(before), word), " ")
		if _, ok := strongCues[lastWord(rest)]; ok { // "error number"
			return cueStrong, true
		}
		return cueWeak, true
	}
	if strings.ContainsFunc(word, isCJK) && !hasSuffixAny(word, portWords...) { // "ポート番号" announces no error
		for _, c := range cjkCues {
			if strings.HasSuffix(word, c.suffix) {
				return c.cue, true
			}
		}
	}
	return cueWeak, false
}

// lastWord is the last run of letters, digits and marks in s.
func lastWord(s string) string {
	i := strings.LastIndexFunc(s, func(r rune) bool {
		return r < 0x80 && !isWord(byte(r)) && r != '\'' && r != '-'
	})
	return s[i+1:]
}

func hasSuffixAny(s string, suffixes ...string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

func wordSet(list string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, w := range strings.Fields(list) {
		m[w] = struct{}{}
	}
	return m
}

// The words that announce a code, in the eight languages mail programs come in.
var (
	strongCues = wordSet(`error errors err errno errcode winerror oserror socket winsock wsa
		erreur d'erreur fehler fehlernummer fehlercode socketfehler serverfehler errore erro
		smtp esmtp said says responded replied response reply returned reject stat dsn answered
		répondu repondu réponse geantwortet antwortete antwort serverantwort respondió respondio respuesta
		risposto risposta respondeu resposta`)
	weakCues = wordSet(`code codes number no nr id status número numero num código codigo codice
		numéro nummer sent received with was bounced failed failure rejected refused denied`)
	cjkCues = []struct {
		suffix string
		cue    cue
	}{
		{"エラー番号", cueStrong}, {"エラーコード", cueStrong}, {"エラー", cueStrong}, {"ソケット", cueStrong}, {"応答", cueStrong}, {"返答", cueStrong},
		{"错误", cueStrong}, {"错误号", cueStrong}, {"错误码", cueStrong}, {"错误代码", cueStrong}, {"响应", cueStrong}, {"应答", cueStrong}, {"回应", cueStrong},
		{"錯誤", cueStrong}, {"錯誤碼", cueStrong}, {"錯誤代碼", cueStrong}, {"回應", cueStrong},
		{"番号", cueWeak}, {"コード", cueWeak}, {"代码", cueWeak}, {"号码", cueWeak}, {"代碼", cueWeak}, {"號碼", cueWeak},
	}
)
