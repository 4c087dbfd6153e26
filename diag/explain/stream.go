package explain

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"mailsrv/codes"
)

// MaxLine is how many bytes of one line of a log are looked at.
const MaxLine = 64 << 10

// IsLog tells by its first lines whether a text is a server's log. A last line
// that is cut off does not matter.
func IsLog(head []byte) bool {
	if isMail(head) || utf16Order(head) != nil || isBinary(head) {
		return false
	}
	var t tally
	for line := range strings.Lines(clean(decode(head))) {
		if !t.add(line) {
			return false
		}
	}
	return t.isLog()
}

// ExplainLog reads a log of any length in constant memory and says what its
// troubled lines come down to. read, when it is not nil, is told now and then
// how many bytes have been read.
func ExplainLog(r io.Reader, lang codes.Lang, read func(bytes int64)) (Result, error) {
	t := &tally{}
	br := bufio.NewReaderSize(r, MaxLine)
	total, told := int64(0), int64(0)
	for {
		line, err := br.ReadSlice('\n')
		total += int64(len(line))
		t.add(logLine(line))
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line without end
			var n int
			n, err = discardLine(br)
			total += int64(n)
		}
		if read != nil && (total-told >= 1<<20 || err != nil) {
			told = total
			read(total)
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Result{}, err
		}
	}
	t.flush()
	f := &facts{kind: KindLog, tally: t}
	return f.result(lang), nil
}

// logLine brings a line to the form that the readers work on.
func logLine(line []byte) string {
	if utf8.Valid(line) && plainLine(line) {
		return string(line)
	}
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	return string(indent) + clean(decode(line))
}

// plainLine tells printable ASCII.
func plainLine(line []byte) bool {
	for _, c := range bytes.TrimRight(line, "\r\n") {
		if c >= 0x7f || c < 0x20 && c != '\t' {
			return false
		}
	}
	return true
}

func discardLine(br *bufio.Reader) (int, error) {
	rest, err := br.ReadSlice('\n')
	return len(rest), err
}
