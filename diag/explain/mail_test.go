package explain

import (
	"strings"
	"testing"

	"mailsrv/codes"
)

func TestMailKinds(t *testing.T) {
	const head = "From: %\nTo: taro@example.jp\nDate: Tue, 13 May 2025 10:00:00 +0900\nMessage-ID: <1@example.net>\n"
	from := func(s string) string { return strings.Replace(head, "%", s, 1) }
	for _, tt := range []struct {
		name, raw string
		kind      Kind
		cause     string
	}{
		{"delivery report", from("MAILER-DAEMON@mx.example.jp") + "Subject: Undelivered Mail\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\n<ken@example.net>: host mx.example.net said: 550 5.1.1 User unknown\n--x\nContent-Type: message/rfc822\n\nSubject: mailbox full\n", KindBounce, "user-unknown"},
		{"plain bounce", from("Mail Delivery System <MAILER-DAEMON@example.net>") + "Subject: failure notice\n\nHi. This is the qmail-send program at example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<ken@example.net>:\n198.51.100.7 does not like recipient.\nRemote host said: 550 5.2.2 Mailbox full\nGiving up on 198.51.100.7.\n\n--- Below this line is a copy of the message.\n\nSubject: hi\n\nx\n", KindBounce, "mailbox-full"},
		{"abuse report", from("abuse@example.net") + "Subject: report\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\n\n--x\n\n550 5.1.1 User unknown\n--x\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: <ken@example.net>\n--x--\n", KindARF, "none"},
		{"read receipt", from("ken@example.net") + "Subject: Read\nContent-Type: multipart/report; report-type=disposition-notification; boundary=x\n\nx\n", KindMDN, "none"},
		{"auto-reply", from("ken@example.net") + "Subject: Re: hello\nAuto-Submitted: auto-replied\n\nI am away. Connection refused.\n", KindAutoReply, "none"},
		{"ordinary mail", from("ken@example.net") + "Subject: question\n\nWhat does 550 5.1.1 User unknown mean?\n", KindMail, "none"},
		{"mbox", "From ken@example.net Tue May 13 10:00:00 2025\n" + from("ken@example.net") + "Subject: x\n\nhi\n", KindMail, "none"},
		{"lone carriage returns", strings.ReplaceAll(from("MAILER-DAEMON@mx.example.jp")+"Subject: Undelivered Mail Returned to Sender\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\nfailed\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.jp\n\nFinal-Recipient: rfc822; ken@example.net\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\n--x--\n", "\n", "\r"), KindBounce, "user-unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Explain([]byte(tt.raw), codes.English)
			if r.Input.Kind != tt.kind || len(r.Diagnosis) == 0 || r.Diagnosis[0].Cause != tt.cause {
				t.Errorf("%s %+v", r.Input.Kind, r.Diagnosis)
			}
		})
	}
	for _, text := range []string{"Server: 'x'\nPort: 25\nAccount: y\n", "Subject: test\n", "Error: 550\n\nFrom: x"} {
		if isMail([]byte(text)) {
			t.Errorf("%q is taken for a mail", text)
		}
	}
}

func TestNetstat(t *testing.T) {
	r := Explain([]byte(`
  Proto  Local Address          Foreign Address        State           PID
  TCP    0.0.0.0:25             0.0.0.0:0              LISTENING       412
  TCP    127.0.0.1:110          0.0.0.0:0              LISTENING       977
  TCP    0.0.0.0:445            0.0.0.0:0              LISTENING       4
  TCP    192.168.1.2:50001      198.51.100.7:110       TIME_WAIT       0
  TCP    192.168.1.2:50002      198.51.100.7:110       TIME_WAIT       0
  TCP    192.168.1.2:50003      198.51.100.8:443       TIME_WAIT       0
`), codes.English)
	want := []string{"kind text", "cause none", "extracted listening 0.0.0.0:25 pid 412 127.0.0.1:110 pid 977", "extracted time_wait 3 198.51.100.7:110"}
	if got := strings.Join(describe(r), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("%s", got)
	}
	if !r.Recognised() {
		t.Error("not recognised")
	}
	r = Explain([]byte("tcp   0  0 0.0.0.0:25  0.0.0.0:*  LISTEN  412/master\ntcp   0  0 127.0.0.1:143  0.0.0.0:*  LISTEN  9/dovecot\ntcp   0  0 10.0.0.1:22  10.0.0.2:5  ESTABLISHED  1/sshd\n"), codes.English)
	if got := r.Extracted["listening"]; len(got) != 2 || got[0] != "0.0.0.0:25 412/master" {
		t.Errorf("%q", got)
	}
}

// The ports run out when hundreds of closed connections wait.
func TestPortsRunOut(t *testing.T) {
	var b strings.Builder
	for i := range 900 {
		b.WriteString("  TCP    127.0.0.1:" + strings.Repeat("5", 2) + string(rune('0'+i%10)) + "00     127.0.0.1:110       TIME_WAIT       0\n")
	}
	r := Explain([]byte(b.String()), codes.English)
	if len(r.Diagnosis) == 0 || r.Diagnosis[0].Cause != "antivirus-proxy" || r.Diagnosis[0].Evidence[0] != "900 TIME_WAIT, most to 127.0.0.1:110" {
		t.Errorf("%+v", r.Diagnosis)
	}
}
