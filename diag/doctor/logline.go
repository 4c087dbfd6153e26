package doctor

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// logLine is one line of mailsrv's own log, as log/slog writes it.
type logLine struct {
	at     time.Time
	fields map[string]string
	raw    string
}

func (l logLine) get(key string) string { return l.fields[key] }

// parseLogLine reads `time=... level=WARN msg="..." key=value ...`; ok is false
// for what is no such line.
func parseLogLine(line string) (l logLine, ok bool) {
	l = logLine{fields: map[string]string{}, raw: line}
	for rest := line; ; {
		rest = strings.TrimLeft(rest, " ")
		key, after, found := strings.Cut(rest, "=")
		if !found {
			break
		}
		value := after
		if strings.HasPrefix(after, `"`) {
			quoted, err := strconv.QuotedPrefix(after)
			if err != nil {
				return logLine{}, false
			}
			value, err = strconv.Unquote(quoted)
			if err != nil {
				return logLine{}, false
			}
			rest = after[len(quoted):]
		} else if value, rest, found = strings.Cut(after, " "); !found {
			rest = ""
		}
		if _, twice := l.fields[key]; !twice {
			l.fields[key] = value
		}
		if rest == "" {
			break
		}
	}
	at, err := time.Parse(time.RFC3339Nano, l.fields["time"])
	if err != nil || l.fields["level"] == "" || l.fields["msg"] == "" {
		return logLine{}, false
	}
	l.at = at
	return l, true
}

// maxLogTail is how much of the end of a log is read, in octets.
const maxLogTail = 16 << 20

// logTail is the end of a log.
type logTail struct {
	lines []logLine // since the time asked for
	first time.Time // of the first line in the file: how far back it goes
	whole bool      // what was read begins before the time asked for
}

// readLog reads the lines of the last days.
func readLog(path string, since time.Time) (logTail, error) {
	var t logTail
	f, err := os.Open(path)
	if err != nil {
		return t, err
	}
	defer f.Close()
	if first, err := bufio.NewReader(f).ReadString('\n'); err == nil {
		if l, ok := parseLogLine(strings.TrimRight(first, "\r\n")); ok {
			t.first = l.at
		}
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return t, err
	}
	from := max(0, size-maxLogTail)
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return t, err
	}
	r := bufio.NewReaderSize(io.LimitReader(f, size-from), 64<<10)
	if from > 0 {
		if _, err := r.ReadString('\n'); err != nil { // most likely half a line
			return t, nil
		}
	}
	t.whole = from == 0
	for {
		line, err := r.ReadString('\n')
		if l, ok := parseLogLine(strings.TrimRight(line, "\r\n")); ok {
			if l.at.Before(since) {
				t.whole = true
			} else {
				t.lines = append(t.lines, l)
			}
		}
		if err != nil {
			return t, nil // the end, or as far as it could be read
		}
	}
}
