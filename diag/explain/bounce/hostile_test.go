package bounce

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// reportBody is a delivery report as the innermost part of something.
const reportBody = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; relay.example.com\n\nFinal-Recipient: rfc822; hanako@example.jp\nAction: failed\nStatus: 5.1.1\n\n"

const robotHeader = "Return-Path: <>\nFrom: MAILER-DAEMON@relay.example.com\nTo: taro@example.com\nSubject: Undelivered Mail Returned to Sender\n"

const fromTheReport = "kind bounce\nhanako@example.jp userunknown hard 5.1.1/stated failed dsn relay.example.com | \n"

// A report 200 multiparts deep is read.
func TestDeepMultipart(t *testing.T) {
	var b strings.Builder
	b.WriteString(robotHeader)
	for i := range 200 {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"b%d\"\n\n--b%d\n", i, i)
	}
	b.WriteString(reportBody)
	for i := 199; i >= 0; i-- {
		fmt.Fprintf(&b, "--b%d--\n", i)
	}
	if got := describe(Parse([]byte(b.String()))); got != fromTheReport {
		t.Errorf("got\n%s", got)
	}
}

// Mail inside mail is followed only where a mail system packed in a report of
// its own, and never endlessly.
func TestDeepMessages(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "%sContent-Type: multipart/mixed; boundary=\"b%d\"\n\n--b%d\nContent-Type: message/rfc822\n\n", robotHeader, i, i)
	}
	if got := Parse([]byte(b.String())); len(got.Bounces) > 1 {
		t.Errorf("%d bounces out of nothing", len(got.Bounces))
	}
}

func TestWrappedReport(t *testing.T) {
	inner := robotHeader + "Content-Type: multipart/report; report-type=delivery-status; boundary=in\n\n--in\n" + reportBody + "--in--\n"
	outer := "From: Mail Delivery Subsystem <MAILER-DAEMON@gw.example.com>\nTo: taro@example.com\nSubject: Returned mail: User unknown\nContent-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: text/plain\n\n----- The following addresses had permanent delivery errors -----\n\n--out\nContent-Type: message/rfc822\n\n" + inner + "--out--\n"
	if got := describe(Parse([]byte(outer))); got != fromTheReport {
		t.Errorf("got\n%s", got)
	}
}

