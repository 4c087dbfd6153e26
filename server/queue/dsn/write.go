package dsn

import (
	"bufio"
	"encoding/base64"
	"strings"
)

// writer writes lines, and remembers the first error.
type writer struct {
	w   *bufio.Writer
	err error
}

func (b *writer) put(s string) {
	if b.err == nil {
		_, b.err = b.w.WriteString(s)
	}
}

func (b *writer) line(s string) {
	b.put(s)
	b.put("\r\n")
}

func (b *writer) field(name, body string) { b.line(name + ": " + body) }

func (b *writer) flush() error {
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.err
}

// text writes a part of plain text, with LF for line ends: as it is where that
// is possible, else in base64.
func (b *writer) text(text string) {
	b.field("Content-Description", "Notification")
	b.field("Content-Type", "text/plain; charset=utf-8")
	plain := isASCII(text)
	for line := range strings.Lines(text) {
		plain = plain && len(line) < 990
	}
	text = strings.ReplaceAll(text, "\n", "\r\n")
	if plain {
		b.line("")
		b.put(text)
		return
	}
	b.field("Content-Transfer-Encoding", "base64")
	b.line("")
	encoded := base64.StdEncoding.EncodeToString([]byte(text))
	for len(encoded) > 76 {
		b.line(encoded[:76])
		encoded = encoded[76:]
	}
	b.line(encoded)
}

// wrap breaks text into lines of at most width columns, each begun with
// indent. East Asian characters take two columns and may be parted anywhere,
// but no line begins with a closing mark.
func wrap(indent string, width int, text string) string {
	var b strings.Builder
	for _, line := range lines(width-len(indent), text) {
		b.WriteString(indent + line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// bullet is wrap for one entry of a list.
func bullet(width int, text string) string {
	return strings.Replace(wrap("        ", width, text), "        ", "      - ", 1)
}

func lines(width int, text string) []string {
	var out []string
	var line strings.Builder
	column := 0
	for _, piece := range pieces(text) {
		columns := 0
		for _, c := range piece {
			columns += runeWidth(c)
		}
		if column > 0 && column+columns > width && strings.TrimSpace(piece) != "" {
			out = append(out, strings.TrimRight(line.String(), " "))
			line.Reset()
			column = 0
		}
		if column == 0 && strings.TrimSpace(piece) == "" {
			continue
		}
		line.WriteString(piece)
		column += columns
	}
	if line.Len() > 0 {
		out = append(out, strings.TrimRight(line.String(), " "))
	}
	return out
}

// pieces parts text where a line may be broken.
func pieces(text string) []string {
	const closing = "、。，．」』）】〉》・：；？！ー々ゃゅょっぁぃぅぇぉャュョッァィゥェォ,.)]"
	var out []string
	wide := false
	for _, c := range text {
		w := runeWidth(c) == 2
		n := len(out)
		joins := n > 0 && (strings.ContainsRune(closing, c) || strings.HasSuffix(out[n-1], "「") || strings.HasSuffix(out[n-1], "（") ||
			!w && !wide && (c == ' ') == (out[n-1] == " "))
		if joins {
			out[n-1] += string(c)
		} else {
			out = append(out, string(c))
		}
		wide = w
	}
	return out
}

func runeWidth(c rune) int {
	if c >= 0x1100 && (c < 0x2000 || c >= 0x2e80) && c < 0x3fffe && (c < 0xff61 || c > 0xffdc) {
		return 2
	}
	return 1
}
