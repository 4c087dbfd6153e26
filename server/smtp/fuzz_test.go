package smtp

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"regexp"
	"testing"
	"time"

	"mailsrv/server/conn"
)

// FuzzData holds the reader of message content against a plain one that knows
// only the rule: the end is CRLF, dot, CRLF.
func FuzzData(f *testing.F) {
	for _, s := range []string{".\r\n", "a\r\n.\r\n", "..\r\n.b\r\n.\r\nrest", "a\n.\r\n", "a\r.\r\n.\r\n", "\r\n.\n\r\n.\r\n"} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 16+size&63)
		d := &dataReader{r: r}
		var got []byte
		var err error
		for end := false; !end && err == nil; {
			var chunk []byte
			chunk, end, err = d.next()
			got = append(got, chunk...)
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
		if !ok || len(content) > 0 && !bytes.HasSuffix(content, []byte("\r\n")) {
			t.Fatalf("%q: took %q for a whole message", in, used)
		}
		bareLF, bareCR := false, false
		for i, b := range content {
			bareLF = bareLF || b == '\n' && (i == 0 || content[i-1] != '\r')
			bareCR = bareCR || b == '\r' && (i+1 == len(content) || content[i+1] != '\n')
		}
		if d.bareLF != bareLF || d.bareCR != bareCR {
			t.Errorf("%q: bare LF %v, CR %v; want %v, %v", in, d.bareLF, d.bareCR, bareLF, bareCR)
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

// FuzzSession throws octets at a session: every line it answers is a reply.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO a\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@example.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
		"EHLO a\r\nAUTH PLAIN AHRhcm8AeA==\r\nAUTH LOGIN\r\n*\r\n",
		"HELO a\nMAIL\r\n", "STARTTLS\r\n", "MAIL FROM:<\"a>\"@b>\r\n", "\x00\xff\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		here, there := net.Pipe()
		s := &Server{Service: "smtp", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN", "LOGIN"}, Accounts: accounts()(t),
			Backend: &fakeBackend{}, Limits: Limits{MessageSize: 1000, Recipients: 3, AuthFailures: 3, Idle: time.Second}, Log: slog.New(slog.DiscardHandler)}
		go func() {
			s.Serve(conn.New(there, time.Second))
			there.Close()
		}()
		go func() {
			here.SetWriteDeadline(time.Now().Add(time.Second))
			here.Write(in)
			here.Write([]byte("\r\n.\r\nQUIT\r\nQUIT\r\n"))
		}()
		out, _ := io.ReadAll(here)
		here.Close()
		for _, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
			if !replyLine.Match(line) {
				t.Errorf("%q: answered %q in %q", in, line, out)
			}
		}
	})
}
