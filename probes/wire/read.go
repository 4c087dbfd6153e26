package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailsrv/probes/dial"
)

// maxLine is how many octets of a line are read. The protocols allow a reply
// 512 (RFC 5321 4.5.3.1.5, RFC 2449 section 4); real ones are longer at times.
const maxLine = 4096

// ProtocolError says that what came is not of the protocol. Word is its outcome
// word.
type ProtocolError struct{ Word, Text string }

func (e *ProtocolError) Error() string   { return e.Text }
func (e *ProtocolError) Outcome() string { return e.Word }

var errLineTooLong = &ProtocolError{dial.Garbage, fmt.Sprintf("the server's line is longer than %d octets", maxLine)}

// NewReader returns a reader for ReadLine.
func NewReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }

// ReadLine reads a line without its end. A line that the connection cut off
// comes with its error. The bytes are valid until the next read.
func ReadLine(r *bufio.Reader) ([]byte, error) {
	raw, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errLineTooLong
	}
	return TrimEnd(raw), err
}

// TrimEnd drops the line end, CRLF or LF.
func TrimEnd(line []byte) []byte {
	line, _ = bytes.CutSuffix(line, []byte("\n"))
	line, _ = bytes.CutSuffix(line, []byte("\r"))
	return line
}

// SpeaksTLS tells from the first bytes of an answer that the server expected a
// TLS handshake (RFC 8446 section 5.1: an alert or handshake record).
func SpeaksTLS(first []byte) error {
	if len(first) >= 2 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 0x03 {
		return &ProtocolError{dial.TLSExpected, "the server speaks TLS from the start"}
	}
	return nil
}

// Clean makes foreign text safe to show: no control characters, valid UTF-8.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// Shorten cuts text to be quoted in an error to 80 characters.
func Shorten(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
