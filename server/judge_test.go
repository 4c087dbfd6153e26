package server

import (
	"net/smtp"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/deliver/sinktest"
)

// configured is outConfig with more settings, as they stand in a file.
func configured(t *testing.T, host, settings string) *config.Config {
	t.Helper()
	text := "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:25\"\n" + settings
	parsed, ps := config.Parse(filepath.Join(t.TempDir(), "mailsrv.toml"), []byte(text))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	c := outConfig(t, host)
	c.Rules, c.Checks, c.DNSBLs, c.Mailbox = parsed.Rules, parsed.Checks, parsed.DNSBLs, parsed.Mailbox
	c.Relay.PopBeforeSMTP, c.Relay.BackupMX, c.Relay.Clients = parsed.Relay.PopBeforeSMTP, parsed.Relay.BackupMX, parsed.Relay.Clients
	return c
}

func TestMarksAndHeaderRules(t *testing.T) {
	r := start(t, configured(t, "127.0.0.1:1", `
[checks]
helo_fqdn = "mark"
sender_fqdn = "reject"
[[rule]]
name = "lottery"
action = "mark"
headers = ["Subject: *lottery*"]
[[rule]]
name = "friend"
action = "reject"
headers = ["To: friend"]
reply = "554 5.7.1 Not your friend"
`), nil)
	r.forward(t, "taro", r.user) // checks leave postmaster alone
	for _, tt := range []struct{ from, text, want string }{
		{"a@pc", text, "550 5.1.7 Sender domain pc is not a full name: nobody could answer"},
		{"a@x.example", "To: friend\r\n\r\nx\r\n", "554 5.7.1 Not your friend"},
		{"a@x.example", "To:\r\n friend\r\n\r\nx\r\n", "554 5.7.1 Not your friend"},
		{"a@x.example", "X: y\r\n\r\nTo: friend\r\n", ""},
		{"a@x.example", "Subject: a\r\n\tlottery ticket\r\n\r\nx\r\n", ""},
		{"a@x.example", "Subject: " + strings.Repeat("long ", 20_000) + "\r\n\r\nx\r\n", ""},
	} {
		if got := r.receive(tt.from, tt.text, "taro@example.com"); got != tt.want {
			t.Errorf("from %s, %.30q: %q, want %q", tt.from, tt.text, got, tt.want)
		}
	}
	// localhost is no full name: net/smtp greets with it.
	const helo = "Return-Path: <a@x.example>\r\nX-Mailsrv-Mark: check.helo_fqdn (HELO localhost is no full name)\r\n"
	mail := r.mailbox(t, 3)
	if !strings.HasPrefix(mail[0], helo+"Received: ") || !strings.HasSuffix(mail[0], "\r\nX: y\r\n\r\nTo: friend\r\n") {
		t.Errorf("marked: %q", mail[0])
	}
	if !strings.HasPrefix(mail[1], helo+"X-Mailsrv-Mark: rule.lottery (header field Subject matches *lottery*)\r\nReceived: ") {
		t.Errorf("marked twice: %q", mail[1])
	}
	if len(mail[2]) < 100_000 || !strings.HasSuffix(mail[2], "long \r\n\r\nx\r\n") {
		t.Errorf("a long header: %.200q", mail[2])
	}
}

func TestPopBeforeSMTP(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	r := start(t, configured(t, sink.Addr().String(), "[relay]\npop_before_smtp = \"10m\"\n"), nil)
	const denied = "550 5.7.1 User not local. Authentication required for relay"
	if got := r.receive("a@x.example", text, "x@example.net"); got != denied {
		t.Fatalf("before: %q", got)
	}
	r.mailbox(t, 0)
	if got := r.receive("a@x.example", text, "x@example.net"); got != "" {
		t.Errorf("after a POP login: %q", got)
	}
	sink.Wait(t, 1, limit)
}

func TestQuota(t *testing.T) {
	r := start(t, configured(t, "127.0.0.1:1", "[mailbox]\nquota = \"10KB\"\n"), nil)
	body := func(n int) string { return "Subject: x\r\n\r\n" + strings.Repeat("0123456789abc\r\n", n/15) }
	if got := r.receive("a@x.example", body(20_000), r.user); got != "552 5.2.2 Message is larger than the mailbox may become" {
		t.Errorf("larger than the mailbox: %q", got)
	}
	if got := r.receive("a@x.example", body(6000), r.user); got != "" {
		t.Fatal(got)
	}
	if got := r.receive("a@x.example", body(6000), r.user); got != "452 4.2.2 Mailbox is full; try again later" {
		t.Errorf("does not fit any more: %q", got)
	}
	if got := r.receive("a@x.example", body(3000), r.user); got != "" {
		t.Fatal(got)
	}
	mail := r.mailbox(t, 3)
	if want := "Return-Path: <>\r\nFrom: Mail Delivery System <postmaster@mail.example.com>\r\nTo: <postmaster@example.com>\r\nSubject: Your mailbox is nearly full\r\n"; !strings.HasPrefix(mail[2], want) {
		t.Errorf("warning: %q", mail[2])
	}
	// The warning has filled it further: now it is full.
	if got := r.receive("a@x.example", body(200), r.user); got != "" {
		t.Error(got)
	}
	// An account of its own measure.
	if err := r.accounts().SetQuota("postmaster", "example.com", account.Unlimited); err != nil {
		t.Fatal(err)
	}
	if got := r.receive("a@x.example", body(20_000), r.user); got != "" {
		t.Errorf("unlimited: %q", got)
	}
	if err := r.accounts().SetQuota("postmaster", "example.com", 5000); err != nil {
		t.Fatal(err)
	}
	if got := r.receive("a@x.example", body(20), r.user); got != "452 4.2.2 Mailbox of <postmaster@example.com> is full; try again later" {
		t.Errorf("full at RCPT: %q", got)
	}
	c, err := smtp.Dial(r.addr(config.SMTP))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("a@x.example"); err != nil {
		t.Fatal(err)
	}
	if err := c.Reset(); err != nil {
		t.Fatal(err)
	}
	id, err := c.Text.Cmd("MAIL FROM:<a@x.example> SIZE=6000")
	if err != nil {
		t.Fatal(err)
	}
	c.Text.StartResponse(id)
	if _, _, err = c.Text.ReadResponse(250); err != nil {
		t.Fatal(err)
	}
	c.Text.EndResponse(id)
	if got := replyOf(c.Rcpt(r.user)); got != "552 5.2.2 Message is larger than the mailbox of <postmaster@example.com> may become" {
		t.Errorf("announced too large: %q", got)
	}
}

func TestFullMessageInJapanese(t *testing.T) {
	got := fullMessage(codes.Japanese, "mail.example.com", "ID", account.Account{Name: "taro", Domain: "example.com"}, 912_345_678, 1_000_000_000, time.Unix(0, 0).UTC())
	for _, want := range []string{"Subject: =?utf-8?b?", "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n", "To: <taro@example.com>\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(got, "\r\n"), "\r\n") {
		if len(line) > 78 && !strings.HasPrefix(line, "From: ") && !strings.HasPrefix(line, "Subject: ") {
			t.Errorf("long line %q", line)
		}
	}
	if amount(912_345_678) != "912.3 MB" || amount(1_000_000_000) != "1.0 GB" || amount(20_000) != "20 KB" || amount(999) != "999B" {
		t.Error("amounts")
	}
}
