package spool

import (
	"bytes"
	"strings"
)

// bare is what is known of a mailbox whose messages have lost their From lines,
// or whose From lines were all escaped. It ends with the first good From line.
type bare struct {
	escaped  bool   // the first line is ">From ..."
	field    []byte // without From lines: name and colon of the first header field
	boundary string // of the MIME parts that are open
	inType   bool   // inside a Content-Type field
}

// start takes the first line of a mailbox without From lines.
func (b *bare) start(text []byte) {
	name, _, _ := bytes.Cut(text, []byte(":"))
	b.field = append(bytes.Clone(name), ':')
	b.see(text, true)
}

var boundaryParam = lazily(`(?i)boundary="?([^";\r\n]{1,70})`)

// see follows the MIME parts of a message: a message inside one begins like one
// of the mailbox.
func (b *bare) see(text []byte, header bool) {
	if b.field == nil {
		return
	}
	if !header {
		if rest, ok := bytes.CutPrefix(text, []byte("--")); ok && b.boundary != "" && strings.TrimRight(string(rest), " \t") == b.boundary+"--" {
			b.boundary = ""
		}
		return
	}
	if len(text) > 0 && text[0] != ' ' && text[0] != '\t' {
		_, b.inType = field(text, "Content-Type:")
	}
	if m := boundaryParam().FindSubmatch(text); b.inType && m != nil {
		b.boundary = strings.TrimRight(string(m[1]), " ")
	}
}

// opens tells whether the line may begin a message: with the same field as the
// first one of the file.
func (b *bare) opens(text []byte) bool {
	_, ok := field(text, string(b.field))
	return ok && b.boundary == ""
}

// headerFields are fields of which a header has at least two.
var headerFields = lazily(`(?im)^(?:From|Date|Subject|Message-ID|To|Received):`)

// wholeHeaderFollows looks whether the lines after this one, up to an empty
// one, are all of a header, and name the usual things.
func (p *parser) wholeHeaderFollows() bool {
	const most = 16 << 10
	b, _ := p.r.Peek(most) // an error means that less is left
	head := b
	for len(b) > 0 {
		text, rest, whole := bytes.Cut(b, []byte("\n"))
		text = bytes.TrimSuffix(text, []byte("\r"))
		if len(text) == 0 {
			head = head[:len(head)-len(b)]
			break
		}
		if whole && !headerField().Match(text) && text[0] != ' ' && text[0] != '\t' {
			return false
		}
		b = rest
	}
	names := map[string]bool{}
	for _, name := range headerFields().FindAll(head, 50) {
		names[strings.ToLower(string(name))] = true
	}
	return len(names) >= 2
}

// afterNuls takes the rest of a line after a run of NUL octets, when that may be
// a From line, for a line of its own after an empty one: the octets stand for
// what was never written.
func (p *parser) afterNuls(l *line) bool {
	if !l.whole {
		return false
	}
	i := bytes.LastIndexByte(l.text, 0) + 1
	if i == 0 || !bytes.HasPrefix(l.text[i:], []byte("From ")) {
		return false
	}
	run := 0
	for run < i && l.text[i-1-run] == 0 {
		run++
	}
	if run < nulRun || run == i && p.start < 0 && l.offset == 0 { // at the very beginning there is nothing before it
		return false
	}
	*l = line{offset: l.offset + int64(i), text: l.text[i:], whole: true, first: true}
	p.blank = true
	return true
}
