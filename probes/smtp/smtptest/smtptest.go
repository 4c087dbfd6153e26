// Package smtptest runs scripted SMTP hosts on loopback for tests.
//
//	host := smtptest.New(t, smtptest.Config{Script: `
//	greeting => 220 mx.example.test ESMTP
//	EHLO => 250-mx.example.test\n250-STARTTLS\n250 PIPELINING
//	RCPT TO:<abuse@ => 550 5.1.1 no such user
//	`})
//
// A line "PREFIX => REPLY" answers each command that begins with PREFIX,
// whatever the letter case; the longest prefix wins. "greeting" is what comes
// first. \n in a reply separates its lines. A reply may begin with
// "delay DURATION ", and these replies are deeds:
//
//	silent   say nothing more, keep the connection
//	close    close it
//	reset    break it with a RST
//	drip     one octet, then silence
//	flood    lines without end
//	tls      220, then a TLS handshake
//	badtls   220, then what is no handshake
//
// Without a line for it a command gets what a plain host answers that accepts
// everything; STARTTLS is offered when the Config has a certificate.
package smtptest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Config is what a host is like.
type Config struct {
	Script   string
	TLS      *tls.Config // offers STARTTLS when set
	Implicit bool        // TLS from the first octet
}

// Host is a running host.
type Host struct {
	Addr string

	cfg     Config
	replies map[string]string // by upper-case prefix
	l       net.Listener

	mu       sync.Mutex
	commands []string
	messages []string
	conns    map[net.Conn]bool
	closed   bool
	done     sync.WaitGroup
}

// New starts a host that stops with the test.
func New(t testing.TB, cfg Config) *Host {
	t.Helper()
	h, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// Start starts a host on a free port of 127.0.0.1.
func Start(cfg Config) (*Host, error) {
	h := &Host{cfg: cfg, replies: map[string]string{}, conns: map[net.Conn]bool{}}
	for line := range strings.Lines(cfg.Script) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		prefix, reply, ok := strings.Cut(line, "=>")
		if !ok {
			return nil, fmt.Errorf("smtptest: %q: want PREFIX => REPLY", line)
		}
		h.replies[strings.ToUpper(strings.TrimSpace(prefix))] = strings.ReplaceAll(strings.TrimSpace(reply), `\n`, "\n")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.l, h.Addr = l, l.Addr().String()
	h.done.Go(h.accept)
	return h, nil
}

// Close ends all connections and waits for them.
func (h *Host) Close() {
	h.mu.Lock()
	h.closed = true
	_ = h.l.Close()
	for c := range h.conns {
		_ = c.Close()
	}
	h.mu.Unlock()
	h.done.Wait()
}

// Commands lists what clients said so far, with a "connect" for each
// connection.
func (h *Host) Commands() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.commands)
}

// Messages lists what came in by DATA, dots undone.
func (h *Host) Messages() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

func (h *Host) note(s string) {
	h.mu.Lock()
	h.commands = append(h.commands, s)
	h.mu.Unlock()
}

func (h *Host) accept() {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			_ = c.Close()
			return
		}
		h.conns[c] = true
		h.mu.Unlock()
		h.done.Go(func() {
			h.talk(c)
			_ = c.Close()
			h.mu.Lock()
			delete(h.conns, c)
			h.mu.Unlock()
		})
	}
}

func (h *Host) talk(raw net.Conn) {
	h.note("connect")
	c := raw
	if h.cfg.Implicit {
		c = tls.Server(raw, h.cfg.TLS)
	}
	r := bufio.NewReader(c)
	next, more := h.act(c, raw, h.reply("greeting", "220 smtptest.invalid ESMTP"))
	for more {
		if next != c {
			c, r = next, bufio.NewReader(next)
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		h.note(line)
		reply := h.reply(line, h.usual(line))
		next, more = h.act(c, raw, reply)
		if more && strings.EqualFold(line, "DATA") && strings.HasPrefix(reply, "354") {
			msg, err := message(r)
			if err != nil {
				return
			}
			h.mu.Lock()
			h.messages = append(h.messages, msg)
			h.mu.Unlock()
			next, more = h.act(c, raw, h.reply(".", "250 2.0.0 taken"))
		}
	}
}

func message(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return b.String(), err
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (h *Host) reply(line, usual string) string {
	best, out := -1, usual
	for prefix, reply := range h.replies {
		if len(prefix) > best && strings.HasPrefix(strings.ToUpper(line), prefix) {
			best, out = len(prefix), reply
		}
	}
	return out
}

func (h *Host) usual(line string) string {
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch verb {
	case "EHLO":
		if h.cfg.TLS != nil && !h.cfg.Implicit {
			return "250-smtptest.invalid\n250-STARTTLS\n250 PIPELINING"
		}
		return "250-smtptest.invalid\n250 PIPELINING"
	case "STARTTLS":
		if h.cfg.TLS != nil {
			return "tls"
		}
	case "HELO", "MAIL", "RCPT", "RSET", "NOOP":
		return "250 2.0.0 ok"
	case "AUTH":
		return "235 2.7.0 welcome"
	case "DATA":
		return "354 go on"
	case "QUIT":
		return "221 2.0.0 bye"
	}
	return "502 5.5.1 not known"
}

// act carries a reply out; more tells whether the conversation goes on, over
// next.
func (h *Host) act(c, raw net.Conn, reply string) (next net.Conn, more bool) {
	if rest, ok := strings.CutPrefix(reply, "delay "); ok {
		d, after, _ := strings.Cut(rest, " ")
		if wait, err := time.ParseDuration(d); err == nil {
			h.sleep(c, wait)
		}
		reply = after
	}
	switch reply {
	case "close":
		return nil, false
	case "reset":
		_ = raw.(*net.TCPConn).SetLinger(0)
		return nil, false
	case "silent":
		return nil, h.linger(c)
	case "drip":
		_, _ = c.Write([]byte("2"))
		return nil, h.linger(c)
	case "flood":
		for {
			if _, err := c.Write([]byte("220-more and more\r\n")); err != nil {
				return nil, false
			}
		}
	case "badtls":
		_, _ = c.Write([]byte("220 ready\r\n"))
		_, _ = c.Read(make([]byte, 1))
		_, _ = c.Write([]byte("this is no handshake\r\n"))
		return nil, h.linger(c)
	case "tls":
		_, _ = c.Write([]byte("220 2.0.0 ready\r\n"))
		t := tls.Server(c, h.cfg.TLS)
		return t, t.Handshake() == nil
	}
	_, err := c.Write([]byte(strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n"))
	more = err == nil && !strings.HasPrefix(reply, "421") && !strings.HasPrefix(reply, "221")
	return c, more
}

// linger keeps the connection until the other side or Close ends it.
func (h *Host) linger(c net.Conn) bool {
	buf := make([]byte, 1024)
	for {
		if _, err := c.Read(buf); err != nil {
			return false
		}
	}
}

// sleep waits, but not longer than the connection lives on our side.
func (h *Host) sleep(c net.Conn, d time.Duration) {
	deadline := time.Now().Add(d)
	for time.Now().Before(deadline) {
		h.mu.Lock()
		closed := h.closed
		h.mu.Unlock()
		if closed {
			return
		}
		time.Sleep(min(10*time.Millisecond, time.Until(deadline)))
	}
}
