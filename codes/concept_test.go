package codes

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The words of concepts.txt must stand there as they are compared, each once
// under a concept, and every concept must be of use.
func TestConceptsAreWhole(t *testing.T) {
	used := map[string]bool{}
	for _, r := range reasons().rules {
		for _, s := range r.says {
			for w := range strings.FieldsSeq(s) {
				used[strings.TrimPrefix(w, "-")] = true
			}
		}
	}
	under, seen := "", map[string]bool{}
	for line := range strings.Lines(conceptsData) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			under, seen = line[1:len(line)-1], map[string]bool{}
			continue
		case line[0] == '=':
			for _, w := range strings.Fields(line[1:])[:2] {
				used[w] = true
			}
			continue
		}
		for w := range strings.FieldsSeq(line) {
			if seen[w] {
				t.Errorf("[%s]: %s twice", under, w)
			}
			seen[w] = true
			plain := strings.TrimSuffix(strings.ReplaceAll(w, "_", " "), "*")
			if got := withoutAccents(Fold(plain)); got != plain {
				t.Errorf("[%s]: %s is compared as %q", under, w, got)
			}
			if strings.HasSuffix(w, "*") && len(plain) < shortestStem {
				t.Errorf("[%s]: stem %s is too short to be found", under, w)
			}
			if n := len(sentencesOf(plain)); n != 1 {
				t.Errorf("[%s]: %s is %d sentences", under, w, n)
			}
		}
	}
	for name := range vocabularyOf().names {
		if !used[name] {
			t.Errorf("no rule and no pair uses [%s]", name)
		}
	}
}

// Every word of concepts.txt is found in a sentence that holds it.
func TestEveryConceptWordIsFound(t *testing.T) {
	v := vocabularyOf()
	under := concepts(0)
	for line := range strings.Lines(conceptsData) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#' || line[0] == '=':
			continue
		case line[0] == '[':
			under = v.names[line[1:len(line)-1]]
			continue
		}
		for w := range strings.FieldsSeq(line) {
			text := Fold(strings.ReplaceAll(strings.TrimSuffix(w, "*"), "_", " "))
			if !slices.ContainsFunc(v.speaksOf(text), func(s sentence) bool { return s.has&under != 0 }) {
				t.Errorf("%s is not found in %q", w, text)
			}
		}
	}
}

func TestSentences(t *testing.T) {
	for in, want := range map[string]string{
		"550 no mailbox here. see https://spam.example/virus for ab": "no mailbox here|see <> for ab",
		"<kim@example.net> isn't on mx.example.net; ask 192.0.2.5!":  "<addr> isn t on <>|ask <ip>",
		"l'adresse du destinataire n'existe pas":                     "l adresse du destinataire n existe pas",
		"größe überschritten":                                        "grosse uberschritten",
		"宛先は存在しません。後で":                                               "宛先は存在しません|後で",
		"받는 사람이 없습니다 (421)":                                          "받는 사람이 없습니다",
	} {
		var got []string
		for _, s := range sentencesOf(in) {
			var words []string
			for _, w := range s {
				if w.text == "" {
					w.text = "<" + w.means + ">"
				}
				words = append(words, w.text)
			}
			got = append(got, strings.Join(words, " "))
		}
		if d := cmp.Diff(want, strings.Join(got, "|")); d != "" {
			t.Errorf("%q: -want +got\n%s", in, d)
		}
	}
}

// A reply that speaks of several things must be taken for the right one, and
// words beside the matter for none.
func TestFreeWording(t *testing.T) {
	for in, want := range map[string]string{
		"550 unser verzeichnis kennt diesen empfaenger nicht":   "userunknown",
		"550 der absender ist uns unbekannt":                    "rejected",
		"550 the postmaster would like to hear about spam":      "spamdetected",
		"452 the mailbox of that customer cannot hold any more": "mailboxfull",
		"452 the disk of the server cannot hold any more":       "systemfull",
		"250 ok": "",
		"550 see https://malware.example.net/worms.html": "",
		"550 thank you for calling":                      "",
	} {
		m := ReasonOf(ReasonFacts{Text: Fold(in), Said: true})
		if m.Word != want {
			t.Errorf("%q is %q by %q, want %q", in, m.Word, m.Words, want)
		}
		if m := ReasonOf(ReasonFacts{Text: Fold(in)}); m.Free {
			t.Errorf("%q: free wording counts in what is no reply", in)
		}
	}
}
