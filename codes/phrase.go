package codes

import (
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Phrase is how the text family says what a message must contain: words in
// lower case with single spaces, "*" standing for up to 80 bytes of anything
// within the same paragraph. A phrase that begins or ends with a letter or digit matches
// whole words only. It is compared with text that went through Fold.
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
		window := folded[to:min(len(folded), to+maxGap+len(part))]
		i := strings.Index(window, part)
		for i >= 0 && !gaps && !wordEdge(folded, to+i+len(part), part, false) {
			j := strings.Index(window[i+1:], part)
			if j < 0 {
				return 0, false
			}
			i += 1 + j
		}
		if i < 0 || strings.Contains(window[:i], "\n") {
			return 0, false
		}
		to += i + len(part)
	}
	return to, true
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
// stays as "\n".
func Fold(s string) string {
	if !isASCII(s) {
		s = norm.NFKC.String(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	blanks, lines := 0, 0
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
		if blanks > 0 && b.Len() > 0 {
			if lines > 1 {
				b.WriteByte('\n')
			} else {
				b.WriteByte(' ')
			}
		}
		blanks, lines = 0, 0
		if r < 0x80 {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

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

type phraseSet struct {
	n            int
	phrases, not []Phrase
}

// phraseIndex holds the phrases of the text family without decoding the rest
// of its entries.
var phraseIndex = sync.OnceValue(func() []phraseSet {
	var out []phraseSet
	ix := index()
	for n, p := range ix.at {
		if p.family != "text" {
			continue
		}
		set := phraseSet{n: n}
		var into *[]Phrase
		for line := range headLines(p.chunk) {
			switch {
			case strings.HasPrefix(line, "phrases = ["):
				into = &set.phrases
			case strings.HasPrefix(line, "not = ["):
				into = &set.not
			case strings.Contains(line, " = ") && !strings.HasPrefix(line, " "):
				into = nil
			}
			if into == nil {
				continue
			}
			for _, s := range quoted(line) {
				*into = append(*into, Phrase(s))
			}
		}
		out = append(out, set)
	}
	return out
})

// MatchText returns the text entries whose phrases stand in text, in the order
// of the data file, which lists the more specific before the general.
func MatchText(text string) []TextMatch {
	return MatchFolded(Fold(text))
}

// MatchFolded is MatchText for text that went through Fold already.
func MatchFolded(folded string) []TextMatch {
	var out []TextMatch
	grams := GramsOf(folded)
	for _, set := range phraseIndex() {
		if m, ok := set.match(folded, grams); ok {
			out = append(out, m)
		}
	}
	return out
}

func (set phraseSet) match(folded string, grams *Grams) (TextMatch, bool) {
	for _, p := range set.phrases {
		if !grams.May(p) {
			continue
		}
		from, to, ok := p.Match(folded)
		if !ok {
			continue
		}
		for _, not := range set.not {
			if _, _, ruledOut := not.Match(folded); ruledOut {
				return TextMatch{}, false
			}
		}
		return TextMatch{Entry: index().entry(set.n), Words: folded[from:to], At: from}, true
	}
	return TextMatch{}, false
}
