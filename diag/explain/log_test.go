package explain

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogLines(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       event
	}{
		{
			"postfix bounced",
			"May 13 10:00:01 mx postfix/smtp[2211]: 9F2A1C0A2B: to=<ken@example.net>, orig_to=<k@example.jp>, relay=mx.example.net[198.51.100.7]:25, delay=1.2, dsn=5.1.1, status=bounced (host mx.example.net[198.51.100.7] said: 550 5.1.1 <ken@example.net>: User unknown (in reply to RCPT TO command))",
			event{program: "postfix/smtp", host: "mx", time: "May 13 10:00:01", queueID: "9F2A1C0A2B", recipient: "ken@example.net", relay: "mx.example.net", port: 25, status: "5.1.1", reply: "550 5.1.1 <ken@example.net>: User unknown", command: "RCPT TO", outcome: failed},
		},
		{
			"postfix deferred without a relay",
			"2025-05-13T10:00:01.123456+09:00 mx postfix/smtp[9]: 1C0B2: to=<ken@example.net>, relay=none, dsn=4.4.1, status=deferred (connect to mx.example.net[198.51.100.7]:25: Connection timed out)",
			event{program: "postfix/smtp", host: "mx", time: "2025-05-13T10:00:01.123456+09:00", queueID: "1C0B2", recipient: "ken@example.net", status: "4.4.1", reply: "connect to mx.example.net[198.51.100.7]:25: Connection timed out", outcome: deferred},
		},
		{
			"postfix sent",
			"May 13 10:00:01 mx postfix/smtp[9]: 1C0B2: to=<ken@example.net>, relay=mx.example.net[198.51.100.7]:25, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
			event{program: "postfix/smtp", host: "mx", time: "May 13 10:00:01", queueID: "1C0B2", recipient: "ken@example.net", relay: "mx.example.net", port: 25, status: "2.0.0", reply: "250 2.0.0 Ok", outcome: fine},
		},
		{
			"postfix refused",
			"May  3 10:00:01 mx postfix/smtpd[31]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 <ken@example.net>: Relay access denied; from=<a@example.org> to=<ken@example.net> proto=ESMTP helo=<pc>",
			event{program: "postfix/smtpd", host: "mx", time: "May  3 10:00:01", queueID: "NOQUEUE", recipient: "ken@example.net", sender: "a@example.org", client: "203.0.113.9", reply: "554 5.7.1 <ken@example.net>: Relay access denied", command: "RCPT", outcome: failed},
		},
		{
			"postfix connection",
			"May 13 10:00:01 mx postfix/smtpd[31]: connect from unknown[203.0.113.9]",
			event{program: "postfix/smtpd", host: "mx", time: "May 13 10:00:01", outcome: fine},
		},
		{
			"found with grep",
			"/var/log/mail.log:May 13 10:00:01 mx postfix/qmgr[31]: 1C0B2: removed",
			event{program: "postfix/qmgr", host: "mx", time: "May 13 10:00:01", queueID: "1C0B2", outcome: fine},
		},
		{
			"exim deferred",
			"2025-05-13 10:00:01 1uEabc-000001-AB == ken@example.net R=dnslookup T=remote_smtp defer (110): Connection timed out",
			event{program: "exim", time: "2025-05-13 10:00:01", queueID: "1uEabc-000001-AB", recipient: "ken@example.net", reply: "defer (110): Connection timed out", outcome: deferred},
		},
		{
			"exim failed",
			"2025-05-13 10:00:01 +0900 [4711] 1uEabc-000001-AB ** ken@example.net R=dnslookup T=remote_smtp H=mx.example.net [198.51.100.7] X=TLS1.3: SMTP error from remote mail server after RCPT TO:<ken@example.net>: 550 5.1.1 User unknown",
			event{program: "exim", time: "2025-05-13 10:00:01", queueID: "1uEabc-000001-AB", recipient: "ken@example.net", relay: "mx.example.net", reply: "550 5.1.1 User unknown", command: "RCPT TO", outcome: failed},
		},
		{
			"exim refused",
			"2025-05-13 10:00:01 H=(pc1) [203.0.113.9] F=<a@example.org> rejected RCPT <ken@example.net>: relay not permitted",
			event{program: "exim", time: "2025-05-13 10:00:01", recipient: "ken@example.net", sender: "a@example.org", client: "203.0.113.9", reply: "relay not permitted", command: "RCPT", outcome: failed},
		},
		{
			"exim delivered",
			"2025-05-13 10:00:01 1uEabc-000001-AB => ken@example.net R=dnslookup T=remote_smtp",
			event{program: "exim", time: "2025-05-13 10:00:01", queueID: "1uEabc-000001-AB", outcome: fine},
		},
		{
			"sendmail deferred",
			"May 13 10:00:01 mx sm-mta[1]: 54D101aB: to=<ken@example.net>, ctladdr=<taro@example.jp> (500/500), delay=00:10:00, mailer=esmtp, relay=mx.example.net. [198.51.100.7], dsn=4.0.0, stat=Deferred: Connection refused by mx.example.net.",
			event{program: "sm-mta", host: "mx", time: "May 13 10:00:01", queueID: "54D101aB", recipient: "ken@example.net", sender: "taro@example.jp", relay: "mx.example.net", status: "4.0.0", reply: "Deferred: Connection refused by mx.example.net.", outcome: deferred},
		},
		{
			"sendmail refused",
			"May 13 10:00:01 mx sendmail[1]: 54D: ruleset=check_rcpt, arg1=<ken@example.net>, relay=pc [203.0.113.9], reject=550 5.7.1 <ken@example.net>... Relaying denied",
			event{program: "sendmail", host: "mx", time: "May 13 10:00:01", queueID: "54D", recipient: "ken@example.net", client: "pc", reply: "550 5.7.1 <ken@example.net>... Relaying denied", outcome: failed},
		},
		{
			"qmail failure",
			"1747098001.123456 delivery 12: failure: 198.51.100.7_does_not_like_recipient./Remote_host_said:_550_5.1.1_User_unknown/Giving_up_on_198.51.100.7./",
			event{program: "qmail", relay: "198.51.100.7", reply: "550 5.1.1 User unknown\nGiving up on 198.51.100.7.", outcome: failed},
		},
		{
			"dovecot login",
			"May 13 10:00:01 mx dovecot: imap-login: Login: user=<taro@example.jp>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS",
			event{program: "dovecot", host: "mx", time: "May 13 10:00:01", client: "203.0.113.9", protocol: "IMAP", reply: "imap-login: Login: user=<taro@example.jp>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS", outcome: fine},
		},
		{
			"qpopper",
			"Apr 9 07:56:15 ft popper[4272]: jiro at fw1 (203.0.113.7): -ERR [SYS/PERM] Unable to process From lines",
			event{program: "popper", host: "ft", time: "Apr 9 07:56:15", client: "203.0.113.7", protocol: "POP3", reply: "-ERR [SYS/PERM] Unable to process From lines", outcome: failed},
		},
		{
			"opensmtpd",
			`May 13 10:00:01 mx smtpd[1]: 1f2e3d mta delivery evpid=9a from=<taro@example.jp> to=<ken@example.net> rcpt=<-> source="192.0.2.1" relay="198.51.100.7 (mx.example.net)" delay=2s result="TempFail" stat="451 4.7.1 Try later"`,
			event{program: "opensmtpd", host: "mx", time: "May 13 10:00:01", queueID: "1f2e3d", recipient: "ken@example.net", sender: "taro@example.jp", relay: "mx.example.net", reply: "451 4.7.1 Try later", outcome: deferred},
		},
		{
			"courier",
			"May 13 10:00:02 mx courieresmtp: id=0001,from=<taro@example.jp>,addr=<ken@example.net>: 550 User unknown.",
			event{program: "courieresmtp", host: "mx", time: "May 13 10:00:02", queueID: "0001", recipient: "ken@example.net", sender: "taro@example.jp", reply: "550 User unknown.", outcome: failed},
		},
		{
			"hMailServer",
			"\"SMTPD\"\t3268\t12\t\"2025-05-13 10:00:01.123\"\t\"203.0.113.9\"\t\"SENT: 550 Delivery is not allowed to this address.\"",
			event{program: "hmailserver", client: "203.0.113.9", protocol: "SMTP", reply: "550 Delivery is not allowed to this address.", outcome: failed},
		},
		{
			"hMailServer hears its client",
			"\"SMTPD\"\t3268\t12\t\"2025-05-13 10:00:01.123\"\t\"203.0.113.9\"\t\"RECEIVED: RCPT TO:<ken@example.net>\"",
			event{program: "hmailserver", client: "203.0.113.9", protocol: "SMTP", recipient: "ken@example.net", reply: "RCPT TO:<ken@example.net>", outcome: fine},
		},
		{
			"ArGoSoft",
			"10:00:01 ( 12) 550 5.7.1 We do not relay",
			event{program: "argosoft", time: "10:00:01", reply: "550 5.7.1 We do not relay"},
		},
		{
			"Exchange tracking",
			"2025-05-13T10:00:01.123Z,,,,,,,SMTP,FAIL,1,<a@example.com>,1,ken@example.net,550 5.1.1 User unknown,1000,1,,,test,taro@example.com,taro@example.com,",
			event{program: "exchange", time: "2025-05-13T10:00:01.123Z", recipient: "ken@example.net", reply: "550 5.1.1 User unknown", outcome: failed},
		},
		{
			"Exchange protocol log",
			"2025-05-13T10:00:01.123Z,Outbound,08DD,12,192.0.2.1:4711,198.51.100.7:25,<,550 5.7.1 Unable to relay,",
			event{program: "exchange", time: "2025-05-13T10:00:01.123Z", relay: "198.51.100.7", reply: "550 5.7.1 Unable to relay"},
		},
		{
			"maddy",
			"queue: delivery attempt failed\t{\"msg_id\":\"ab12\",\"rcpt\":\"ken@example.net\",\"reason\":\"User unknown\",\"smtp_code\":550,\"smtp_enchcode\":\"5.1.1\",\"smtp_msg\":\"User unknown\",\"remote_server\":\"mx.example.net\"}",
			event{program: "pairs", queueID: "ab12", recipient: "ken@example.net", relay: "mx.example.net", status: "5.1.1", reply: "delivery attempt failed\n550 5.1.1 User unknown"},
		},
		{
			"mailsrv",
			`time=2025-05-13T10:00:01Z level=WARN msg="delivery failed" qid=1a2b to=ken@example.net mx=mx.example.net:25 reply="550 5.1.1 User unknown"`,
			event{program: "pairs", queueID: "1a2b", recipient: "ken@example.net", relay: "mx.example.net", port: 25, reply: "delivery failed\n550 5.1.1 User unknown"},
		},
		{
			"another program",
			"May 13 10:00:01 mx backupd[7]: connect to mx.example.net: Connection refused",
			event{program: "backupd", host: "mx", time: "May 13 10:00:01", reply: "connect to mx.example.net: Connection refused"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := readLogLine(tt.line)
			if !ok {
				t.Fatal("not read as a log line")
			}
			tt.want.line = tt.line
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoLogLines(t *testing.T) {
	for _, line := range []string{
		"", "hello", "Account: 'x', Server: 'y'", "SMTP error: 550", "Error: connect ECONNREFUSED", "10:30 we meet", "May the force be with you today",
		"550 5.1.1 <a@example.com>: unknown", "-ERR locked", "imap.example.com: no answer", "{}", "a,b,c,d,e,f,g,h",
	} {
		if e, ok := readLogLine(line); ok {
			t.Errorf("%q is read as a line of %s", line, e.program)
		}
	}
}

// What a log line says about a delivery is also there for programs.
func TestLogBounce(t *testing.T) {
	r := Explain([]byte("May 13 10:00:01 mx postfix/smtp[9]: 1C0B2: to=<ken@example.net>, relay=mx.example.net[198.51.100.7]:25, dsn=4.2.2, status=deferred (host mx.example.net[198.51.100.7] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command))"), "en")
	want := []Bounce{{Recipient: "ken@example.net", Reason: "mailboxfull", Status: "4.2.2", StatusSource: "stated", ReplyCode: "452", Diagnostic: "452 4.2.2 Mailbox full",
		Command: "RCPT TO", Action: "delayed", RemoteHost: "mx.example.net", ReportingMTA: "mx", Source: "text", Time: "May 13 10:00:01"}}
	if diff := cmp.Diff(want, r.Bounces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Diagnosis[0].Cause != "mailbox-full" || !r.Diagnosis[0].Temporary {
		t.Errorf("%+v", r.Diagnosis[0])
	}
}

// Of a log the cause with the most lines comes first.
func TestLogCountsLines(t *testing.T) {
	unknown := "May 13 10:00:01 mx postfix/smtp[9]: 1C0B2: to=<a@example.net>, relay=mx.example.net[198.51.100.7]:25, dsn=5.1.1, status=bounced (host mx.example.net[198.51.100.7] said: 550 5.1.1 User unknown)\n"
	refused := "May 13 10:00:02 mx postfix/smtp[9]: 1C0B3: to=<b@example.org>, relay=none, dsn=4.4.1, status=deferred (connect to mx.example.org[198.51.100.8]:25: Connection refused)\n"
	sent := "May 13 10:00:03 mx postfix/smtp[9]: 1C0B4: to=<c@example.org>, relay=mx.example.org[198.51.100.8]:25, dsn=2.0.0, status=sent (250 ok)\n"
	r := Explain([]byte(unknown+refused+sent+refused+sent+sent), "en")
	if r.Diagnosis[0].Cause != "connect-refused" || r.Diagnosis[1].Cause != "user-unknown" {
		t.Errorf("%+v", r.Diagnosis)
	}
	if len(r.Bounces) != 3 {
		t.Errorf("%d bounces, want 3", len(r.Bounces))
	}
}
