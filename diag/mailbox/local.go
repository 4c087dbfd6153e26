package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"mailsrv/server/store"
)

// OpenLocal opens a mailbox of a data directory; its history says that it was
// by who deleted something. A server that runs on it need
// not be asked: a message is one file, which is there or not. A POP3 session
// that is open meanwhile keeps its list, and is told that a deleted message is
// gone when it asks for it.
func OpenLocal(s store.Store, box store.Box, by store.By) (Box, error) {
	m, err := s.Open(box, by)
	if err != nil {
		return nil, err
	}
	return local{m}, nil
}

type local struct{ m store.Mailbox }

func (l local) Close() error { return l.m.Close() }

func (l local) List(context.Context) ([]Message, error) {
	out := []Message{}
	for i, m := range l.m.Messages() {
		out = append(out, Message{Number: i + 1, UID: m.UID, Size: m.Size})
	}
	return out, nil
}

func (l local) Head(ctx context.Context, m Message, lines int) ([]byte, error) {
	r, err := l.m.Read(m.Number - 1)
	if err != nil {
		return nil, &MessageError{m.Number, err}
	}
	defer r.Close()
	head, err := headOf(r, lines)
	if err != nil {
		return nil, &MessageError{m.Number, err}
	}
	return head, ctx.Err()
}

// maxHead is how much of a message is read for its header, in octets.
const maxHead = 1 << 20

// headOf reads a header, the empty line after it, and some lines of the body.
func headOf(r io.Reader, lines int) ([]byte, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxHead), 32<<10)
	var out bytes.Buffer
	for body, start := false, true; !body || lines > 0; {
		raw, err := in.ReadSlice('\n')
		out.Write(raw)
		if err == bufio.ErrBufferFull {
			start = false
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if body {
			lines--
		}
		body = body || start && len(bytes.TrimRight(raw, "\r\n")) == 0
		start = true
	}
	return out.Bytes(), nil
}

func (l local) Copy(ctx context.Context, m Message, w io.Writer) error {
	r, err := l.m.Read(m.Number - 1)
	if err != nil {
		return &MessageError{m.Number, err}
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return errors.Join(err, ctx.Err())
}

func (l local) Delete(_ context.Context, ms []Message) error {
	var which []int
	for _, m := range ms {
		which = append(which, m.Number-1)
	}
	return l.m.Delete(which)
}
