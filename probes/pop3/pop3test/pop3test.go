// Package pop3test plays servers of any line protocol on loopback from a
// script, for tests of clients:
//
//	> +OK ready        the server says a line (CRLF is added; \r \n \0 \xNN as in Go strings)
//	raw \x16\x03       the server says exactly these octets
//	< USER             the server waits for a line that begins so, else says -ERR unexpected
//	tls                the server shakes hands with its certificate
//	stall              the server says nothing more until the client goes away
//	close, reset       the server ends the connection, politely or not
//
// After the last line the server closes the connection. Each connection plays
// the script from its beginning.
package pop3test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a playing server.
type Server struct {
	Addr string

	script string
	tls    *tls.Config // for the word tls
	l      net.Listener
	done   sync.WaitGroup

	mu   sync.Mutex
	said []string
}

// Said returns the lines that clients have sent so far.
func (s *Server) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.said...)
}

// Play starts a server that ends with the test.
func Play(t testing.TB, script string) *Server { return PlayTLS(t, script, nil) }

// PlayTLS is Play with a certificate.
func PlayTLS(t testing.TB, script string, config *tls.Config) *Server {
	t.Helper()
	s, err := Start(script, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server on a free port of loopback; the certificate may be nil.
func Start(script string, config *tls.Config) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: l.Addr().String(), script: script, tls: config, l: l}
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() {
				defer c.Close()
				// A test that hangs fails here rather than at the test's limit.
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				s.play(c)
			})
		}
	})
	return s, nil
}

// Close stops listening and waits for the conversations.
func (s *Server) Close() {
	s.l.Close()
	s.done.Wait()
}

func (s *Server) play(c net.Conn) {
	tcp := c
	r := bufio.NewReader(c)
	for line := range strings.Lines(s.script) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch word {
		case "":
		case ">":
			_, err = io.WriteString(c, unquote(rest)+"\r\n")
		case "raw":
			_, err = io.WriteString(c, unquote(rest))
		case "<":
			err = s.expect(c, r, rest)
		case "tls":
			tc := tls.Server(c, s.tls)
			err = tc.Handshake()
			c, r = tc, bufio.NewReader(tc)
		case "stall":
			_, err = io.Copy(io.Discard, r)
		case "close":
			return
		case "reset":
			if t, ok := tcp.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			return
		default:
			panic("pop3test: " + line)
		}
		if err != nil {
			return
		}
	}
}

// expect waits for the line; others are answered -ERR.
func (s *Server) expect(c io.Writer, r *bufio.Reader, want string) error {
	for {
		got, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		got = strings.TrimRight(got, "\r\n")
		s.mu.Lock()
		s.said = append(s.said, got)
		s.mu.Unlock()
		if strings.HasPrefix(got, want) {
			return nil
		}
		if _, err := io.WriteString(c, "-ERR unexpected\r\n"); err != nil {
			return err
		}
	}
}

func unquote(s string) string {
	if q, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`); err == nil {
		return q
	}
	return s
}
