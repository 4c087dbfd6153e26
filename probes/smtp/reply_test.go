package smtp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/wire"
)

func TestReadReply(t *testing.T) {
	for in, want := range map[string]Reply{
		"250 ok\r\n":                           {Code: 250, Lines: []string{"ok"}},
		"250\n":                                {Code: 250, Lines: []string{""}},
		"250-a\r\n250-b\r\n250 c\r\n":          {Code: 250, Lines: []string{"a", "b", "c"}},
		"550-5.7.1 no\r\n550 5.7.1 really\r\n": {Code: 550, Enhanced: "5.7.1", Lines: []string{"no", "really"}},
		"250 5.7 is not one\r\n":               {Code: 250, Lines: []string{"5.7 is not one"}},
		"354 go\x1b[2J\xff\r\n":                {Code: 354, Lines: []string{"go�[2J�"}},
	} {
		got, err := readReply(wire.NewReader(strings.NewReader(in)), func(string) {})
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got): %s", in, d)
		}
	}
	for _, in := range []string{"", "25", "250-a\r\n", "abc d\r\n", "150 too early\r\n", "999 too late\r\n", "250x\r\n", "250 no end", "+OK pop\r\n"} {
		if r, err := readReply(wire.NewReader(strings.NewReader(in)), func(string) {}); err == nil {
			t.Errorf("%q: %v, want an error", in, r)
		}
	}
}

// No bytes make the reader take more than its limits, panic, or let control
// characters through.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"220 mx ESMTP\r\n", "250-a\r\n250 b\r\n", "550 5.7.1 no\n", "\x15\x03\x01", "2", "220\t\x00\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(wire.NewReader(strings.NewReader(string(b))), func(string) {})
		if len(r.Lines) > maxLines {
			t.Fatalf("%d lines", len(r.Lines))
		}
		if err == nil && (r.Code < 200 || r.Code > 599 || len(r.Lines) == 0) {
			t.Fatalf("%+v", r)
		}
		for _, l := range r.Lines {
			if len(l) > 3*maxLine || strings.ContainsAny(l, "\r\n\x1b\x00") {
				t.Fatalf("%q", l)
			}
		}
	})
}
