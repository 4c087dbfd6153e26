package codes

import (
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// ReasonWords is the vocabulary of bounce reasons that a rule may give.
var reasonWords = strings.Fields(`userunknown hostunknown hasmoved filtered suspend mailboxfull notaccept suppressed
	mesgtoobig exceedlimit speeding toomanyconn
	blocked badreputation requireptr rejected authfailure policyviolation notcompliantrfc spamdetected virusdetected
	contenterror norelaying securityerror failedstarttls
	networkerror expired systemerror systemfull mailererror syntaxerror`)

type reasonDoc struct {
	Reason []struct {
		Word        string   `toml:"word"`
		Cause       string   `toml:"cause"`
		Accepted    string   `toml:"accepted"`
		Entries     []string `toml:"entries"`
		Phrases     []string `toml:"phrases"`
		Not         []string `toml:"not"`
		Statuses    []string `toml:"statuses"`
		Replies     []string `toml:"replies"`
		Commands    []string `toml:"commands"`
		NotCommands []string `toml:"not_commands"`
		Hosts       []string `toml:"hosts"`
		Says        []string `toml:"says"`
		Weak        bool     `toml:"weak"`
		Samples     []string `toml:"samples"`
	} `toml:"reason"`
}

// The data must say what the fast reader takes it to say, and every table's
// samples must lead to its own word.
func TestReasonsAreWhole(t *testing.T) {
	var doc reasonDoc
	if err := toml.NewDecoder(strings.NewReader(reasonsData)).DisallowUnknownFields().Decode(&doc); err != nil {
		t.Fatal(err)
	}
	rs := reasons()
	if len(rs.rules) != len(doc.Reason) {
		t.Fatalf("%d tables, the reader sees %d: [[reason]] must stand alone on a line", len(doc.Reason), len(rs.rules))
	}
	seen, weakSeen, words, entries := map[string]int{}, false, map[string]bool{}, map[string]int{}
	for i, want := range doc.Reason {
		r := rs.rules[i]
		all := slices.Clone(want.Phrases)
		for _, e := range want.Entries {
			all = append(all, Lookup(e)[0].Phrases...)
			if other, twice := entries[e]; twice {
				t.Errorf("table %d (%s): entry %s stands in table %d already", i, want.Word, e, other)
			}
			entries[e] = i
		}
		words[want.Word] = true
		if !slices.Contains(reasonWords, want.Word) {
			t.Errorf("table %d: %q is no reason word", i, want.Word)
		}
		if r.word != want.Word || r.accepted != want.Accepted || r.weak != want.Weak || !slices.Equal(texts(rs, r.phrases), all) || !slices.Equal(texts(rs, r.not), want.Not) ||
			!slices.Equal(r.statuses, want.Statuses) || !slices.Equal(r.replies, want.Replies) || !slices.Equal(r.commands, want.Commands) ||
			!slices.Equal(r.notCommand, want.NotCommands) || !slices.Equal(r.says, want.Says) || !slices.Equal(r.hosts, want.Hosts) {
			t.Errorf("table %d (%s): the reader sees %+v", i, want.Word, r)
		}
		if weakSeen && !want.Weak {
			t.Errorf("table %d (%s): a sure rule stands below a weak one", i, want.Word)
		}
		weakSeen = weakSeen || want.Weak
		if len(want.Samples) == 0 {
			t.Errorf("table %d (%s): no sample", i, want.Word)
		}
		for _, p := range slices.Concat(want.Phrases, want.Not) {
			if Fold(p) != p {
				t.Errorf("%s: phrase %q must be written folded: %q", want.Word, p, Fold(p))
			}
		}
		for _, p := range all {
			if len(want.Hosts)+len(want.Commands)+len(want.Replies) > 0 {
				continue
			}
			if j, twice := seen[p]; twice && slices.Contains(want.Phrases, p) {
				t.Errorf("%s: phrase %q stands in table %d already", want.Word, p, j)
			} else if !twice {
				seen[p] = i
			}
		}
		facts := ReasonFacts{Status: strings.ReplaceAll(strings.ReplaceAll(first(want.Statuses), "x", "5"), "*", "99"), Reply: first(want.Replies), Command: first(want.Commands), Hosts: want.Hosts, Said: len(want.Says) > 0}
		for _, s := range want.Samples {
			facts.Text = Fold(s)
			if got := ReasonOf(facts); want.Cause != "" && got.Cause != want.Cause && len(want.Entries) == 0 {
				t.Errorf("%s: sample %q leads to the cause %q, want %q", want.Word, s, got.Cause, want.Cause)
			} else if !slices.Contains(CauseWords, got.Cause) {
				t.Errorf("%s: %q is no cause", want.Word, got.Cause)
			}
			if got := ReasonOf(facts); got.Word != want.Word {
				t.Errorf("%s: sample %q leads to %q by %q", want.Word, s, got.Word, got.Words)
			}
		}
	}
	for _, w := range reasonWords {
		if !words[w] {
			t.Errorf("no rule gives %s", w)
		}
	}
}

func texts(rs *reasonRules, s span) []string {
	var out []string
	for _, p := range rs.finder.phrases[s.from:s.to] {
		out = append(out, string(p))
	}
	return out
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// Every phrase must be able to match: its own words, gaps filled, are found by
// the finder.
func TestFinderFindsEveryPhrase(t *testing.T) {
	f := reasons().finder
	for i, p := range f.phrases {
		text := "xx " + strings.ReplaceAll(string(p), "*", " a@example.jp ") + " yy"
		text = strings.ReplaceAll(text, "  ", " ")
		if _, _, ok := f.find(text).first(span{i, i + 1}); !ok {
			if _, _, direct := p.Match(text); direct {
				t.Errorf("phrase %q matches %q, but the finder does not see it", p, text)
			}
		}
	}
}

func TestStatusFits(t *testing.T) {
	for _, tt := range []struct {
		rule, status string
		want         bool
	}{
		{"x.1.1", "5.1.1", true}, {"x.1.1", "4.1.1", true}, {"x.1.1", "5.1.10", false}, {"5.1.1", "4.1.1", false},
		{"x.7.*", "5.7.26", true}, {"x.7.*", "5.1.7", false}, {"x.1.1", "", false},
	} {
		if got := statusFits(tt.rule, tt.status); got != tt.want {
			t.Errorf("statusFits(%q, %q) = %v", tt.rule, tt.status, got)
		}
	}
}

func BenchmarkReasonIndex(b *testing.B) {
	file := reasonsData
	for b.Loop() {
		for _, c := range chunks(file, "[[reason]]") {
			chunkLists(c)
		}
		newPhraseFinder(reasons().finder.phrases)
	}
}

func BenchmarkReasonOf(b *testing.B) {
	f := ReasonFacts{Text: Fold("550 5.1.1 <a@example.jp>: Recipient address rejected: User unknown in local recipient table (in reply to RCPT TO command)"), Status: "5.1.1", Reply: "550", Command: "RCPT"}
	for b.Loop() {
		ReasonOf(f)
	}
}
