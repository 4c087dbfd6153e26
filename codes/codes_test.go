package codes

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/pelletier/go-toml/v2"
)

// Every data file must decode strictly, and every entry must be whole: this is
// what lets the rest of the package trust its data.
func TestEntriesAreWhole(t *testing.T) {
	for _, family := range families {
		var doc struct {
			Entry []*Entry `toml:"entry"`
		}
		d := toml.NewDecoder(strings.NewReader(family.data)).DisallowUnknownFields()
		if err := d.Decode(&doc); err != nil {
			t.Errorf("data/%s.toml: %v", family.name, err)
			continue
		}
		if got := len(chunks(family.data, "[[entry]]")); got != len(doc.Entry) {
			t.Errorf("data/%s.toml: %d entries, but %d found by their headers: [[entry]] must stand alone on a line", family.name, len(doc.Entry), got)
		}
		seen := map[string]bool{}
		for i, e := range doc.Entry {
			e.Family = family.name
			checkEntry(t, e)
			if seen[e.Code] {
				t.Errorf("%s: stands twice in data/%s.toml", e.Code, family.name)
			}
			seen[e.Code] = true
			keys := chunkKeys(chunks(family.data, "[[entry]]")[i])
			for _, k := range append([]string{e.Code, e.Symbol}, e.Aliases...) {
				if k != "" && !slices.Contains(keys, k) {
					t.Errorf("%s: code, symbol and aliases must each stand on one line before the language tables: %q is not found by the index", e.ID(), k)
				}
			}
		}
	}
}

func checkEntry(t *testing.T, e *Entry) {
	t.Helper()
	id := e.ID()
	if e.Cause == "" || !slices.Contains(CauseWords, e.Cause) {
		t.Errorf("%s: cause %q is not in the list of causes", id, e.Cause)
	}
	if !slices.Contains([]string{Sender, YourServer, YourProvider, Recipient}, e.Who) {
		t.Errorf("%s: who = %q", id, e.Who)
	}
	for lang, x := range map[Lang]Text{English: e.En, Japanese: e.Ja} {
		if x.Title == "" || x.Meaning == "" || len(x.Causes) == 0 || len(x.Fixes) == 0 {
			t.Errorf("%s: %s: title, meaning, causes and fixes are all required", id, lang)
		}
		for _, s := range slices.Concat([]string{x.Title, x.Meaning}, x.Causes, x.Fixes) {
			if strings.TrimSpace(s) != s || s == "" || strings.Contains(s, "\n") {
				t.Errorf("%s: %s: %q: no blank, line end or surrounding space", id, lang, s)
			}
			if lang == Japanese && !hasKana(s) {
				t.Errorf("%s: ja: %q has no kana", id, s)
			}
			if lang == English && hasKana(s) {
				t.Errorf("%s: en: %q has kana", id, s)
			}
		}
		if n := len([]rune(x.Title)); n > 90 {
			t.Errorf("%s: %s: title of %d characters, 90 at most", id, lang, n)
		}
	}
	if len(e.En.Causes) != len(e.Ja.Causes) || len(e.En.Fixes) != len(e.Ja.Fixes) {
		t.Errorf("%s: English has %d causes and %d fixes, Japanese %d and %d: they must say the same", id,
			len(e.En.Causes), len(e.En.Fixes), len(e.Ja.Causes), len(e.Ja.Fixes))
	}
}

func hasKana(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana) }) >= 0
}

func TestRelatedCodesExist(t *testing.T) {
	for _, e := range All() {
		for _, r := range e.Related {
			if !Known(r) {
				t.Errorf("%s: related code %q is not in the catalogue", e.ID(), r)
			}
		}
	}
}

// Every text entry is reached by its samples, and by no sample of an entry
// that it should not answer first.
func TestTextSamples(t *testing.T) {
	for _, e := range All() {
		if e.Family != "text" {
			continue
		}
		if len(e.Phrases) == 0 || len(e.Samples) == 0 {
			t.Errorf("%s: a text entry needs phrases and samples", e.ID())
		}
		for _, p := range e.Phrases {
			if Fold(p) != p {
				t.Errorf("%s: phrase %q must be written folded: %q", e.ID(), p, Fold(p))
			}
		}
		for _, s := range e.Samples {
			m := MatchText(s)
			if len(m) == 0 || m[0].Entry.Code != e.Code {
				var got []string
				for _, x := range m {
					got = append(got, x.Entry.Code)
				}
				t.Errorf("%s: sample %q leads to %v", e.ID(), s, got)
			}
		}
	}
}

