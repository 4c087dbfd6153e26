package pop3

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailsrv/probes/dial"
)

// Limits of what a server may say. RFC 2449 section 4 allows a reply line 512
// octets; real ones are longer at times.
const (
	maxLine  = 4096      // octets of a reply line
	maxLines = 1_000_000 // lines of a listing
)

// Reply is what a server answered.
type Reply struct {
	OK   bool   `json:"ok"`
	Code string `json:"code,omitempty"` // response code of RFC 2449 and 3206: "IN-USE", "AUTH", "SYS/TEMP"
	Text string `json:"text"`           // the words after +OK or -ERR and the code; control characters replaced
	Raw  string `json:"raw"`            // the whole line, cleaned; empty: no reply
}

// protocolError is a reply that is not POP3.
type protocolError struct{ outcome, text string }

func (e *protocolError) Error() string   { return e.text }
func (e *protocolError) Outcome() string { return e.outcome }

var errLineTooLong = &protocolError{dial.Garbage, fmt.Sprintf("the server's line is longer than %d octets", maxLine)}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }

// readLine reads a line without its end. The reader's buffer is its limit. A
// line that the connection cut off comes with its error.
func readLine(r *bufio.Reader) ([]byte, error) {
	raw, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errLineTooLong
	}
	raw = trimEnd(raw)
	return raw, err
}

func trimEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}

// readReply reads the first line of an answer, RFC 1939 section 3. The line is
// handed to see as it came, cleaned.
func readReply(r *bufio.Reader, see func(line string)) (Reply, error) {
	raw, err := readLine(r)
	if len(raw) >= 2 && (raw[0] == 0x15 || raw[0] == 0x16) && raw[1] == 0x03 {
		return Reply{}, &protocolError{dial.TLSExpected, "the server speaks TLS from the start"}
	}
	if len(raw) == 0 && err != nil {
		return Reply{}, err
	}
	line := clean(string(raw))
	see(line)
	if err != nil {
		return Reply{Raw: line}, err
	}
	return parseReply(line)
}

func parseReply(line string) (Reply, error) {
	reply := Reply{Raw: line}
	word, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(word) {
	case "+OK":
		reply.OK = true
	case "-ERR":
	default:
		return reply, &protocolError{dial.Garbage, fmt.Sprintf("%q is no POP3 reply", shorten(line))}
	}
	if strings.HasPrefix(rest, "[") {
		if code, text, ok := strings.Cut(rest[1:], "]"); ok && !strings.ContainsAny(code, " [<") && code != "" {
			reply.Code, rest = strings.ToUpper(code), strings.TrimSpace(text)
		}
	}
	reply.Text = rest
	return reply, nil
}

// how names the way a server refused, by its response code.
func (r Reply) how() string {
	switch r.Code {
	case "IN-USE":
		return dial.InUse
	case "SYS/TEMP", "LOGIN-DELAY", "SYS", "UNAVAILABLE":
		return dial.Temporary
	}
	return dial.Permanent
}

// readListing reads lines up to the final dot, which is not returned, and
// undoes the doubling of dots, RFC 1939 section 3.
func readListing(r *bufio.Reader, take func(line string)) error {
	for range maxLines {
		raw, err := readLine(r)
		if err != nil {
			return unexpectedEnd(err)
		}
		if len(raw) > 0 && raw[0] == '.' {
			if len(raw) == 1 {
				return nil
			}
			raw = raw[1:]
		}
		take(clean(string(raw)))
	}
	return &protocolError{dial.Garbage, fmt.Sprintf("the server's list has more than %d lines", maxLines)}
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// clean makes foreign text safe to show: no control characters, valid UTF-8.
func clean(s string) string {
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

func shorten(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
