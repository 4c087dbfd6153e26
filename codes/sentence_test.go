package codes

import (
	"slices"
	"strings"
	"testing"
)

// The phrases are compared with text as they stand, so they must stand in the
// form that text is brought to. Each stands once.
func TestSentencesAreCanonical(t *testing.T) {
	for line := range sentenceLines {
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && lower(line[1]) {
			continue
		}
		if c := Fold(line); c != line {
			t.Errorf("write %q as %q", line, c)
		}
	}
	seen := map[Phrase]string{}
	s := sentences()
	for _, x := range s.spans {
		if !slices.Contains(CauseWords, x.cause) || x.cause == "none" {
			t.Errorf("[%s] is no cause", x.cause)
		}
		if !slices.Contains([]string{"", "weak", "reply", "beside"}, x.mode) {
			t.Errorf("[%s %s]: unknown mode", x.cause, x.mode)
		}
		for _, p := range s.finder.phrases[x.from:x.to] {
			if strings.ContainsAny(string(p), "{}|") || strings.HasPrefix(string(p), "*") || strings.HasSuffix(string(p), "*") || len(p) < 3 {
				t.Errorf("%s: bad phrase %q", x.cause, p)
			}
			if other, ok := seen[p]; ok {
				t.Errorf("%q stands twice: [%s] and [%s %s]", p, other, x.cause, x.mode)
			}
			seen[p] = x.cause + " " + x.mode
		}
	}
	if len(seen) < 2000 {
		t.Errorf("only %d sentences", len(seen))
	}
}

// A phrase stands in one file: with the entry that explains it, else with the
// bounce reason, else here with its cause.
func TestPhrasesStandInOneFile(t *testing.T) {
	entries := map[Phrase]string{}
	for _, e := range textIndex().entries {
		for _, p := range textIndex().finder.phrases[e.phrases.from:e.phrases.to] {
			entries[p] = e.code
		}
	}
	s := sentences()
	for _, x := range s.spans {
		for _, p := range s.finder.phrases[x.from:x.to] {
			if code := entries[p]; code != "" {
				t.Errorf("[%s %s]: %q stands in text.toml with %s", x.cause, x.mode, p, code)
			}
			if m := ReasonOf(ReasonFacts{Text: string(p)}); x.mode == "reply" && m.Words == string(p) && !m.Weak && m.Cause == x.cause {
				t.Errorf("[%s reply]: %q stands in reasons.toml with %s", x.cause, p, m.Word)
			}
		}
	}
}

// Every sentence is found in a text that holds it, as its cause.
func TestEverySentenceIsFound(t *testing.T) {
	s := sentences()
	for _, x := range s.spans {
		for _, p := range s.finder.phrases[x.from:x.to] {
			text := strings.ReplaceAll(string(p), "*", " x ")
			if !slices.ContainsFunc(sayings("so: "+text+" ."), func(m SentenceMatch) bool { return m.Cause == x.cause && m.Phrase == p }) {
				t.Errorf("%s: %q is not found", x.cause, p)
			}
		}
	}
}

func sayings(s string) []SentenceMatch { return MatchSentences(Fold(s)) }

func TestAlternatives(t *testing.T) {
	got := alternatives("{a|b} x {c|d}")
	if want := []string{"a x c", "b x c", "a x d", "b x d"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Server  Response:\r\n '550'": "server response: '550'",
		"one\n\ntwo":                  "one\ntwo",
		"サーバー エラー : 550 User":         "サーバエラー: 550 user",
		"メール サー\nバーに接続できません":          "メールサーバに接続できません",
		"ｻｰﾊﾞｰ の応答　５５０":               "サーバの応答550",
		"邮件 服务器":                      "邮件服务器",
		"“Nein” — déjà":               "\"nein\" — déjà",
		"\u00a0a\u00a0":               "a",
	} {
		if got := Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
		if got := Fold(want); got != want && !strings.Contains(want, "\n") {
			t.Errorf("Fold(%q) = %q, not stable", want, got)
		}
	}
}
