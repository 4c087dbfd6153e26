package codes

import (
	"iter"
	"math/bits"
)

// phraseFinder looks for many phrases in one text at the cost of little more
// than reading the text: every phrase has a probe, four bytes that must stand
// in the text for the phrase to match, and only phrases whose probe stands
// there are compared. Building one costs about a tenth of a microsecond a
// phrase, so each table has its own, built when it is first asked.
type phraseFinder struct {
	phrases []Phrase
	probes  []uint32        // of each phrase; 0 when it is too short for one
	first   []int32         // by hash of a probe: a phrase with it, plus one
	next    []int32         // by phrase: the next one of the same hash, plus one
	maybe   [1 << 10]uint64 // a bit per probe hash: most bytes of a text end here
	always  []int32         // phrases too short for a probe
}

const (
	probeLen   = 4
	firstTable = 1 << 12 // entries of phraseFinder.first
)

func newPhraseFinder(phrases []Phrase) *phraseFinder {
	f := &phraseFinder{
		phrases: phrases, probes: make([]uint32, len(phrases)),
		first: make([]int32, firstTable), next: make([]int32, len(phrases)),
	}
	common := new([1 << 16]uint16) // how many phrases share four bytes, by their hash
	for _, p := range phrases {
		eachProbe(string(p), func(g uint32) { common[probeHash(g)]++ })
	}
	for i, p := range phrases {
		best, n := uint32(0), uint16(0)
		eachProbe(string(p), func(g uint32) {
			if c := common[probeHash(g)]; n == 0 || c < n {
				best, n = g, c
			}
		})
		if n == 0 {
			f.always = append(f.always, int32(i))
			continue
		}
		h := probeHash(best)
		f.maybe[h>>6] |= 1 << (h & 63)
		f.probes[i] = best
		slot := &f.first[h%firstTable]
		f.next[i], *slot = *slot, int32(i)+1
	}
	return f
}

// eachProbe calls use with every four bytes of p that hold no "*".
func eachProbe(p string, use func(uint32)) {
	g, n := uint32(0), 0
	for i := range len(p) {
		if p[i] == '*' {
			n = 0
			continue
		}
		g, n = g<<8|uint32(p[i]), n+1
		if n >= probeLen {
			use(g)
		}
	}
}

func probeHash(g uint32) uint32 { return g * 2654435761 >> 16 }

// found are the phrases of a finder that may stand in a text.
type found struct {
	finder *phraseFinder
	text   string
	bits   []uint64
}

// find returns the phrases whose probes stand in the folded text.
func (f *phraseFinder) find(text string) found {
	out := found{finder: f, text: text, bits: make([]uint64, (len(f.phrases)+63)/64)}
	for _, i := range f.always {
		out.bits[i>>6] |= 1 << (i & 63)
	}
	g := uint32(0)
	for i := range len(text) {
		g = g<<8 | uint32(text[i])
		h := probeHash(g)
		if f.maybe[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for n := f.first[h%firstTable]; n > 0; n = f.next[n-1] {
			if f.probes[n-1] == g {
				out.bits[(n-1)>>6] |= 1 << ((n - 1) & 63)
			}
		}
	}
	return out
}

// span is a range of phrases in a finder.
type span struct{ from, to int }

// extent is where a phrase matched.
type extent struct{ from, to int }

// all yields the phrases of the span that stand in the text, and where each
// first does so.
func (x found) all(s span) iter.Seq2[int, extent] {
	return func(yield func(int, extent) bool) {
		for i := s.from; i < s.to; {
			word := x.bits[i>>6] >> (i & 63)
			if word == 0 {
				i = (i>>6 + 1) << 6
				continue
			}
			i += bits.TrailingZeros64(word)
			if i >= s.to {
				return
			}
			if from, to, ok := x.finder.phrases[i].Match(x.text); ok && !yield(i, extent{from, to}) {
				return
			}
			i++
		}
	}
}

// first returns the first phrase of the span that stands in the text, and where
// it does.
func (x found) first(s span) (n int, at extent, ok bool) {
	for n, at := range x.all(s) {
		return n, at, true
	}
	return 0, extent{}, false
}

// phraseList collects the phrases of a table, span by span.
type phraseList []Phrase

func (l *phraseList) add(words []string) span {
	from := len(*l)
	for _, w := range words {
		*l = append(*l, Phrase(w))
	}
	return span{from, len(*l)}
}
