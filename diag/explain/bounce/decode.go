package bounce

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// decodeTransfer undoes base64 and quoted-printable, skipping over what does
// not belong there.
func decodeTransfer(b []byte, enc string) []byte {
	switch {
	case strings.HasPrefix(enc, "base64"):
		return decodeBase64(b)
	case strings.HasPrefix(enc, "quoted-printable"):
		return decodeQP(b)
	}
	return b
}

func decodeBase64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	for _, c := range b {
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' {
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return lineEnds(out[:n])
}

func decodeQP(b []byte) []byte {
	if bytes.IndexByte(b, '=') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		j := i + 1
		for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
			j++
		}
		if j == len(b) || b[j] == '\n' { // soft line break
			i = j
			continue
		}
		if i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, '=')
	}
	return lineEnds(out)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// charsets by the names that mail uses. Anything else is taken for what it
// looks like.
var charsets = map[string]encoding.Encoding{
	"iso-2022-jp": japanese.ISO2022JP, "csiso2022jp": japanese.ISO2022JP, "iso-2022-jp-1": japanese.ISO2022JP, "iso-2022-jp-ms": japanese.ISO2022JP, "cp50220": japanese.ISO2022JP, "cp50221": japanese.ISO2022JP,
	"shift_jis": japanese.ShiftJIS, "shift-jis": japanese.ShiftJIS, "sjis": japanese.ShiftJIS, "x-sjis": japanese.ShiftJIS, "windows-31j": japanese.ShiftJIS, "cp932": japanese.ShiftJIS, "ms932": japanese.ShiftJIS,
	"euc-jp": japanese.EUCJP, "eucjp": japanese.EUCJP, "x-euc-jp": japanese.EUCJP,
	"gb2312": simplifiedchinese.GB18030, "gbk": simplifiedchinese.GB18030, "gb18030": simplifiedchinese.GB18030, "hz-gb-2312": simplifiedchinese.HZGB2312,
	"big5": traditionalchinese.Big5, "euc-kr": korean.EUCKR, "ks_c_5601-1987": korean.EUCKR,
	"iso-8859-1": charmap.Windows1252, "latin1": charmap.Windows1252, "windows-1252": charmap.Windows1252,
	"iso-8859-2": charmap.ISO8859_2, "windows-1250": charmap.Windows1250, "iso-8859-5": charmap.ISO8859_5, "windows-1251": charmap.Windows1251,
	"iso-8859-7": charmap.ISO8859_7, "windows-1253": charmap.Windows1253, "iso-8859-9": charmap.ISO8859_9, "windows-1254": charmap.Windows1254,
	"iso-8859-15": charmap.ISO8859_15, "koi8-r": charmap.KOI8R, "koi8-u": charmap.KOI8U, "windows-1257": charmap.Windows1257, "iso-8859-13": charmap.ISO8859_13,
}

// toUTF8 decodes text. What the bytes show outranks what the label says: mail
// is often labelled ISO-2022-JP and holds EUC-JP, or says nothing at all.
func toUTF8(b []byte, charset string) string {
	high, esc := false, false
	for _, c := range b {
		if c >= 0x80 {
			high = true
			break
		}
		esc = esc || c == 0x1b
	}
	if !high && !esc {
		return string(b)
	}
	if bytes.Contains(b, []byte("\x1b$")) && !high {
		return decodeAs(japanese.ISO2022JP, b)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	if e := charsets[charset]; e != nil && e != japanese.ISO2022JP {
		return decodeAs(e, b)
	}
	best, most := "", 2
	for _, e := range []encoding.Encoding{japanese.EUCJP, japanese.ShiftJIS} {
		if s := decodeAs(e, b); kana(s) > most {
			best, most = s, kana(s)
		}
	}
	if best != "" {
		return best
	}
	return decodeAs(charmap.Windows1252, b)
}

// kana counts hiragana and katakana, less what failed to decode.
func kana(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case 0x3041 <= r && r <= 0x30fc:
			n++
		case r == utf8.RuneError || 0xff61 <= r && r <= 0xff9f: // half-width kana: what a wrong guess looks like
			n--
		}
	}
	return n
}

func decodeAs(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return strings.NewReader(toUTF8(b, strings.ToLower(charset))), nil
}

// endTag returns where the closing tag of that name begins, or where s ends.
func endTag(s, name string) int {
	for at := 0; ; at += 2 {
		i := strings.Index(s[at:], "</")
		if i < 0 {
			return len(s)
		}
		at += i
		if rest := s[at+2:]; len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
			return at
		}
	}
}

var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'", "&apos;", "'", "&nbsp;", " ", "&#160;", " ", "&amp;", "&")

// htmlText returns the words of an HTML body: tags out, line ends where blocks
// end, style and script skipped.
func htmlText(s string) string {
	var b strings.Builder
	b.Grow(len(s) / 4)
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(oneLine(s))
			break
		}
		b.WriteString(strings.ReplaceAll(s[:i], "\n", " "))
		s = s[i:]
		if strings.HasPrefix(s, "<!--") {
			_, s, _ = strings.Cut(s, "-->")
			continue
		}
		j := strings.IndexByte(s, '>')
		if j < 0 {
			break
		}
		tag := strings.ToLower(strings.Trim(s[1:j], "/ "))
		name, _, _ := strings.Cut(tag, " ")
		closing := s[1] == '/'
		s = s[j+1:]
		switch name {
		case "style", "script", "title":
			if !closing {
				s = s[endTag(s, name):]
			}
		case "br", "p", "div", "tr", "li", "h1", "h2", "h3", "table", "pre", "hr", "ul", "ol":
			b.WriteByte('\n')
		case "td", "th":
			if !closing {
				b.WriteByte(' ')
			}
		}
	}
	return entities.Replace(b.String())
}
