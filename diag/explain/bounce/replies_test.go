package bounce

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// refusal is one line of testdata/replies.tsv: what a server said, and what is to
// be read from it.
type refusal struct {
	host, command, text string
	reasons             []string
	status              string
}

func replies(tb testing.TB, file string) []refusal {
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var out []refusal
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 5 {
			tb.Fatalf("%q: %d columns", line, len(f))
		}
		out = append(out, refusal{f[0], f[1], f[2], strings.Split(f[3], "|"), f[4]})
	}
	return out
}

// report is the reply in a delivery report as Postfix writes it, with a
// returned message that makes it about size bytes long.
func (r refusal) report(size int) []byte {
	said := fmt.Sprintf("host %s[198.51.100.7] said: %s (in reply to %s command)", r.host, r.text,
		map[string]string{"RCPT": "RCPT TO", "MAIL": "MAIL FROM", "DATA": "end of DATA", "EHLO": "EHLO"}[r.command])
	if r.command == "CONN" {
		said = fmt.Sprintf("host %s[198.51.100.7] refused to talk to me: %s", r.host, r.text)
	}
	status := r.status
	if status == "" {
		status = r.text[:1] + ".0.0"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `Return-Path: <>
From: MAILER-DAEMON@mx.example.jp (Mail Delivery System)
To: taro@example.jp
Subject: Undelivered Mail Returned to Sender
Date: Thu, 20 Nov 2025 10:00:00 +0900
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: text/plain; charset=utf-8

This is the mail system at host mx.example.jp.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<kim@example.com>: %s

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.jp

Final-Recipient: rfc822; kim@example.com
Action: failed
Status: %s
Remote-MTA: dns; %s
Diagnostic-Code: smtp; %s

--x
Content-Type: message/rfc822

From: taro@example.jp
To: kim@example.com
Subject: hello

`, said, status, r.host, r.text)
	for b.Len() < size-5 {
		b.WriteString("All work and no play makes Jack a dull boy.\n")
	}
	b.WriteString("--x--\n")
	return b.Bytes()
}

// What the servers of the world say must be understood for the reason they have.
func TestReplies(t *testing.T) {
	for _, r := range append(replies(t, "replies.tsv"), replies(t, "free.tsv")...) {
		m := Parse(r.report(0))
		if len(m.Bounces) != 1 {
			t.Errorf("%s: %d bounces", r.text, len(m.Bounces))
			continue
		}
		b := m.Bounces[0]
		if !slices.Contains(r.reasons, b.Reason) || b.ReplyCode != r.text[:3] || r.status != "" && b.Status != r.status || b.RemoteHost != r.host {
			t.Errorf("%s %s: %s\nis %s %s %s by %s, want %q %s", r.host, r.command, r.text, b.Reason, b.Status, b.ReplyCode, b.RemoteHost, r.reasons, r.status)
		}
	}
}
