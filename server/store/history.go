package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailsrv/server/safeio"
)

// The history of a mailbox is the file "history" beside the Maildir: one JSON
// object on a line for each message that was deleted or brought back, by POP3
// or by a command. What other programs do to the files does not stand there.

// Event is one line of a history.
type Event struct {
	Time time.Time `json:"time"`
	What What      `json:"what"`
	UID  string    `json:"uid"`
	Size int64     `json:"size"` // octets with CRLF line ends
	By   By        `json:"by"`
	Fields
}

// What happened to a message.
type What string

// What can happen to a message. Deleted is written before it is done: when the
// server was killed in between, the message is still there.
const (
	Deleted  What = "deleted"
	Restored What = "restored"
)

// Fields are those of a message's header that tell what it was, as they stand
// there, unfolded, each cut at 500 octets.
type Fields struct {
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Date      string `json:"date,omitempty"`
	MessageID string `json:"message_id,omitempty"`
}

const (
	maxField   = 500
	maxHeader  = 64 << 10 // octets of a message that are searched for fields
	maxHistory = 8 << 20  // octets, some 20,000 messages, after which a history is set aside as "history.old"
)

func (s *Maildirs) historyFile(box Box) string { return filepath.Join(Dir(s.dataDir, box), "history") }

// record adds events durably. Each begins a line of its own, also after one
// that a crash has cut off.
func (s *Maildirs) record(box Box, events []Event) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	file := s.historyFile(box)
	if info, err := os.Stat(file); err == nil && info.Size() > maxHistory {
		if err := os.Rename(file, file+".old"); err != nil {
			return DiskError(err)
		}
	}
	return DiskError(safeio.Append(file, b.Bytes(), 0o600))
}

// History returns what was deleted and brought back, oldest first. Lines that
// are damaged are left out and counted.
func (s *Maildirs) History(box Box) (events []Event, damaged int, err error) {
	for _, file := range []string{s.historyFile(box) + ".old", s.historyFile(box)} {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		some, bad, err := readHistory(f)
		_ = f.Close()
		if err != nil {
			return nil, 0, err
		}
		events, damaged = append(events, some...), damaged+bad
	}
	return events, damaged, nil
}

func readHistory(r io.Reader) (events []Event, damaged int, err error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var e Event
			if json.Unmarshal(line, &e) != nil || e.What != Deleted && e.What != Restored {
				damaged++
			} else {
				events = append(events, e)
			}
		}
		if err == io.EOF {
			return events, damaged, nil
		}
		if err != nil {
			return events, damaged, err
		}
	}
}

// fields reads the header of message i. What cannot be read has none.
func (m *mailbox) fields(i int) Fields {
	r, err := m.Read(i)
	if err != nil {
		return Fields{}
	}
	defer r.Close()
	return readFields(r)
}

func readFields(r io.Reader) (f Fields) {
	wanted := map[string]*string{"from": &f.From, "to": &f.To, "subject": &f.Subject, "date": &f.Date, "message-id": &f.MessageID}
	in := bufio.NewReaderSize(io.LimitReader(r, maxHeader), 4<<10)
	var field *string // that a folded line goes on with
	for {
		raw, err := in.ReadSlice('\n')
		line := strings.TrimRight(string(raw), "\r\n")
		switch name, value, ok := strings.Cut(line, ":"); {
		case line == "" && err == nil:
			return f
		case line != "" && (line[0] == ' ' || line[0] == '\t'):
			if field != nil {
				*field = text(*field + " " + strings.TrimLeft(line, " \t"))
			}
		case ok:
			field = wanted[strings.ToLower(name)]
			if field != nil && *field != "" {
				field = nil // the first of several counts
			}
			if field != nil {
				*field = text(strings.Trim(value, " \t"))
			}
		}
		for err == bufio.ErrBufferFull {
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			return f
		}
	}
}

// text makes a field fit for a line of the history.
func text(s string) string {
	s = s[:min(len(s), maxField)]
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\x1b' || r == 0x7f { // ESC is how ISO-2022-JP changes alphabets
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
