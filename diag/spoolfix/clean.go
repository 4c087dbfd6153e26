package spoolfix

import (
	"bufio"
	"context"
	"io"
)

// nulRun is how many NUL octets in a row were never written by a mail program.
const nulRun = 4

// withoutNulRuns takes out runs of NUL octets. A From line right behind one gets
// a line of its own.
func withoutNulRuns(r io.Reader) io.Reader {
	nuls := 0
	return &filter{r: bufio.NewReaderSize(r, 64<<10), step: func(in *bufio.Reader, out []byte) ([]byte, error) {
		b, err := in.ReadByte()
		if err == nil && b == 0 {
			nuls++
			return out, nil
		}
		if nuls > 0 && nuls < nulRun {
			out = append(out, make([]byte, nuls)...)
		}
		if nuls >= nulRun && b == 'F' {
			if rest, _ := in.Peek(4); string(rest) == "rom " {
				out = append(out, "\n\n"...)
			}
		}
		nuls = 0
		if err != nil {
			return out, err
		}
		return append(out, b), nil
	}}
}

// withoutCR makes LF of CRLF.
func withoutCR(r io.Reader) io.Reader {
	cr := false
	return &filter{r: bufio.NewReaderSize(r, 64<<10), step: func(in *bufio.Reader, out []byte) ([]byte, error) {
		b, err := in.ReadByte()
		if cr && (err != nil || b != '\n') {
			out = append(out, '\r')
		}
		cr = err == nil && b == '\r'
		if err != nil || cr {
			return out, err
		}
		return append(out, b), nil
	}}
}

// filter changes what it reads, a piece at a time.
type filter struct {
	r    *bufio.Reader
	step func(in *bufio.Reader, out []byte) ([]byte, error)
	buf  []byte
	out  []byte // of buf, not yet read
	err  error
}

func (f *filter) Read(p []byte) (int, error) {
	if len(f.out) == 0 {
		f.buf = f.buf[:0]
		for f.err == nil && len(f.buf) < 32<<10 {
			f.buf, f.err = f.step(f.r, f.buf)
		}
		f.out = f.buf
	}
	if len(f.out) == 0 {
		return 0, f.err
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// untilDone ends reading when the context ends.
func untilDone(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
