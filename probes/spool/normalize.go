package spool

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
)

// localHeaders are the header lines that mail programs write into a message in
// the spool for themselves.
var localHeaders = [][]byte{[]byte("Status:"), []byte("X-Status:"), []byte("X-UIDL:"), []byte("X-Keywords:"), []byte("Content-Length:")}

func field(text []byte, name string) ([]byte, bool) {
	if len(text) < len(name) || !equalFold(text[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(text[len(name):]), true
}

func equalFold(a, b []byte) bool { return bytes.EqualFold(a, b) }

// hash is that of the message without the lines that do not count. A read error
// shows as a hash that nothing equals.
func hash(src io.ReaderAt, offset, length int64) [32]byte {
	h := sha256.New()
	_, _ = io.Copy(h, normalize(io.NewSectionReader(src, offset, length)))
	return [32]byte(h.Sum(nil))
}

// normalize leaves out local header lines, line ends at the very end, and the
// difference between LF and CRLF.
func normalize(r io.Reader) io.Reader {
	return &normalizer{r: bufio.NewReaderSize(r, 8<<10), header: true}
}

type normalizer struct {
	r       *bufio.Reader
	out     []byte // decided, not yet read
	ends    int    // line ends held back: they count only when something follows
	header  bool
	skip    bool // inside a line that does not count, or its folded rest
	inLine  bool // the last piece had no line end
	readErr error
}

func (n *normalizer) Read(b []byte) (int, error) {
	for len(n.out) == 0 {
		if n.readErr != nil {
			return 0, n.readErr
		}
		n.fill()
	}
	k := copy(b, n.out)
	n.out = n.out[k:]
	return k, nil
}

func (n *normalizer) fill() {
	raw, err := n.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		n.readErr = err
	}
	if len(raw) == 0 {
		return
	}
	whole := raw[len(raw)-1] == '\n'
	text := bytes.TrimRight(raw, "\r\n")
	if !whole && n.readErr == nil {
		text = raw // more of the line follows
	}
	if n.header && !n.inLine {
		n.headerLine(text)
	}
	n.inLine = !whole
	if n.skip {
		return
	}
	if len(text) > 0 {
		n.out = append(bytes.Repeat([]byte{'\n'}, n.ends), text...)
		n.ends = 0
	}
	if whole {
		n.ends++
	}
}

// headerLine decides whether a header line counts.
func (n *normalizer) headerLine(text []byte) {
	if len(text) == 0 {
		n.header, n.skip = false, false
		return
	}
	if text[0] == ' ' || text[0] == '\t' {
		return // folded: as the line before
	}
	n.skip = isLocal(text)
}

// isLocal tells whether a header line is one that does not count.
func isLocal(text []byte) bool {
	for _, name := range localHeaders {
		if _, ok := field(text, string(name)); ok {
			return true
		}
	}
	return false
}
