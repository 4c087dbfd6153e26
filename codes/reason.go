package codes

import (
	"slices"
	"strings"
	"sync"
)

// ReasonFacts are what is known of one failed delivery when its reason is
// looked up.
type ReasonFacts struct {
	Text    string   // the server's words, folded (see Fold)
	Status  string   // enhanced status code, RFC 3463: "5.1.1"
	Reply   string   // SMTP reply code: "550"
	Command string   // SMTP command that was answered: CONN, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, QUIT
	Hosts   []string // lower-case names of the servers that answered and reported
	Said    bool     // Text is a reply of a server and nothing else, so that free wording counts too (see data/concepts.txt)
}

// ReasonMatch is a bounce reason found in ReasonFacts. Word is empty when no
// rule fits.
type ReasonMatch struct {
	Word  string
	Cause string // word of the cause list that the words come down to
	// Accepted is the word instead of Word when the server had accepted the
	// recipient before it said so.
	Accepted string
	Weak     bool   // rests on a code or on words that servers use for many things
	Free     bool   // rests on free wording, which no phrase foresees
	Words    string // the folded words that matched; empty when a code alone decided
	At       int    // their place in the text
}

// reasonRule is one table of data/reasons.toml. What it names must all hold;
// of several values of one key one is enough.
type reasonRule struct {
	word, accepted                                 string
	weak                                           bool
	phrases, not                                   span
	says                                           []string
	causes                                         []phraseCause
	statuses, replies, commands, hosts, notCommand []string
}

// phraseCause is the cause of the phrases up to a place in the finder.
type phraseCause struct {
	to    int
	cause string
}

type reasonRules struct {
	rules  []reasonRule
	finder *phraseFinder
}

var reasons = sync.OnceValue(func() *reasonRules {
	var out reasonRules
	var all phraseList
	for _, chunk := range chunks(reasonsData, "[[reason]]") {
		keys := chunkLists(chunk)
		if len(keys["word"]) != 1 {
			panic("codes: data/reasons.toml: a reason needs one word: " + chunk[:min(len(chunk), 60)])
		}
		r := reasonRule{
			word: keys["word"][0], weak: strings.Contains(chunk, "\nweak = true\n"), phrases: all.add(keys["phrases"]),
			statuses: keys["statuses"], replies: keys["replies"], commands: keys["commands"],
			hosts: keys["hosts"], notCommand: keys["not_commands"], says: keys["says"],
		}
		if w := keys["accepted"]; len(w) == 1 {
			r.accepted = w[0]
		}
		cause := CauseOfReason(r.word)
		if c := keys["cause"]; len(c) == 1 {
			cause = c[0]
		}
		r.causes = []phraseCause{{len(all), cause}}
		for _, code := range keys["entries"] {
			phrases, cause := textIndex().phrasesOf(code)
			all = append(all, phrases...)
			r.causes = append(r.causes, phraseCause{len(all), cause})
		}
		r.phrases.to = len(all)
		r.not = all.add(keys["not"])
		out.rules = append(out.rules, r)
	}
	out.finder = newPhraseFinder(all)
	return &out
})

// ReasonOf returns the first reason of the data file that fits. The file lists
// sure rules before weak ones, so a weak match means that no sure one fits.
func ReasonOf(f ReasonFacts) ReasonMatch {
	rs := reasons()
	found := rs.finder.find(f.Text)
	var free *freeWords
	for i := range rs.rules {
		r := &rs.rules[i]
		if !r.fits(f) || r.says != nil && !f.Said {
			continue
		}
		m := ReasonMatch{Word: r.word, Cause: r.causes[0].cause, Accepted: r.accepted, Weak: r.weak, Free: r.says != nil}
		if r.phrases.from < r.phrases.to {
			n, at, ok := found.first(r.phrases)
			if !ok {
				continue
			}
			m.At, m.Words = at.from, f.Text[at.from:at.to]
			m.Cause = r.causes[slices.IndexFunc(r.causes, func(c phraseCause) bool { return n < c.to })].cause
		}
		if r.says != nil {
			if free == nil {
				free = readFree(f.Text)
			}
			at, ok := free.says(reasonSayings()[i])
			if !ok {
				continue
			}
			m.At, m.Words = at.from, f.Text[at.from:at.to]
		}
		if _, _, ruledOut := found.first(r.not); ruledOut {
			continue
		}
		return m
	}
	return ReasonMatch{}
}

