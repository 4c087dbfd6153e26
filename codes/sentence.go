package codes

import (
	"strings"
	"sync"
)

// SentenceMatch is a phrase of data/sentences.txt or data/clients.txt found in a text: what mail
// programs and servers say, by the cause it speaks of.
type SentenceMatch struct {
	Cause  string
	Weak   bool   // says that something failed, not why
	Beside bool   // a mere hint: counts only beside other signs of an error
	Reply  bool   // means this only in the mouth of a server
	Words  string // the words that matched
	At     int    // their place in the text
	Phrase Phrase
}

type sentenceTable struct {
	spans  []sentenceSpan
	finder *phraseFinder
}

type sentenceSpan struct {
	cause string
	mode  string // "", "weak", "reply", "beside"
	span
}

// sentences stand in the file as they are compared, after Fold: a test holds
// that, so that nothing needs folding at start-up.
var sentences = sync.OnceValue(func() *sentenceTable {
	var t sentenceTable
	all := make(phraseList, 0, 4000)
	for line := range sentenceLines {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']' && lower(line[1]):
			cause, mode, _ := strings.Cut(line[1:len(line)-1], " ")
			t.spans = append(t.spans, sentenceSpan{cause, mode, span{len(all), len(all)}})
		default:
			all.add(alternatives(line))
			t.spans[len(t.spans)-1].to = len(all)
		}
	}
	t.finder = newPhraseFinder(all)
	return &t
})

// sentenceLines yields the lines of both files: the general sentences first, then
// those of single products.
func sentenceLines(yield func(string) bool) {
	for _, file := range []string{sentencesData, clientsData} {
		for line := range strings.Lines(file) {
			if !yield(strings.TrimRight(line, "\n")) {
				return
			}
		}
	}
}

func lower(c byte) bool { return 'a' <= c && c <= 'z' }

// MatchSentences returns what folded text (see Fold) says, in the order of the
// data file.
func MatchSentences(folded string) []SentenceMatch {
	var out []SentenceMatch
	t := sentences()
	found := t.finder.find(folded)
	for _, s := range t.spans {
		for i, at := range found.all(s.span) {
			out = append(out, SentenceMatch{Cause: s.cause, Weak: s.mode == "weak", Reply: s.mode == "reply", Beside: s.mode == "beside",
				Words: folded[at.from:at.to], At: at.from, Phrase: t.finder.phrases[i]})
		}
	}
	return out
}

// alternatives writes out "{a|b} c" as "a c" and "b c".
func alternatives(line string) []string {
	before, rest, ok := strings.Cut(line, "{")
	if !ok {
		return []string{line}
	}
	choice, after, _ := strings.Cut(rest, "}")
	var out []string
	for _, tail := range alternatives(after) {
		for c := range strings.SplitSeq(choice, "|") {
			out = append(out, before+c+tail)
		}
	}
	return out
}
