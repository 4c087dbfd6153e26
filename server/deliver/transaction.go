package deliver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxRcpts is how many recipients every host has to take at once (RFC 5321
// 4.5.3.1.8), and so how many we ask it to.
const maxRcpts = 100

// errStale: a kept connection turned out to be closed before anything of this
// message was answered.
var errStale = errors.New("connection has been closed since the last message")

// transact offers one message for recipients, given by their place in m, and
// calls done once for each of them, except for those it returns: the host
// takes no more at once, but another transaction may follow. text is read from
// its beginning. errStale comes before any result.
func (s *session) transact(m *Message, rcpts []int, text io.ReadSeeker, done func(i int, r Result)) (again []int, err error) {
	if fault := s.refuses(m); fault != nil {
		for _, i := range rcpts {
			done(i, *fault)
		}
		return nil, nil
	}
	t := &transaction{session: s, m: m, done: done}
	for _, i := range rcpts {
		if addr, ok := s.address(m.Recipients[i].Address); ok {
			t.rcpts = append(t.rcpts, rcpt{i, addr})
		} else {
			done(i, s.at.result(Result{Outcome: Failed, Enhanced: "5.6.7", Command: "RCPT", Cause: causeSyntax,
				Text: fmt.Sprintf("%s does not take international addresses (SMTPUTF8)", s.at)}))
		}
	}
	if len(t.rcpts) > maxRcpts {
		for _, r := range t.rcpts[maxRcpts:] {
			again = append(again, r.i)
		}
		t.rcpts = t.rcpts[:maxRcpts]
	}
	if len(t.rcpts) == 0 {
		return nil, nil
	}
	if err := t.run(text); err != nil {
		return nil, err
	}
	return append(t.later, again...), nil
}

// transaction is one MAIL with its RCPTs and DATA.
type transaction struct {
	*session
	m        *Message
	rcpts    []rcpt
	done     func(i int, r Result)
	accepted []int
	later    []int
}

type rcpt struct {
	i    int
	addr string
}

// run returns only errStale; all else is a result.
func (t *transaction) run(text io.ReadSeeker) error {
	if t.dirty {
		if _, err := t.ask("RSET"); err != nil {
			return t.broken("RSET", "while sending RSET", err)
		}
		t.dirty = false
	}
	pipelined := t.has("PIPELINING")
	if err := t.put(t.mailCommand()); err != nil {
		return t.broken("MAIL", "while sending MAIL FROM", err)
	}
	if pipelined {
		for _, r := range t.rcpts {
			if err := t.put(t.rcptCommand(r)); err != nil {
				return t.broken("MAIL", "while sending RCPT TO", err)
			}
		}
		if err := t.put("DATA"); err != nil {
			return t.broken("MAIL", "while sending DATA", err)
		}
	}
	mail, err := t.read(t.c.Timeouts.Command)
	if err != nil || mail.code == 421 {
		if t.used > 0 {
			t.drop()
			return errStale
		}
		if err != nil {
			return t.broken("MAIL", "while sending MAIL FROM", err)
		}
	}
	if !mail.ok() {
		t.refused("MAIL", mail, t.rcpts)
		if pipelined && !t.dead {
			t.skip(len(t.rcpts))
		}
		return nil
	}
	t.used++
	t.dirty = true
	for n, r := range t.rcpts {
		if !pipelined {
			if err := t.put(t.rcptCommand(r)); err != nil {
				return t.lost("RCPT", "while sending RCPT TO", err, n)
			}
		}
		reply, err := t.read(t.c.Timeouts.Command)
		if err != nil {
			return t.lost("RCPT", "while sending RCPT TO", err, n)
		}
		switch {
		case reply.ok():
			t.accepted = append(t.accepted, r.i)
		case reply.code == 421: // the host ends the session; nobody else gets a reply
			t.abandon(t.at.replied("RCPT", reply), n)
			return nil
		case len(t.accepted) > 0 && reply.tooMany():
			t.later = append(t.later, r.i)
		default:
			t.refused("RCPT", reply, []rcpt{r})
		}
	}
	if len(t.accepted) == 0 {
		if pipelined && !t.dead {
			t.skip(0)
		}
		return nil
	}
	if !pipelined {
		if err := t.put("DATA"); err != nil {
			return t.lost("DATA", "while sending DATA", err, len(t.rcpts))
		}
	}
	data, err := t.read(t.c.Timeouts.Data)
	switch {
	case err != nil:
		return t.lost("DATA", "while sending DATA", err, len(t.rcpts))
	case data.code != 354:
		t.finish(t.at.replied("DATA", data))
		if data.ok() || data.code == 421 {
			t.drop() // 2xx here: the two sides have lost each other
		}
		return nil
	}
	t.text(text)
	return nil
}

// skip reads the replies to commands that were sent in one group with one that
// was refused, n RCPTs and DATA.
func (t *transaction) skip(n int) {
	for range n {
		if _, err := t.read(t.c.Timeouts.Command); err != nil {
			t.drop()
			return
		}
	}
	r, err := t.read(t.c.Timeouts.Data)
	if err == nil && r.code == 354 {
		// RFC 2920 3.1: a host may ask for the text of a message that has no
		// recipients.
		if err = t.put("."); err == nil {
			_, err = t.read(t.c.Timeouts.Command)
		}
	}
	if err != nil {
		t.drop()
	}
}

// text sends the message and hears what the host says to it.
func (t *transaction) text(text io.ReadSeeker) {
	d := dotWriter{w: t.w, lineStart: true}
	_, err := text.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.CopyBuffer(&d, struct{ io.Reader }{text}, make([]byte, 16<<10))
	}
	switch {
	case err != nil && d.err == nil:
		// Without its end the message does not count.
		t.drop()
		t.finish(Result{Outcome: Deferred, Enhanced: "4.3.0", Command: "DATA", Cause: causeOwnDisk,
			Text: "the message file cannot be read: " + clean(err.Error())})
		return
	case err != nil:
		t.finish(t.early(err))
		return
	}
	if err := d.end(); err != nil {
		t.finish(t.early(err))
		return
	}
	if err := t.w.Flush(); err != nil {
		r := t.early(err)
		// The last octets may have got through all the same.
		r.Uncertain = r.Code == 0
		t.finish(r)
		return
	}
	reply, err := t.read(t.c.Timeouts.End)
	if err != nil {
		t.drop()
		r := t.at.talking("DATA", "after the end of the message was sent; it may have been taken", err)
		r.Uncertain = true
		t.finish(r)
		return
	}
	t.dirty = false
	r := t.at.replied("DATA", reply)
	if reply.ok() {
		r.Outcome, r.DSN = Delivered, t.has("DSN")
	}
	t.finish(r)
}

