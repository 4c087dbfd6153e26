package pop3

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

var replyLine = regexp.MustCompile(`^(\+OK|-ERR|\+) [ -~]*\r$|^[A-Z0-9 .-]+( mailsrv)?\r$|^[0-9]+ uid0\r$|^Subject: x\r$|^\r$`)

// FuzzSession throws octets at a session. Every line that it answers is a reply
// or a line of the one message, how the octets are cut into packets changes
// nothing, and the message goes only with a QUIT that says so.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"CAPA\r\nUSER a\r\nPASS b\r\n", "AUTH PLAIN\r\nAHRhcm8AeA==\r\n", "STLS\r\n", "AUTH LOGIN =\n*\n", "\x00\xff\r\n",
		"USER taro\r\nPASS correct horse battery\r\nSTAT\r\nLIST\r\nUIDL 1\r\nTOP 1 0\r\nRETR 1\r\nDELE 1\r\nRSET\r\n",
		"AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5\r\nDELE 1\r\nLIST 1\r\nQUIT x\r\nQUIT\r\n",
		"UTF8\r\nAPOP a b\r\nAUTH\r\nQUIT\n",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, left := fuzzSession(in, len(in)+1)
		parts, again := fuzzSession(in, 1+int(size))
		if whole != parts || left != again {
			t.Errorf("%q: answered %q\nin pieces of %d: %q; %d and %d messages left", in, whole, 1+int(size), parts, left, again)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(whole, "\n"), "\n") {
			if !replyLine.MatchString(line) {
				t.Errorf("%q: answered %q", in, line)
			}
		}
		if left == 0 && !strings.HasSuffix(whole, "+OK Bye\r\n") {
			t.Errorf("%q: deleted the message and said %q", in, whole)
		}
	})
}

// fuzzSession sends octets in pieces and returns the replies, and how many
// messages are left.
func fuzzSession(in []byte, piece int) (replies string, left int) {
	mem := &inMemory{texts: []string{"Subject: x\r\n\r\n"}}
	srv := &Server{Service: "pop3", Hostname: "mail.example.com", Mechanisms: []string{"PLAIN", "LOGIN"}, Accounts: oneAccount{},
		Store: mem, Limits: Limits{AuthFailures: 3, Idle: 10 * time.Second}, Log: slog.New(slog.DiscardHandler)}
	script := &scriptConn{pieces: slices.Collect(slices.Chunk(in, piece))}
	c := conn.New(script, 10*time.Second)
	srv.Serve(c)
	_ = c.W.Flush()
	return script.out.String(), len(mem.texts) - len(mem.deleted)
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
	n := copy(p, c.pieces[0]) // 0 for an empty packet, which bufio asks past
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
