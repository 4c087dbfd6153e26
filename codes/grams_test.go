package codes

import "testing"

// The set of sequences may only ever say no for sure: whatever a phrase matches,
// it may stand there.
func TestGramsNeverHideAMatch(t *testing.T) {
	misses := 0
	for _, set := range phraseIndex() {
		e := index().entry(set.n)
		for _, sample := range e.Samples {
			folded := Fold(sample)
			grams := GramsOf(folded)
			for _, p := range set.phrases {
				if _, _, ok := p.Match(folded); ok && !grams.May(p) {
					t.Errorf("%s: %q is hidden in %q", e.Code, p, sample)
				} else if !ok && !grams.May(p) {
					misses++
				}
			}
		}
	}
	if misses == 0 {
		t.Error("nothing is ever ruled out")
	}
	for text, phrases := range map[string][]Phrase{"": {"", "a", "ab"}, "ab": {"a", "ab", "a*b"}, "abc": {"abc", "ab*c"}} {
		for _, p := range phrases {
			if !GramsOf(text).May(p) {
				t.Errorf("%q may stand in %q", p, text)
			}
		}
	}
	if GramsOf("abd").May("abc") {
		t.Error("abc may not stand in abd")
	}
}

func TestFamilies(t *testing.T) {
	for _, name := range Families() {
		found := false
		for _, e := range All() {
			found = found || e.Family == name
		}
		if !found {
			t.Errorf("no entries of family %s", name)
		}
	}
}
