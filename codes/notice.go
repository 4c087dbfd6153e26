package codes

import (
	"slices"
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
)

type noticeRules struct {
	rules  map[Notice]noticeRule
	finder *phraseFinder
}

type noticeRule struct{ phrases, not span }

var notices = sync.OnceValue(func() *noticeRules {
	out := noticeRules{rules: map[Notice]noticeRule{}}
	var all []Phrase
	add := func(words []string) span {
		from := len(all)
		for _, w := range words {
			all = append(all, Phrase(w))
		}
		return span{from, len(all)}
	}
	for _, chunk := range chunks(noticesData, "[[notice]]") {
		keys := chunkLists(chunk)
		if len(keys["word"]) != 1 {
			panic("codes: data/notices.toml: a notice needs one word")
		}
		out.rules[Notice(keys["word"][0])] = noticeRule{add(keys["phrases"]), add(keys["not"])}
	}
	out.finder = newPhraseFinder(all)
	return &out
})

// NoticeIn tells whether folded text (see Fold) says one of the words.
func NoticeIn(folded string, words ...Notice) bool {
	ns := notices()
	in := ns.finder.find(folded)
	return slices.ContainsFunc(words, func(w Notice) bool {
		r := ns.rules[w]
		if _, ok := in.first(r.phrases); !ok {
			return false
		}
		_, ruledOut := in.first(r.not)
		return !ruledOut
	})
}
