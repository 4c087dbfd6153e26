package codes

import (
	"strings"
	"testing"
)

// Whatever a server says: no panic, no entry twice, and no white space that
// phrases do not reckon with.
func FuzzMatchText(f *testing.F) {
	for _, s := range []string{"550 5.1.1 User unknown", "-ERR [IN-USE] lock busy!", "メールボックスがいっぱいです", "Ｍａｉｌｂｏｘ　ｆｕｌｌ", "\xff\x00", "550 Adresse d'expéditeur inconnue; 메일 주소 192.0.2.5", "[ ***]Server error: [10054]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<14 {
			return
		}
		seen := map[string]bool{}
		for _, m := range MatchText(s) {
			if seen[m.Entry.Code] {
				t.Fatalf("%s twice", m.Entry.Code)
			}
			seen[m.Entry.Code] = true
		}
		// A blank line stays a line end, so that no phrase goes on behind it.
		if folded := Fold(s); strings.Contains(folded, "\n\n") || strings.ContainsAny(folded, "\t\r\v\f\u00a0\u3000") {
			t.Fatalf("%q is folded to %q", s, folded)
		}
		m := ReasonOf(ReasonFacts{Text: Fold(s), Said: true})
		if m.Free && (m.Words == "" || !strings.HasPrefix(Fold(s)[m.At:], m.Words)) {
			t.Fatalf("%q rests on %q at %d", s, m.Words, m.At)
		}
		_ = Known(s)
		if len(Suggest(s, 4)) > 4 || len(SuggestSimulations(s, 3)) > 3 {
			t.Fatalf("too many suggestions for %q", s)
		}
		_, _ = ParseLang(strings.ToLower(s))
	})
}
