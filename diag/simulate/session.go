package simulate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"strings"
	"time"
)

// session is one connection. It belongs to one goroutine.
type session struct {
	srv  *Server
	n    int
	tcp  net.Conn // as accepted
	conn net.Conn // with TLS on it, once there is
	r    *bufio.Reader
	over bool // nothing more is said

	loggedIn bool

	// For the texts of scripts.
	user, from, to string
	tag            string // of the IMAP command that is answered
}

const (
	maxLine   = 64 << 10         // octets of a line of the client
	writeTime = 30 * time.Second // for one reply
	firstByte = 500 * time.Millisecond
	lingering = time.Second // after our last word
)

func newSession(srv *Server, n int, c net.Conn) *session {
	return &session{srv: srv, n: n, tcp: c, conn: c, r: bufio.NewReaderSize(c, maxLine)}
}

// dialect is a protocol as a healthy server speaks it: it checks the order of
// commands, and leaves to the script what is in order.
type dialect interface {
	greet()
	command(line string) // answers one line of the client
}

func (s *session) run() {
	var d dialect
	switch s.srv.plays() {
	case "smtp":
		d = &smtpServer{session: s}
	case "pop3":
		d = &pop3Server{session: s}
	case "imap":
		d = &imapServer{session: s}
	default:
		d = anyServer{s}
	}
	switch s.srv.sim.TLS {
	case "implicit":
		s.handshake()
	case "either":
		s.maybeTLS()
	}
	if !s.over {
		d.greet()
	}
	for !s.over {
		if line, ok := s.line(false); ok {
			d.command(line)
		}
	}
	s.leave()
}

// leave ends the connection in order: what was said arrives although the client
// may have said more than was read.
func (s *session) leave() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = s.tcp.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.Copy(io.Discard, s.tcp) // until the client, or time, ends it
}

// encrypted tells whether TLS is on.
func (s *session) encrypted() bool { _, ok := s.conn.(*tls.Conn); return ok }

// offersTLS tells whether STARTTLS, or STLS, is among the capabilities.
func (s *session) offersTLS() bool {
	return !s.encrypted() && (s.srv.sim.TLS == "offered" || s.srv.sim.TLS == "either")
}

// takesTLS tells whether STARTTLS works.
func (s *session) takesTLS() bool {
	return s.offersTLS() || !s.encrypted() && s.srv.sim.TLS == "hidden"
}

// maybeTLS begins with TLS when the client does, which speaks first then.
func (s *session) maybeTLS() {
	_ = s.conn.SetReadDeadline(time.Now().Add(firstByte))
	first, err := s.r.Peek(1)
	if err == nil && first[0] == 0x16 { // a handshake record, RFC 8446 section 5.1
		s.handshake()
	}
}

// handshake puts TLS on the connection.
func (s *session) handshake() {
	_ = s.conn.SetDeadline(time.Now().Add(writeTime))
	c := tls.Server(peeked{s.conn, s.r}, s.srv.tls)
	if err := c.HandshakeContext(s.srv.ctx); err != nil {
		s.say("(TLS handshake: " + err.Error() + ")")
		s.over = true
		return
	}
	s.conn, s.r = c, bufio.NewReaderSize(c, maxLine)
}

// peeked is a connection of which some octets lie in a reader.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// startTLS answers STARTTLS and turns TLS on, unless the script has something
// else in mind. What the client said before the handshake is thrown away, RFC
// 3207 section 4.2.
func (s *session) startTLS(line, usual string) (done bool) {
	s.answer(line, usual)
	if s.over || s.onCommand(line) != nil {
		return false
	}
	_, _ = s.r.Discard(s.r.Buffered())
	s.handshake()
	return !s.over
}

// line reads one line of the client. A secret one is blanked in the dialogue.
func (s *session) line(secret bool) (line string, ok bool) {
	_ = s.conn.SetReadDeadline(time.Now().Add(idle))
	raw, err := s.r.ReadSlice('\n')
	if err != nil { // the end, too long, or too late
		s.over = true
		return "", false
	}
	line = string(bytes.TrimRight(raw, "\r\n"))
	shown := mask(line)
	if secret {
		shown = "***"
	}
	s.srv.opt.Dialogue(s.n, "C", shown)
	return line, true
}

// mask blanks the password in a command.
func mask(line string) string {
	f := strings.SplitN(line, " ", 4)
	upper := strings.ToUpper(line)
	switch {
	case strings.HasPrefix(upper, "PASS "):
		return f[0] + " ***"
	case strings.HasPrefix(upper, "AUTH ") && len(f) > 2:
		return f[0] + " " + f[1] + " ***"
	case len(f) == 4 && (strings.EqualFold(f[1], "LOGIN") || strings.EqualFold(f[1], "AUTHENTICATE")): // IMAP
		return strings.Join(f[:3], " ") + " ***"
	}
	return line
}