// early is the result when the message text could not be sent to its end. A
// host that has enough of it may have said why.
func (t *transaction) early(err error) Result {
	r := t.at.talking("DATA", "while sending the message text", err)
	if d := time.Now().Add(t.c.Timeouts.Quit); t.nc.SetReadDeadline(d) == nil {
		if reply, err := readReply(t.r); err == nil && !reply.ok() && reply.code != 354 {
			r = t.at.replied("DATA", reply)
		}
	}
	t.drop()
	return r
}

// broken is lost before the first RCPT.
func (t *transaction) broken(command, doing string, err error) error {
	if t.used > 0 && command != "RCPT" && !isTimeout(err) {
		t.drop()
		return errStale
	}
	return t.lost(command, doing, err, 0)
}

// lost ends the transaction because the connection is gone.
func (t *transaction) lost(command, doing string, err error, n int) error {
	t.abandon(t.at.talking(command, doing, err), n)
	return nil
}

// abandon ends the transaction and the session for recipients from n on, those
// accepted and those put off.
func (t *transaction) abandon(r Result, n int) {
	t.drop()
	for _, rc := range t.rcpts[n:] {
		t.done(rc.i, r)
	}
	for _, i := range t.later {
		t.done(i, r)
	}
	t.later = nil
	t.finish(r)
}

// refused hands a reply to recipients. 421 ends the session.
func (t *transaction) refused(command string, reply reply, to []rcpt) {
	r := t.at.replied(command, reply)
	if reply.code == 421 {
		t.drop()
	}
	if t.smart != nil && (reply.code == 530 || reply.code == 535) {
		// Ours to mend: the smart host wants a login.
		r.Outcome, r.Cause = Deferred, causeAuthNeeded
	}
	for _, rc := range to {
		t.done(rc.i, r)
	}
}