// Refuses tells whether what stands behind a number reads like a server's refusal,
// in any of the languages that reasons.toml and concepts.txt know.
func Refuses(text string) bool {
	m := ReasonOf(ReasonFacts{Text: Fold(clipped(text)), Said: true})
	return m.Word != "" && !m.Weak
}

// fits tells whether the conditions other than the words hold.
func (r *reasonRule) fits(f ReasonFacts) bool {
	return (r.statuses == nil || slices.ContainsFunc(r.statuses, func(s string) bool { return statusFits(s, f.Status) })) &&
		(r.replies == nil || slices.Contains(r.replies, f.Reply)) &&
		(r.commands == nil || slices.Contains(r.commands, f.Command)) &&
		!slices.Contains(r.notCommand, f.Command) &&
		(r.hosts == nil || slices.ContainsFunc(r.hosts, func(h string) bool {
			return slices.ContainsFunc(f.Hosts, func(x string) bool { return hostWithin(x, h) })
		}))
}

// statusFits compares a status with a rule's: "x.1.1" stands for 4.1.1 and
// 5.1.1, "x.7.*" for every detail.
func statusFits(rule, status string) bool {
	if len(status) < 5 || len(rule) < 5 {
		return false
	}
	if rule[0] != 'x' && rule[0] != status[0] {
		return false
	}
	if subject, ok := strings.CutSuffix(rule[1:], "*"); ok {
		return strings.HasPrefix(status[1:], subject)
	}
	return rule[1:] == status[1:]
}

func hostWithin(host, domain string) bool {
	return host == domain || len(host) > len(domain) && strings.HasSuffix(host, domain) && host[len(host)-len(domain)-1] == '.'
}

// chunkLists returns the strings of every key of a chunk: key = "x" on one
// line, or a list that may go over several.
func chunkLists(chunk string) map[string][]string {
	out := map[string][]string{}
	key, words := "", []string(nil)
	for line := range strings.Lines(chunk) {
		switch line[0] {
		case '\n', '#', '[':
			continue
		case ' ', ']':
		default:
			if len(words) > 0 {
				out[key] = words
			}
			key, _, _ = strings.Cut(line, " = ")
			words = nil
		}
		if strings.Contains(line, "\\") {
			words = append(words, quoted(line)...)
			continue
		}
		for i := strings.IndexByte(line, '"'); i >= 0; i = strings.IndexByte(line, '"') {
			word, rest, _ := strings.Cut(line[i+1:], "\"")
			words, line = append(words, word), rest
		}
	}
	if len(words) > 0 {
		out[key] = words
	}
	return out
}

// usualCause is what a bounce reason comes down to where the words of the server
// say nothing narrower.
var usualCause = map[string]string{
	"userunknown": "user-unknown", "hostunknown": "dns-failure", "hasmoved": "user-unknown", "filtered": "policy", "suspend": "account-blocked",
	"mailboxfull": "mailbox-full", "notaccept": "user-unknown", "mesgtoobig": "message-too-large", "exceedlimit": "message-too-large",
	"speeding": "rate-limit", "toomanyconn": "rate-limit", "blocked": "blocklisted", "badreputation": "blocklisted", "requireptr": "ptr-missing",
	"rejected": "sender-rejected", "authfailure": "spf-dkim-dmarc", "policyviolation": "policy", "notcompliantrfc": "syntax-error",
	"spamdetected": "spam-content", "virusdetected": "policy", "contenterror": "syntax-error", "norelaying": "relay-denied",
	"securityerror": "auth-required", "failedstarttls": "tls-mismatch", "networkerror": "server-timeout", "expired": "retry-expired",
	"systemerror": "server-temporary", "systemfull": "disk-full-server", "mailererror": "server-temporary", "syntaxerror": "syntax-error",
	"suppressed": "policy",
}

// CauseOfReason is the cause that a bounce reason usually comes down to, "" for
// reasons that name none.
func CauseOfReason(word string) string { return usualCause[word] }