// event says what the script has for an event, or the usual.
func (s *session) event(event, usual string) (said string) {
	return s.perform(s.onEvent(event), usual)
}

// answer says what the script has for a command, or the usual.
func (s *session) answer(line, usual string) (said string) {
	return s.perform(s.onCommand(line), usual)
}

// either says what the script has for a command, or else for the event that it
// brings about, or the usual.
func (s *session) either(line, event, usual string) (said string) {
	r := s.onCommand(line)
	if r == nil {
		r = s.onEvent(event)
	}
	return s.perform(r, usual)
}

// refuse says what no script can change.
func (s *session) refuse(text string) { s.send(s.fill(text)+"\r\n", 0) }

// perform says and does what a rule has, or says the usual, and returns what
// was said.
func (s *session) perform(r *rule, usual string) (said string) {
	steps := []step{{deed: deedUsual}}
	if r != nil && (r.until == 0 || s.srv.waits(s.triplet(), r.until)) {
		steps = r.steps
	}
	usual += "\r\n"
	pause := time.Duration(0)
	for _, st := range steps {
		text := st.text
		switch st.deed {
		case deedUsual:
			text = usual
		case deedHalf:
			text = usual[:len(usual)/2]
		case deedWait:
			s.wait(st.d)
		case deedDrip:
			pause = st.d
		case deedStall:
			s.stall()
		case deedClose:
			s.over = true
		case deedReset:
			s.reset()
		case deedGarbage:
			s.garbage()
		}
		if s.over {
			return said
		}
		text = s.fill(text)
		s.send(text, pause)
		said += text
	}
	return said
}

// triplet is what greylisting goes by.
func (s *session) triplet() string { return s.client() + "\x00" + s.from + "\x00" + s.to }

func (s *session) client() string {
	host, _, _ := net.SplitHostPort(s.tcp.RemoteAddr().String())
	return host
}

// tagged is the beginning of the line that ends an answer of IMAP.
var tagged = regexp.MustCompile(`(?m)^(?:OK|NO|BAD) `)

// fill puts in what a script leaves open.
func (s *session) fill(text string) string {
	if s.tag != "" {
		text = tagged.ReplaceAllStringFunc(text, func(word string) string { return s.tag + " " + word })
	}
	if !strings.Contains(text, "$") {
		return text
	}
	return strings.NewReplacer("$USER", s.user, "$FROM", s.from, "$TO", s.to, "$CLIENT", s.client()).Replace(text)
}

// say writes something into the dialogue that was not said.
func (s *session) say(words string) { s.srv.opt.Dialogue(s.n, "S", words) }

// send writes text, at once or with a pause before each octet.
func (s *session) send(text string, pause time.Duration) {
	for line := range strings.Lines(text) {
		s.say(strings.TrimRight(line, "\r\n"))
	}
	step := len(text)
	if pause > 0 {
		step = 1
	}
	for i := 0; i < len(text) && !s.over; i += step {
		s.wait(pause)
		_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := io.WriteString(s.conn, text[i:i+step]); err != nil {
			s.over = true
		}
	}
}

// wait lets time pass, but no longer than the server lives.
func (s *session) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, d)
	defer cancel()
	<-ctx.Done()
	if s.srv.ctx.Err() != nil {
		s.over = true
	}
}

// stall says nothing more until the client goes away.
func (s *session) stall() {
	s.say("(silence)")
	_ = s.conn.SetReadDeadline(time.Now().Add(idle))
	_, _ = io.Copy(io.Discard, s.r) // until the client, or time, ends it
	s.over = true
}

// reset ends the connection with a RST.
func (s *session) reset() {
	s.say("(reset)")
	if c, ok := s.tcp.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = s.tcp.Close()
	s.over = true
}

// garbage answers the client's handshake with what is none.
func (s *session) garbage() {
	s.say("(octets that are no TLS)")
	_ = s.conn.SetReadDeadline(time.Now().Add(idle))
	if _, err := s.r.Peek(1); err == nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
		_, _ = io.WriteString(s.conn, "\x00\x01\x02 this is no handshake\r\n") // a lost client is found by stall
	}
	s.stall()
}

// anyServer knows no protocol: the script answers each line, and lines without
// an answer are passed over.
type anyServer struct{ *session }

func (anyServer) greet() {}

func (s anyServer) command(line string) {
	if r := s.onCommand(line); r != nil {
		s.perform(r, "")
	}
}