// finish hands a result to all recipients that were accepted.
func (t *transaction) finish(r Result) {
	for _, i := range t.accepted {
		t.done(i, r)
	}
	t.accepted = nil
}

// refuses tells what the host has announced not to take.
func (s *session) refuses(m *Message) *Result {
	var r Result
	switch most := s.maxSize(); {
	case most > 0 && m.Size > most:
		r = Result{Outcome: Failed, Enhanced: "5.3.4", Command: "MAIL", Cause: causeTooBig,
			Text: fmt.Sprintf("message size %d exceeds size limit %d of %s", m.Size, most, s.at)}
	case m.UTF8 && !s.has("SMTPUTF8"):
		r = Result{Outcome: Failed, Enhanced: "5.6.7", Command: "MAIL", Cause: causeSyntax,
			Text: fmt.Sprintf("%s does not take messages with international headers (SMTPUTF8)", s.at)}
	default:
		if _, ok := s.address(m.Sender); !ok {
			r = Result{Outcome: Failed, Enhanced: "5.6.7", Command: "MAIL", Cause: causeSyntax,
				Text: fmt.Sprintf("%s does not take international addresses (SMTPUTF8)", s.at)}
			break
		}
		return nil
	}
	r = s.at.result(r)
	return &r
}

// address brings an address to a form that the host takes: without SMTPUTF8 an
// international domain is written in ASCII. An address that would break the
// command line is none.
func (s *session) address(a string) (string, bool) {
	if strings.ContainsFunc(a, unicode.IsControl) {
		return "", false
	}
	if isASCII(a) || s.has("SMTPUTF8") {
		return a, true
	}
	at := strings.LastIndexByte(a, '@')
	a = a[:at+1] + asciiDomain(a[at+1:])
	return a, isASCII(a)
}

func (t *transaction) mailCommand() string {
	sender, _ := t.address(t.m.Sender)
	cmd := "MAIL FROM:<" + sender + ">"
	if t.has("SIZE") {
		cmd += " SIZE=" + strconv.FormatInt(t.m.Size, 10)
	}
	if t.m.EightBit && t.has("8BITMIME") {
		cmd += " BODY=8BITMIME"
	}
	if t.has("SMTPUTF8") && t.needsUTF8() {
		cmd += " SMTPUTF8"
	}
	if t.has("DSN") {
		if t.m.Ret != "" {
			cmd += " RET=" + t.m.Ret
		}
		if t.m.EnvID != "" {
			cmd += " ENVID=" + t.m.EnvID
		}
	}
	return cmd
}

func (t *transaction) needsUTF8() bool {
	if t.m.UTF8 || !isASCII(t.m.Sender) {
		return true
	}
	for _, r := range t.rcpts {
		if !isASCII(r.addr) {
			return true
		}
	}
	return false
}

func (t *transaction) rcptCommand(r rcpt) string {
	cmd := "RCPT TO:<" + r.addr + ">"
	if t.has("DSN") {
		if to := t.m.Recipients[r.i]; to.Notify != "" {
			cmd += " NOTIFY=" + to.Notify
		}
		if to := t.m.Recipients[r.i]; to.ORCPT != "" {
			cmd += " ORCPT=" + to.ORCPT
		}
	}
	return cmd
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// dotWriter doubles the dots at the beginning of lines (RFC 5321 4.5.2). A
// line ends with CRLF and nothing else.
type dotWriter struct {
	w         io.Writer
	lineStart bool
	cr        bool  // the last octet was CR
	err       error // of w
}

func (d *dotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && d.err == nil {
		if d.lineStart && p[0] == '.' {
			d.put([]byte{'.'})
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			d.put(p)
			d.lineStart, d.cr = false, p[len(p)-1] == '\r'
			break
		}
		d.put(p[:i+1])
		d.lineStart = i > 0 && p[i-1] == '\r' || i == 0 && d.cr
		d.cr = false
		p = p[i+1:]
	}
	return n, d.err
}

// end writes the end of the message, and of its last line if that has none.
func (d *dotWriter) end() error {
	if !d.lineStart {
		d.put([]byte("\r\n"))
	}
	d.put([]byte(".\r\n"))
	return d.err
}

func (d *dotWriter) put(p []byte) {
	if d.err == nil {
		_, d.err = d.w.Write(p)
	}
}
