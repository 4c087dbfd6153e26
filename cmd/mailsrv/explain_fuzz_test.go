package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"mailsrv/codes"
)

// However the command is called: no panic, and no argument is lost; and whatever
// is piped in is read to an answer.
func FuzzExplainArgs(f *testing.F) {
	f.Add("0x800CCC0E", "--json", "-2146644978", []byte("550 5.1.1"))
	f.Add("-ERR lock busy", "--", "-q", []byte("\x1f\x8b\x08"))
	f.Add("connection", "refused", "missing.eml", []byte("From a Thu Nov 20 03:11:02\nFrom: a\nTo: b\n\n"))
	f.Add("--server=x", "-jr", "-", []byte{})
	f.Fuzz(func(t *testing.T, a, b, c string, piped []byte) {
		if len(a)+len(b)+len(c) > 1000 || len(piped) > 1<<14 {
			return
		}
		app := &app{stdin: bytes.NewReader(piped), stdout: io.Discard, stderr: io.Discard}
		cmd := explainCommand(app)
		args := []string{a, b, c}
		flags, inputs, err := splitFlags(cmd, args)
		if err != nil {
			return
		}
		if n := len(flags) + len(inputs); n != len(args) && !slices.Contains(args, "--") {
			t.Fatalf("%q: flags %q, inputs %q", args, flags, inputs)
		}
		if joined := strings.Join(joinWords(inputs), " "); len(joined) != len(strings.Join(inputs, " ")) {
			t.Fatalf("%q became %q", inputs, joined)
		}
		for s := range app.sources("-", false) {
			if s.log == nil && len(s.text) > len(piped)+4<<20 {
				t.Fatalf("%d octets became %d", len(piped), len(s.text))
			}
			if s.err == nil && s.log == nil {
				if r := s.explain(codes.English); r.Input.Kind == "" {
					t.Fatalf("%q: no answer", piped)
				}
			}
		}
	})
}
