package pop3

import (
	"bufio"
	"io"
	"sync"
)

// paceEvery is after how many octets a sender looks at the clock.
const paceEvery = 16 << 10

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// sendStuffed writes a message and the final ".", with a dot before each line
// that begins with one (RFC 1939 3), and tells how many octets of the message
// were sent. With lines of 0 or more it stops after the header, the blank line
// and so many lines of the body. It holds no more than a buffer, however long a
// line is. pace is asked now and then whether to go on.
func sendStuffed(w *bufio.Writer, message io.Reader, lines int, pace func(sent int64) error) (sent int64, err error) {
	r, _ := readers.Get().(*bufio.Reader)
	r.Reset(message)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	startsLine, inBody, last := true, false, byte('\n')
	asked := int64(0)
	for lines != 0 || !inBody {
		part, err := r.ReadSlice('\n')
		if len(part) > 0 {
			if startsLine && part[0] == '.' {
				if err := w.WriteByte('.'); err != nil {
					return sent, err
				}
			}
			if _, err := w.Write(part); err != nil {
				return sent, err
			}
			sent += int64(len(part))
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
			return sent, err
		}
		if sent-asked >= paceEvery {
			if err := pace(sent); err != nil {
				return sent, err
			}
			asked = sent
		}
	}
	// A damaged file may end in the middle of a line.
	if last != '\n' {
		if _, err := w.WriteString("\r\n"); err != nil {
			return sent, err
		}
	}
	_, err = w.WriteString(".\r\n")
	return sent, err
}
