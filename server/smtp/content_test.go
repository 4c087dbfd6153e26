package smtp

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// deliver sends octets as the content of a message, and what follows, all in
// one group, and returns the reply to the content.
func (p *peer) deliver(content string) string {
	p.t.Helper()
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\n")
	for range 3 {
		p.reply()
	}
	if got := p.reply(); !strings.HasPrefix(got, "354") {
		p.t.Fatal(got)
	}
	p.send(content)
	return transactionID.ReplaceAllString(p.reply(), "ID")
}

const header = "Received: from c ([127.0.0.1])\r\n\tby mail.example.com with ESMTP id ID\r\n\tfor <taro@example.com>;\r\n\tWed, 1 May 2024 12:00:00 +0000\r\n"

func TestContentIsKept(t *testing.T) {
	for name, tt := range map[string][2]string{
		"dots":              {"..\r\n...\r\n.x\r\n. \r\na.\r\n.\r\n", ".\r\n..\r\nx\r\n \r\na.\r\n"},
		"empty":             {".\r\n", ""},
		"blank lines":       {"\r\n\r\n.\r\n", "\r\n\r\n"},
		"octets":            {"\x00\xff\x80\x7f\r\n.\r\n", "\x00\xff\x80\x7f\r\n"},
		"lines of curl":     {"a\n\n.b\nc\r\n..d\r\n\n\r\n.\r\n", "a\r\n\r\n.b\r\nc\r\n.d\r\n\r\n\r\n"},
		"long line":         {strings.Repeat("x", 9000) + "\r\n.\r\n", strings.Repeat("x", 9000) + "\r\n"},
		"long line of dots": {strings.Repeat(".", 9000) + "\r\n.\r\n", strings.Repeat(".", 8999) + "\r\n"},
		"CRLF at a buffer's end": {strings.Repeat("x", 4095) + "\r\n" + strings.Repeat("y", 4094) + "\r\n..\r\n.\r\n",
			strings.Repeat("x", 4095) + "\r\n" + strings.Repeat("y", 4094) + "\r\n.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			if got := r.dial(t).deliver(tt[0]); got != "250 2.0.0 Ok: queued as ID" {
				t.Fatal(got)
			}
			got := transactionID.ReplaceAllString(r.backend.taken()[0].text, "ID")
			if got != header+tt[1] {
				t.Errorf("stored %.200q\nwant %.200q", got, header+tt[1])
			}
		})
	}
}

// A first line that begins with a blank would continue the trace field above it
// (RFC 5322 2.2.3), and say there what this server never said.
func TestTraceCannotBeContinued(t *testing.T) {
	for _, content := range []string{"\tfor <forged@example.com>\r\n\r\nbody\r\n", " \r\nx\r\n", ". x\r\n"} {
		r := newRig(t, nil)
		if got := r.dial(t).deliver(content + ".\r\n"); got != "250 2.0.0 Ok: queued as ID" {
			t.Fatal(got)
		}
		got := transactionID.ReplaceAllString(r.backend.taken()[0].text, "ID")
		if want := header + "\r\n" + strings.TrimPrefix(content, "."); got != want {
			t.Errorf("stored %q\nwant %q", got, want)
		}
	}
}

// Whatever another server might take for the end of a message must not smuggle
// a second one in.
func TestSmuggling(t *testing.T) {
	const second = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"
	const bareLF = "550 5.5.2 Message refused: it has LF alone in a line; lines end with CRLF (RFC 5321 2.3.8)"
	const bareCR = "550 5.5.2 Message refused: it has CR alone in a line; lines end with CRLF (RFC 5321 2.3.8)"
	for end, tt := range map[string]struct {
		reply  string
		closed bool
	}{
		"\n.\n":         {bareLF, true},
		"\n.\r\n":       {bareLF, true},
		"\r\n.\n":       {bareLF, true},
		"\r\n\n.\r\n":   {bareLF, true},
		"\r.\r":         {bareCR, false},
		"\r\n.\r":       {bareCR, false},
		"\r.\r\n":       {bareCR, false},
		"\n.\r":         {bareCR, false},
		"\n..\r\n":      {"250 2.0.0 Ok: queued as ID", false},
		"\r\r\n.\r\r\n": {bareCR, false},
		"\r\r\n.\r\n":   {bareCR, true},
		"\r\n\x00.\r\n": {"250 2.0.0 Ok: queued as ID", false},
		"\r\n.\x00\r\n": {"250 2.0.0 Ok: queued as ID", false},
	} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			r := newRig(t, nil)
			p := r.dial(t)
			if got := p.deliver("first" + end + second); got != tt.reply {
				t.Errorf("reply %q, want %q", got, tt.reply)
			}
			if tt.closed {
				if got := p.reply(); got != "EOF" {
					t.Errorf("after the refusal: %q, want the end of the session", got)
				}
			} else if got := p.do("QUIT"); !strings.HasPrefix(got, "221") {
				t.Errorf("after the message: %q", got)
			}
			for _, m := range r.backend.taken() {
				if m.from == "evil@example.net" {
					t.Errorf("smuggled: %+v", m)
				}
			}
			if n := len(r.backend.taken()); (n > 0) != strings.HasPrefix(tt.reply, "250") {
				t.Errorf("%d messages taken", n)
			}
		})
	}
}

