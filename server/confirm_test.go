package server

import (
	"net/netip"
	"net/textproto"
	"strings"
	"testing"

	"mailsrv/server/config"
	"mailsrv/server/deliver/sinktest"
)

// say sends commands one after the other; each is answered 2xx or 3xx.
func say(t *testing.T, addr string, commands ...string) {
	t.Helper()
	nc := dial(t, addr)
	defer nc.Close()
	c := textproto.NewConn(nc)
	for _, command := range append([]string{""}, commands...) {
		if command != "" {
			if err := c.PrintfLine("%s", command); err != nil {
				t.Fatal(err)
			}
		}
		if code, text, err := c.ReadResponse(0); err != nil || code >= 400 {
			t.Fatalf("%s: %d %s %v", command, code, text, err)
		}
	}
}

// Who asks for a confirmation gets one for a mailbox here, and one for a host
// that sends none itself; each says which (RFC 3461 5.2, RFC 3464).
func TestDeliveryIsConfirmed(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{Extensions: []string{"PIPELINING", "8BITMIME"}})
	c := outConfig(t, sink.Addr().String())
	c.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := start(t, c, nil)
	say(t, r.addr(config.SMTP), "EHLO c",
		"MAIL FROM:<"+r.user+"> RET=FULL ENVID=order+2B7",
		"RCPT TO:<Postmaster@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;boss@example.com",
		"RCPT TO:<hanako@example.net> NOTIFY=SUCCESS",
		"RCPT TO:<jiro@example.net> NOTIFY=FAILURE",
		"BDAT 21 LAST\r\nSubject: hello\r\n\r\nx", "QUIT")
	sink.Wait(t, 1, limit)
	notices := map[string]string{}
	for _, m := range r.mailbox(t, 3) {
		_, rest, _ := strings.Cut(m, "\r\nAction: ")
		action, _, _ := strings.Cut(rest, "\r\n")
		notices[action] = m
	}
	for action, wants := range map[string][]string{
		"delivered": {"Original-Envelope-Id: order+7", "Original-Recipient: rfc822; boss@example.com\r\nFinal-Recipient: rfc822; Postmaster@example.com\r\nAction: delivered\r\nStatus: 2.0.0\r\n", "Subject: Mail delivered: hello"},
		"relayed":   {"Original-Envelope-Id: order+7", "Final-Recipient: rfc822; hanako@example.net\r\nAction: relayed\r\nStatus: 2.0.0\r\nRemote-MTA: dns; "},
		"":          {"Subject: hello\r\n\r\nx\r\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(notices[action], want) {
				t.Errorf("%q: no %q in %s", action, want, notices[action])
			}
		}
	}
	r.emptyQueue(t)
}

// What was asked for goes on to a host that knows DSN, which then reports
// itself.
func TestConfirmationIsPassedOn(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{Extensions: []string{"PIPELINING", "DSN", "SMTPUTF8", "8BITMIME"}})
	c := outConfig(t, sink.Addr().String())
	c.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r := start(t, c, nil)
	say(t, r.addr(config.SMTP), "EHLO c",
		"MAIL FROM:<postmaster@example.com> RET=HDRS ENVID=a+2Bb SMTPUTF8",
		"RCPT TO:<hanako@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;h+2Bx@example.com",
		"RCPT TO:<花子@例え.jp> NOTIFY=NEVER",
		"DATA", "Subject: 挨拶\r\n\r\nx\r\n.", "QUIT")
	m := sink.Wait(t, 1, limit)[0]
	if m.From != "<postmaster@example.com> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb" {
		t.Error(m.From)
	}
	if got := strings.Join(m.To, "|"); got != "<hanako@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;h+2Bx@example.com|<花子@例え.jp> NOTIFY=NEVER" {
		t.Error(got)
	}
	r.emptyQueue(t)
	r.mailbox(t, 0)
}
