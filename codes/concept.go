package codes

import (
	"math/bits"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// concepts is a set of the concepts of data/concepts.txt, at most 64.
type concepts uint64

// vocabulary says which words mean which concepts.
type vocabulary struct {
	names map[string]concepts // of one concept each
	words map[string]concepts // whole words and expressions, apart by single blanks
	stems map[string]concepts // words of any ending
	heads map[string]bool     // first words of expressions
	pairs []conceptPair
	wide  map[string]concepts // words of scripts without spaces
}

// conceptPair gives a concept to two others that stand close together.
type conceptPair struct {
	a, b, means concepts
	reach       int // words between them
}

const (
	longestExpression = 6    // words
	longestWide       = 12   // characters of a word in a script without spaces
	shortestStem      = 3    // bytes
	pairReach         = 4    // words between the two of a pair
	maxFree           = 1000 // bytes of a reply that are read as free wording
)

var vocabularyOf = sync.OnceValue(func() *vocabulary {
	v := &vocabulary{names: map[string]concepts{}, words: make(map[string]concepts, 2500), stems: make(map[string]concepts, 700),
		heads: map[string]bool{}, wide: make(map[string]concepts, 700)}
	var now concepts
	for line := range strings.Lines(conceptsData) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			now = v.name(line[1 : len(line)-1])
		case line[0] == '=':
			pair := strings.Fields(line[2:])
			reach := pairReach
			if len(pair) > 2 {
				reach = int(pair[2][0] - '0')
			}
			v.pairs = append(v.pairs, conceptPair{v.name(pair[0]), v.name(pair[1]), now, reach})
		default:
			for w := range strings.FieldsSeq(line) {
				v.add(w, now)
			}
		}
	}
	return v
})

// name returns the concept of that name, a new one when it is first named.
func (v *vocabulary) name(s string) concepts {
	c, ok := v.names[s]
	if !ok {
		if len(v.names) == 64 {
			panic("codes: data/concepts.txt: more than 64 concepts")
		}
		c = 1 << len(v.names)
		v.names[s] = c
	}
	return c
}

func (v *vocabulary) add(w string, c concepts) {
	if i := strings.IndexByte(w, '_'); i >= 0 {
		w = strings.ReplaceAll(w, "_", " ")
		v.heads[w[:i]] = true
	}
	first, _ := utf8.DecodeRuneInString(w)
	stem, isStem := strings.CutSuffix(w, "*")
	switch {
	case wideRune(first):
		v.wide[w] |= c
	case isStem:
		v.stems[stem] |= c
	default:
		v.words[w] |= c
	}
}

// saying is one clause pattern of a reason rule: concepts that must all stand in
// one sentence, and those that must not.
type saying struct{ all, none concepts }

// parseSaying reads "recipient absent -sender".
func (v *vocabulary) parseSaying(s string) saying {
	var out saying
	for w := range strings.FieldsSeq(s) {
		w, without := strings.CutPrefix(w, "-")
		c, ok := v.names[w]
		if !ok {
			panic("codes: data/reasons.toml: no concept " + w)
		}
		if without {
			out.none |= c
		} else {
			out.all |= c
		}
	}
	return out
}

// sentence is what one sentence of a reply speaks of.
type sentence struct {
	has  concepts
	hits []conceptHit
}

// conceptHit is a word that means something: its place among the words of the
// sentence, and in the text.
type conceptHit struct {
	means    concepts
	word     int
	from, to int
}

// speaksOf reads the sentences of a folded text.
func (v *vocabulary) speaksOf(folded string) []sentence {
	var out []sentence
	for _, words := range sentencesOf(folded) {
		s := sentence{}
		for i, w := range words {
			for _, h := range v.meanings(words, i) {
				s.has |= h.means
				s.hits = append(s.hits, h)
			}
			if w.means != "" {
				s.has |= v.names[w.means]
				s.hits = append(s.hits, conceptHit{v.names[w.means], i, w.from, w.to})
			}
		}
		for _, p := range v.pairs {
			if s.has&p.a == 0 || s.has&p.b == 0 {
				continue
			}
			if h, ok := s.near(p); ok {
				s.has |= p.means
				s.hits = append(s.hits, h)
			}
		}
		if s.has != 0 {
			out = append(out, s)
		}
	}
	return out
}

