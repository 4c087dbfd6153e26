package pop3

import (
	"strings"
	"testing"
)

func TestDialogues(t *testing.T) {
	messages := []string{"Subject: 1\r\n\r\none\r\n", "Subject: 2\r\n\r\n.two\r\n..\r\nlast\r\n"}
	for name, dialogue := range map[string]string{
		"before the login": `
			C: CAPA
			S: +OK Capability list follows
			S: TOP
			S: UIDL
			S: RESP-CODES
			S: AUTH-RESP-CODE
			S: PIPELINING
			S: UTF8 USER
			S: EXPIRE NEVER
			S: USER
			S: SASL PLAIN LOGIN
			S: IMPLEMENTATION mailsrv
			S: .
			C: STAT
			S: -ERR Log in first
			C: NOOP
			S: -ERR Log in first
			C: PASS x
			S: -ERR Send USER first
			C: USER
			S: -ERR USER wants a name
			C: APOP taro c4c9334bac560ecc979e58001b3e22fb
			S: -ERR APOP is not available: passwords are kept in a form that it cannot use; log in with USER or AUTH over TLS
			C: STLS
			S: -ERR TLS is not available here
			C: XYZZY
			S: -ERR Unknown command
			C: USER broken
			S: +OK Password please
			C: PASS x
			S: -ERR [SYS/TEMP] Login cannot be checked at present; try again later
			C: QUIT
			S: +OK Bye
			S: EOF`,
		"arguments nobody wants": `
			C: CAPA x
			S: -ERR CAPA takes no argument
			C: STLS x
			S: -ERR STLS takes no argument
			C: QUIT x
			S: -ERR QUIT takes no argument
			C: USER taro
			S: +OK Password please
			C: PASS correct horse battery
			S: +OK Mailbox has 2 messages (49 octets)
			C: DELE 1
			S: +OK Message 1 will be deleted at QUIT
			C: QUIT now
			S: -ERR QUIT takes no argument
			C: STAT
			S: +OK 1 30
			C: RSET
			S: +OK Mailbox has 2 messages (49 octets)`,
		"throttled logins": `
			C: USER slow
			S: +OK Password please
			C: PASS x
			S: -ERR [SYS/TEMP] Too many failed logins; try again in 60 seconds
			C: AUTH PLAIN AHNsb3cAeA==
			S: -ERR [SYS/TEMP] Too many failed logins; try again in 60 seconds
			C: AUTH PLAIN AHNsb3cAeA==
			S: -ERR [SYS/TEMP] Too many failed logins; try again in 60 seconds
			S: EOF`,
		"logins": `
			C: USER nobody
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: AUTH
			S: +OK Mechanisms follow
			S: PLAIN
			S: LOGIN
			S: .
			C: AUTH CRAM-MD5
			S: -ERR Mechanism is not offered; these are: PLAIN LOGIN
			C: AUTH PLAIN
			S: +
			C: *
			S: -ERR Login cancelled
			C: AUTH PLAIN !
			S: -ERR Initial response is no base64
			C: AUTH LOGIN
			S: + VXNlcm5hbWU6
			C: dGFybw==
			S: + UGFzc3dvcmQ6
			C: d3Jvbmc=
			S: -ERR [AUTH] User name or password is wrong
			C: AUTH PLAIN AHRhcm8AY29ycmVjdCBob3JzZSBiYXR0ZXJ5
			S: +OK Mailbox has 2 messages (49 octets)
			C: USER taro
			S: -ERR You are logged in already`,
		"too many failed logins": `
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong
			C: USER a
			S: +OK Password please
			C: PASS x
			S: -ERR [AUTH] User name or password is wrong; too many failed logins
			S: EOF`,
		"a mailbox": `
			C: USER taro
			S: +OK Password please
			C: PASS correct horse battery
			S: +OK Mailbox has 2 messages (49 octets)
			C: stat
			S: +OK 2 49
			C: LIST
			S: +OK 2 messages (49 octets)
			S: 1 19
			S: 2 30
			S: .
			C: LIST 2
			S: +OK 2 30
			C: LIST 3
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST 0
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST -1
			S: -ERR The message number is no number
			C: LIST +1
			S: -ERR The message number is no number
			C: LIST 99999999999999999999
			S: -ERR No such message, only 2 messages in mailbox
			C: LIST one
			S: -ERR The message number is no number
			C: RETR
			S: -ERR The command wants a message number
			C: RETR 2
			S: +OK 30 octets
			S: Subject: 2
			S:
			S: ..two
			S: ...
			S: last
			S: .
			C: TOP 2 1
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: ..two
			S: .
			C: TOP 2 0
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: .
			C: TOP 2 100
			S: +OK Top of message follows
			S: Subject: 2
			S:
			S: ..two
			S: ...
			S: last
			S: .
			C: TOP 1 99999999999999999999
			S: +OK Top of message follows
			S: Subject: 1
			S:
			S: one
			S: .
			C: TOP 1 +1
			S: -ERR The number of lines is no number
			C: TOP 2
			S: -ERR TOP wants a message number and a number of lines
			C: TOP 2 -1
			S: -ERR The number of lines is no number
			C: DELE 1
			S: +OK Message 1 will be deleted at QUIT
			C: DELE 1
			S: -ERR Message 1 is deleted
			C: RETR 1
			S: -ERR Message 1 is deleted
			C: STAT
			S: +OK 1 30
			C: LIST
			S: +OK 1 messages (30 octets)
			S: 2 30
			S: .
			C: RSET
			S: +OK Mailbox has 2 messages (49 octets)
			C: NOOP
			S: +OK Nothing done
			C: XTND XMIT
			S: -ERR Unknown command
			C: QUIT
			S: +OK Bye
			S: EOF`,
	} {
		t.Run(name, func(t *testing.T) { newRig(t, nil, messages...).dial(t).talk(dialogue) })
	}
}

// Go's decoder skips CR; a line of the login holds base64 and nothing else.
func TestCRInLogin(t *testing.T) {
	p := newRig(t, nil).dial(t)
	p.do("AUTH LOGIN")
	if got := p.do("dGFy\rbw=="); got != "-ERR Response is no base64" {
		t.Error(got)
	}
}

func TestTooManyLongLines(t *testing.T) {
	p := newRig(t, nil).dial(t)
	for range maxErrors {
		if got := p.do(strings.Repeat("x", maxCommand)); got != "-ERR Line too long" {
			t.Fatal(got)
		}
	}
	if got := p.line(); got != "-ERR Too many errors" {
		t.Error(got)
	}
}
