package explain

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"
)

// isBinary tells data that no person wrote: NUL bytes outside UTF-16, or many
// control characters.
func isBinary(b []byte) bool {
	head := b[:min(len(b), 8192)]
	if utf16Order(head) != nil {
		return false
	}
	odd := 0
	for _, c := range head {
		switch {
		case c == 0:
			return true
		case c < 0x20 && !bytes.ContainsRune([]byte("\t\n\r\f\x1b"), rune(c)):
			odd++
		}
	}
	return odd*20 > len(head)
}

// utf16Order returns the decoder when b begins with a UTF-16 byte order mark:
// what Windows' own editor calls "Unicode".
func utf16Order(b []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return xunicode.UTF16(xunicode.LittleEndian, xunicode.ExpectBOM)
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return xunicode.UTF16(xunicode.BigEndian, xunicode.ExpectBOM)
	}
	return nil
}

// decode brings a file or paste to UTF-8: UTF-16 with a mark, ISO-2022-JP by
// its escapes, UTF-8 when it is valid, else Shift_JIS or EUC-JP when it reads
// as Japanese, else Windows-1252.
func decode(b []byte) string {
	if e := utf16Order(b); e != nil {
		return decodeAs(e, b)
	}
	if bytes.Contains(b, []byte("\x1b$")) {
		return decodeAs(japanese.ISO2022JP, b)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	if s := trimCut(b); utf8.Valid(s) {
		return string(s)
	}
	for _, e := range []encoding.Encoding{japanese.ShiftJIS, japanese.EUCJP} {
		if s := decodeAs(e, b); looksJapanese(s) {
			return s
		}
	}
	return decodeAs(charmap.Windows1252, b)
}

// trimCut drops a last character that the input limit cut in two.
func trimCut(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n < len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			return b[:len(b)-n]
		}
	}
	return b
}

func decodeAs(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// looksJapanese accepts a decoding that has kana and hardly any failed bytes.
func looksJapanese(s string) bool {
	kana, bad := 0, 0
	for _, r := range s {
		switch {
		case r == utf8.RuneError:
			bad++
		case unicode.In(r, unicode.Hiragana, unicode.Katakana) && (r < 0xFF61 || r > 0xFF9F):
			kana++
		}
	}
	return kana > 2 && bad*10 < kana
}

// clean brings text to the one form the readers work on: full-width and
// half-width forms unified (NFKC), every kind of quotation mark straight, line
// ends "\n", invisible characters and the "> " of mail quoting gone. Case and
// line breaks stay.
func clean(s string) string {
	if !plain(s) {
		s = norm.NFKC.String(strings.Map(straighten, s))
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	if strings.Contains(s, ">") {
		s = unquoteMail(s)
	}
	return strings.TrimSpace(s)
}

// plain tells whether s is printable ASCII with line ends and tabs.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x7f || c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

func straighten(r rune) rune {
	switch r {
	case '\n', '\r', '\t':
		return r
	case '‘', '’', '‚', '‛', '′', '`', '´', '＇', '‹', '›':
		return '\''
	case '“', '”', '„', '‟', '«', '»', '″', '＂', '「', '」', '『', '』', '｢', '｣', '〝', '〟', '〞', '﹁', '﹂':
		return '"'
	case '−', '–', '—', '‐', '‑', '‒', '－', '﹣':
		return '-'
	case '\u2028', '\u2029', '\u0085', '\v', '\f':
		return '\n'
	}
	if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
		return -1
	}
	return r
}

// unquoteMail strips the marks of quoted mail from the start of lines.
func unquoteMail(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for line := range strings.Lines(s) {
		for {
			rest := strings.TrimLeft(line, " \t")
			if !strings.HasPrefix(rest, ">") {
				break
			}
			line = strings.TrimPrefix(rest[1:], " ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// isCJK tells characters that are written without spaces between words.
func isCJK(r rune) bool {
	return r >= 0x3000 && (unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) || r <= 0x303f || r == 'ー')
}
