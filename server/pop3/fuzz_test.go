package pop3

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
	"mailsrv/server/store"
)

var replyLine = regexp.MustCompile(`^(\+OK|-ERR|\+) [ -~]*\r$|^[A-Z0-9 .-]+( mailsrv)?\r$`)

// FuzzSession throws octets at a session without a login.
func FuzzSession(f *testing.F) {
	for _, s := range []string{"CAPA\r\nUSER a\r\nPASS b\r\n", "AUTH PLAIN\r\nAHRhcm8AeA==\r\n", "STLS\r\n", "AUTH LOGIN =\n*\n", "\x00\xff\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		here, there := net.Pipe()
		s := &Server{Service: "pop3", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN", "LOGIN"}, Accounts: oneAccount{},
			Store: store.New(t.TempDir()), Limits: Limits{AuthFailures: 3, Idle: time.Second}, Log: slog.New(slog.DiscardHandler)}
		go func() {
			s.Serve(conn.New(there, time.Second))
			there.Close()
		}()
		go func() {
			here.SetWriteDeadline(time.Now().Add(time.Second))
			here.Write(in)
			here.Write([]byte("\r\nQUIT\r\nQUIT\r\n"))
		}()
		out, _ := io.ReadAll(here)
		here.Close()
		for _, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
			if !replyLine.Match(line) {
				t.Errorf("%q: answered %q", in, line)
			}
		}
	})
}

// FuzzStuff holds the sender of messages against its inverse.
func FuzzStuff(f *testing.F) {
	f.Add([]byte("a\r\n.b\r\n..\r\n"), -1)
	f.Add([]byte("a: b\r\n\r\nc\r\nd\r\n"), 1)
	f.Add([]byte("no end"), 0)
	f.Fuzz(func(t *testing.T, message []byte, lines int) {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if _, err := sendStuffed(w, bytes.NewReader(message), lines, func(int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		content, ok := bytes.CutSuffix(b.Bytes(), []byte(".\r\n"))
		if !ok {
			t.Fatalf("%q: no end in %q", message, b.Bytes())
		}
		var got []byte
		for _, line := range bytes.SplitAfter(content, []byte("\n")) {
			if string(line) == ".\r\n" {
				t.Errorf("%q: ends early in %q", message, content)
			}
			got = append(got, bytes.TrimPrefix(line, []byte("."))...)
		}
		if lines < 0 {
			if len(message) > 0 && message[len(message)-1] != '\n' {
				message = append(message, "\r\n"...)
			}
			if !bytes.Equal(got, message) {
				t.Errorf("sent %q, want %q", got, message)
			}
		} else if !bytes.HasPrefix(append(message, "\r\n"...), got) {
			t.Errorf("TOP %d of %q sent %q", lines, message, got)
		}
	})
}
