package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailsrv/server/conn"
	"mailsrv/server/keys"
)

func TestPipelining(t *testing.T) {
	r := newRig(t, nil)
	p := r.dial(t)
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<x@example.org>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	p.send("one\r\n.\r\nMAIL FROM:<b@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n")
	var got []string
	for {
		reply := p.reply()
		got = append(got, reply[:3])
		if reply == "EOF" {
			break
		}
	}
	if want := "250 250 550 250 354 250 250 250 354 250 221 EOF"; strings.Join(got, " ") != want {
		t.Errorf("replies %v, want %s", got, want)
	}
	if n := len(r.backend.taken()); n != 2 {
		t.Errorf("%d messages taken, want 2", n)
	}
}

func withTLS(t *testing.T) func(*rig) {
	return func(r *rig) {
		cfg, err := keys.SelfSigned(t.TempDir(), "mail.example.com", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.TLS = cfg
	}
}

func (p *peer) handshake() {
	p.t.Helper()
	c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.Conn, p.r = c, bufio.NewReader(c)
}

func TestSTARTTLS(t *testing.T) {
	r := newRig(t, withTLS(t))
	p := r.dial(t)
	p.talk(`S: 220 mail.example.com ESMTP mailsrv
		C: EHLO c
		S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
		C: STARTTLS now
		S: 501 5.5.4 STARTTLS takes no argument`)
	// What is injected behind STARTTLS must never be acted on.
	p.send("STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n")
	if got := p.reply(); got != "220 2.0.0 Ready to start TLS" {
		t.Fatal(got)
	}
	p.handshake()
	p.talk(`C: MAIL FROM:<a@example.net>
		S: 503 5.5.1 Send HELO or EHLO first
		C: EHLO c
		S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
		C: STARTTLS
		S: 503 5.5.1 TLS is on already
		C: AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
		S: 235 2.7.0 Authentication successful
		C: MAIL FROM:<taro@example.com>
		S: 250 2.1.0 Sender ok
		C: RCPT TO:<taro@example.com>
		S: 250 2.1.5 Recipient ok
		C: DATA
		S: 354 End data with <CR><LF>.<CR><LF>
		C: .
		S: 250 2.0.0 Ok: queued as ID`)
	m := r.backend.taken()[0]
	want := "Received: from c ([127.0.0.1])\r\n\t(using TLS 1.3 with cipher TLS_AES_128_GCM_SHA256)\r\n\tby mail.example.com with ESMTPSA id ID\r\n\tfor <taro@example.com>;\r\n\tWed, 1 May 2024 12:00:00 +0000\r\n"
	if got := transactionID.ReplaceAllString(m.text, "ID"); got != want || m.client.User != "taro@example.com" {
		t.Errorf("stored %q by %s\nwant %q", got, m.client.User, want)
	}
}

func TestImplicitTLS(t *testing.T) {
	r := newRig(t, func(r *rig) { withTLS(t)(r); r.ImplicitTLS = true })
	p := r.dial(t)
	p.handshake()
	if got := p.reply(); got != "220 mail.example.com ESMTP mailsrv" {
		t.Error(got)
	}
	// A client that speaks plainly is cut off.
	plain := r.dial(t)
	plain.send("EHLO c\r\n")
	if b, err := io.ReadAll(plain.Conn); err == nil && bytes.HasPrefix(b, []byte("250")) {
		t.Errorf("answered in the clear: %q", b)
	}
}

// A session ends so that TLS clients can tell the end from a cut (RFC 8446 6.1),
// and that what came after QUIT does not take the last reply with it.
func TestOrderlyEnd(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		r := newRig(t, func(r *rig) { withTLS(t)(r); r.ImplicitTLS = true })
		p := r.dial(t)
		raw := &recorder{Conn: p.Conn}
		p.Conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		p.r.Reset(p.Conn)
		p.reply()
		if got := p.do("QUIT"); got != "221 2.0.0 mail.example.com Bye" {
			t.Fatal(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Errorf("after QUIT %q", got)
		}
		// The last record is an alert: close_notify.
		if last := raw.lastRecord(); last != 21 {
			t.Errorf("the last TLS record has type %d, want 21", last)
		}
	})
	t.Run("octets after QUIT", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send("QUIT\r\n" + strings.Repeat("NOOP\r\n", 10_000))
		if got := p.reply(); got != "221 2.0.0 mail.example.com Bye" {
			t.Error(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Error(got)
		}
	})
}

