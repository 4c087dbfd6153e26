package server

import (
	"net/smtp"
	"slices"
	"strings"
	"testing"

	"mailsrv/server/config"
	"mailsrv/server/deliver/sinktest"
)

// forwarding is a server of example.com that sends everything to sink.
func forwarding(t *testing.T) (*running, *sinktest.Sink) {
	sink := sinktest.New(t, sinktest.Config{})
	r := start(t, outConfig(t, sink.Addr().String()), nil)
	return r, sink
}

func (r *running) forward(t *testing.T, name string, targets ...string) {
	t.Helper()
	if err := r.accounts().SetForward(name, "example.com", targets); err != nil {
		t.Fatal(err)
	}
}

// receive hands in a message as another server would, and returns the refusal.
func (r *running) receive(from string, text string, to ...string) string {
	if err := smtp.SendMail(r.addr(config.SMTP), nil, from, to, []byte(text)); err != nil {
		return replyOf(err)
	}
	return ""
}

func TestForwardElsewhere(t *testing.T) {
	r, sink := forwarding(t)
	r.forward(t, "sales", r.user, "hanako@example.net", "jiro@example.net")
	r.forward(t, "info", "hanako@example.net")
	if reply := r.receive("stranger@example.org", text, "sales@example.com"); reply != "" {
		t.Fatal(reply)
	}
	m := sink.Wait(t, 1, limit)[0]
	if !strings.HasPrefix(m.From, "<stranger@example.org> ") || strings.Join(m.To, " ") != "<hanako@example.net> <jiro@example.net>" {
		t.Errorf("sent on from %s to %s", m.From, m.To)
	}
	if !strings.HasPrefix(m.Text, "Delivered-To: sales@example.com\r\nReceived: from ") || !strings.HasSuffix(m.Text, "\r\n"+text) {
		t.Errorf("sent on: %q", m.Text)
	}
	if here := r.mailbox(t, 1)[0]; !strings.HasPrefix(here, "Return-Path: <stranger@example.org>\r\nReceived: ") || !strings.HasSuffix(here, "\r\n"+text) {
		t.Errorf("kept here: %q", here)
	}
	// A bounce stays one; two addresses are two messages, for neither knows of
	// the other.
	if reply := r.receive("", text, "sales@example.com", "info@example.com"); reply != "" {
		t.Fatal(reply)
	}
	var tops []string
	for _, m := range sink.Wait(t, 3, limit)[1:] {
		if !strings.HasPrefix(m.From, "<> ") {
			t.Errorf("a bounce was sent on from %s", m.From)
		}
		top, _, _ := strings.Cut(m.Text, "\r\n")
		tops = append(tops, top+" "+strings.Join(m.To, " "))
	}
	slices.Sort(tops)
	if want := []string{"Delivered-To: info@example.com <hanako@example.net>", "Delivered-To: sales@example.com <hanako@example.net> <jiro@example.net>"}; !slices.Equal(tops, want) {
		t.Errorf("%q, want %q", tops, want)
	}
	r.emptyQueue(t)
}

func TestForwardCircleThroughAnotherHost(t *testing.T) {
	r, sink := forwarding(t)
	r.forward(t, "sales", "hanako@example.net")
	if reply := r.receive("a@example.org", text, "sales@example.com"); reply != "" {
		t.Fatal(reply)
	}
	m := sink.Wait(t, 1, limit)[0]
	// hanako's host sends it back.
	if reply := r.receive("a@example.org", "Received: from mail.example.com\r\n"+m.Text, "sales@example.com"); reply != "554 5.4.6 Mail for <sales@example.com> goes in a circle: it has been sent on from here before" {
		t.Errorf("second time round: %q", reply)
	}
	// What another address sent on is none of that; nor is a line of the text.
	for _, text := range []string{"Delivered-To: info@example.com\r\n" + text, "X-Note: y\r\n\r\nDelivered-To: sales@example.com\r\n"} {
		if reply := r.receive("a@example.org", text, "sales@example.com"); reply != "" {
			t.Errorf("%q: %s", text, reply)
		}
	}
	r.emptyQueue(t)
}

func TestForwardedMailbox(t *testing.T) {
	r, sink := forwarding(t)
	forward := func(keep bool, to ...string) {
		t.Helper()
		if err := r.accounts().ForwardMailbox("postmaster", "example.com", to, keep); err != nil {
			t.Fatal(err)
		}
	}
	forward(true, "x@example.net")
	for _, text := range []string{text, "\r\nno header\r\n", "Subject: no body\r\n"} {
		if reply := r.receive("a@example.org", text, r.user); reply != "" {
			t.Fatal(reply)
		}
	}
	sink.Wait(t, 3, limit)
	for i, m := range r.mailbox(t, 3) {
		if want := []string{text, "\r\nno header\r\n", "Subject: no body\r\n"}[i]; !strings.HasSuffix(m, "\r\n"+want) {
			t.Errorf("copy %d: %q", i, m)
		}
	}
	forward(false, "x@example.net")
	if reply := r.receive("a@example.org", text, r.user); reply != "" {
		t.Fatal(reply)
	}
	sink.Wait(t, 4, limit)
	r.mailbox(t, 3)
	// He still sends as himself.
	auth := smtp.PlainAuth("", r.user, r.password, "127.0.0.1")
	if err := smtp.SendMail(r.addr(config.Submission), auth, r.user, []string{"y@example.net"}, []byte(text)); err != nil {
		t.Error(err)
	}
}

// Accounts and domains that come and go while the server runs.
func TestChangesWhileRunning(t *testing.T) {
	r, _ := forwarding(t)
	const unknown = "550 5.7.1 User not local. Authentication required for relay"
	if reply := r.receive("a@example.org", text, "x@example.jp"); reply != unknown {
		t.Errorf("before: %q", reply)
	}
	if err := r.accounts().AddDomain("example.jp"); err != nil {
		t.Fatal(err)
	}
	if err := r.accounts().SetForward("*", "example.jp", []string{r.user}); err != nil {
		t.Fatal(err)
	}
	if reply := r.receive("a@example.org", text, "x@example.jp"); reply != "" {
		t.Errorf("added: %q", reply)
	}
	if err := r.accounts().RemoveDomain("example.jp"); err != nil {
		t.Fatal(err)
	}
	if reply := r.receive("a@example.org", text, "x@example.jp"); reply != unknown {
		t.Errorf("removed: %q", reply)
	}
	r.mailbox(t, 1)
}
