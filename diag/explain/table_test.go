package explain

import (
	"bufio"
	"os"
	"slices"
	"testing"

	"mailsrv/codes"
)

// Ordinary texts hold none of the sentences that count everywhere.
func TestSentencesAreQuietInProse(t *testing.T) {
	f, err := os.Open("testdata/prose.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		n++
		r := Explain(lines.Bytes(), codes.English)
		if len(r.Matches) > 0 || len(r.Diagnosis) != 1 || r.Diagnosis[0].Cause != "none" || r.Input.Kind != KindText && r.Input.Kind != KindLog {
			t.Errorf("%q: %s %v %+v", lines.Text(), r.Input.Kind, ids(r), r.Diagnosis)
		}
	}
	if err := lines.Err(); err != nil || n < 40 {
		t.Errorf("%d lines: %v", n, err)
	}
}

func TestLabelsAreFlat(t *testing.T) {
	for _, s := range sections(labelsFile) {
		for _, line := range s.lines {
			if clean(line) != line {
				t.Errorf("%s: write %q as %q", s.name, line, clean(line))
			}
		}
	}
	for _, name := range []string{"account", "server", "protocol", "port", "tls", "response", "server_error", "socket_error", "error_number", "recipient", "sender", "subject"} {
		if !slices.ContainsFunc(sections(labelsFile), func(s section) bool { return s.name == name }) {
			t.Errorf("no labels for %s", name)
		}
	}
}