// recorder keeps what was read from a connection.
type recorder struct {
	net.Conn
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

// lastRecord is the type of the last TLS record (RFC 5246 6.2.1).
func (r *recorder) lastRecord() (kind byte) {
	for b := r.seen.Bytes(); len(b) >= 5; b = b[min(len(b), 5+int(b[3])<<8+int(b[4])):] {
		kind = b[0]
	}
	return kind
}

func TestTimeout(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Limits.Idle = 200 * time.Millisecond })
	for name, prelude := range map[string]string{
		"command": "EHL", // half a line does not help
		"data":    "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			p := r.dial(t)
			p.reply()
			p.send(prelude)
			last := ""
			for reply := p.reply(); reply != "EOF"; reply = p.reply() {
				last = reply
			}
			if last != "421 4.4.2 Timeout waiting for the client" {
				t.Errorf("last words %q", last)
			}
		})
	}
}

func TestStoppingServer(t *testing.T) {
	r := newRig(t, nil)
	idle, busy := r.dial(t), r.dial(t)
	idle.reply()
	idle.do("HELO c")
	busy.reply()
	busy.send("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	for range 4 {
		busy.reply()
	}
	stopped := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- r.group.Stop(ctx)
	}()
	if got := idle.reply(); got != "421 4.3.2 mail.example.com Server is stopping; try again later" {
		t.Errorf("idle session: %q", got)
	}
	idle.Close()
	busy.send("under way\r\n.\r\n")
	if got := busy.reply(); !strings.HasPrefix(got, "250 2.0.0 Ok: queued as") {
		t.Errorf("busy session: %q", got)
	}
	if got := busy.reply(); got != "421 4.3.2 mail.example.com Server is stopping; try again later" {
		t.Errorf("busy session afterwards: %q", got)
	}
	busy.Close()
	if cut := <-stopped; cut != 0 {
		t.Errorf("%d sessions cut off", cut)
	}
}

func TestCrashStaysInItsSession(t *testing.T) {
	var crashed string
	r := newRig(t, func(r *rig) { r.backend.panicAt = "boom" })
	r.group.Panic = func(_ *conn.Conn, v any, stack []byte) { crashed = fmt.Sprint(v) + string(stack) }
	p, other := r.dial(t), r.dial(t)
	p.reply()
	p.do("HELO c")
	p.do("MAIL FROM:<>")
	if got := transactionID.ReplaceAllString(p.do("RCPT TO:<boom@example.com>"), "ID"); got != "421 4.3.0 mail.example.com This session failed on our side and is recorded as ID; try again later" {
		t.Error(got)
	}
	if got := p.reply(); got != "EOF" {
		t.Error(got)
	}
	if !strings.HasPrefix(crashed, "test panic for boom@example.com") || !strings.Contains(crashed, "rig_test.go") {
		t.Errorf("recorded %q", crashed)
	}
	if got := other.reply(); !strings.HasPrefix(got, "220") {
		t.Errorf("another session: %q", got)
	}
}

func TestTooManyConnections(t *testing.T) {
	r := newRig(t, nil)
	for range 5 {
		if got := r.dial(t).reply(); !strings.HasPrefix(got, "220") {
			t.Fatal(got)
		}
	}
	p := r.dial(t)
	if got := p.reply(); got != "421 4.7.0 mail.example.com too many connections from your address, at most 5 are served; try again later" {
		t.Error(got)
	}
}
