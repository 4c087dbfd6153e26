package imap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// maxLines is how many lines one answer may have.
const maxLines = 10_000

var errTooManyLines = &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("the server's answer has more than %d lines", maxLines)}

// The words of a status response, RFC 9051 section 7.1.
const (
	OK      = "OK"
	No      = "NO"
	Bad     = "BAD"
	Bye     = "BYE"
	Preauth = "PREAUTH"
)

// Reply is one line of the server.
type Reply struct {
	Tag    string `json:"tag"`              // "*" for what belongs to no command, "+" when the server waits for more
	Status string `json:"status,omitempty"` // OK, NO, BAD, BYE, PREAUTH; empty for data
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"` // response code: "AUTHENTICATIONFAILED", "CAPABILITY IMAP4rev2"
	Text   string `json:"text"`           // the words after status and code; control characters replaced
	Raw    string `json:"raw"`            // the whole line, cleaned; empty: no reply
}

func (r Reply) String() string { return r.Raw }

// how names the way a server refused, by its status and response code (RFC
// 5530).
func (r Reply) how() string {
	word, _, _ := strings.Cut(r.Code, " ")
	switch word {
	case "INUSE":
		return dial.InUse
	case "UNAVAILABLE", "SERVERBUG", "LIMIT":
		return dial.Temporary
	}
	if r.Status == Bye {
		return dial.Temporary
	}
	return dial.Permanent
}

// literals takes the octets of a literal, which it must read whole.
type literals func(size int64, r *bufio.Reader) error

// skip is what happens to literals that nobody asked for.
func skip(size int64, r *bufio.Reader) error {
	const most = 1 << 20
	if size > most {
		return &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("the server sends %d octets that nobody asked for", size)}
	}
	_, err := io.CopyN(io.Discard, r, size)
	return err
}

// readReply reads one line with its literals, of which only the announcement
// stands in the reply. The line is handed to see as it came, cleaned.
func readReply(r *bufio.Reader, see func(line string), take literals) (Reply, error) {
	if take == nil {
		take = skip
	}
	var whole strings.Builder
	for range maxLines {
		raw, err := wire.ReadLine(r)
		if terr := wire.SpeaksTLS(raw); terr != nil && whole.Len() == 0 {
			return Reply{}, terr
		}
		size, literal := literalAt(raw)
		whole.WriteString(wire.Clean(string(raw)))
		if err == nil && literal && whole.Len() < maxReply {
			if err = take(size, r); err == nil {
				continue
			}
		}
		line := whole.String()
		if line == "" && err != nil {
			return Reply{}, err
		}
		see(line)
		if err != nil {
			return Reply{Raw: line}, err
		}
		return parseReply(line)
	}
	return Reply{}, errTooManyLines
}

// maxReply is how many octets a line may have besides its literals.
const maxReply = 64 << 10

// literalAt reads the announcement of a literal at the end of a line, RFC 9051
// section 4.3: "{123}", or "{123+}".
func literalAt(line []byte) (size int64, ok bool) {
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false
	}
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false
	}
	digits := strings.TrimSuffix(string(line[i+1:len(line)-1]), "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	return size, err == nil
}

func parseReply(line string) (Reply, error) {
	reply := Reply{Raw: line}
	garbage := &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("%q is no IMAP reply", wire.Shorten(line))}
	tag, rest, ok := strings.Cut(line, " ")
	if tag == "+" {
		reply.Tag, reply.Text = "+", rest
		return reply, nil
	}
	if !ok || tag == "" || tag != "*" && !isTag(tag) {
		return reply, garbage
	}
	word, text, _ := strings.Cut(rest, " ")
	switch status := strings.ToUpper(word); status {
	case OK, No, Bad, Bye, Preauth:
		reply.Tag, reply.Status, reply.OK = tag, status, status == OK || status == Preauth
	default:
		if tag != "*" {
			return reply, garbage
		}
		reply.Tag, reply.Text = tag, rest
		return reply, nil
	}
	if strings.HasPrefix(text, "[") {
		if code, after, ok := strings.Cut(text[1:], "]"); ok && code != "" {
			reply.Code, text = strings.ToUpper(code), strings.TrimSpace(after)
		}
	}
	reply.Text = text
	return reply, nil
}

// isTag tells the tags that we give: a number after a letter.
func isTag(s string) bool {
	return len(s) > 1 && s[0] == 'a' && strings.Trim(s[1:], "0123456789") == ""
}
