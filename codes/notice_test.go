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
		Command []struct {
			Word    string   `toml:"word"`
			Phrases []string `toml:"phrases"`
			Samples []string `toml:"samples"`
		} `toml:"command"`
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
	for _, want := range doc.Command {
		for _, s := range want.Samples {
			if got := CommandIn(Fold(s)); got != want.Word {
				t.Errorf("command %s: sample %q leads to %q", want.Word, s, got)
			}
		}
		for _, p := range want.Phrases {
			if Fold(p) != p || CommandIn(p) == "" {
				t.Errorf("command %s: phrase %q must be written folded, and be found", want.Word, p)
			}
		}
	}
	if want := []Notice{BounceSubject, BounceOpening, RobotSender, OriginalBelow, AnswerSubject, Absence, TicketMail}; !slices.Equal(words, want) {
		t.Errorf("words %q, want %q", words, want)
	}
}

func TestCommandIn(t *testing.T) {
	for text, want := range map[string]string{
		"550 5.1.1 unknown (in reply to RCPT TO command)":                       "RCPT",
		"host mx.example.jp[192.0.2.25] refused to talk to me: 554 no":          "CONN",
		"SMTP error from remote mail server after end of data: host mx: 550 no": "DATA",
		"192.0.2.25 does not like recipient. Remote host said: 550 no":          "RCPT",
		"550 5.1.1 unknown": "",
	} {
		if got := CommandIn(Fold(text)); got != want {
			t.Errorf("CommandIn(%q) = %q, want %q", text, got, want)
		}
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
