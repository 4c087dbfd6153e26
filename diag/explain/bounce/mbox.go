package bounce

import (
	"bufio"
	"bytes"
	"io"
	"iter"
)

// IsMbox tells whether a file that begins with head is an mbox: a "From " line
// with a header below it.
func IsMbox(head []byte) bool {
	return bytes.HasPrefix(head, []byte("From ")) && mboxLine(head)
}

// Mails yields the mails of an mbox one by one. Of a mail longer than limit
// bytes only the beginning is kept; whole tells. Memory stays that of one mail
// however long the file is. Reading ends at the first error of r.
func Mails(r io.Reader, limit int) iter.Seq2[[]byte, bool] {
	return func(yield func(mail []byte, whole bool) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		var mail []byte
		whole, lineStart, mayEnd := true, true, false
		for {
			if mayEnd && lineStart {
				if head, _ := br.Peek(512); IsMbox(head) {
					if !yield(mail, whole) {
						return
					}
					mail, whole = nil, true
				}
			}
			line, err := br.ReadSlice('\n')
			mayEnd = lineStart && endsMail(line)
			lineStart = err == nil
			if room := limit - len(mail); len(line) > room {
				line, whole = line[:room], false
			}
			mail = append(mail, line...)
			if err != nil && err != bufio.ErrBufferFull {
				break
			}
		}
		if len(mail) > 0 {
			yield(mail, whole)
		}
	}
}

// endsMail tells whether a mail may end with that line: an empty one, or the
// last delimiter of its parts.
func endsMail(line []byte) bool {
	line = bytes.TrimRight(line, "\r\n")
	return len(line) == 0 || bytes.HasPrefix(line, []byte("--")) && bytes.HasSuffix(line, []byte("--"))
}

// mboxLine tells whether b begins with "From sender date" and a header field
// below it: prose that begins a paragraph with "From" does not.
func mboxLine(b []byte) bool {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	next, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.Count(line, []byte(":")) >= 2 && fieldName(next) != ""
}
