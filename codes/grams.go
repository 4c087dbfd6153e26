package codes

// Grams is the set of three-byte sequences of a text. Asking it whether a
// phrase may stand in the text costs a few nanoseconds, so thousands of phrases
// can be tried on a short text without preparing them first.
type Grams [1 << 10]uint64

// GramsOf returns the sequences of a folded text.
func GramsOf(folded string) *Grams {
	g := new(Grams)
	h := uint32(0)
	for i := range len(folded) {
		h = h<<8 | uint32(folded[i])
		if i >= 2 {
			n := gramHash(h)
			g[n>>6] |= 1 << (n & 63)
		}
	}
	return g
}

// May tells whether the phrase may stand in the text; false is certain.
func (g *Grams) May(p Phrase) bool {
	h, n := uint32(0), 0
	for i := range len(p) {
		if p[i] == '*' {
			n = 0
			continue
		}
		h, n = h<<8|uint32(p[i]), n+1
		if n >= 3 {
			if x := gramHash(h); g[x>>6]&(1<<(x&63)) == 0 {
				return false
			}
		}
	}
	return true
}

// gramHash maps the last three bytes of h to 16 bits.
func gramHash(h uint32) uint32 { return (h << 8) * 2654435761 >> 16 }
