package pop3

import (
	"bufio"
	"io"
)

// sendStuffed writes a message and the final ".", with a dot before each line
// that begins with one (RFC 1939 3). With lines of 0 or more it stops after the
// header, the blank line and so many lines of the body. It holds no more than
// a buffer, however long a line is.
func sendStuffed(w *bufio.Writer, message io.Reader, lines int) error {
	r := bufio.NewReaderSize(message, 32<<10)
	startsLine, inBody, last := true, false, byte('\n')
	for lines != 0 || !inBody {
		part, err := r.ReadSlice('\n')
		if len(part) > 0 {
			if startsLine && part[0] == '.' {
				if err := w.WriteByte('.'); err != nil {
					return err
				}
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
			blank := startsLine && (string(part) == "\r\n" || string(part) == "\n")
			last = part[len(part)-1]
			startsLine = last == '\n'
			switch {
			case inBody && startsLine && lines > 0:
				lines--
			case blank:
				inBody = true
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	// A damaged file may end in the middle of a line.
	if last != '\n' {
		if _, err := w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	_, err := w.WriteString(".\r\n")
	return err
}
