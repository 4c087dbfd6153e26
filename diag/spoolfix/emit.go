package spoolfix

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"mailsrv/probes/spool"
)

// mboxWriter writes messages one after another, each ended by an empty line, so
// that the next one begins where every reader looks for it.
type mboxWriter struct {
	ctx   context.Context
	w     *bufio.Writer
	n     int64 // octets written
	ends  int   // line ends at the end
	last  byte
	begun []begun
}

// begun is a message that was written.
type begun struct {
	offset int64
	hash   [32]byte
}

func newMboxWriter(ctx context.Context, w io.Writer) *mboxWriter {
	return &mboxWriter{ctx: ctx, w: bufio.NewWriterSize(w, 64<<10)}
}

func (m *mboxWriter) Write(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.w.Write(p)
	m.n += int64(n)
	for _, c := range p[max(0, n-4):n] {
		m.last = c
		switch c {
		case '\n':
			m.ends++
		case '\r':
		default:
			m.ends = 0
		}
	}
	return n, err
}

// message writes one.
func (m *mboxWriter) message(hash [32]byte, r io.Reader) error {
	m.begun = append(m.begun, begun{m.n, hash})
	m.ends = 0
	if _, err := io.Copy(m, r); err != nil {
		return err
	}
	for m.ends < 2 || m.last != '\n' {
		if _, err := m.Write([]byte("\n")); err != nil {
			return err
		}
	}
	return nil
}

// errProof: the file that was written is not what it should be. It is a fault
// of this program or of the disk; nothing is replaced then.
var errProof = errors.New("the new file did not pass the check; nothing was changed")

// prove looks at a written mailbox as every mail program would and makes sure
// that each message begins where it was written, with the content it should
// have.
func prove(s spool.Source, written []begun) ([]spool.Part, error) {
	starts := map[int64]bool{}
	for _, m := range s.Messages {
		starts[m.Offset] = true
	}
	var parts []spool.Part
	for i, b := range written {
		end := s.Size
		if i+1 < len(written) {
			end = written[i+1].offset
		}
		p := spool.Part{Offset: b.offset, Length: end - b.offset}
		if p.Hash = spool.Hash(s.Open(p)); !starts[b.offset] || p.Hash != b.hash {
			return nil, fmt.Errorf("message at octet %d: %w", b.offset, errProof)
		}
		parts = append(parts, p)
	}
	if len(written) == 0 && s.Size > 0 || len(written) > 0 && written[0].offset != 0 {
		return nil, errProof
	}
	return parts, nil
}

// withoutLength leaves the Content-Length field out of a message: it is wrong,
// and may hide what comes after it. With right it gets that value instead.
func withoutLength(r io.Reader, right int64) io.Reader {
	return &lengthFilter{r: bufio.NewReaderSize(r, 64<<10), right: right, header: true}
}

type lengthFilter struct {
	r      *bufio.Reader
	right  int64 // -1: none
	out    []byte
	header bool
	skip   bool // inside the field
	inLine bool
	err    error
}

func (l *lengthFilter) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		if !l.header {
			return l.r.Read(p)
		}
		l.line()
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

func (l *lengthFilter) line() {
	raw, err := l.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		l.err = err
	}
	if !l.inLine {
		text := bytes.TrimRight(raw, "\r\n")
		folded := len(text) > 0 && (text[0] == ' ' || text[0] == '\t')
		switch {
		case len(text) == 0 && len(raw) > 0:
			l.header, l.skip = false, false
		case !folded:
			was := l.skip
			l.skip = len(text) >= len(lengthField) && bytes.EqualFold(text[:len(lengthField)], lengthField)
			if l.skip && !was && l.right >= 0 {
				l.out = append(l.out, fmt.Sprintf("Content-Length: %d%s", l.right, raw[len(text):])...)
				l.right = -1
			}
		}
	}
	l.inLine = !bytes.HasSuffix(raw, []byte("\n"))
	if !l.skip {
		l.out = append(l.out, raw...)
	}
}

var lengthField = []byte("Content-Length:")
