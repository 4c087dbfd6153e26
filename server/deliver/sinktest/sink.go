// Package sinktest has the other side of delivery for tests: a mail host that
// takes messages octet by octet as they come and answers as a script says, and
// a name server with the records it is given. Both listen on loopback.
package sinktest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Config says how a sink behaves. The zero value takes everything.
type Config struct {
	Hostname    string   // "sink.example.net" when empty
	Extensions  []string // lines of the EHLO reply; nil: PIPELINING, 8BITMIME, SIZE, DSN, SMTPUTF8
	TLS         *tls.Config
	ImplicitTLS bool
	Addr        string // to listen on; "127.0.0.1:0" when empty

	// Script answers a step instead of the sink. verb is CONN, EHLO, HELO,
	// STARTTLS, AUTH, MAIL, RCPT, DATA, END (the final dot), RSET or QUIT; arg is
	// the rest of the line. An empty answer leaves it to the sink. The answers
	// Close, Reset and Hang do that, Close and Reset with a reply after a blank
	// that is sent before.
	Script func(s *Session, verb, arg string) string
}

// Answers of a Script that are no replies.
const (
	Close = "CLOSE" // ends the connection
	Reset = "RESET" // ends it with a TCP reset
	Hang  = "HANG"  // says nothing more until the sink is closed
)

// Message is one message that a sink said 250 to.
type Message struct {
	Session int      // number of the connection, from 1
	From    string   // what followed "MAIL FROM:"
	To      []string // what followed "RCPT TO:"
	Raw     string   // the text as sent, with doubled dots, without the final one
	Text    string   // the text
}

// Session is one connection.
type Session struct {
	Number   int // from 1
	HELO     string
	TLS      bool
	User     string // "name:password" of AUTH
	Messages int    // taken so far on this connection
	From     string
	To       []string
	Lines    []string // commands so far
}

// Sink is a mail host.
type Sink struct {
	cfg Config
	ln  net.Listener

	mu       sync.Mutex
	messages []Message
	dialogue []string
	sessions int
	open     int
	mostOpen int
	conns    map[net.Conn]bool
	closed   chan struct{}
	changed  chan struct{}
	wg       sync.WaitGroup
}

// New starts a sink that ends with the test.
func New(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s := NewPipe(t, cfg)
	ln, err := net.Listen("tcp", orElse(cfg.Addr, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.Serve(c) })
		}
	})
	return s
}

// NewPipe makes a sink without a listener: for Dial, in a synctest bubble.
func NewPipe(t testing.TB, cfg Config) *Sink {
	if cfg.Extensions == nil {
		cfg.Extensions = []string{"PIPELINING", "SIZE", "8BITMIME", "DSN", "SMTPUTF8"}
	}
	cfg.Hostname = orElse(cfg.Hostname, "sink.example.net")
	s := &Sink{cfg: cfg, conns: map[net.Conn]bool{}, closed: make(chan struct{}), changed: make(chan struct{})}
	t.Cleanup(s.Close)
	return s
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Close ends all connections. It returns when nothing of the sink is left.
func (s *Sink) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	if s.ln != nil {
		_ = s.ln.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Dial connects to the sink through memory.
func (s *Sink) Dial() (net.Conn, error) {
	here, there := net.Pipe()
	s.wg.Go(func() { s.Serve(there) })
	return here, nil
}

// Addr is where the sink listens.
func (s *Sink) Addr() netip.AddrPort { return s.ln.Addr().(*net.TCPAddr).AddrPort() }

// Port is the port of Addr.
func (s *Sink) Port() uint16 { return s.Addr().Port() }

// Messages returns the messages taken so far.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Dialogue returns all command lines so far, each with the session's number:
// "1 MAIL FROM:<a@example.com>".
func (s *Sink) Dialogue() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dialogue)
}

// Sessions is how many connections there have been, and how many of them at
// once at most.
func (s *Sink) Sessions() (total, mostOpen int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions, s.mostOpen
}

