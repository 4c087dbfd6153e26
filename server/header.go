package server

import (
	"bytes"
	"strings"
	"sync"
)

// maxHeader is how much of a message is held in memory and looked at as its
// header. A longer one passes, and only its beginning is looked at.
const maxHeader = 64 << 10

// header is the beginning of a message, up to the empty line.
type header struct {
	octets []byte
	done   bool
	pooled *[]byte // where octets come from
}

var headers = sync.Pool{New: func() any { return new([]byte) }}

// add takes octets and tells whether the header is complete; what came behind it
// in the same octets is in there too.
func (h *header) add(p []byte) bool {
	if h.pooled == nil {
		h.pooled, _ = headers.Get().(*[]byte)
		h.octets = (*h.pooled)[:0]
	}
	from := max(0, len(h.octets)-3)
	h.octets = append(h.octets, p...)
	h.done = len(h.octets) >= maxHeader || bytes.Contains(h.octets[from:], []byte("\r\n\r\n"))
	return h.done
}

// release lets go of the octets.
func (h *header) release() {
	if h.pooled != nil {
		*h.pooled = h.octets
		headers.Put(h.pooled)
		h.octets, h.pooled = nil, nil
	}
}

// fields visits each field: its name, and its value with the folds taken out.
func (h *header) fields(visit func(name, value string)) {
	text, _, _ := bytes.Cut(h.octets, []byte("\r\n\r\n"))
	var field string
	end := func() {
		if name, value, ok := strings.Cut(field, ":"); ok {
			visit(strings.TrimRight(name, " \t"), strings.TrimSpace(value))
		}
		field = ""
	}
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			field += line
			continue
		}
		end()
		field = line
	}
	end()
}

// values returns the values of all fields of a name.
func (h *header) values(name string) (out []string) {
	h.fields(func(n, value string) {
		if strings.EqualFold(n, name) {
			out = append(out, value)
		}
	})
	return out
}
