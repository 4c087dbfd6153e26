package explain

import (
	"slices"
	"strings"

	"mailsrv/codes"
)

// word is a text entry of the catalogue, or a sentence of data/sentences.txt,
// that stands in the text.
type word struct {
	cause  string
	entry  *codes.Entry // nil for a sentence
	words  string       // folded
	server bool         // in the server's own words
	weak   bool         // says that something failed, not why
	at     int
	solid  int // bytes of the phrase itself, without what "*" stood for
	order  int // among the entries found: the catalogue lists the special before the general
}

// vague are text entries that say that something failed rather than why.
var vague = map[string]bool{
	"client/connection-failed": true, "client/recipient-rejected": true, "client/unknown-reason": true,
	"bounce/mailer-daemon": true, "bounce/delay-warning": true, "smtp/service-unavailable": true,
	"smtp/temporary": true, "smtp/refused-greeting": true, "smtp/access-denied": true,
}

// readWords matches the catalogue's text entries and the sentence table, apart
// for what the server said and for what the mail program said around it.
func (f *facts) readWords() {
	if f.reply != "" {
		f.words = matchWords(f.reply, true)
	}
	if f.event != nil {
		return
	}
	said := map[string]bool{}
	for _, w := range f.words {
		said[w.cause] = true
	}
	for _, w := range matchWords(cut(f.text, maxDialog), false) {
		if !said[w.cause] || w.entry != nil && strings.HasPrefix(w.entry.Code, "client/") {
			f.words = append(f.words, w)
		}
	}
}

// matchWords finds entries and sentences in a text. Phrases of the catalogue are
// compared twice where Japanese or Chinese is concerned: as written, and without
// the spaces that some programs put between words.
func matchWords(s string, server bool) []word {
	var out []word
	seen := map[string]bool{}
	add := func(key string, w word) {
		if !seen[key] {
			seen[key] = true
			out = append(out, w)
		}
	}
	folded := codes.Fold(s)
	closed := tight(folded)
	forms := []string{folded}
	if closed != folded {
		forms = append(forms, closed)
	}
	for _, form := range forms {
		for i, m := range codes.MatchFolded(form) {
			add(m.Entry.Code, word{cause: m.Entry.Cause, entry: m.Entry, words: m.Words, server: server, weak: vague[m.Entry.Code], at: m.At, solid: len(m.Words), order: i})
		}
	}
	for _, m := range matchSentences(shortVowels(closed)) {
		if server || !m.reply {
			add(m.cause, word{cause: m.cause, words: m.words, server: server, weak: m.weak, at: m.at, solid: len(m.phrase) - strings.Count(string(m.phrase), "*")})
		}
	}
	return slices.DeleteFunc(out, func(w word) bool { return slices.ContainsFunc(out, w.partOf) })
}

// partOf tells whether w is only a piece of what other found: "access denied"
// in "relay access denied", "authentication failure" in "temporary
// authentication failure". The longer phrase says what was meant.
func (w word) partOf(other word) bool {
	if w.entry != nil && other.entry != nil { // the catalogue's own order decides, but not on a mere piece
		return other.order < w.order && other.solid > w.solid && strings.Contains(other.words, w.words)
	}
	if other.solid <= w.solid || other.cause == w.cause || other.weak && !w.weak {
		return false
	}
	return strings.Contains(other.words, w.words) ||
		w.at < other.at+len(other.words) && other.at < w.at+len(w.words) && !strings.ContainsFunc(w.words+other.words, isCJK)
}

// shortVowels unifies the two spellings of Japanese loan words: サーバー and
// サーバ.
func shortVowels(s string) string {
	if !strings.Contains(s, "ー") {
		return s
	}
	return shortener.Replace(s)
}

var shortener = strings.NewReplacer("サーバー", "サーバ", "ユーザー", "ユーザ", "フォルダー", "フォルダ", "プロバイダー", "プロバイダ", "ヘッダー", "ヘッダ", "メーラー", "メーラ")
