package bounce

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"time"
)

// header is a message or part header in order, values with their folds.
type header []field

type field struct{ name, value []byte }

// maxFields bounds a header; what follows is not looked at.
const maxFields = 2000

// parseHeader reads the fields at the start of b. It ends at an empty line or
// at the first line that cannot be a field, whichever comes first: a missing
// empty line must not swallow the body.
func parseHeader(b []byte) (h header, body []byte) {
	h = make(header, 0, 24)
	for len(b) > 0 {
		line, rest := cutLine(b)
		if len(line) == 0 {
			return h, rest
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h) > 0 {
			f := &h[len(h)-1]
			if len(bytes.TrimSpace(line)) == 0 { // a line of blanks ends what most take for the header
				return h, rest
			}
			f.value = f.value[:len(f.value)+1+len(line)] // they lie one after the other in b
			b = rest
			continue
		}
		name := fieldName(line)
		if name == "" {
			if len(h) == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))) {
				b = rest
				continue
			}
			return h, b
		}
		if len(h) == maxFields {
			return h, b
		}
		h = append(h, field{line[:len(name)], line[len(name)+1:]})
		b = rest
	}
	return h, nil
}

// fieldName returns the name of the header field that line begins with, or "".
func fieldName(line []byte) string {
	for i, c := range line {
		switch {
		case c == ':':
			return string(line[:i])
		case c <= ' ' || c >= 0x7f:
			return ""
		}
	}
	return ""
}

func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// get returns the first field of that name, unfolded.
func (h header) get(name string) string {
	for i := range h {
		if len(h[i].name) == len(name) && strings.EqualFold(string(h[i].name), name) {
			return unfold(h[i].value)
		}
	}
	return ""
}

func (h header) has(name string) bool {
	for i := range h {
		if len(h[i].name) == len(name) && strings.EqualFold(string(h[i].name), name) {
			return true
		}
	}
	return false
}

// unfold joins the lines of a value. Tabs and line ends become spaces.
func unfold(v []byte) string {
	s := strings.TrimSpace(string(v))
	if strings.IndexByte(s, '\n') < 0 {
		return s
	}
	var b strings.Builder
	for line := range strings.SplitSeq(s, "\n") {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

var wordDecoder = mime.WordDecoder{CharsetReader: charsetReader}

// decodeWords decodes RFC 2047 words; what cannot be decoded stays.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return toUTF8([]byte(s), "")
	}
	if out, err := wordDecoder.DecodeHeader(s); err == nil {
		return out
	}
	return s
}

// addressOf returns the first address in a From or To value, or "".
func addressOf(v string) string {
	if i := strings.LastIndexByte(v, '<'); i >= 0 {
		if j := strings.IndexByte(v[i:], '>'); j > 0 {
			if a := v[i+1 : i+j]; isAddress(a) {
				return a
			}
		}
	}
	a, _ := findAddress(v)
	return a
}

// isAddress tells whether s is one mailbox address. It is strict only about
// what tells an address from a pipe, a path or a sentence.
func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || len(s) > 320 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if local[0] != '"' && strings.ContainsAny(local, " \t\n|/<>(),;:[]\"") && !strings.HasPrefix(local, "=?") {
		return false
	}
	return !strings.ContainsAny(domain, " \t\n|/<>(),;\"'=@") && domain[0] != '.' && domain[0] != '-'
}

// findAddress returns the first address in s and where it ends.
func findAddress(s string) (addr string, end int) {
	for from := 0; from < len(s); {
		i := strings.IndexByte(s[from:], '@')
		if i < 0 {
			return "", 0
		}
		at := from + i
		start := localStart(s, at)
		stop := at + 1
		for stop < len(s) && domainByte(s[stop]) {
			stop++
		}
		for stop > at+1 && (s[stop-1] == '.' || s[stop-1] == '-') {
			stop--
		}
		if start < at && stop > at+1 {
			return s[start:stop], stop
		}
		from = at + 1
	}
	return "", 0
}

// localStart returns where the local part before the "@" at i begins.
func localStart(s string, i int) int {
	if i > 1 && s[i-1] == '"' {
		if j := strings.LastIndexByte(s[:i-1], '"'); j >= 0 {
			return j
		}
	}
	start := i
	for start > 0 && localByte(s[start-1]) {
		start--
	}
	for start < i && (s[start] == '.' || s[start] == '\'' || s[start] == '=' && !strings.HasPrefix(s[start:], "=?")) {
		start++
	}
	return start
}

func localByte(c byte) bool {
	return c >= 0x80 || 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func domainByte(c byte) bool {
	return c >= 0x80 || 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-'
}

// usualDate is how nearly every program writes a date (RFC 5322 section 3.3).
const usualDate = "Mon, 2 Jan 2006 15:04:05 -0700"

// rfc3339 brings a mail date to RFC 3339, or "" when it is none.
func rfc3339(date string) string {
	if date == "" {
		return ""
	}
	plain, _, _ := strings.Cut(date, " (") // "(JST)"
	t, err := time.Parse(usualDate, plain)
	if err != nil {
		if t, err = mail.ParseDate(date); err != nil {
			return ""
		}
	}
	return t.Format(time.RFC3339)
}
