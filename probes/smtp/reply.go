package smtp

import (
	"bufio"
	"fmt"
	"regexp"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Limits of what a server may say. RFC 5321 section 4.5.3.1.5 allows a reply
// line 512 octets; real ones are longer at times.
const (
	maxLine  = 4096 // octets of a reply line
	maxLines = 128  // lines of one reply
)

// Reply is what a server answered.
type Reply struct {
	Code     int      `json:"code"`               // 0: no reply
	Enhanced string   `json:"enhanced,omitempty"` // RFC 3463 code of the first line: "5.7.1"
	Lines    []string `json:"lines,omitempty"`    // without codes; control characters replaced
}

// Class is the first digit of the code.
func (r Reply) Class() int { return r.Code / 100 }

// Text is the reply's words in one line.
func (r Reply) Text() string { return strings.Join(r.Lines, " ") }

// String is the reply in one line, code first.
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	if r.Enhanced != "" {
		return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text())
	}
	return fmt.Sprintf("%d %s", r.Code, r.Text())
}

// readReply reads one reply, RFC 5321 section 4.2. Each line is handed to see
// as it comes, cleaned, code included. The reader's buffer is the limit of a
// line.
func readReply(r *bufio.Reader, see func(line string)) (Reply, error) {
	var reply Reply
	for n := 0; ; n++ {
		if n == maxLines {
			return reply, &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("the server's reply has more than %d lines", maxLines)}
		}
		raw, err := wire.ReadLine(r)
		if n == 0 {
			if terr := wire.SpeaksTLS(raw); terr != nil {
				return reply, terr
			}
		}
		if len(raw) > 0 || err == nil {
			line := wire.Clean(string(raw))
			see(line)
			if err == nil {
				done, perr := reply.add(line)
				if done || perr != nil {
					return reply, perr
				}
			}
		}
		if err != nil {
			return reply, err
		}
	}
}

// add takes one line into the reply; done tells that it was the last.
func (r *Reply) add(line string) (done bool, err error) {
	code, rest, sep, ok := splitLine(line)
	if !ok {
		return false, &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("%q is no SMTP reply", wire.Shorten(line))}
	}
	if r.Code != 0 && code != r.Code {
		return false, &wire.ProtocolError{Word: dial.Garbage, Text: fmt.Sprintf("a reply that began with %d goes on with %d", r.Code, code)}
	}
	r.Code = code
	if code >= 200 {
		if m := enhanced.FindString(rest); m != "" {
			if r.Enhanced == "" {
				r.Enhanced = strings.TrimSpace(m)
			}
			rest = rest[len(m):]
		}
	}
	r.Lines = append(r.Lines, rest)
	return sep != '-', nil
}

var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}(?: |$)`)

func splitLine(line string) (code int, rest string, sep byte, ok bool) {
	if len(line) < 3 {
		return 0, "", 0, false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, "", 0, false
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, "", 0, false
	}
	if len(line) == 3 {
		return code, "", ' ', true
	}
	sep = line[3]
	if sep != ' ' && sep != '-' {
		return 0, "", 0, false
	}
	return code, line[4:], sep, true
}