func TestCausesAreWhole(t *testing.T) {
	var doc struct {
		Cause []*Cause `toml:"cause"`
	}
	if err := toml.NewDecoder(strings.NewReader(causesData)).DisallowUnknownFields().Decode(&doc); err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, c := range doc.Cause {
		have = append(have, c.Word)
		for lang, x := range map[Lang]CauseText{English: c.En, Japanese: c.Ja} {
			if x.Title == "" || x.Why == "" || (len(x.Fixes) == 0 && c.Word != "none") {
				t.Errorf("%s: %s: title, why and fixes are all required", c.Word, lang)
			}
			if lang == Japanese && !hasKana(x.Title+x.Why) {
				t.Errorf("%s: ja has no kana", c.Word)
			}
		}
		if len(c.En.Fixes) != len(c.Ja.Fixes) {
			t.Errorf("%s: %d fixes in English, %d in Japanese", c.Word, len(c.En.Fixes), len(c.Ja.Fixes))
		}
		if !slices.Contains([]string{Sender, YourServer, YourProvider, Recipient}, c.Who) {
			t.Errorf("%s: who = %q", c.Word, c.Who)
		}
	}
	slices.Sort(have)
	want := slices.Sorted(slices.Values(CauseWords))
	if !slices.Equal(have, want) {
		t.Errorf("data/causes.toml has\n%q\nwant\n%q", have, want)
	}
}

var template_ = regexp.MustCompile(`\{\{[^}]*\}\}`)

// Both languages of a finding must use the same evidence, and every template
// must render with any evidence at hand.
func TestFindingsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range FindingIDs() {
		if seen[id] {
			t.Errorf("finding %s stands twice", id)
		}
		seen[id] = true
		f := FindingOf(id)
		if f.En.Meaning == "" || f.Ja.Meaning == "" || f.En.Title == "" || f.Ja.Title == "" {
			t.Errorf("finding %s: meaning and title are required in both languages", id)
		}
		if !hasKana(f.Ja.Meaning + f.Ja.Title) {
			t.Errorf("finding %s: ja has no kana", id)
		}
		if !slices.Contains([]string{"ok", "info", "warn", "fail", "skip"}, f.Status) {
			t.Errorf("finding %s: status %q", id, f.Status)
		}
		if (f.Status == "fail" || f.Status == "warn") && len(f.Fix) == 0 {
			t.Errorf("finding %s is %s and says nothing about what to do", id, f.Status)
		}
		if len(f.En.Causes) != len(f.Ja.Causes) {
			t.Errorf("finding %s: %d causes in English, %d in Japanese", id, len(f.En.Causes), len(f.Ja.Causes))
		}
		for _, x := range f.Fix {
			if x.En == "" || x.Ja == "" {
				t.Errorf("finding %s: a fix needs both languages", id)
			}
		}
		for _, lang := range []Lang{English, Japanese} {
			ev := map[string]any{}
			for range 40 { // learn the keys the templates want
				if _, err := f.Render(lang, ev); err == nil {
					break
				}
				for _, m := range template_.FindAllString(strings.Join(allTexts(f, lang), " "), -1) {
					for _, k := range regexp.MustCompile(`\.(\w+)`).FindAllStringSubmatch(m, -1) {
						ev[k[1]] = "x"
					}
				}
			}
			if _, err := f.Render(lang, ev); err != nil && !strings.Contains(err.Error(), "range") && !strings.Contains(err.Error(), "expected []string") {
				t.Errorf("finding %s: %s: %v", id, lang, err)
			}
		}
	}
}

func allTexts(f *FindingText, lang Lang) []string {
	x := f.En
	if lang == Japanese {
		x = f.Ja
	}
	out := append([]string{x.Title, x.Detail}, x.Causes...)
	for _, fix := range f.Fix {
		out = append(out, lang.Pick(fix.En, fix.Ja), fix.Command, fix.Record)
	}
	return out
}
