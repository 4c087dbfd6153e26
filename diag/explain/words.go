package explain

import (
	"slices"
	"strings"

	"mailsrv/codes"
)

// word is a text entry of the catalogue, or a sentence of the catalogue,
// that stands in the text.
type word struct {
	cause  string
	entry  *codes.Entry // nil for a sentence
	words  string       // folded
	server bool         // in the server's own words
	weak   bool         // says that something failed, not why
	beside bool         // a mere hint, see codes/data/sentences.txt
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
		f.reasonWords()
	}
	if f.event != nil {
		return
	}
	said := map[string]bool{}
	for _, w := range f.words {
		said[w.cause] = said[w.cause] || !w.beside
	}
	for _, w := range matchWords(withoutConsent(cut(f.text, maxDialog)), false) {
		if !said[w.cause] || w.entry != nil && strings.HasPrefix(w.entry.Code, "client/") {
			f.words = append(f.words, w)
		}
	}
}

// withoutConsent drops the lines of a conversation in which the server says yes:
// what they name is no trouble.
func withoutConsent(s string) string {
	if !strings.Contains(s, "OK") && !strings.ContainsAny(s, "23") {
		return s
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !consents(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// consents tells positive replies of SMTP, POP3 and IMAP: "250-STARTTLS",
// "+OK", "* OK [CAPABILITY ...]", "a1 OK".
func consents(line string) bool {
	line = strings.TrimSpace(line)
	for _, speaker := range []string{"S: ", "S:", "<<< ", "<-- ", "< "} {
		line = strings.TrimPrefix(line, speaker)
	}
	if strings.HasPrefix(line, "+OK") || digitsAt(line, 0) == 3 && (line[0] == '2' || line[0] == '3') && (len(line) == 3 || line[3] == ' ' || line[3] == '-') {
		return true
	}
	tag, rest, ok := strings.Cut(line, " ")
	return ok && (tag == "*" || imapTag(tag)) && (strings.HasPrefix(rest, "OK ") || rest == "OK")
}

// reasonWords adds what the rules for bounce reasons make of a server's reply,
// where neither an entry nor a sentence says as much.
func (f *facts) reasonWords() {
	m := codes.ReasonOf(codes.ReasonFacts{Text: codes.Fold(f.reply), Said: true})
	if m.Words == "" || m.Cause == "" || m.Free && slices.ContainsFunc(f.words, func(o word) bool { return !o.weak }) {
		return
	}
	w := word{cause: m.Cause, words: m.Words, server: true, weak: m.Weak, at: m.At, solid: len(m.Words), order: len(f.words)}
	if !slices.ContainsFunc(f.words, func(o word) bool { return !o.beside && (o.cause == w.cause || w.partOf(o)) }) {
		f.words = append(f.words, w)
	}
}

// matchWords finds the entries and sentences of the catalogue in a text.
func matchWords(s string, server bool) []word {
	var out []word
	folded := codes.Fold(s)
	for i, m := range codes.MatchFolded(folded) {
		out = append(out, word{cause: m.Entry.Cause, entry: m.Entry, words: m.Words, server: server, weak: vague[m.Entry.Code], at: m.At, solid: len(m.Words), order: i})
	}
	entries := len(out)
	for _, m := range codes.MatchSentences(folded) {
		if !server && m.Reply {
			continue
		}
		w := word{cause: m.Cause, words: m.Words, server: server, weak: m.Weak || m.Beside, beside: m.Beside, at: m.At, solid: len(m.Phrase) - strings.Count(string(m.Phrase), "*")}
		switch i := slices.IndexFunc(out[entries:], func(o word) bool { return o.cause == w.cause }); {
		case i < 0:
			out = append(out, w)
		case w.surer(out[entries+i]):
			out[entries+i] = w
		}
	}
	return slices.DeleteFunc(out, func(w word) bool { return slices.ContainsFunc(out, w.partOf) })
}

// surer tells whether a sentence says more plainly what is wrong than another of
// the same cause: a statement more than "it failed", that more than a hint.
func (w word) surer(other word) bool {
	return !w.beside && other.beside || !w.weak && other.weak
}

// partOf tells whether w is only a piece of what other found: "access denied"
// in "relay access denied", "authentication failure" in "temporary
// authentication failure". The longer phrase says what was meant. Of sentences
// that merely overlap the longer one counts.
func (w word) partOf(other word) bool {
	if w.entry != nil && other.entry != nil { // the catalogue's own order decides, but not on a mere piece
		return other.order < w.order && other.solid > w.solid && strings.Contains(other.words, w.words)
	}
	if other.solid <= w.solid || other.cause == w.cause || other.weak && !w.weak {
		return false
	}
	return strings.Contains(other.words, w.words) || w.entry == nil &&
		w.at < other.at+len(other.words) && other.at < w.at+len(w.words) && !strings.ContainsFunc(w.words+other.words, isCJK)
}
