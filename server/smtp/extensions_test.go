package smtp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/address"
)

// open begins a transaction for taro.
func (p *peer) open() {
	p.t.Helper()
	p.reply()
	p.do("EHLO c")
	for _, line := range []string{"MAIL FROM:<a@example.net>", "RCPT TO:<taro@example.com>"} {
		if got := p.do(line); got[0] != '2' {
			p.t.Fatal(got)
		}
	}
}

func TestChunks(t *testing.T) {
	for name, tt := range map[string]struct {
		chunks []string // "LAST" is sent with the last one
		want   string
	}{
		"one":                  {[]string{"x\r\n"}, "x\r\n"},
		"last is empty":        {[]string{"Subject: a\r\n", "\r\nb\r\n", ""}, "Subject: a\r\n\r\nb\r\n"},
		"nothing at all":       {[]string{""}, ""},
		"no dots":              {[]string{".\r\n", "\r\n.\r\n..\r\n"}, ".\r\n\r\n.\r\n..\r\n"},
		"CR and LF parted":     {[]string{"a\r", "\nb\r", "\n"}, "a\r\nb\r\n"},
		"a line without end":   {[]string{"a\r\nb"}, "a\r\nb\r\n"},
		"commands are content": {[]string{"QUIT\r\nBDAT 3\r\n"}, "QUIT\r\nBDAT 3\r\n"},
		"LF alone":             {[]string{"a\n", "\n.\n", "b\r", "\n\n"}, "a\r\n\r\n.\r\nb\r\n\r\n"},
		"octets":               {[]string{"\x00\xff\r\n"}, "\x00\xff\r\n"},
		"first line a blank":   {[]string{" ", "x\r\n"}, "\r\n x\r\n"},
		"larger than buffers":  {[]string{strings.Repeat("x", 4999) + "\r\n", strings.Repeat("y", 4000)}, strings.Repeat("x", 4999) + "\r\n" + strings.Repeat("y", 4000) + "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.dial(t)
			p.open()
			var all strings.Builder
			for i, c := range tt.chunks {
				last := ""
				if i == len(tt.chunks)-1 {
					last = " LAST"
				}
				fmt.Fprintf(&all, "BDAT %d%s\r\n%s", len(c), last, c)
			}
			p.send(all.String() + "NOOP\r\n") // in one group
			for i, c := range tt.chunks[1:] {
				if got, want := p.reply(), fmt.Sprintf("250 2.0.0 %d octets received", len(tt.chunks[i])); got != want {
					t.Errorf("%q: %s, want %s", c, got, want)
				}
			}
			if got := transactionID.ReplaceAllString(p.reply(), "ID"); got != "250 2.0.0 Ok: queued as ID" {
				t.Error(got)
			}
			if got := p.reply(); got != "250 2.0.0 Ok" {
				t.Error(got)
			}
			if got := transactionID.ReplaceAllString(r.backend.taken()[0].text, "ID"); got != header+tt.want {
				t.Errorf("stored %.300q\nwant %.300q", got, header+tt.want)
			}
		})
	}
}

