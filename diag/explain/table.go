package explain

import (
	_ "embed" // the data files
	"strings"
	"sync"

	"mailsrv/codes"
)

// What may be corrected without touching code: see the comment at the top of
// each file.
var (
	//go:embed data/labels.txt
	labelsFile string
	//go:embed data/sentences.txt
	sentencesFile string
	//go:embed data/more.txt
	moreFile string
)

// section is one "[name words...]" part of a data file, with its lines.
type section struct {
	name  string
	args  []string
	lines []string
}

// sections reads a data file: "[name arg...]" headers, one item a line, "#"
// begins a comment line.
func sections(file string) []section {
	var out []section
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]") && isAlpha(line[1]):
			words := strings.Fields(line[1 : len(line)-1])
			out = append(out, section{name: words[0], args: words[1:]})
		case len(out) > 0:
			s := &out[len(out)-1]
			s.lines = append(s.lines, line)
		}
	}
	return out
}

// more is a code that the catalogue has no entry for, but whose cause is known.
type more struct {
	symbol, cause string
}

var moreCodes = sync.OnceValue(func() map[string]more {
	m := map[string]more{}
	for _, s := range sections(moreFile) {
		for _, line := range s.lines {
			code, symbol, _ := strings.Cut(line, " ")
			m[code] = more{symbol: strings.TrimSpace(symbol), cause: s.name}
			if symbol != "" && symbol != code {
				m[strings.TrimSpace(symbol)] = more{cause: s.name}
			}
		}
	}
	return m
})

// sentence is a message of a mail program, or words of a server that the
// catalogue has no entry for, that speak of one cause.
type sentence struct {
	cause  string
	weak   bool // says that something failed, not why
	reply  bool // means this only in the mouth of a server
	phrase codes.Phrase
}

// sentences are written in the file as they are compared, after codes.Fold,
// tight and shortVowels: a test holds that, so that nothing needs folding at
// start-up.
var sentences = sync.OnceValue(func() []sentence {
	out := make([]sentence, 0, 4000)
	for _, s := range sections(sentencesFile) {
		mode := strings.Join(s.args, " ")
		for _, line := range s.lines {
			if !strings.Contains(line, "{") {
				out = append(out, sentence{cause: s.name, weak: mode == "weak", reply: mode == "reply", phrase: codes.Phrase(line)})
				continue
			}
			for _, p := range alternatives(line) {
				out = append(out, sentence{cause: s.name, weak: mode == "weak", reply: mode == "reply", phrase: codes.Phrase(p)})
			}
		}
	}
	return out
})

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

// said is a sentence found in a text.
type said struct {
	sentence
	words string
	at    int
}

// matchSentences finds the sentences in text that went through codes.Fold,
// tight and shortVowels.
func matchSentences(folded string) []said {
	var out []said
	grams := codes.GramsOf(folded)
	for _, s := range sentences() {
		if !grams.May(s.phrase) {
			continue
		}
		if from, to, ok := s.phrase.Match(folded); ok {
			out = append(out, said{s, folded[from:to], from})
		}
	}
	return out
}
