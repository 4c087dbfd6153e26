package smtp_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/probes/smtp"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert"
	"mailsrv/probes/tlscert/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dialHost(t *testing.T, h *smtptest.Host, opt smtp.Options) *smtp.Conn {
	t.Helper()
	opt.Helo = "probe.example.com"
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
	}
	c, err := smtp.Dial(context.Background(), h.Addr, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestConversation(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: `
		greeting => 220-mx.example.test ESMTP\n220 hello
		EHLO => 250-mx.example.test\n250-SIZE 1000\n250-AUTH PLAIN\n250-AUTH=LOGIN PLAIN\n250 8BITMIME
		RCPT TO:<nobody@ => 550-5.1.1 no such\n550 5.1.1 user
		RCPT TO:<later@ => 451 4.7.1 greylisted`})
	c := dialHost(t, h, smtp.Options{})
	step := func(what string, r smtp.Reply, err error) string {
		return what + ": " + r.String() + " / " + smtp.OutcomeOf(err)
	}
	var got []string
	do := func(what string, f func() (smtp.Reply, error)) {
		r, err := f()
		got = append(got, step(what, r, err))
	}
	do("greeting", c.Greeting)
	do("ehlo", c.Ehlo)
	if d := cmp.Diff(map[string]string{"SIZE": "1000", "AUTH": "PLAIN LOGIN PLAIN", "8BITMIME": ""}, c.Extensions); d != "" {
		t.Errorf("extensions (-want +got): %s", d)
	}
	if d := cmp.Diff([]string{"PLAIN", "LOGIN"}, c.Mechanisms()); d != "" {
		t.Errorf("mechanisms (-want +got): %s", d)
	}
	do("auth", func() (smtp.Reply, error) { return c.Auth("", "taro", "secret") })
	do("mail", func() (smtp.Reply, error) { return c.Mail("", "SIZE=10") })
	do("rcpt", func() (smtp.Reply, error) { return c.Rcpt("taro@example.test") })
	do("nobody", func() (smtp.Reply, error) { return c.Rcpt("nobody@example.test") })
	do("later", func() (smtp.Reply, error) { return c.Rcpt("later@example.test") })
	do("data", func() (smtp.Reply, error) { return c.Data([]byte("Subject: x\n\n.dot\nend")) })
	do("rset", c.Rset)
	do("bad", func() (smtp.Reply, error) { return c.Mail("a>\r\nRCPT TO:<b") })
	do("quit", c.Quit)
	want := []string{
		"greeting: 220 mx.example.test ESMTP hello / ok",
		"ehlo: 250 mx.example.test SIZE 1000 AUTH PLAIN AUTH=LOGIN PLAIN 8BITMIME / ok",
		"auth: 235 2.7.0 welcome / ok",
		"mail: 250 2.0.0 ok / ok",
		"rcpt: 250 2.0.0 ok / ok",
		"nobody: 550 5.1.1 no such user / permanent",
		"later: 451 4.7.1 greylisted / temporary",
		"data: 250 2.0.0 taken / ok",
		"rset: 250 2.0.0 ok / ok",
		"bad:  / invalid",
		"quit: 221 2.0.0 bye / ok",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	if d := cmp.Diff([]string{"Subject: x\r\n\r\n.dot\r\nend\r\n"}, h.Messages()); d != "" {
		t.Errorf("message (-want +got): %s", d)
	}
	var log strings.Builder
	for _, l := range c.Transcript {
		log.WriteString(l.From + " " + l.Stage + " " + l.Text + "\n")
	}
	if s := log.String(); strings.Contains(s, "AHRhcm8Ac2VjcmV0") || !strings.Contains(s, "C auth AUTH PLAIN ***\nS auth 235 2.7.0 welcome\n") {
		t.Errorf("transcript:\n%s", s)
	}
}

func TestAuthLogin(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: `
		EHLO => 250-x\n250 AUTH LOGIN
		AUTH LOGIN => 334 VXNlcm5hbWU6
		dGFybw== => 334 UGFzc3dvcmQ6
		c2VjcmV0 => 535 5.7.8 no`})
	c := dialHost(t, h, smtp.Options{})
	_, _ = c.Greeting()
	_, _ = c.Ehlo()
	r, err := c.Auth("", "taro", "secret")
	if e := smtp.As(err); e == nil || e.Stage != smtp.StageAuth || e.How != "permanent" || r.Code != 535 || r.Enhanced != "5.7.8" {
		t.Errorf("%v, %v", r, err)
	}
	for _, l := range c.Transcript {
		if strings.Contains(l.Text, "dGFybw==") || strings.Contains(l.Text, "c2VjcmV0") {
			t.Errorf("credentials in the transcript: %q", l.Text)
		}
	}
	if _, err := c.Auth("CRAM-MD5", "a", "b"); smtp.OutcomeOf(err) != "invalid" {
		t.Errorf("CRAM-MD5: %v", err)
	}
}

func TestHelo(t *testing.T) {
	c := dialHost(t, smtptest.New(t, smtptest.Config{Script: "EHLO => 502 what"}), smtp.Options{})
	_, _ = c.Greeting()
	if _, err := c.Ehlo(); err != nil || c.Hello != "HELO" || c.Has("STARTTLS") {
		t.Errorf("%v, said %s", err, c.Hello)
	}
}

