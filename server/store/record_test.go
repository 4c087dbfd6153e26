package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzRecord: what is read from a journal record as a message is written the
// same again, and its name stays in its folder.
func FuzzRecord(f *testing.F) {
	f.Add(append(appendHead(nil, "1.M2P3I4.host", []Box{{"taro", "example.com"}, {"hanako", "[192.0.2.1]"}}), "text"...))
	f.Add(appendHead(nil, "../x", []Box{{"taro", "example.com"}}))
	f.Add(appendHead(nil, "x", nil))
	f.Add([]byte{1, 'x', 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		i, body, err := parseRecord(data)
		if err != nil {
			return
		}
		if i.size != int64(len(body)) || strings.ContainsAny(i.name, `/\`) || len(i.boxes) == 0 {
			t.Errorf("%q: %+v with %d octets", data, i, len(body))
		}
		again, text, err := parseRecord(append(appendHead(nil, i.name, i.boxes), body...))
		if err != nil {
			t.Fatalf("%q: written again: %v", data, err)
		}
		if diff := cmp.Diff(i.boxes, again.boxes); diff != "" || again.name != i.name || string(text) != string(body) {
			t.Errorf("%q: written again: %+v, %q, %s", data, again, text, diff)
		}
	})
}
