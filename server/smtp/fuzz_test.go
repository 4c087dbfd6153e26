package smtp

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailsrv/server/conn"
)

// FuzzData holds the reader of message content against a plain one that knows
// only the rule: the end is CRLF, dot, CRLF.
func FuzzData(f *testing.F) {
	for _, s := range []string{".\r\n", "a\r\n.\r\n", "..\r\n.b\r\n.\r\nrest", "a\n.\r\n", "a\r.\r\n.\r\n", "\r\n.\n\r\n.\r\n", "a\r\r\n.\r\n"} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 16+size&63)
		d := &dataReader{r: r}
		var l lines
		var got []byte
		var err error
		for end := false; !end && err == nil; {
			var chunk []byte
			chunk, end, err = d.next(&l)
			got = append(got, chunk...)
			l.look(chunk)
		}
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		used := in[:len(in)-len(rest)]
		if int64(len(used)) != d.taken {
			t.Errorf("%q: taken %d, used %d", in, d.taken, len(used))
		}
		content, ok := bytes.CutSuffix(used, []byte(".\r\n"))
		if !ok || len(content) > 0 && !bytes.HasSuffix(content, []byte("\r\n")) || bytes.HasSuffix(content, []byte("\r\r\n")) {
			t.Fatalf("%q: took %q for a whole message", in, used)
		}
		bareLF, bareCR := false, false
		for i, b := range content {
			bareLF = bareLF || b == '\n' && (i == 0 || content[i-1] != '\r')
			bareCR = bareCR || b == '\r' && (i+1 == len(content) || content[i+1] != '\n')
		}
		if l.bareLFs > 0 != bareLF || l.bareCR != bareCR {
			t.Errorf("%q: bare LF %v, CR %v; want %v, %v", in, l.bareLFs, l.bareCR, bareLF, bareCR)
		}
		if bareLF || bareCR {
			return
		}
		var want []byte
		for _, line := range bytes.SplitAfter(content, []byte("\r\n")) {
			want = append(want, bytes.TrimPrefix(line, []byte("."))...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q: content %q, want %q", in, got, want)
		}
	})
}

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9][ -][ -~]*\r$`)

// FuzzSession throws octets at a session. Every line it answers is a reply;
// every message that it says 250 to is within the limits, has whole lines, and
// was taken exactly once; and how the octets are cut into packets changes
// nothing (pipelining, BDAT).
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO a\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@example.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
		"EHLO a\r\nAUTH PLAIN AHRhcm8AeA==\r\nAUTH LOGIN\r\n*\r\n",
		"HELO a\nMAIL\r\n", "STARTTLS\r\n", "MAIL FROM:<\"a>\"@b>\r\n", "\x00\xff\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@example.com>\r\nBDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\nRSET\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@example.com>\r\nBDAT 2\r\na\rBDAT 1 LAST\r\n\nBDAT 5 LAST\r\nQUIT\r",
		"EHLO a\r\nMAIL FROM:<ä@é.example> SMTPUTF8 RET=FULL ENVID=a+2B\r\nRCPT TO:<c@example.com> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;ä\r\nDATA\r\n..\r\nx.\r\n.\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n\n.\r\nMAIL FROM:<a@b>\r\n\r\n.\r\n",
		"EHLO a\r\nMAIL FROM:<a@b>\r\nBDAT 7 LAST\r\nNOOP\r\n\r\nBDAT x\r\nNOOP\r\n",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		in = append(in[:len(in):len(in)], "\r\n.\r\nQUIT\r\nQUIT\r\n"...)
		whole, messages := fuzzSession(t, in, len(in))
		parts, again := fuzzSession(t, in, 1+int(size))
		if whole != parts {
			t.Errorf("%q: answered %q\nin pieces of %d: %q", in, whole, 1+int(size), parts)
		}
		if len(messages) != len(again) {
			t.Fatalf("%q: %d messages, in pieces %d", in, len(messages), len(again))
		}
		for i, m := range messages {
			if a := again[i]; m.from != a.from || m.to != a.to || transactionID.ReplaceAllString(m.text, "") != transactionID.ReplaceAllString(a.text, "") {
				t.Errorf("%q: took %+v, in pieces %+v", in, m, a)
			}
		}
		for _, line := range strings.Split(strings.TrimSuffix(whole, "\n"), "\n") {
			if !replyLine.MatchString(line) {
				t.Errorf("%q: answered %q in %q", in, line, whole)
			}
		}
		if n := strings.Count(whole, "Ok: queued as"); n != len(messages) {
			t.Errorf("%q: %d messages taken, %d acknowledged", in, len(messages), n)
		}
		for _, m := range messages {
			content := strings.TrimPrefix(m.text, m.text[:strings.Index(m.text, "+0000\r\n")+7])
			bare := strings.ReplaceAll(m.text, "\r\n", "")
			switch {
			case strings.ContainsAny(bare, "\r\n") || !strings.HasSuffix(m.text, "\r\n"):
				t.Errorf("%q: took a message with bare CR or LF: %q", in, m.text)
			case len(strings.ReplaceAll(content, "\r\n", "\n")) > 1000+1+1: // a blank line before, a line end behind
				t.Errorf("%q: took %d octets", in, len(content))
			case len(strings.Fields(m.to)) > 3 || m.to == "":
				t.Errorf("%q: took a message to %q", in, m.to)
			case !m.sender.UTF8 && (!m.sender.Address.ASCII() || !isASCII(m.to)):
				t.Errorf("%q: took %q to %q without SMTPUTF8", in, m.from, m.to)
			}
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// fuzzSession sends octets in pieces and returns the replies, without ids, and
// what was taken.
func fuzzSession(t *testing.T, in []byte, piece int) (replies string, taken []fakeMessage) {
	b := &fakeBackend{}
	s := &Server{Service: "smtp", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN", "LOGIN"}, Accounts: accounts()(t),
		Backend: b, Limits: Limits{MessageSize: 1000, Recipients: 3, AuthFailures: 3, Idle: 10 * time.Second}, Delay: time.Nanosecond,
		Now: func() time.Time { return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC) }, Log: slog.New(slog.DiscardHandler)}
	script := &scriptConn{pieces: slices.Collect(slices.Chunk(in, piece))}
	c := conn.New(script, 10*time.Second)
	s.Serve(c)
	_ = c.W.Flush()
	return transactionID.ReplaceAllString(script.out.String(), "ID"), b.taken()
}

// scriptConn is a client that says what it has to say, in packets of the given
// cut, and then goes.
type scriptConn struct {
	net.Conn
	pieces [][]byte
	out    bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }
func (c *scriptConn) RemoteAddr() net.Addr             { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return nil }
