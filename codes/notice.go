package codes

import (
	"slices"
	"strings"
	"sync"
)

// Notice is a word of data/notices.toml: something that mail written by
// machines says of itself.
type Notice string

// The words of data/notices.toml.
const (
	BounceSubject Notice = "subject"
	BounceOpening Notice = "opening"
	RobotSender   Notice = "robot"
	OriginalBelow Notice = "original"
	AnswerSubject Notice = "answer"
	Absence       Notice = "absence"
	TicketMail    Notice = "ticket"
)

type noticeRules struct {
	rules    map[Notice]noticeRule
	commands []commandRule
	finder   *phraseFinder
	verbs    *phraseFinder // of the commands
}

type commandRule struct {
	word    string
	phrases span
}

type noticeRule struct{ phrases, not span }

var notices = sync.OnceValue(func() *noticeRules {
	out := noticeRules{rules: map[Notice]noticeRule{}}
	var all phraseList
	words, verbs, _ := strings.Cut(noticesData, "\n[[command]]\n")
	for _, chunk := range chunks(words, "[[notice]]") {
		keys := chunkLists(chunk)
		if len(keys["word"]) != 1 {
			panic("codes: data/notices.toml: a notice needs one word")
		}
		out.rules[Notice(keys["word"][0])] = noticeRule{all.add(keys["phrases"]), all.add(keys["not"])}
	}
	out.finder = newPhraseFinder(all)
	all = nil
	for _, chunk := range chunks("[[command]]\n"+verbs, "[[command]]") {
		keys := chunkLists(chunk)
		out.commands = append(out.commands, commandRule{keys["word"][0], all.add(keys["phrases"])})
	}
	out.verbs = newPhraseFinder(all)
	return &out
})

// NoticeIn tells whether folded text (see Fold) says one of the words.
func NoticeIn(folded string, words ...Notice) bool {
	ns := notices()
	in := ns.finder.find(folded)
	return slices.ContainsFunc(words, func(w Notice) bool {
		r := ns.rules[w]
		if _, _, ok := in.first(r.phrases); !ok {
			return false
		}
		_, _, ruledOut := in.first(r.not)
		return !ruledOut
	})
}

// CommandIn returns the SMTP command that folded text says a server answered:
// CONN (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, or "".
func CommandIn(folded string) string {
	ns := notices()
	in := ns.verbs.find(folded)
	for _, r := range ns.commands {
		if _, _, ok := in.first(r.phrases); ok {
			return r.word
		}
	}
	return ""
}
