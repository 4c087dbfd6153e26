package explain

import (
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
)

const benchDialog = "受信者の 1 人がサーバーによって拒否されたため、メッセージを送信できませんでした。 拒否された電子メール アドレス : 'ken@example.net' 件名 'テスト', アカウント : 'example', サーバー : 'smtp.example.jp', プロトコル : SMTP, サーバーの応答 : '550 5.7.1 <ken@example.net>... Relaying denied', ポート : 25, セキュリティ (SSL) : なし, サーバー エラー : 550, エラー番号 : 0x800CCC79"

func BenchmarkCode(b *testing.B) {
	for b.Loop() {
		Explain([]byte("0x800CCC0E"), codes.English)
	}
}

func BenchmarkDialog(b *testing.B) {
	for b.Loop() {
		Explain([]byte(benchDialog), codes.Japanese)
	}
}

func BenchmarkLogLine(b *testing.B) {
	line := []byte("May 13 10:00:01 mx postfix/smtp[2211]: 9F2A1C0A2B: to=<ken@example.net>, relay=mx.example.net[198.51.100.7]:25, delay=1.2, dsn=5.1.1, status=bounced (host mx.example.net[198.51.100.7] said: 550 5.1.1 <ken@example.net>: User unknown (in reply to RCPT TO command))")
	for b.Loop() {
		Explain(line, codes.English)
	}
}

// BenchmarkTables is what the first dialog of a process pays for its labels.
func BenchmarkTables(b *testing.B) {
	for b.Loop() {
		n := 0
		for _, s := range sections(labelsFile) {
			for _, line := range s.lines {
				flat, _ := flatten(line)
				n += len(flat)
			}
		}
		if n == 0 {
			b.Fatal("no tables")
		}
	}
}

// A dialog has to be answered within 5 ms after start-up. The bound here is
// wide, for slow machines under a race detector; BenchmarkDialog shows the time.
func TestDialogIsQuick(t *testing.T) {
	Explain([]byte(benchDialog), codes.English)
	start := time.Now()
	const n = 20
	for range n {
		Explain([]byte(benchDialog), codes.English)
	}
	if d := time.Since(start) / n; d > 50*time.Millisecond {
		t.Errorf("a dialog takes %v", d)
	}
}

// However long the input, the work stays bounded.
func TestLongInputIsQuick(t *testing.T) {
	for name, text := range map[string]string{
		"one word":        strings.Repeat("a", MaxInput),
		"many colons":     strings.Repeat("Server: ", MaxInput/8),
		"many quotes":     strings.Repeat("Server 'x", MaxInput/9),
		"many codes":      strings.Repeat("550 5.7.1 ", MaxInput/10),
		"many hex digits": strings.Repeat("0x800C ", MaxInput/7),
		"many at signs":   strings.Repeat("a@", MaxInput/2),
		"many hosts":      strings.Repeat("mail.example.com ", MaxInput/17),
		"many replies":    strings.Repeat("-ERR no\n", MaxInput/8),
		"many log lines":  strings.Repeat("May 13 10:00:01 mx postfix/smtpd[31]: lost connection after AUTH from unknown[203.0.113.9]\n", MaxInput/92),
		"kana":            strings.Repeat("サーバー の応答 ", MaxInput/23),
	} {
		start := time.Now()
		Explain([]byte(text), codes.English)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: %v", name, d)
		} else {
			t.Logf("%s: %v", name, d)
		}
	}
}

// BenchmarkBounce is a delivery report of about 4 KB, from bytes to result.
func BenchmarkBounce(b *testing.B) {
	raw := []byte("Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.jp (Mail Delivery System)\nTo: taro@example.jp\nDate: Tue, 13 May 2025 10:00:00 +0900\n" +
		"Subject: Undelivered Mail Returned to Sender\nMessage-ID: <1@mx.example.jp>\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"x\"\n\n--x\nContent-Type: text/plain\n\nThis is the mail system at host mx.example.jp.\n\n" +
		"I'm sorry to have to inform you that your message could not be delivered to one or more recipients.\n\n" +
		"<ken@example.net>: host mx.example.net[198.51.100.7] said: 550 5.1.1 <ken@example.net>: Recipient address rejected: User unknown (in reply to RCPT TO command)\n\n" +
		"--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.jp\n\nFinal-Recipient: rfc822; ken@example.net\nAction: failed\nStatus: 5.1.1\n" +
		"Remote-MTA: dns; mx.example.net\nDiagnostic-Code: smtp; 550 5.1.1 <ken@example.net>: Recipient address rejected: User unknown\n\n" +
		"--x\nContent-Type: message/rfc822\n\nFrom: taro@example.jp\nTo: ken@example.net\nSubject: hello\n\n" + strings.Repeat("All work and no play makes Jack a dull boy.\n", 55) + "\n--x--\n")
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if r := Explain(raw, codes.English); len(r.Bounces) != 1 {
			b.Fatal("not read")
		}
	}
}
