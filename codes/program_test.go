package codes

import (
	"strings"
	"testing"
)

// Each program is told by its words, and says in both languages where each kind
// of setting stands.
func TestProgramsAreWhole(t *testing.T) {
	if len(Programs()) < 8 {
		t.Fatalf("only %d programs", len(Programs()))
	}
	seen := map[Phrase]string{}
	for _, p := range Programs() {
		for _, phrase := range p.Phrases {
			if c := Fold(string(phrase)); c != strings.TrimRight(string(phrase), " ") {
				t.Errorf("%s: write %q as %q", p.Word, phrase, c)
			}
			if seen[phrase] != "" {
				t.Errorf("%s: %q stands with %s", p.Word, phrase, seen[phrase])
			}
			seen[phrase] = p.Word
			text := strings.ReplaceAll(string(phrase), "*", "x") + " x"
			if got := ProgramOf(text); got == nil || got.Word != p.Word {
				t.Errorf("%q is taken for %+v, want %s", text, got, p.Word)
			}
		}
		for cause := range settingOf {
			for _, lang := range []Lang{English, Japanese} {
				way := p.Way(cause, lang)
				kana := strings.ContainsFunc(way, func(r rune) bool { return r >= 0x3041 && r <= 0x30ff })
				if way == "" || kana != (lang == Japanese) {
					t.Errorf("%s %s %s: %q", p.Word, cause, lang, way)
				}
			}
		}
		if p.Way("mailbox-full", English) != "" {
			t.Errorf("%s: a full mailbox has no setting", p.Word)
		}
	}
}
