package codes

import (
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestNoticesAreWhole(t *testing.T) {
	var doc struct {
		Notice []struct {
			Word    string   `toml:"word"`
			Phrases []string `toml:"phrases"`
			Not     []string `toml:"not"`
			Samples []string `toml:"samples"`
		} `toml:"notice"`
	}
	if err := toml.NewDecoder(strings.NewReader(noticesData)).DisallowUnknownFields().Decode(&doc); err != nil {
		t.Fatal(err)
	}
	ns := notices()
	var words []Notice
	for _, want := range doc.Notice {
		words = append(words, Notice(want.Word))
		r := ns.rules[Notice(want.Word)]
		if got := len(want.Phrases) + len(want.Not); r.phrases.to-r.phrases.from+r.not.to-r.not.from != got {
			t.Errorf("%s: %d phrases, the reader sees %+v", want.Word, got, r)
		}
		if len(want.Samples) == 0 {
			t.Errorf("%s: no sample", want.Word)
		}
		for _, s := range want.Samples {
			if !NoticeIn(Fold(s), Notice(want.Word)) {
				t.Errorf("%s: sample %q is not found", want.Word, s)
			}
		}
		for i, p := range want.Phrases {
			if Fold(p) != p {
				t.Errorf("%s: phrase %q must be written folded: %q", want.Word, p, Fold(p))
			}
			if slices.Index(want.Phrases, p) != i {
				t.Errorf("%s: phrase %q stands twice", want.Word, p)
			}
		}
	}
	if want := []Notice{BounceSubject, BounceOpening, RobotSender, OriginalBelow, AnswerSubject, Absence}; !slices.Equal(words, want) {
		t.Errorf("words %q, want %q", words, want)
	}
}

func TestOrdinaryMailIsNoNotice(t *testing.T) {
	for _, s := range []string{
		"See you at 12:30. Room 550, building 5.1.1.",
		"Monthly newsletter: ten offers for you",
		"Your invoice 5510 is attached.",
		"会議の日程について",
	} {
		if NoticeIn(Fold(s), BounceSubject, BounceOpening, OriginalBelow, AnswerSubject, Absence) {
			t.Errorf("%q is taken for a notice", s)
		}
	}
}
