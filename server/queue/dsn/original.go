package dsn

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// maxHeader bounds how much of a message's header is read and returned.
const maxHeader = 64 << 10

// original is what a notice says of the message it is about.
type original struct {
	header    string // complete lines, without the empty one
	subject   string // decoded
	sent      string // its Date field
	messageID string // with its angle brackets
	eightBit  bool   // what is returned of it has octets above 127
}

// original reads the header, and looks through the rest if that is returned.
func (r *Report) original() (*original, error) {
	if _, err := r.Message.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	o := &original{}
	in := bufio.NewReaderSize(r.Message, 32<<10)
	var b strings.Builder
	for b.Len() < maxHeader {
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if line == "\r\n" || line == "" || b.Len()+len(line) > maxHeader {
			break
		}
		b.WriteString(line)
		if !strings.HasSuffix(line, "\r\n") {
			b.WriteString("\r\n")
		}
	}
	o.header = b.String()
	o.eightBit = !isASCII(o.header)
	for name, body := range fields(o.header) {
		switch strings.ToLower(name) {
		case "subject":
			o.subject = decodeWords(body)
		case "date":
			o.sent = printable(body)
		case "message-id":
			if isMessageID(body) {
				o.messageID = body
			}
		}
	}
	for r.Full && !o.eightBit {
		part, err := in.ReadSlice('\n')
		o.eightBit = !isASCII(string(part))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return o, nil
}

// returned writes the part with the message, or its header.
func (r *Report) returned(b *writer, o *original) error {
	kind, description := "text/rfc822-headers", "Header of the message"
	if r.Full {
		kind, description = "message/rfc822", "The message"
	}
	if r.global() {
		kind = "message/global-headers"
		if r.Full {
			kind = "message/global"
		}
	}
	b.field("Content-Description", description)
	b.field("Content-Type", kind)
	if o.eightBit {
		b.field("Content-Transfer-Encoding", "8bit")
	}
	b.line("")
	if !r.Full {
		b.put(o.header)
		b.line("")
		return b.err
	}
	if _, err := r.Message.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if b.err == nil {
		_, b.err = io.Copy(b.w, r.Message)
	}
	b.line("") // belongs to the boundary
	return b.err
}

// fields yields the fields of a header, unfolded.
func fields(header string) func(yield func(name, body string) bool) {
	return func(yield func(name, body string) bool) {
		name, body := "", ""
		for line := range strings.Lines(header) {
			line = strings.TrimRight(line, "\r\n")
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				body += " " + strings.TrimSpace(line)
				continue
			}
			if name != "" && !yield(name, strings.TrimSpace(body)) {
				return
			}
			name, body, _ = strings.Cut(line, ":")
		}
		if name != "" {
			yield(name, strings.TrimSpace(body))
		}
	}
}

var wordDecoder = mime.WordDecoder{CharsetReader: func(charset string, in io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(in), nil
}}

func decodeWords(s string) string {
	if d, err := wordDecoder.DecodeHeader(s); err == nil {
		s = d
	}
	return printable(s)
}

// printable is text on one line that can do no harm, and not too much of it.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\u202e' || c == '\ufffd' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\ufffd"))
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200]) + " ..."
	}
	return strings.TrimSpace(s)
}

func isMessageID(s string) bool {
	return len(s) > 2 && len(s) < 500 && s[0] == '<' && strings.IndexByte(s, '>') == len(s)-1 && isASCII(s) && !strings.ContainsAny(s, " \t")
}