// A chunk that is refused is read all the same: what is in it are no commands.
func TestChunksRefused(t *testing.T) {
	const bareCR = "550 5.5.2 Message refused: it has CR alone in a line; lines end with CRLF (RFC 5321 2.3.8)"
	for name, tt := range map[string]struct {
		send    string
		replies []string
	}{
		"no transaction":   {"RSET\r\nBDAT 6 LAST\r\nQUIT\r\n", []string{"250 2.0.0 Ok", "503 5.5.1 Send MAIL FROM first"}},
		"no recipient":     {"RSET\r\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<x@example.org>\r\nBDAT 6 last\r\nQUIT\r\n", []string{"250 2.0.0 Ok", "250 2.1.0 Sender ok", "503 5.5.1 Send RCPT TO first", "550 5.7.1 User not local. Authentication required for relay", "554 5.5.1 No recipient was accepted"}},
		"bare CR":          {"BDAT 4\r\n\ra\r\nNOOP\r\n", []string{bareCR, "250 2.0.0 Ok"}},
		"CR at the end":    {"BDAT 2 LAST\r\na\r", []string{bareCR}},
		"CR, then no LF":   {"BDAT 2\r\na\rBDAT 1 LAST\r\nb", []string{"250 2.0.0 2 octets received", bareCR}},
		"too big":          {"BDAT 6000\r\n" + strings.Repeat("x", 6000) + "BDAT 6000\r\n" + strings.Repeat("x", 6000) + "BDAT 6 LAST\r\nQUIT\r\n", []string{"250 2.0.0 6000 octets received", "552 5.3.4 Message is too big; at most 10000 octets are accepted", "503 5.5.1 Send MAIL FROM first"}},
		"loop":             {fmt.Sprintf("BDAT %d LAST\r\n", 13*(maxHops+1)) + strings.Repeat("Received: x\r\n", maxHops+1), []string{"554 5.4.6 Routing loop: more than 100 Received fields"}},
		"mixed with DATA":  {"BDAT 3\r\na\r\nDATA\r\nBDAT 0 LAST\r\n", []string{"250 2.0.0 3 octets received", "503 5.5.1 The message is coming by BDAT already; RSET gives it up", "250 2.0.0 Ok: queued as ID"}},
		"RCPT in between":  {"BDAT 3\r\na\r\nRCPT TO:<b@example.com>\r\nMAIL FROM:<>\r\nRSET\r\nDATA\r\n", []string{"250 2.0.0 3 octets received", "503 5.5.1 The message has begun already; RSET gives it up", "503 5.5.1 A message is under way already; RSET gives it up", "250 2.0.0 Ok", "503 5.5.1 Send MAIL FROM first"}},
		"after the last":   {"BDAT 0 LAST\r\nBDAT 6 LAST\r\nQUIT\r\n", []string{"250 2.0.0 Ok: queued as ID", "503 5.5.1 Send MAIL FROM first"}},
		"no size":          {"BDAT\r\n", []string{"501 5.5.4 Syntax: BDAT size [LAST]"}},
		"size is no size":  {"BDAT -1\r\nMAIL FROM:<evil@example.net>\r\n", []string{"501 5.5.4 Syntax: BDAT size [LAST]", "EOF"}},
		"size too large":   {"BDAT 99999999999999999999\r\nRSET\r\n", []string{"501 5.5.4 Syntax: BDAT size [LAST]", "EOF"}},
		"size and garbage": {"BDAT 1 LASTLY\r\nx", []string{"501 5.5.4 Syntax: BDAT size [LAST]", "EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.dial(t)
			p.open()
			p.send(tt.send)
			var got []string
			for range tt.replies {
				got = append(got, transactionID.ReplaceAllString(p.reply(), "ID"))
			}
			if diff := cmp.Diff(tt.replies, got); diff != "" {
				t.Error(diff)
			}
			if tt.replies[len(tt.replies)-1] != "EOF" {
				if got := p.do("QUIT"); !strings.HasPrefix(got, "221") {
					t.Errorf("then %q", got)
				}
			}
		})
	}
	t.Run("no room", func(t *testing.T) {
		p := newRig(t, func(r *rig) { r.backend.dataFail = &Reply{452, "4.3.1", "Full"} }).dial(t)
		p.open()
		p.send("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
		for _, want := range []string{"452 4.3.1 Full", "503 5.5.1 Send MAIL FROM first", "250 2.0.0 Ok"} {
			if got := p.reply(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
}

func TestParametersReachTheBackend(t *testing.T) {
	r := newRig(t, nil)
	p := r.dial(t)
	p.talk(`S: 220 mail.example.com ESMTP mailsrv
		C: HELO c
		S: 250 mail.example.com
		C: MAIL FROM:<太郎@例え.jp> SMTPUTF8 RET=hdrs ENVID=QQ+2B314 BODY=8bitmime SIZE=10
		S: 250 2.1.0 Sender ok
		C: RCPT TO:<taro@example.com> NOTIFY=success,FAILURE ORCPT=rfc822;Taro+2Bx@example.com
		S: 250 2.1.5 Recipient ok
		C: RCPT TO:<花子@example.com> NOTIFY=NEVER ORCPT=utf-8;花子@example.com
		S: 250 2.1.5 Recipient ok
		C: DATA
		S: 354 End data with <CR><LF>.<CR><LF>
		C: Subject: 挨拶
		C: .
		S: 250 2.0.0 Ok: queued as ID`)
	m := r.backend.taken()[0]
	if diff := cmp.Diff(Sender{Address: address.Address{Local: "太郎", Domain: "例え.jp"}, Size: 10, UTF8: true, Ret: "HDRS", EnvID: "QQ+2B314"}, m.sender); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Recipient{
		{Address: address.Address{Local: "taro", Domain: "example.com"}, Notify: "SUCCESS,FAILURE", ORCPT: "rfc822;Taro+2Bx@example.com"},
		{Address: address.Address{Local: "花子", Domain: "example.com"}, Notify: "NEVER", ORCPT: "utf-8;花子@example.com"},
	}, m.rcpts); diff != "" {
		t.Error(diff)
	}
	want := "Received: from c ([127.0.0.1])\r\n\tby mail.example.com with UTF8SMTP id ID;\r\n\tWed, 1 May 2024 12:00:00 +0000\r\nSubject: 挨拶\r\n"
	if got := transactionID.ReplaceAllString(m.text, "ID"); got != want {
		t.Errorf("stored %q\nwant %q", got, want)
	}
}

// A client that only tries out names is held up, and then sent away; one that
// has logged in is not.
func TestTooManyRefusedRecipients(t *testing.T) {
	const refused = "550 5.7.1 User not local. Authentication required for relay"
	p := newRig(t, nil).dial(t)
	p.open()
	for range maxRefused {
		if got := p.do("RCPT TO:<x@example.org>"); got != refused {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many senders, recipients or messages that are not accepted" {
		t.Error(got)
	}
	user := newRig(t, nil).dial(t)
	user.reply()
	user.do("EHLO c")
	user.do("AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5")
	user.do("MAIL FROM:<taro@example.com>")
	for range maxRefused + 1 {
		if got := user.do("RCPT TO:<x@example.org>"); got != refused {
			t.Fatal(got)
		}
	}
}

// No refusal is for ever: whoever repeats what is refused is sent away.
func TestTooManyRefusals(t *testing.T) {
	const end = "421 4.7.0 mail.example.com "
	for name, tt := range map[string]struct {
		before  []string
		repeat  string
		reply   string
		times   int
		goodbye string
	}{
		"sender": {nil, "MAIL FROM:<x@spam.example>", "550 5.7.1 Not you", maxRefused, "Too many senders, recipients or messages that are not accepted"},
		"recipients beyond the limit": {
			[]string{"MAIL FROM:<a@example.net>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<c@example.com>"},
			"RCPT TO:<d@example.com>", "452 4.5.3 Too many recipients; at most 3 are taken at once", maxOvershoot + maxErrors, "Too many errors",
		},
		"throttled login": {nil, "AUTH PLAIN AHNsb3cAeA==", "454 4.7.0 Too many failed logins; try again in 60 seconds", 3, "Too many failed logins"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, nil).dial(t)
			p.reply()
			p.do("EHLO c")
			for _, command := range tt.before {
				if got := p.do(command); got[0] != '2' {
					t.Fatal(got)
				}
			}
			for i := range tt.times {
				if got := p.do(tt.repeat); got != tt.reply {
					t.Fatalf("%d: %s", i, got)
				}
			}
			if got := p.reply(); got != end+tt.goodbye {
				t.Error(got)
			}
		})
	}
}

// The same holds for messages whose content is refused.
func TestTooManyRefusedMessages(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	p.do("EHLO c")
	for range maxRefused {
		p.do("MAIL FROM:<a@example.net>")
		p.do("RCPT TO:<taro@example.com>")
		if got := p.do("BDAT 4 LAST\r\n\rx"); !strings.HasPrefix(got, "550 5.5.2 Message refused: it has CR alone") {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many senders, recipients or messages that are not accepted" {
		t.Error(got)
	}
}

// Commands that lead to nothing are free for a while, begin to count as errors,
// and are free again after a message.
func TestTooManyIdleCommands(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.open() // its EHLO counts
	for i := range maxIdle - 1 {
		if got := p.do([]string{"NOOP", "HELP", "VRFY x", "NOOP"}[i%4]); got[0] != '2' {
			t.Fatal(got)
		}
	}
	if got := p.do("BDAT 0 LAST"); got[0] != '2' {
		t.Fatal(got)
	}
	for i := range maxIdle + maxErrors {
		if got := p.do([]string{"NOOP", "RSET"}[i%2]); got != "250 2.0.0 Ok" {
			t.Fatalf("%d: %s", i, got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many errors" {
		t.Error(got)
	}
}

// Answers to errors come later and later; a stopping server does not wait.
func TestErrorsAreHeldUp(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Delay = time.Hour })
	p := r.dial(t)
	p.reply()
	for range patientErrors {
		if got := p.do("XYZZY"); got != "500 5.5.2 Command not recognized" {
			t.Fatal(got)
		}
	}
	p.send("XYZZY\r\n")
	if err := p.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if b, err := p.r.ReadByte(); err == nil {
		t.Errorf("answered at once: %q", b)
	}
}

func TestEveryReplyHasItsEnhancedCode(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.open()
	for _, command := range []string{"NOOP", "XYZZY", "EXPN x", "VRFY x", "HELP", "AUTH PLAIN", "STARTTLS", "MAIL FROM:<>", "RCPT", "RSET", "DATA", "QUIT x", "QUIT"} {
		got := p.do(command)
		code, rest, _ := strings.Cut(got, " ")
		if !strings.HasPrefix(rest, code[:1]+".") {
			t.Errorf("%s: %s", command, got)
		}
	}
}

// Big messages and the commands between them, all in one go, by BDAT and by
// DATA in turn: the large buffer for content gives back what it has read ahead.
func TestBigMessagesInOneGo(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Limits.MessageSize = 1 << 20 })
	p := r.dial(t)
	p.reply()
	p.do("EHLO c")
	var all strings.Builder
	var want []string
	for i := range 6 {
		text := strings.Repeat(fmt.Sprintf("line %d\r\n", i), 20_000*i/3+1)
		want = append(want, header+text)
		all.WriteString("MAIL FROM:<a@example.net>\r\nRCPT TO:<taro@example.com>\r\n")
		if half := len(text) / 2; i%2 == 0 {
			fmt.Fprintf(&all, "BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, text[:half], len(text)-half, text[half:])
		} else {
			all.WriteString("DATA\r\n" + text + ".\r\n")
		}
	}
	all.WriteString("QUIT\r\n")
	go func() { _, _ = p.Write([]byte(all.String())) }()
	for got := ""; !strings.HasPrefix(got, "221 "); {
		if got = p.reply(); got[0] > '3' {
			t.Fatal(got)
		}
	}
	for i, m := range r.backend.taken() {
		if got := transactionID.ReplaceAllString(m.text, "ID"); got != want[i] {
			t.Errorf("message %d: %d octets %.100q, want %d %.100q", i, len(got), got, len(want[i]), want[i])
		}
	}
	if n := len(r.backend.taken()); n != len(want) {
		t.Errorf("%d messages, want %d", n, len(want))
	}
}
