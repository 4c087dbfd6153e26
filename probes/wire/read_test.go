package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"+OK ready\r\nmore", "+OK ready", nil},
		{"220 bare line feed\n", "220 bare line feed", nil},
		{"cut off", "cut off", io.EOF},
		{"", "", io.EOF},
		{"\r\n", "", nil},
		{strings.Repeat("x", maxLine) + "\r\n", strings.Repeat("x", maxLine), errLineTooLong},
	} {
		got, err := ReadLine(NewReader(strings.NewReader(tt.in)))
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%.20q: got %.20q (%d octets) and %v, want %.20q and %v", tt.in, got, len(got), err, tt.want, tt.err)
		}
	}
}

func TestSpeaksTLS(t *testing.T) {
	for in, want := range map[string]bool{
		"\x15\x03\x01\x00\x02\x02\x46": true,  // alert
		"\x16\x03\x03\x00\x7a":         true,  // handshake
		"220 mail.example.com":         false, // plain
		"":                             false,
		"\x16":                         false,
	} {
		if got := SpeaksTLS([]byte(in)) != nil; got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"550 no\x1b[2Jsuch user": "550 no�[2Jsuch user",
		"tab\there":              "tab here",
		"\xff\xfe":               "�",
		"利用者がいません":               "利用者がいません",
		"a\u202eb":               "a�b",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Shorten(strings.Repeat("あ", 100)); got != strings.Repeat("あ", 80)+"…" {
		t.Errorf("Shorten: %q", got)
	}
}
