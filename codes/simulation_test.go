package codes

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

func TestSimulationsAreWhole(t *testing.T) {
	var doc struct {
		Simulation []*Simulation `toml:"simulation"`
	}
	if err := toml.NewDecoder(strings.NewReader(simulationsData)).DisallowUnknownFields().Decode(&doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range doc.Simulation {
		if seen[s.ID] {
			t.Errorf("%s stands there twice", s.ID)
		}
		seen[s.ID] = true
		switch {
		case (s.Cause == "") == (s.Finding == ""):
			t.Errorf("%s: either a cause or a finding", s.ID)
		case s.Cause != "" && !slices.Contains(CauseWords, s.Cause):
			t.Errorf("%s: %q is no cause", s.ID, s.Cause)
		case s.Finding != "" && FindingOf(s.Finding) == nil:
			t.Errorf("%s: %q is no finding", s.ID, s.Finding)
		}
		if !slices.Contains([]string{"smtp", "pop3", "imap", "dns"}, s.Protocol) {
			t.Errorf("%s: protocol %q", s.ID, s.Protocol)
		}
		if !strings.Contains(s.Try, "ADDR") {
			t.Errorf("%s: try %q does not say ADDR", s.ID, s.Try)
		}
		for lang, title := range map[Lang]string{English: s.En.Title, Japanese: s.Ja.Title} {
			if title == "" || strings.TrimSpace(title) != title || len([]rune(title)) > 90 || hasKana(title) != (lang == Japanese) {
				t.Errorf("%s: %s: title %q", s.ID, lang, title)
			}
		}
	}
}

func TestSuggestSimulations(t *testing.T) {
	for in, want := range map[string][]string{
		"pop3-lock-bussy": {"pop3-lock-busy"},
		"busy":            {"pop3-lock-busy"},
		"greylisted":      {"smtp-greylisted"},
		"SMTP-Greylist":   {"smtp-greylisted"},
		"connect":         {"connect-refused", "connect-timeout"},
		"":                nil,
		"nothing-alike":   nil,
	} {
		if d := cmp.Diff(want, SuggestSimulations(in, 3)); d != "" {
			t.Errorf("%q: %s", in, d)
		}
	}
}