func TestStartTLS(t *testing.T) {
	ca := certtest.NewCA()
	for _, tt := range []struct {
		what  string
		leaf  certtest.Leaf
		max   uint16
		fault string
	}{
		{"good", certtest.Leaf{Names: []string{"mx.example.test"}}, 0, ""},
		{"name", certtest.Leaf{Names: []string{"other.test"}}, 0, tlscert.WrongName},
		{"old", certtest.Leaf{Names: []string{"mx.example.test"}, RSABits: 1024}, tls.VersionTLS10, ""},
	} {
		h := smtptest.New(t, smtptest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(tt.leaf)}, MinVersion: tls.VersionTLS10, MaxVersion: tt.max}})
		c := dialHost(t, h, smtp.Options{RootCAs: ca.Pool(), ServerName: "mx.example.test"})
		_, _ = c.Greeting()
		_, _ = c.Ehlo()
		if _, err := c.StartTLS(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if c.TLS.Fault != tt.fault || c.TLS.Verified != (tt.fault == "") {
			t.Errorf("%s: %+v", tt.what, c.TLS)
		}
		if tt.max == tls.VersionTLS10 && (c.TLS.Version != "TLS 1.0" || c.TLS.KeyBits != 1024) {
			t.Errorf("%s: %s, %d bits", tt.what, c.TLS.Version, c.TLS.KeyBits)
		}
		if _, err := c.Ehlo(); err != nil {
			t.Errorf("%s: EHLO after STARTTLS: %v", tt.what, err)
		}
		if _, err := c.Quit(); err != nil {
			t.Errorf("%s: QUIT: %v", tt.what, err)
		}
	}
}

func TestImplicitTLS(t *testing.T) {
	ca := certtest.NewCA()
	h := smtptest.New(t, smtptest.Config{Implicit: true, TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Leaf{Names: []string{"127.0.0.1"}})}}})
	c := dialHost(t, h, smtp.Options{ImplicitTLS: true, RootCAs: ca.Pool()})
	if r, err := c.Greeting(); err != nil || r.Code != 220 || !c.TLS.Verified {
		t.Errorf("%v, %v, %+v", r, err, c.TLS)
	}
	plain := smtptest.New(t, smtptest.Config{})
	_, err := smtp.Dial(context.Background(), plain.Addr, smtp.Options{ImplicitTLS: true, Timeout: 5 * time.Second})
	if e := smtp.As(err); e == nil || e.Stage != smtp.StageTLS || e.How != "plain-expected" {
		t.Errorf("TLS against a plain port: %v", err)
	}
}

// Whatever the other side does, each step ends within its limit and says how.
func TestFaults(t *testing.T) {
	const limit = 150 * time.Millisecond
	for _, tt := range []struct{ script, stage, how string }{
		{"greeting => silent", smtp.StageGreeting, "silent"},
		{"greeting => drip", smtp.StageGreeting, "drip"},
		{"greeting => close", smtp.StageGreeting, "closed"},
		{"EHLO => reset", smtp.StageCapabilities, "reset"},
		{"greeting => flood", smtp.StageGreeting, "garbage"},
		{"greeting => HTTP/1.1 400 Bad Request", smtp.StageGreeting, "garbage"},
		{"greeting => \x15\x03\x01", smtp.StageGreeting, "tls-expected"},
		{"greeting => 220-a\\n250 b", smtp.StageGreeting, "garbage"},
		{"greeting => 554 5.7.1 go away", smtp.StageGreeting, "permanent"},
		{"greeting => 421 4.3.2 busy", smtp.StageGreeting, "temporary"},
		{"greeting => 220 " + strings.Repeat("x", 9000), smtp.StageGreeting, "garbage"},
		{"EHLO => close", smtp.StageCapabilities, "closed"},
		{"STARTTLS => badtls", smtp.StageStartTLS, "plain-expected"},
		{"STARTTLS => 454 4.7.0 not now", smtp.StageStartTLS, "temporary"},
		{"STARTTLS => 220 go\\n220 injected", smtp.StageStartTLS, "garbage"},
	} {
		h := smtptest.New(t, smtptest.Config{Script: tt.script})
		c := dialHost(t, h, smtp.Options{Timeout: limit})
		began := time.Now()
		_, err := c.Greeting()
		if err == nil {
			_, err = c.Ehlo()
		}
		if err == nil {
			_, err = c.StartTLS()
		}
		e := smtp.As(err)
		if e == nil || e.Stage != tt.stage || e.How != tt.how {
			t.Errorf("%.30q: %v (%s), want %s %s", tt.script, err, smtp.OutcomeOf(err), tt.stage, tt.how)
		}
		if d := time.Since(began); d > 10*limit {
			t.Errorf("%.30q: took %s", tt.script, d)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = smtp.Dial(context.Background(), addr, smtp.Options{})
	if e := smtp.As(err); e == nil || e.Stage != smtp.StageTCP || e.How != "refused" {
		t.Errorf("closed port: %v", err)
	}
}

func TestContextEndsConversation(t *testing.T) {
	h := smtptest.New(t, smtptest.Config{Script: "greeting => silent"})
	ctx, cancel := context.WithCancel(context.Background())
	c, err := smtp.Dial(ctx, h.Addr, smtp.Options{Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error)
	go func() { _, err := c.Greeting(); done <- err }()
	cancel()
	if err := <-done; smtp.OutcomeOf(err) != "silent" {
		t.Errorf("%v", err)
	}
}

func TestTestMessage(t *testing.T) {
	msg := string(smtp.TestMessage("a@example.test", "b@example.test", "try", "body"))
	for _, want := range []string{"From: <a@example.test>\r\n", "To: <b@example.test>\r\n", "@example.test>\r\n", "\r\n\r\nbody\r\n"} {
		if !strings.Contains(msg, want) {
			t.Errorf("%q is missing in %q", want, msg)
		}
	}
}
