package explain

import (
	"strings"
	"testing"
)

// A file that is one long line must cost what its numbers cost, not that times
// its length: what stands around a number is looked at only so far.
func TestLongLinesAreLookedAtInPart(t *testing.T) {
	s := strings.Repeat("x: 550 aaa bbb ccc ", 5000)
	if n := len(lineAt(s, 0)); n != maxLineAt {
		t.Errorf("lineAt looks at %d bytes, want %d", n, maxLineAt)
	}
	if n := len(wordsAt(s, 0)); n != maxLineAt {
		t.Errorf("wordsAt looks at %d bytes, want %d", n, maxLineAt)
	}
	blank := "550 first\n" + strings.Repeat(" ", 2*maxLineAt) + "550 far"
	if lineStart(blank, len(blank)-7) {
		t.Error("what stands behind two thousand blanks begins no line")
	}
	if !lineStart(blank, 0) {
		t.Error("the first byte begins a line")
	}
}
