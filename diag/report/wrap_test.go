package report

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    string
		width int
		want  []string
	}{
		{"words", "stop the other program first", 12, []string{"stop the", "other", "program", "first"}},
		{"Japanese breaks between characters", "サーバーを停止してから、もう一度起動します。", 20, []string{"サーバーを停止してか", "ら、もう一度起動しま", "す。"}},
		{"no closing mark at the start of a line", "一二三四五。六", 10, []string{"一二三四", "五。六"}},
		{"mixed stays on the line while it fits", "127.0.0.1 だけで待ち受けています", 20, []string{"127.0.0.1 だけで待ち", "受けています"}},
		{"long word is cut", "abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"a command is not torn apart", "run netstat -ano or listen on ':995' now", 14, []string{"run netstat", "-ano or listen", "on ':995' now"}},
		{"a name within Japanese may follow on the next line", "設定は mail.example.com:995 です", 18, []string{"設定は", "mail.example.com:9", "95 です"}},
		{"line ends stay", "a\nb", 10, []string{"a", "b"}},
		{"colours take no room", "\x1b[1mstop the\x1b[0m other", 8, []string{"\x1b[1mstop the\x1b[0m", "other"}},
		{"empty", "", 10, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, wrap(tt.in, tt.width)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever the text, no line is wider than asked for and no word is lost.
func FuzzWrap(f *testing.F) {
	f.Add("stop the \x1b[1mother\x1b[0m program", 9)
	f.Add("サーバーを停止してから、", 7)
	f.Fuzz(func(t *testing.T, s string, width int) {
		if width < 2 || width > 200 || strings.ContainsAny(ansi.Strip(sgr.ReplaceAllString(s, "")), "\x1b\u009b") {
			return
		}
		s = strings.Map(func(r rune) rune {
			if r == 0x1b || r == '\n' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) && r != '\ufffd' {
				return r
			}
			return -1
		}, s)
		plain := sgr.ReplaceAllString(s, "")
		if strings.Contains(plain, "\x1b") {
			return
		}
		lines := wrap(s, width)
		for _, l := range lines {
			if w := ansi.StringWidth(l); w > width {
				t.Fatalf("%q: line %q is %d cells wide, %d allowed", s, l, w, width)
			}
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(sgr.ReplaceAllString(s, "")), "") }
		if got := strings.Join(lines, ""); squeeze(got) != squeeze(s) {
			t.Fatalf("%q became %q", s, lines)
		}
	})
}
