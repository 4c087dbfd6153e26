package store

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

// crlf reads a file whose lines may end with LF alone as mail that goes over
// the wire: CRLF everywhere, also at the end.
type crlf struct {
	r    *bufio.Reader
	last byte
	any  bool
	held []byte // still to be returned
	err  error
}

func newCRLF(r io.Reader) *crlf { return &crlf{r: bufio.NewReaderSize(r, 32<<10)} }

func (c *crlf) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(c.held) > 0 {
			k := copy(p[n:], c.held)
			c.held, n = c.held[k:], n+k
			continue
		}
		if c.err != nil || n > 0 && c.r.Buffered() == 0 {
			break
		}
		b, err := c.r.ReadByte()
		switch {
		case err != nil:
			c.err = err
			if err == io.EOF && c.any && c.last != '\n' {
				c.held = []byte("\r\n")
				c.last = '\n'
			}
			continue
		case b == '\n' && c.last != '\r':
			c.held = []byte("\r\n")
		default:
			p[n] = b
			n++
		}
		c.last, c.any = b, true
	}
	if n == 0 && len(p) > 0 {
		return 0, c.err
	}
	return n, nil
}

// wireSize counts what newCRLF would return, and what r holds.
func wireSize(r io.Reader) (size, raw int64, err error) {
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	last := byte('\n') // an empty file needs no line end
	for {
		n, err := r.Read(*buf)
		b := (*buf)[:n]
		raw += int64(n)
		// Each LF without CR before it gets one.
		for at := 0; ; {
			i := bytes.IndexByte(b[at:], '\n')
			if i < 0 {
				break
			}
			before := last
			if at += i; at > 0 {
				before = b[at-1]
			} else if raw == int64(n) {
				before = 0 // the very first octet
			}
			if before != '\r' {
				size++
			}
			at++
		}
		if n > 0 {
			last = b[n-1]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, 0, err
		}
	}
	if last != '\n' {
		size += 2
	}
	return size + raw, raw, nil
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 32<<10)
	return &b
}}