// meanings returns what the words at i mean: the word itself, its stems, the
// expressions that begin with it.
func (v *vocabulary) meanings(words []plainWord, i int) []conceptHit {
	var out []conceptHit
	w := words[i]
	if w.wide {
		return v.wideMeanings(w, i)
	}
	hit := func(c concepts, to int) {
		if c != 0 {
			out = append(out, conceptHit{c, i, w.from, to})
		}
	}
	hit(v.words[w.text]|v.stemsOf(w.text, shortestStem), w.to)
	if !v.heads[w.text] {
		return out
	}
	text := w.text
	for j := i + 1; j < len(words) && j < i+longestExpression && !words[j].wide; j++ {
		before := len(text) + 2
		text += " " + words[j].text
		hit(v.words[text]|v.stemsOf(text, before), words[j].to)
	}
	return out
}

func (v *vocabulary) stemsOf(word string, from int) concepts {
	var c concepts
	for n := from; n <= len(word); n++ {
		c |= v.stems[word[:n]]
	}
	return c
}

// wideMeanings looks for words anywhere in a run of characters that are written
// without spaces; of several that begin at one place the longest counts.
func (v *vocabulary) wideMeanings(w plainWord, at int) []conceptHit {
	var out []conceptHit
	for i := 0; i < len(w.text); {
		_, step := utf8.DecodeRuneInString(w.text[i:])
		var means concepts
		n := 0
		for j, r := range w.text[i:] {
			if n++; n > longestWide {
				break
			}
			end := j + utf8.RuneLen(r)
			if c := v.wide[w.text[i:i+end]]; c != 0 {
				means, step = c, end
			}
		}
		if means != 0 {
			out = append(out, conceptHit{means, at, w.from + i, w.from + i + step})
		}
		i += step
	}
	return out
}

// near finds the two concepts of a pair close together.
func (s *sentence) near(p conceptPair) (conceptHit, bool) {
	for _, a := range s.hits {
		if a.means&p.a == 0 {
			continue
		}
		for _, b := range s.hits {
			if b.means&p.b != 0 && a != b && (a.from < b.from || a.to > b.to) && a.word-b.word <= p.reach && b.word-a.word <= p.reach {
				return conceptHit{p.means, min(a.word, b.word), min(a.from, b.from), max(a.to, b.to)}, true
			}
		}
	}
	return conceptHit{}, false
}

// says tells whether a sentence fits, and which bytes of the text it rests on.
func (s *sentence) says(p saying) (at extent, ok bool) {
	if s.has&p.all != p.all || s.has&p.none != 0 {
		return extent{}, false
	}
	at.from = -1
	for need := p.all; need != 0; need &= need - 1 {
		one := concepts(1) << bits.TrailingZeros64(uint64(need))
		for _, h := range s.hits {
			if h.means&one != 0 {
				if at.from < 0 || h.from < at.from {
					at.from = h.from
				}
				at.to = max(at.to, h.to)
				break
			}
		}
	}
	return at, true
}

// freeWords is what a reply speaks of, sentence by sentence.
type freeWords struct{ sentences []sentence }

func readFree(folded string) *freeWords {
	return &freeWords{vocabularyOf().speaksOf(clipped(folded))}
}

func clipped(s string) string {
	if len(s) <= maxFree {
		return s
	}
	return strings.ToValidUTF8(s[:maxFree], "")
}

// reasonSayings are those of every rule of data/reasons.toml.
var reasonSayings = sync.OnceValue(func() [][]saying {
	out := make([][]saying, len(reasons().rules))
	for i, r := range reasons().rules {
		for _, s := range r.says {
			out[i] = append(out[i], vocabularyOf().parseSaying(s))
		}
	}
	return out
})

// says tells whether a sentence fits one of the patterns, and which bytes of the
// text it rests on.
func (f *freeWords) says(patterns []saying) (at extent, ok bool) {
	for _, p := range patterns {
		for i := range f.sentences {
			if at, ok := f.sentences[i].says(p); ok {
				return at, true
			}
		}
	}
	return extent{}, false
}

// plainWord is a word in lower case without accents, or a run of characters of
// a script without spaces.
type plainWord struct {
	text     string
	from, to int
	wide     bool
	means    string // "ip" or "addr" for an address, whose letters mean nothing
}

