package explain

import "strings"

// A text longer than any dialog is the output of some program, and what went
// wrong stands at its end. Of such a text the end is looked at where the
// beginning tells nothing: first as much as of the beginning, then a last page.
const (
	endLines = 40   // what longProse still takes for a message
	endBytes = 2500 // likewise
)

// orEnd returns the facts of the end of a long text without any at its
// beginning, else f.
func (f *facts) orEnd() *facts {
	if f.kind != KindText || f.tool != nil || len(f.text) <= maxDialog {
		return f
	}
	for _, end := range []string{lastBytes(f.text, maxDialog), lastLines(lastBytes(f.text, endBytes), endLines)} {
		e := &facts{text: strings.TrimSpace(end)}
		e.readText()
		if e.kind == KindDialog || e.kind == KindLog {
			return e
		}
	}
	return f
}

// lastBytes are the last n bytes of s, from the beginning of a line on where
// there is one.
func lastBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		return s[i+1:]
	}
	return strings.ToValidUTF8(s, "")
}

// lastLines are the last n lines of s.
func lastLines(s string, n int) string {
	for i := len(s) - 1; i > 0; i-- {
		if s[i-1] == '\n' {
			if n--; n == 0 {
				return s[i:]
			}
		}
	}
	return s
}
