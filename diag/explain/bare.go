package explain

import (
	"strconv"
	"strings"

	"mailsrv/codes"
)

// readBare reads an input that is nothing but codes: "0x800CCC0E", "550 5.7.1",
// "[10048]", "Socket Error: 10061", "pop-before-smtp". One word that looks like
// a code but is none is kept for "did you mean".
func (f *facts) readBare() bool {
	s := strings.Trim(f.text, " \t\n\"'.,;:!?()<>#")
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if s == "" || len(s) > 120 || strings.Count(s, "\n") > 4 {
		return false
	}
	if name, ok := strings.CutPrefix(strings.ToLower(s), "topic "); ok && codes.Known(strings.TrimSpace(name)) {
		s = strings.TrimSpace(name)
	}
	if c, ok := spell(s); ok {
		f.codes = c
		return true
	}
	if codes.Known(s) { // the name of an old server's setting: "Allow Relay"
		f.codes = []code{{kind: kindSymbol, canon: s, raw: s, end: len(s)}}
		return true
	}
	if joined := strings.ReplaceAll(s, " ", ""); len(joined) <= 8 && codes.Known(joined) { // "FAQ 00"
		f.codes, _ = spell(joined)
		return true
	}
	var found []code
	cues := 0
	for _, token := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t\n,;:=()[]\"'#", r) }) {
		if c, ok := spellNumber(token); ok {
			found = append(found, c...)
		} else if !cueWord(token) {
			return f.nearMiss(s)
		} else {
			cues++
		}
	}
	if cues > 0 && len(found) > 1 {
		return false // several labelled fields are a dialog: they are judged together
	}
	if cues > 0 && len(found) == 1 && found[0].kind == kindErrno && len(found[0].raw) < 3 && !errnoCued(s) {
		return false // "Outlook 11", "POP3 2": a version, a count
	}
	f.codes = found
	return len(found) > 0
}

// maxCue limits, in bytes, a word without spaces that announces a bare code: a
// longer one is a sentence.
const maxCue = 42

// cueWord tells the words that may stand around a bare code: "error", "エラー".
func cueWord(token string) bool {
	low := strings.ToLower(token)
	if _, ok := strongCues[low]; ok {
		return true
	}
	switch low {
	case "code", "number", "mail", "outlook", "windows", "status", "enhanced", "pop3", "imap", "nummer", "numéro", "código", "codice", "号", "番":
		return true
	}
	for _, c := range cjkCues {
		if strings.HasSuffix(token, c.suffix) && len(token) <= maxCue && !strings.Contains(token, "。") {
			return true
		}
	}
	return false
}

// spell reads one code in any spelling, names included.
func spell(s string) ([]code, bool) {
	if found, ok := spellNumber(s); ok {
		return found, true
	}
	if strings.ContainsAny(s, " \t\n") {
		return nil, false
	}
	if codes.Known(s) {
		return []code{{kind: kindSymbol, canon: s, raw: s, end: len(s)}}, true
	}
	if e := ByID(s); e != nil {
		return []code{{kind: kindSymbol, canon: e.Code, raw: s, end: len(s)}}, true
	}
	if _, name, ok := strings.Cut(strings.ToUpper(s), "_E_"); ok && codes.Known(name) { // IXP_E_FAILED_TO_CONNECT, as the SDK names it
		return []code{{kind: kindSymbol, canon: name, raw: s, end: len(s)}}, true
	}
	if up := strings.ToUpper(s); isErrnoName(up) {
		return []code{{kind: kindSymbol, canon: up, raw: s, end: len(s)}}, true
	}
	return nil, false
}

// spellNumber reads a code that is a number, or a reply with its status
// ("550-5.7.26"). Alone, any known number is a code.
func spellNumber(s string) ([]code, bool) {
	if canon, n, _ := hexCode(s); n == len(s) && n > 0 {
		return []code{{kind: kindHResult, canon: canon, raw: s, end: n}}, true
	}
	if n := enhancedAt(s, 0); n > 0 && n == len(s) {
		return []code{{kind: kindEnhanced, canon: s, raw: s, end: n, negative: s[0] != '2'}}, true
	}
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || digitsAt(digits, 0) != len(digits) {
		if digitsAt(s, 0) == 3 && len(s) > 4 {
			if found := scanReply(s, 0); len(found) == 2 && found[1].end == len(s) {
				return found, true
			}
			if n := enhancedAt(s, 4); n > 0 && 4+n == len(s) && (s[3] == '-' || s[3] == '/') {
				return []code{{kind: kindReply, canon: s[:3], raw: s[:3], end: 3}, {kind: kindEnhanced, canon: s[4:], raw: s[4:], at: 4, end: len(s)}}, true
			}
		}
		return nil, false
	}
	if len(digits) >= 9 {
		canon, ok := hresultOf(s)
		return []code{{kind: kindHResult, canon: canon, raw: s, end: len(s)}}, ok
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return nil, false
	}
	c := code{canon: s, raw: s, end: len(s)}
	switch {
	case n >= 200 && n < 600 && len(s) == 3:
		c.kind, c.negative = kindReply, s[0] >= '4'
	case socketRange(n):
		c.kind = kindSocket
	case codes.Known(s):
		c.kind = kindSymbol
	case errnoNames[n] != "":
		c.kind, c.symbol = kindErrno, errnoNames[n]
	default:
		return nil, false
	}
	return []code{c}, true
}

// nearMiss keeps a single word that looks like a misspelt code.
func (f *facts) nearMiss(s string) bool {
	if strings.ContainsAny(s, " \t\n") || len(s) > 40 {
		return false
	}
	if strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789_.-()") != "" || isHost(s) || len(s) > 4 && digitsAt(s, 0) == 3 && s[3] == '-' {
		return false
	}
	named := strings.ContainsAny(s, "0123456789_-") || strings.ToUpper(s) == s || len(s) >= 7
	if !named || !strings.ContainsAny(s, "0123456789") && len(codes.Suggest(s, 1)) == 0 {
		return false
	}
	if f.near = s; strings.Contains(s, "(") {
		f.near = strings.TrimSpace(f.text)
	}
	return true
}

// errnoCued tells whether a word stands there that announces an error number of
// the operating system.
func errnoCued(s string) bool {
	low := strings.ToLower(s)
	return strings.Contains(low, "err") || strings.Contains(low, "エラー") || strings.Contains(low, "错误") || strings.Contains(low, "錯誤") || strings.Contains(low, "fehler")
}

// ByID returns the entry of the catalogue with that id, "winsock/10048", or nil.
func ByID(id string) *codes.Entry {
	_, key, ok := strings.Cut(id, "/")
	if !ok {
		return nil
	}
	for _, e := range codes.Lookup(key) {
		if strings.EqualFold(e.ID(), id) {
			return e
		}
	}
	return nil
}

// IsReply tells a reply code by itself: "550".
func IsReply(s string) bool {
	c, ok := spellNumber(s)
	return ok && len(c) == 1 && c[0].kind == kindReply
}

// IsStatus tells an enhanced status code by itself: "5.7.1".
func IsStatus(s string) bool {
	c, ok := spellNumber(s)
	return ok && len(c) == 1 && c[0].kind == kindEnhanced
}