// Wait waits until the sink has taken n messages.
func (s *Sink) Wait(t testing.TB, n int, limit time.Duration) []Message {
	t.Helper()
	deadline := time.After(limit)
	for {
		s.mu.Lock()
		have, changed := len(s.messages), s.changed
		s.mu.Unlock()
		if have >= n {
			return s.Messages()
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("sink %s has %d messages after %v, want %d; dialogue: %q", s.cfg.Hostname, have, limit, n, s.Dialogue())
		}
	}
}

// Serve plays one connection.
func (s *Sink) Serve(c net.Conn) {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		_ = c.Close()
		return
	default:
	}
	s.conns[c] = true
	s.sessions++
	s.open++
	s.mostOpen = max(s.mostOpen, s.open)
	ss := &session{Session: Session{Number: s.sessions}, sink: s, raw: c}
	s.mu.Unlock()
	ss.run(c)
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.open--
	s.mu.Unlock()
}

type session struct {
	Session
	sink *Sink
	raw  net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

var errEnd = errors.New("the script ends the session")

func (ss *session) use(c net.Conn) {
	ss.r, ss.w = bufio.NewReaderSize(c, 32<<10), bufio.NewWriter(c)
}

func (ss *session) run(c net.Conn) {
	cfg := &ss.sink.cfg
	if cfg.ImplicitTLS {
		tc := tls.Server(c, cfg.TLS)
		if tc.Handshake() != nil {
			return
		}
		ss.TLS, c = true, tc
	}
	ss.use(c)
	if err := ss.answer("CONN", "", "220 "+cfg.Hostname+" ESMTP"); err != nil && !errors.Is(err, errRefused) || ss.w.Flush() != nil {
		return
	}
	for {
		line, err := ss.r.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.HasSuffix(line, "\r\n") {
			ss.note("BARE LF " + strconv.Quote(line))
		}
		line = strings.TrimRight(line, "\r\n")
		ss.note(line)
		verb, arg, _ := strings.Cut(line, " ")
		if err := ss.command(strings.ToUpper(verb), arg, c); err != nil {
			return
		}
		if ss.r.Buffered() == 0 && ss.w.Flush() != nil {
			return
		}
	}
}

func (ss *session) note(line string) {
	ss.Lines = append(ss.Lines, line)
	ss.sink.mu.Lock()
	ss.sink.dialogue = append(ss.sink.dialogue, fmt.Sprintf("%d %s", ss.Number, line))
	ss.sink.mu.Unlock()
}

// answer sends the script's answer, or usual.
func (ss *session) answer(verb, arg, usual string) error {
	a := ""
	if ss.sink.cfg.Script != nil {
		a = ss.sink.cfg.Script(&ss.Session, verb, arg)
	}
	if a == "" {
		a = usual
	}
	word, last, _ := strings.Cut(a, " ")
	switch word {
	case Close, Reset:
		if last != "" {
			_, _ = ss.w.WriteString(last + "\r\n")
		}
		_ = ss.w.Flush()
		if tc, ok := ss.raw.(*net.TCPConn); ok && word == Reset {
			_ = tc.SetLinger(0)
		}
		return errEnd
	case Hang:
		_ = ss.w.Flush()
		<-ss.sink.closed
		return errEnd
	}
	_, err := ss.w.WriteString(a + "\r\n")
	if err == nil && a[0] != '2' && a[0] != '3' {
		err = errRefused
	}
	return err
}

// errRefused: an answer that is not positive. The session goes on.
var errRefused = errors.New("refused")

func (ss *session) command(verb, arg string, c net.Conn) error {
	cfg := &ss.sink.cfg
	var err error
	switch verb {
	case "EHLO":
		lines := []string{cfg.Hostname}
		for _, e := range cfg.Extensions {
			if e != "STARTTLS" || !ss.TLS {
				lines = append(lines, e)
			}
		}
		usual := "250-" + strings.Join(lines[:len(lines)-1], "\r\n250-") + "\r\n250 " + lines[len(lines)-1]
		if len(lines) == 1 {
			usual = "250 " + lines[0]
		}
		ss.HELO, ss.From, ss.To = arg, "", nil
		err = ss.answer(verb, arg, usual)
	case "HELO":
		ss.HELO, ss.From, ss.To = arg, "", nil
		err = ss.answer(verb, arg, "250 "+cfg.Hostname)
	case "STARTTLS":
		if err = ss.answer(verb, arg, "220 Go ahead"); err != nil || ss.w.Flush() != nil {
			break
		}
		tc := tls.Server(c, cfg.TLS)
		if tc.Handshake() != nil {
			return errEnd
		}
		ss.TLS, ss.HELO = true, ""
		ss.use(tc)
	case "AUTH":
		err = ss.auth(arg)
	case "MAIL":
		if ss.From != "" {
			err = ss.answer(verb, arg, "503 5.5.1 nested MAIL")
			break
		}
		if err = ss.answer(verb, arg, "250 2.1.0 Ok"); err == nil {
			ss.From = strings.TrimPrefix(arg, "FROM:")
		}
	case "RCPT":
		usual := "250 2.1.5 Ok"
		if ss.From == "" {
			usual = "503 5.5.1 MAIL first"
		}
		if err = ss.answer(verb, arg, usual); err == nil {
			ss.To = append(ss.To, strings.TrimPrefix(arg, "TO:"))
		}
	case "DATA":
		usual := "354 End data with <CR><LF>.<CR><LF>"
		if len(ss.To) == 0 {
			usual = "554 5.5.1 No valid recipients"
		}
		if err = ss.answer(verb, arg, usual); err == nil {
			err = ss.data()
		}
	case "RSET":
		ss.From, ss.To = "", nil
		err = ss.answer(verb, arg, "250 2.0.0 Ok")
	case "QUIT":
		_ = ss.answer(verb, arg, "221 2.0.0 Bye")
		_ = ss.w.Flush()
		return errEnd
	default:
		err = ss.answer(verb, arg, "500 5.5.2 Unknown command")
	}
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

func (ss *session) auth(arg string) error {
	mechanism, initial, _ := strings.Cut(arg, " ")
	ask := func(prompt string) string {
		_, _ = ss.w.WriteString("334 " + prompt + "\r\n")
		_ = ss.w.Flush()
		line, _ := ss.r.ReadString('\n')
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(b)
	}
	switch mechanism {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(initial)
		parts := strings.Split(string(b), "\x00")
		if len(parts) != 3 {
			return ss.answer("AUTH", arg, "501 5.5.2 malformed")
		}
		ss.User = parts[1] + ":" + parts[2]
	case "LOGIN":
		name := ask("VXNlcm5hbWU6")
		ss.User = name + ":" + ask("UGFzc3dvcmQ6")
	}
	return ss.answer("AUTH", arg, "235 2.7.0 Ok")
}

// data takes the text of a message.
func (ss *session) data() error {
	if err := ss.w.Flush(); err != nil {
		return err
	}
	var raw, text bytes.Buffer
	start := true
	for {
		part, err := ss.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				ss.note("(connection ended in DATA)")
			}
			return err
		}
		if start && string(part) == ".\r\n" {
			break
		}
		raw.Write(part)
		if start && part[0] == '.' {
			part = part[1:]
		}
		text.Write(part)
		start = err == nil && (bytes.HasSuffix(part, []byte("\r\n")) || string(part) == "\n" && bytes.HasSuffix(raw.Bytes(), []byte("\r\n")))
	}
	m := Message{Session: ss.Number, From: ss.From, To: ss.To, Raw: raw.String(), Text: text.String()}
	s := ss.sink
	err := ss.answer("END", "", "250 2.0.0 Ok: taken")
	ss.From, ss.To = "", nil
	if err != nil && !errors.Is(err, errEnd) {
		return err
	}
	if err == nil {
		ss.Messages++
		s.mu.Lock()
		s.messages = append(s.messages, m)
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
	return err
}
