package report

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/rivo/uniseg"
)

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// wrap breaks text into lines of at most width cells, by the line breaking
// rules of Unicode (UAX 14): between words, and between Japanese characters but
// not before closing punctuation. Colour sequences take no room. A word longer
// than a line is cut.
func wrap(text string, width int) []string {
	var lines []string
	for _, l := range cuts(sgr.ReplaceAllString(text, ""), width) {
		lines = append(lines, strings.TrimRight(takePlain(&text, l), " "))
	}
	if len(lines) > 0 {
		lines[len(lines)-1] += text // closing colour sequences
	}
	return lines
}

// cuts returns how many bytes of plain go on each line, line ends included.
func cuts(plain string, width int) []int {
	var out []int
	line, cells := 0, 0
	end := func() {
		out = append(out, line)
		line, cells = 0, 0
	}
	state := -1
	for plain != "" {
		var seg string
		var must bool
		seg, plain, must, state = uniseg.FirstLineSegmentInString(plain, state)
		for !must && plain != "" && glued(seg, plain) {
			var more string
			more, plain, must, state = uniseg.FirstLineSegmentInString(plain, state)
			seg += more
		}
		body := strings.TrimRight(seg, " \r\n")
		if w := ansi.StringWidth(body); cells > 0 && cells+w > width {
			end()
		}
		for ansi.StringWidth(body) > width {
			head := ansi.Truncate(body, width, "")
			if head == "" {
				break
			}
			line = len(head)
			body, seg = body[len(head):], seg[len(head):]
			end()
		}
		line += len(seg)
		cells += ansi.StringWidth(strings.TrimRight(seg, "\r\n"))
		if must && plain != "" {
			end()
		}
	}
	if line > 0 || len(out) == 0 {
		end()
	}
	return out
}

// glued tells places inside an ASCII word where the rules allow a break, which
// would tear a command or an address apart: "-ano", ":995".
func glued(before, after string) bool {
	last := before[len(before)-1]
	return last > ' ' && last < utf8.RuneSelf && after[0] < utf8.RuneSelf
}

// takePlain cuts n bytes of plain text, with the colour sequences among them,
// off the front of text. Line ends are dropped.
func takePlain(text *string, n int) string {
	var b strings.Builder
	s := *text
	for n > 0 && s != "" {
		at := sgr.FindStringIndex(s)
		switch {
		case at != nil && at[0] == 0:
			b.WriteString(s[:at[1]])
			s = s[at[1]:]
			continue
		case at != nil && at[0] < n:
			b.WriteString(s[:at[0]])
			n -= at[0]
			s = s[at[0]:]
			continue
		}
		b.WriteString(s[:n])
		s = s[n:]
		n = 0
	}
	*text = s
	return strings.TrimRight(b.String(), "\r\n")
}