// sentencesOf splits folded text into sentences of words. Addresses, URLs, host
// names and numbers are no words.
func sentencesOf(folded string) [][]plainWord {
	var out [][]plainWord
	var now []plainWord
	end := func() {
		if len(now) > 0 {
			out = append(out, now)
		}
		now = nil
	}
	for i := 0; i < len(folded); {
		r, n := utf8.DecodeRuneInString(folded[i:])
		switch {
		case r == '\n' || r == '。' || r == '!' || r == '?' || r == ';':
			end()
			i += n
		case wideRune(r):
			j := i
			for j < len(folded) {
				c, m := utf8.DecodeRuneInString(folded[j:])
				if !wideRune(c) && !(c == ' ' && hangulAround(folded, i, j)) {
					break
				}
				j += m
			}
			now = append(now, plainWord{text: folded[i:j], from: i, to: j, wide: true})
			i = j
		case r == ' ' || !unicode.IsPrint(r):
			i += n
		default:
			j := i
			for j < len(folded) {
				c, m := utf8.DecodeRuneInString(folded[j:])
				if c == ' ' || c == '\n' || c == '。' || wideRune(c) {
					break
				}
				j += m
			}
			now = append(now, wordsIn(folded[i:j], i)...)
			if c := folded[j-1]; (c == '.' || c == '!' || c == '?' || c == ';') && (j == len(folded) || folded[j] == ' ') {
				end()
			}
			i = j
		}
	}
	end()
	return out
}

// hangulAround tells a space between two Korean words, which belong together.
func hangulAround(s string, from, at int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[from:at])
	after, _ := utf8.DecodeRuneInString(s[at+1:])
	return unicode.Is(unicode.Hangul, before) && unicode.Is(unicode.Hangul, after)
}

// wordsIn splits what stands between two spaces into its words.
func wordsIn(chunk string, at int) []plainWord {
	core := strings.Trim(chunk, "<>()[]{},;:.\"'!?*#=-")
	if kind, address := addressKind(core); address {
		return []plainWord{{from: at, to: at + len(chunk), means: kind}}
	}
	var out []plainWord
	for i := 0; i < len(chunk); {
		r, n := utf8.DecodeRuneInString(chunk[i:])
		if !unicode.IsLetter(r) {
			i += n
			continue
		}
		j := i
		for j < len(chunk) {
			c, m := utf8.DecodeRuneInString(chunk[j:])
			if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.Is(unicode.Mn, c) {
				break
			}
			j += m
		}
		out = append(out, plainWord{text: withoutAccents(chunk[i:j]), from: at + i, to: at + j})
		i = j
	}
	return out
}

// addressKind recognises mail addresses, URLs, host names and IPv4 addresses.
func addressKind(s string) (kind string, ok bool) {
	switch {
	case strings.IndexByte(s, '@') >= 0:
		return "addr", true
	case strings.Contains(s, "://") || strings.HasPrefix(s, "www."):
		return "", true
	}
	dots, letters := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if i == 0 || i+1 == len(s) || !wordByte(s[i-1]) || !wordByte(s[i+1]) {
				return "", false
			}
			dots++
		case c == '-' || c == '_' || c == '/' || c == ':' || '0' <= c && c <= '9':
		case 'a' <= c && c <= 'z':
			letters = true
		default:
			return "", false
		}
	}
	switch {
	case dots == 3 && !letters:
		return "ip", true
	case dots > 0 && letters:
		return "", true
	}
	return "", false
}

// withoutAccents writes Latin letters without their accents. Others stay.
func withoutAccents(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf || r >= 0x250:
			if r == 'ё' {
				r = 'е'
			}
			b.WriteRune(r)
		case r == 'ß':
			b.WriteString("ss")
		case r == 'ł':
			b.WriteByte('l')
		case r == 'ø':
			b.WriteByte('o')
		case r == 'ı':
			b.WriteByte('i')
		default:
			base, _ := utf8.DecodeRuneInString(norm.NFD.String(string(r)))
			b.WriteRune(base)
		}
	}
	return b.String()
}

// wideRune tells the characters of Japanese, Chinese and Korean.
func wideRune(r rune) bool { return unspaced(r) && r != '。' || unicode.Is(unicode.Hangul, r) }