// Delimiters that are missing, doubled, unterminated or another part's must
// not hide the report.
func TestBrokenMIME(t *testing.T) {
	for name, body := range map[string]string{
		"no end":              "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n" + reportBody,
		"quote not closed":    "Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\n\n--b\n" + reportBody + "--b--\n",
		"inner end missing":   "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nfailed\n--b\n" + reportBody + "--b--\n",
		"blanks behind":       "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b  \n" + reportBody + "--b-- \n",
		"delimiter twice":     "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n--b\n" + reportBody + "--b--\n",
		"other boundary":      "Content-Type: multipart/report; report-type=delivery-status; boundary=z\n\n--b\n" + reportBody + "--b--\n",
		"prefix of the inner": "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\nContent-Type: text/plain\n\nfailed\n--bb--\n--b\n" + reportBody + "--b--\n",
		"base64 report":       "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\nUmVwb3J0aW5nLU1UQTogZG5zOyByZWxheS5leGFtcGxlLmNvbQoKRmluYWwtUmVjaXBpZW50OiBy\nZmM4MjI7IGhhbmFrb0BleGFtcGxlLmpwCkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4xLjEK\n--b--\n",
		"folded boundary":     "Content-Type: multipart/report;\n\treport-type=delivery-status;\n\tboundary=b\n\n--b\n" + reportBody + "--b--\n",
		"blank line repeated": "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n\n\nReporting-MTA: dns; relay.example.com\n\n\n\nFinal-Recipient: rfc822; hanako@example.jp\nAction: failed\nStatus: 5.1.1\n\n\n--b--\n",
		"no group break":      "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; relay.example.com\nFinal-Recipient: rfc822; hanako@example.jp\nAction: failed\nStatus: 5.1.1\n--b--\n",
	} {
		if got := describe(Parse([]byte(robotHeader + body))); got != fromTheReport {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

// Groups that no empty line parts are parted by the field that comes again.
func TestGroupsRunTogether(t *testing.T) {
	mail := robotHeader + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; relay.example.com\n\n" +
		"Final-Recipient: rfc822; hanako@example.jp\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822; jiro@example.jp\nAction: failed\nStatus: 5.2.2\n--b--\n"
	want := "kind bounce\nhanako@example.jp userunknown hard 5.1.1/stated failed dsn relay.example.com | \njiro@example.jp mailboxfull 5.2.2/stated failed dsn relay.example.com | \n"
	if got := describe(Parse([]byte(mail))); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestMbox(t *testing.T) {
	one := "From MAILER-DAEMON Tue May 13 10:00:00 2025\n" + robotHeader + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n" + reportBody + "--b--\n"
	text := []byte(one + "\n" + strings.Replace(one, "hanako", "jiro", 1) + "\nFrom here on this is prose.\n")
	if n := len(split(text)); n != 2 {
		t.Errorf("%d mails, want 2", n)
	}
	want := fromTheReport + "jiro@example.jp userunknown hard 5.1.1/stated failed dsn relay.example.com | \n"
	if got := describe(Parse(text)); got != want {
		t.Errorf("got\n%s", got)
	}
}

// An mbox is read mail by mail; what is too long is cut, and the mail behind it
// found all the same.
func TestMails(t *testing.T) {
	mail := func(to, body string) string {
		return "From MAILER-DAEMON Tue May 13 10:00:00 2025\nTo: " + to + "\nSubject: x\n\n" + body
	}
	text := mail("a@example.jp", "one\n\nFrom here on: this: is prose.\n\n") + mail("b@example.jp", strings.Repeat("long line ", 20000)+"\n\n") + mail("c@example.jp", "--x--\n") + mail("d@example.jp", "end")
	for _, end := range []string{"\n", "\r\n"} {
		var got []string
		for m, whole := range Mails(strings.NewReader(strings.ReplaceAll(text, "\n", end)), 100_000) {
			h, _ := parseHeader(lineEnds(m))
			got = append(got, fmt.Sprint(h.get("To"), " ", whole, " ", len(m) <= 100_000))
		}
		want := []string{"a@example.jp true true", "b@example.jp false true", "c@example.jp true true", "d@example.jp true true"}
		if !slices.Equal(got, want) {
			t.Errorf("line end %q: %q, want %q", end, got, want)
		}
	}
	if !IsMbox([]byte("From a@example.jp Tue May 13 10:00:00 2025\nTo: x\n")) || IsMbox([]byte("From: a@example.jp\n")) || IsMbox([]byte("From here on: it: is prose\nno header\n")) {
		t.Error("IsMbox is wrong")
	}
}

func TestNothing(t *testing.T) {
	for _, raw := range []string{"", "\n", "\x00\x01\x02", "From: ", "From a\n", "Subject: x", "Content-Type: multipart/report; boundary=b", "\r\r\r", robotHeader} {
		if got := Parse([]byte(raw)); got.Kind != Other || len(got.Bounces) > 0 {
			t.Errorf("%q: %s", raw, describe(got))
		}
	}
}

// What is long must stay cheap: each of these is a megabyte that tempts a
// reader into quadratic work.
func BenchmarkHostile(b *testing.B) {
	long := 1 << 20
	for name, body := range map[string]string{
		"delimiters": strings.Repeat("--\n", long/3),
		"addresses":  strings.Repeat("<a@example.jp>:\n", long/16),
		"at signs":   strings.Repeat("@", long),
		"digits":     strings.Repeat("550 5.1.1 ", long/10),
		"one line":   strings.Repeat("x", long),
		"fields":     strings.Repeat("Final-Recipient: rfc822; a@example.jp\n", long/38),
		"quotes":     strings.Repeat("\"", long) + "@a",
	} {
		mail := []byte(robotHeader + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\n" + body)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Parse(mail)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range samples(f) {
		f.Add(m)
		f.Add(bytes.ReplaceAll(m, []byte("\n"), []byte("\r")))
	}
	f.Add([]byte("From: <>\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"\"\n\n--\n--\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := Parse(raw)
		if len(m.Bounces) > 0 && (m.Kind == Other || m.Kind == Receipt) {
			t.Errorf("kind %s has %d bounces", m.Kind, len(m.Bounces))
		}
		for _, b := range m.Bounces {
			if b.Reason == "" || b.Source == "" || b.StatusSource == "" {
				t.Errorf("incomplete: %+v", b)
			}
			if (b.Status == "") != (b.StatusSource == "none") {
				t.Errorf("status %q is %s", b.Status, b.StatusSource)
			}
			if strings.ContainsAny(b.Diagnostic+b.Recipient, "\n") {
				t.Errorf("more than one line: %+v", b)
			}
		}
	})
}
