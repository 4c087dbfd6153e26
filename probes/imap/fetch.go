package imap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"mailsrv/probes/dial"
	"mailsrv/probes/wire"
)

// Message is what FETCH tells of a message without sending it.
type Message struct {
	Number int
	UID    uint32 // 0: not told
	Size   int64  // octets
}

// perFetch is how many messages are asked about at a time.
const perFetch = 1000

// Sizes lists the messages from 1 to n of the open mailbox.
func (c *Conn) Sizes(n int) ([]Message, error) {
	var out []Message
	for from := 1; from <= n; from += perFetch {
		line := fmt.Sprintf("FETCH %d:%d (UID RFC822.SIZE)", from, min(n, from+perFetch-1))
		if _, err := c.command(StageList, line, line, func(line string) {
			if m, ok := parseMessage(line); ok {
				out = append(out, m)
			}
		}, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseMessage reads "2 FETCH (UID 7 RFC822.SIZE 1234)", in any order of items.
func parseMessage(line string) (m Message, ok bool) {
	f := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(strings.ToUpper(line)))
	if len(f) < 3 || f[1] != "FETCH" {
		return m, false
	}
	var err error
	if m.Number, err = strconv.Atoi(f[0]); err != nil || m.Number < 1 {
		return m, false
	}
	for i, word := range f[:len(f)-1] {
		switch word {
		case "UID":
			uid, err := strconv.ParseUint(f[i+1], 10, 32)
			if err == nil {
				m.UID = uint32(uid)
			}
		case "RFC822.SIZE":
			if m.Size, err = strconv.ParseInt(f[i+1], 10, 64); err == nil && m.Size >= 0 {
				ok = true
			}
		}
	}
	return m, ok
}

// Fetch fetches a message of at most max octets, which does not count as read.
// Progress of at least 1 KiB within the step's limit keeps it going.
func (c *Conn) Fetch(n int, max int64) ([]byte, error) {
	return c.section(n, "BODY.PEEK[]", max)
}

// Header fetches the header of a message, of at most max octets.
func (c *Conn) Header(n int, max int64) ([]byte, error) {
	return c.section(n, "BODY.PEEK[HEADER]", max)
}

// Beginning fetches the first octets of what comes after the header.
func (c *Conn) Beginning(n int, octets int64) ([]byte, error) {
	return c.section(n, fmt.Sprintf("BODY.PEEK[TEXT]<0.%d>", octets), octets)
}

// short is a section that came without a literal, RFC 9051 section 4.3.
var short = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\bBODY\[[^\]]*\](?:<\d+>)? (NIL|"(?:[^"\\]|\\.)*")`)
})

func (c *Conn) section(n int, item string, max int64) ([]byte, error) {
	line := fmt.Sprintf("FETCH %d %s", n, item)
	var msg bytes.Buffer
	found := false
	before := int64(0)
	reply, err := c.command(StageRetr, line, line, func(line string) {
		m := short().FindStringSubmatch(line)
		if m == nil || found || !strings.HasPrefix(line, strconv.Itoa(n)+" ") {
			return
		}
		found = true
		if text, quoted := strings.CutPrefix(m[1], `"`); quoted {
			msg.WriteString(strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(text, `"`)))
		}
	}, func(size int64, r *bufio.Reader) error {
		if found {
			return skip(size, r)
		}
		if size > max {
			return &wire.ProtocolError{Word: "too-large", Text: fmt.Sprintf("the message has %d octets, more than the %d asked for", size, max)}
		}
		found = true
		// What came in one piece with the announcement belongs to the message.
		before = c.Limit() - int64(r.Buffered())
		const progress = 1 << 10
		for left := size; left > 0; {
			got, err := io.CopyN(&msg, r, min(left, progress))
			if left -= got; err != nil {
				return err
			}
			if c.Received() >= before+progress {
				before = c.Limit()
			}
		}
		return nil
	})
	switch e := As(err); {
	case e != nil && found && e.Err != nil:
		e.How = c.How(e.Err, before)
		c.Say("S", StageRetr, fmt.Sprintf("(%d octets, then no more)", msg.Len()))
	case err == nil && !found:
		err = &StageError{Stage: StageRetr, How: dial.Permanent, Err: errors.New("the server sends no message"), Reply: reply}
	}
	return msg.Bytes(), err
}

// ErrOthersMarked says that EXPUNGE would delete more than what was asked for.
var ErrOthersMarked = errors.New("other messages are marked as deleted, too, and this server can only delete all of them together (no UIDPLUS): let a mail program expunge or unmark them first")

// Delete deletes messages of the mailbox that Select opened, and no others.
func (c *Conn) Delete(uids []uint32) error {
	var list []string
	wanted := map[string]bool{}
	for _, uid := range uids {
		word := strconv.FormatUint(uint64(uid), 10)
		list, wanted[word] = append(list, word), true
	}
	set := strings.Join(list, ",")
	run := func(line string, see func(string)) error {
		_, err := c.command(StageDele, line, line, see, nil)
		return err
	}
	plus := c.Has("UIDPLUS")
	if !plus {
		others := false
		if err := run("UID SEARCH DELETED", func(line string) {
			if f := strings.Fields(line); len(f) > 0 && strings.EqualFold(f[0], "SEARCH") {
				for _, uid := range f[1:] {
					others = others || !wanted[uid]
				}
			}
		}); err != nil {
			return err
		}
		if others {
			return &StageError{Stage: StageDele, How: "invalid", Err: ErrOthersMarked}
		}
	}
	if err := run("UID STORE "+set+` +FLAGS.SILENT (\Deleted)`, nil); err != nil {
		return err
	}
	if plus {
		return run("UID EXPUNGE "+set, nil) // RFC 4315 section 2.1
	}
	return run("EXPUNGE", nil)
}
