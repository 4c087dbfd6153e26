package codes

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Phrase is how the text family says what a message must contain: words in
// lower case with single spaces, "*" standing for up to 80 bytes of anything
// within the same clause (see clauseEnds). A phrase that begins or ends with a
// letter or digit matches whole words only. It is compared with text that went through Fold.
type Phrase string

const maxGap = 80

// Match finds the phrase in folded text and returns the bytes it covers, or
// ok false.
func (p Phrase) Match(folded string) (from, to int, ok bool) {
	first, rest, gaps := strings.Cut(string(p), "*")
	for at := 0; ; {
		i := strings.Index(folded[at:], first)
		if i < 0 {
			return 0, 0, false
		}
		from, to = at+i, at+i+len(first)
		at = from + 1
		if !wordEdge(folded, from, first, true) || (!gaps || rest == "") && !wordEdge(folded, to, first, false) {
			continue
		}
		if end, ok := matchRest(folded, to, rest, gaps); ok {
			return from, end, true
		}
	}
}

func matchRest(folded string, to int, rest string, gaps bool) (int, bool) {
	for gaps {
		var part string
		part, rest, gaps = strings.Cut(rest, "*")
		if to > 0 && folded[to-1] == ' ' && strings.HasPrefix(part, " ") {
			to-- // "a * b" stands for "a b" as well
		}
		window := folded[to:min(len(folded), to+maxGap+len(part))]
		i := strings.Index(window, part)
		for i >= 0 && !gaps && !wordEdge(folded, to+i+len(part), part, false) {
			j := strings.Index(window[i+1:], part)
			if j < 0 {
				return 0, false
			}
			i += 1 + j
		}
		if i < 0 || clauseEnds(window[:i]) {
			return 0, false
		}
		to += i + len(part)
	}
	return to, true
}

// clauseEnds tells whether what stands in a gap goes beyond the clause: another
// sentence or paragraph, a bullet, or the end of a bracket that the phrase began
// within.
func clauseEnds(gap string) bool {
	return strings.ContainsAny(gap, "\n。★●■") || strings.Contains(gap, "]") && !strings.Contains(gap, "[")
}

// wordEdge tells whether a match may begin (or end) at i: not in the middle of
// an ASCII word that the phrase itself begins (or ends) with.
func wordEdge(s string, i int, part string, begin bool) bool {
	if part == "" {
		return true
	}
	if begin {
		return !wordByte(part[0]) || i == 0 || !wordByte(s[i-1])
	}
	return !wordByte(part[len(part)-1]) || i == len(s) || !wordByte(s[i])
}

func wordByte(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9'
}

// Fold brings text to the form that phrases are written in: NFKC (full-width
// forms become ASCII, half-width kana full kana), lower case, typographic
// quotes straight, runs of blanks and single line ends one space. A blank line
// stays as "\n". Beside Japanese and Chinese characters, which are written
// without spaces, there is none: "サーバー エラー" is "サーバエラー", and so is
// a word that a line wrap split. Loan words have one spelling: サーバ for サーバー.
func Fold(s string) string {
	ascii := isASCII(s)
	if !ascii {
		s = norm.NFKC.String(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	blanks, lines := 0, 0
	var prev rune
	for _, r := range s {
		switch r {
		case '\n':
			lines++
			fallthrough
		case ' ', '\t', '\r', '\v', '\f', '\u00a0', '\u3000':
			blanks++
			continue
		case '‘', '’', '‛', '′', '`', '´':
			r = '\''
		case '“', '”', '„', '«', '»':
			r = '"'
		}
		switch {
		case blanks == 0 || b.Len() == 0:
		case lines > 1:
			b.WriteByte('\n')
		case !unspaced(prev) && !unspaced(r):
			b.WriteByte(' ')
		}
		blanks, lines, prev = 0, 0, r
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	if ascii {
		return b.String()
	}
	return shortVowels(b.String())
}

// unspaced tells characters that are written without spaces between words.
func unspaced(r rune) bool {
	return r >= 0x3000 && (r <= 0x303f || unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) || r == 'ー')
}

// shortVowels unifies the two spellings of loan words.
func shortVowels(s string) string {
	if !strings.Contains(s, "ー") {
		return s
	}
	return loanWords().Replace(s)
}

var loanWords = sync.OnceValue(func() *strings.Replacer {
	return strings.NewReplacer("サーバー", "サーバ", "ユーザー", "ユーザ", "フォルダー", "フォルダ", "プロバイダー", "プロバイダ", "ヘッダー", "ヘッダ", "メーラー", "メーラ")
})

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// TextMatch is a text entry found in a message.
type TextMatch struct {
	Entry *Entry
	Words string // the folded words that matched
	At    int    // their place in the folded text
}

type textTable struct {
	entries []textPhrases
	finder  *phraseFinder
}

type textPhrases struct {
	n            int32 // of the entry in the index
	code, cause  string
	phrases, not span
}

// textIndex holds the phrases of the text family without decoding the rest of
// its entries.
var textIndex = sync.OnceValue(func() *textTable {
	var t textTable
	var all phraseList
	for n, p := range index().at {
		if p.family != "text" {
			continue
		}
		head, _, _ := strings.Cut(p.chunk, "\n[entry.")
		keys := chunkLists(head)
		t.entries = append(t.entries, textPhrases{int32(n), keys["code"][0], keys["cause"][0], all.add(keys["phrases"]), all.add(keys["not"])})
	}
	t.finder = newPhraseFinder(all)
	return &t
})

// phrasesOf returns the phrases and the cause of the text entry with that code.
func (t *textTable) phrasesOf(code string) (phrases []Phrase, cause string) {
	for _, e := range t.entries {
		if e.code == code {
			return t.finder.phrases[e.phrases.from:e.phrases.to], e.cause
		}
	}
	panic("codes: no text entry " + code)
}

// MatchText returns the text entries whose phrases stand in text, in the order
// of the data file, which lists the more specific before the general.
func MatchText(text string) []TextMatch {
	return MatchFolded(Fold(text))
}

// MatchFolded is MatchText for text that went through Fold already.
func MatchFolded(folded string) []TextMatch {
	var out []TextMatch
	t := textIndex()
	found := t.finder.find(folded)
	for _, e := range t.entries {
		_, at, ok := found.first(e.phrases)
		if !ok {
			continue
		}
		if _, _, ruledOut := found.first(e.not); !ruledOut {
			out = append(out, TextMatch{Entry: index().entry(e.n), Words: folded[at.from:at.to], At: at.from})
		}
	}
	return out
}
