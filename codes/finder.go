package codes

import "math/bits"

// phraseFinder looks for many phrases in one text at the cost of little more
// than reading the text: every phrase has a probe, four bytes that must stand
// in the text for the phrase to match, and only phrases whose probe stands
// there are compared.
type phraseFinder struct {
	phrases []Phrase
	probes  map[uint32][]int32
	maybe   [1 << 10]uint64 // a bit per probe hash: most bytes of a text end here
	always  []int32         // phrases too short for a probe
}

const probeLen = 4

func newPhraseFinder(phrases []Phrase) *phraseFinder {
	f := &phraseFinder{phrases: phrases, probes: make(map[uint32][]int32, len(phrases))}
	common := make([]uint16, 1<<16) // how many phrases share four bytes, by their hash
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
		f.probes[best] = append(f.probes[best], int32(i))
		h := probeHash(best)
		f.maybe[h>>6] |= 1 << (h & 63)
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
		if h := probeHash(g); f.maybe[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, n := range f.probes[g] {
			out.bits[n>>6] |= 1 << (n & 63)
		}
	}
	return out
}

// extent is where a phrase matched.
type extent struct{ from, to int }

// first returns where the first phrase of the span that stands in the text
// does so.
func (x found) first(s span) (at extent, ok bool) {
	for i := s.from; i < s.to; {
		word := x.bits[i>>6] >> (i & 63)
		if word == 0 {
			i = (i>>6 + 1) << 6
			continue
		}
		i += bits.TrailingZeros64(word)
		if i >= s.to {
			break
		}
		if from, to, ok := x.finder.phrases[i].Match(x.text); ok {
			return extent{from, to}, true
		}
		i++
	}
	return extent{}, false
}