func TestLinesOfCommands(t *testing.T) {
	t.Run("bare LF", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send("NOOP\nNOOP\r\n")
		if got := p.reply(); got != "500 5.5.2 Line ended by LF alone: commands end with CRLF (with netcat: nc -C)" {
			t.Error(got)
		}
		if got := p.reply(); got != "EOF" {
			t.Error(got)
		}
	})
	t.Run("control characters", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, line := range []string{"NOOP\rNOOP", "NO\x00OP", "HELO x\x7f"} {
			if got := p.do(line); got != "500 5.5.2 Control character in a command" {
				t.Errorf("%q: %s", line, got)
			}
		}
	})
	t.Run("long", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, n := range []int{maxCommand - 1, 4096, 100_000} {
			if got := p.do(strings.Repeat("x", n)); got != "500 5.5.2 Line too long" {
				t.Errorf("%d octets: %s", n, got)
			}
		}
		if got := p.do("NOOP " + strings.Repeat("x", maxCommand-7)); got != "250 2.0.0 Ok" {
			t.Errorf("the longest line: %s", got)
		}
	})
	t.Run("endless", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		p.send(strings.Repeat("x", 1<<20+8192))
		if got := p.reply(); got != "500 5.5.2 Line too long" {
			t.Error(got)
		}
	})
	t.Run("in pieces", func(t *testing.T) {
		p := newRig(t, nil).dial(t)
		p.reply()
		for _, c := range "NOOP\r\n" {
			p.send(string(c))
		}
		if got := p.reply(); got != "250 2.0.0 Ok" {
			t.Error(got)
		}
	})
}

func TestRefusedContent(t *testing.T) {
	for name, tt := range map[string]struct {
		content, reply string
		change         func(*rig)
	}{
		"too big":   {strings.Repeat("x\r\n", 4000) + ".\r\n", "552 5.3.4 Message is too big; at most 10000 octets are accepted", nil},
		"loop":      {strings.Repeat("received: x\r\n", maxHops+1) + "\r\n.\r\n", "554 5.4.6 Routing loop: more than 100 Received fields", nil},
		"no loop":   {strings.Repeat("Received: x\r\n", maxHops) + "\r\nReceived: in the body\r\n.\r\n", "250 2.0.0 Ok: queued as ID", nil},
		"disk full": {"x\r\n.\r\n", "452 4.3.1 Full", func(r *rig) { r.backend.commit = Reply{452, "4.3.1", "Full"} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tt.change)
			p := r.dial(t)
			if got := p.deliver(tt.content); got != tt.reply {
				t.Errorf("reply %q, want %q", got, tt.reply)
			}
			if got := p.do("NOOP"); got != "250 2.0.0 Ok" {
				t.Errorf("the session goes on: %q", got)
			}
			if n := len(r.backend.taken()); (n > 0) != strings.HasPrefix(tt.reply, "250") {
				t.Errorf("%d messages taken", n)
			}
		})
	}
	t.Run("before the content", func(t *testing.T) {
		p := newRig(t, func(r *rig) { r.backend.dataFail = &Reply{452, "4.3.1", "Full"} }).dial(t)
		p.talk(`S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA
			S: 452 4.3.1 Full
			C: DATA
			S: 503 5.5.1 Send MAIL FROM first`)
	})
}

// A connection lost in the middle leaves no message behind.
func TestLostInData(t *testing.T) {
	r := newRig(t, nil)
	p := r.dial(t)
	p.reply()
	p.send("EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<taro@example.com>\r\nDATA\r\nhalf a message\r\n")
	p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r.group.Stop(ctx)
	if n := len(r.backend.taken()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}
