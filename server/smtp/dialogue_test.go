package smtp

import (
	"strings"
	"testing"
)

func TestDialogues(t *testing.T) {
	for name, dialogue := range map[string]string{
		"a message": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO client.example
			S: 250 mail.example.com
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA
			S: 354 End data with <CR><LF>.<CR><LF>
			C: hello
			C: .
			S: 250 2.0.0 Ok: queued as ID
			C: QUIT
			S: 221 2.0.0 mail.example.com Bye
			S: EOF`,
		"extensions": `
			S: 220 mail.example.com ESMTP mailsrv
			C: ehlo [192.0.2.1]
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: MAIL FROM:<a@example.net> SIZE=10000 BODY=8BITMIME AUTH=<>
			S: 250 2.1.0 Sender ok`,
		"out of order": `
			S: 220 mail.example.com ESMTP mailsrv
			C: MAIL FROM:<a@example.net>
			S: 503 5.5.1 Send HELO or EHLO first
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first
			C: DATA
			S: 503 5.5.1 Send MAIL FROM first
			C: AUTH PLAIN
			S: 503 5.5.1 Send EHLO first
			C: HELO client.example
			S: 250 mail.example.com
			C: AUTH PLAIN
			S: 503 5.5.1 Send EHLO first
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: MAIL FROM:<b@example.net>
			S: 503 5.5.1 A message is under way already; RSET gives it up
			C: DATA
			S: 503 5.5.1 Send RCPT TO first
			C: RCPT TO:<victim@example.org>
			S: 550 5.7.1 User not local. Authentication required for relay
			C: DATA
			S: 554 5.5.1 No recipient was accepted
			C: RSET
			S: 250 2.0.0 Ok
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first
			C: MAIL FROM:<spammer@spam.example>
			S: 550 5.7.1 Not you
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: EHLO again.example
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: RCPT TO:<taro@example.com>
			S: 503 5.5.1 Send MAIL FROM first`,
		"arguments": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO
			S: 501 5.5.4 Syntax: HELO hostname
			C: EHLO bad name
			S: 501 5.5.4 Syntax: EHLO hostname
			C: EHLO client.example
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: MAIL
			S: 501 5.5.4 Syntax: MAIL FROM:<address>
			C: MAIL TO:<a@example.net>
			S: 501 5.5.4 Syntax: MAIL FROM:<address>
			C: MAIL FROM:a@example.net
			S: 501 5.1.7 Syntax: MAIL FROM:<user@example.com>
			C: MAIL FROM:<a@example.net>SIZE=1
			S: 501 5.5.4 A blank is missing after the address
			C: MAIL FROM:<a@example.net> SIZE=abc
			S: 501 5.5.4 SIZE wants a number of octets
			C: MAIL FROM:<a@example.net> SIZE
			S: 501 5.5.4 SIZE wants a number of octets
			C: MAIL FROM:<a@example.net> SIZE=1 SIZE=2
			S: 501 5.5.4 Parameter SIZE stands twice
			C: MAIL FROM:<a@example.net> SIZE=10001
			S: 552 5.3.4 Message is too big; at most 10000 octets are accepted
			C: MAIL FROM:<a@example.net> SIZE=99999999999999999999
			S: 552 5.3.4 Message is too big; at most 10000 octets are accepted
			C: MAIL FROM:<a@example.net> BODY=BINARYMIME
			S: 501 5.5.4 BODY must be 7BIT or 8BITMIME
			C: MAIL FROM:<a@example.net> SMTPUTF8=1
			S: 501 5.5.4 SMTPUTF8 takes no value
			C: MAIL FROM:<a@example.net> XYZZY=1
			S: 555 5.5.4 MAIL parameter XYZZY is not known here
			C: MAIL FROM:<a@example.net> RET=ALL
			S: 501 5.5.4 RET must be FULL or HDRS
			C: MAIL FROM:<a@example.net> ENVID=a+0Db
			S: 501 5.5.4 ENVID must be xtext of at most 100 characters (RFC 3461 4)
			C: MAIL FROM:<a@example.net> AUTH=a+
			S: 501 5.5.4 AUTH wants a mailbox in xtext, or <>
			C: MAIL FROM:<a@example.net> =
			S: 501 5.5.4 Parameters have the form NAME=VALUE
			C: MAIL FROM:<太郎@example.net>
			S: 553 5.6.7 Address has characters beyond ASCII: MAIL FROM needs the parameter SMTPUTF8
			C: MAIL FROM: <a@example.net>
			S: 250 2.1.0 Sender ok`,
		"more arguments": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<a@example.net>
			S: 250 2.1.0 Sender ok
			C: RCPT
			S: 501 5.5.4 Syntax: RCPT TO:<address>
			C: RCPT TO:<>
			S: 501 5.1.3 Syntax: RCPT TO:<user@example.com>
			C: RCPT TO:<a@b@example.com>
			S: 501 5.1.3 Syntax: RCPT TO:<user@example.com>
			C: RCPT TO:<taro@example.com> XYZZY
			S: 555 5.5.4 RCPT parameter XYZZY is not known here
			C: RCPT TO:<taro@example.com> NOTIFY=NEVER,DELAY
			S: 501 5.5.4 NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY
			C: RCPT TO:<taro@example.com> NOTIFY=DELAY,DELAY
			S: 501 5.5.4 NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY
			C: RCPT TO:<taro@example.com> ORCPT=taro@example.com
			S: 501 5.5.4 ORCPT has the form rfc822;user@example.com in xtext (RFC 3461 4.2)
			C: RCPT TO:<taro@example.com> ORCPT=utf-8;太郎@example.com
			S: 501 5.5.4 ORCPT has the form rfc822;user@example.com in xtext (RFC 3461 4.2)
			C: RCPT TO:<太郎@example.com>
			S: 553 5.6.7 Address has characters beyond ASCII: MAIL FROM needs the parameter SMTPUTF8
			C: RCPT TO:<@relay.example:taro@example.com>
			S: 250 2.1.5 Recipient ok
			C: DATA now
			S: 501 5.5.4 DATA takes no argument
			C: RSET now
			S: 501 5.5.4 RSET takes no argument
			C: QUIT now
			S: 501 5.5.4 QUIT takes no argument`,
		"small commands": `
			S: 220 mail.example.com ESMTP mailsrv
			C: NOOP anything
			S: 250 2.0.0 Ok
			C: HELP
			S: 214 2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT
			C: VRFY taro
			S: 252 2.5.0 Not told here; RCPT TO says whether mail is accepted
			C: VRFY
			S: 501 5.5.4 Syntax: VRFY address
			C: EXPN list
			S: 502 5.5.1 Command not implemented
			C: TURN
			S: 502 5.5.1 Command not implemented
			C: STARTTLS
			S: 502 5.5.1 TLS is not available here
			C: XYZZY
			S: 500 5.5.2 Command not recognized
			C:
			S: 500 5.5.2 Command not recognized`,
		"too many recipients": `
			S: 220 mail.example.com ESMTP mailsrv
			C: HELO c
			S: 250 mail.example.com
			C: MAIL FROM:<>
			S: 250 2.1.0 Sender ok
			C: RCPT TO:<a@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<b@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<c@example.com>
			S: 250 2.1.5 Recipient ok
			C: RCPT TO:<d@example.com>
			S: 452 4.5.3 Too many recipients; at most 3 are taken at once`,
		"login": `
			S: 220 mail.example.com ESMTP mailsrv
			C: EHLO c
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: AUTH
			S: 501 5.5.4 Syntax: AUTH mechanism
			C: AUTH CRAM-MD5
			S: 504 5.5.4 Mechanism is not offered; these are: PLAIN LOGIN SCRAM-SHA-256
			C: AUTH PLAIN !!!
			S: 501 5.5.2 Initial response is no base64
			C: AUTH PLAIN =
			S: 501 5.5.2 Message of the login is malformed
			C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: *
			S: 501 5.7.0 Login cancelled
			C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: dGFybw
			S: 501 5.5.2 Response is no base64
			C: auth login dGFybw==
			S: 334 UGFzc3dvcmQ6
			C: d3Jvbmc=
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN
			S: 334
			C: AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
			S: 235 2.7.0 Authentication successful
			C: AUTH PLAIN
			S: 503 5.5.1 Logged in already`,
		"too many failed logins": `
			S: 220 mail.example.com ESMTP mailsrv
			C: EHLO c
			S: 250-mail.example.com|250-PIPELINING|250-SIZE 10000|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250-DSN|250-ENHANCEDSTATUSCODES|250-AUTH PLAIN LOGIN SCRAM-SHA-256|250 HELP
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			C: AUTH PLAIN AHRhcm8AeA==
			S: 535 5.7.8 Authentication credentials invalid
			S: 421 4.7.0 mail.example.com Too many failed logins
			S: EOF`,
		"a browser": `
			S: 220 mail.example.com ESMTP mailsrv
			C: POST / HTTP/1.1
			S: 421 4.7.0 mail.example.com This is SMTP, not HTTP
			S: EOF`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, nil).dial(t)
			p.talk(dialogue)
		})
	}
}

func TestTooManyErrors(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	for range maxErrors {
		if got := p.do("NONSENSE"); got != "500 5.5.2 Command not recognized" {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many errors" {
		t.Error(got)
	}
}

// Go's decoder skips CR; a line of the login holds base64 and nothing else.
func TestCRInLogin(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	p.do("EHLO c")
	p.do("AUTH LOGIN")
	if got := p.do("dGFy\rbw=="); got != "501 5.5.2 Response is no base64" {
		t.Error(got)
	}
}

// AUTH may bring a long message along (RFC 4954 4); no other command may.
func TestLongAuthCommand(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	p.do("EHLO c")
	long := "AHRhcm8A" + strings.Repeat("eHh4", maxCommand)
	if got := p.do("AUTH PLAIN " + long); got != "535 5.7.8 Authentication credentials invalid" {
		t.Error(got)
	}
	if got := p.do("HELP AUTH " + long); got != "500 5.5.2 Line too long" {
		t.Error(got)
	}
	if got := p.do("AUTH PLAIN " + strings.Repeat("eHh4", maxAuthLine/4)); got != "500 5.5.2 Line too long" {
		t.Error(got)
	}
	if got := p.do("AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5"); got != "235 2.7.0 Authentication successful" {
		t.Error(got)
	}
}

func TestTooManyLongLines(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.reply()
	for range maxErrors {
		if got := p.do(strings.Repeat("x", maxCommand)); got != "500 5.5.2 Line too long" {
			t.Fatal(got)
		}
	}
	if got := p.reply(); got != "421 4.7.0 mail.example.com Too many errors" {
		t.Error(got)
	}
}
