package pop3

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
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

func (r Reply) String() string { return r.Raw }

// readReply reads the first line of an answer, RFC 1939 section 3. The line is
// handed to see as it came, cleaned.
func readReply(r *bufio.Reader, see func(line string)) (Reply, error) {
	raw, err := wire.ReadLine(r)
	if terr := wire.SpeaksTLS(raw); terr != nil {
		return Reply{}, terr
	}
	if len(raw) == 0 && err != nil {
		return Reply{}, err
	}
	line := wire.Clean(string(raw))
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
		return reply, &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("%q is no POP3 reply", wire.Shorten(line))}
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
		raw, err := wire.ReadLine(r)
		if err != nil {
			return unexpectedEnd(err)
		}
		if len(raw) > 0 && raw[0] == '.' {
			if len(raw) == 1 {
				return nil
			}
			raw = raw[1:]
		}
		take(wire.Clean(string(raw)))
	}
	return &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("the server's list has more than %d lines", maxLines)}
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
