package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHeaderFields(t *testing.T) {
	h := header{octets: []byte("Received: from a\r\n\tby b;\r\n x\r\nSubject : hello \r\nno field\r\nEmpty:\r\n\r\nTo: body\r\n")}
	var got [][2]string
	h.fields(func(name, value string) { got = append(got, [2]string{name, value}) })
	want := [][2]string{{"Received", "from a\tby b; x"}, {"Subject", "hello"}, {"Empty", ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However the octets come in, the header is the same, and bounded.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("Received: x\r\nTo: a\r\n\r\nbody\r\n"), uint8(1))
	f.Add([]byte("\r\n\r\n"), uint8(3))
	f.Add([]byte("A: b\r\n folded\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		read := func(step int) (h header, rest []byte) {
			for i := 0; i < len(text); i += step {
				part := text[i:min(i+step, len(text))]
				if h.add(part) {
					return h, text[i+len(part):]
				}
			}
			return h, nil
		}
		whole, _ := read(max(len(text), 1))
		pieces, rest := read(int(step) + 1)
		if !bytes.Equal(append(bytes.Clone(pieces.octets), rest...), text) && pieces.done {
			t.Fatalf("%q became %q and %q", text, pieces.octets, rest)
		}
		if whole.done != pieces.done || len(text) <= maxHeader && !cmp.Equal(whole.values("to"), pieces.values("TO")) {
			t.Errorf("%q at once: %v %q, in steps of %d: %v %q", text, whole.done, whole.values("to"), int(step)+1, pieces.done, pieces.values("to"))
		}
		pieces.fields(func(name, value string) {
			if strings.ContainsAny(name+value, "\n") && !bytes.Contains(text, []byte("\n")) {
				t.Errorf("field %q: %q", name, value)
			}
		})
	})
}
