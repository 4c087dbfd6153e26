package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/server/deliver"
	"mailsrv/server/queue"
	"mailsrv/server/queue/dsn"
)

// replies are what other hosts say, and what deliver says where they say
// nothing: the samples of the catalogue as replies to RCPT, DATA and the rest.
func replies() (out []deliver.Result) {
	seen := map[string]bool{}
	for _, e := range codes.All() {
		for _, s := range e.Samples {
			s = strings.Join(strings.Fields(s), " ")
			r := deliver.Result{Outcome: deliver.Failed, Text: s, Command: "RCPT"}
			var n int
			if _, err := fmt.Sscanf(s, "%3d ", &n); err != nil || n < 400 || n > 599 {
				n = 550
				if e.Temporary {
					n = 451
				}
				r.Text = fmt.Sprint(n, " ", s)
			}
			r.Code = n
			if f := strings.Fields(r.Text); len(f) > 1 && strings.Count(f[1], ".") == 2 && strings.Trim(f[1], ".0123456789") == "" {
				r.Enhanced = f[1]
			}
			if !seen[r.Text] {
				seen[r.Text] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// What the queue took for the cause of a failure, and told the sender, is what
// explain reads out of the notice: both languages, failure and delay.
func TestNoticesAreReadBack(t *testing.T) {
	at := time.Date(2026, 11, 21, 18, 30, 0, 0, time.UTC)
	tried, causes := 0, map[string]bool{}
	for _, r := range replies() {
		cause := queue.Cause(r)
		if cause == "unknown" || cause == "none" {
			continue
		}
		for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
			for _, action := range []dsn.Action{dsn.Failed, dsn.Delayed} {
				report := &dsn.Report{
					Hostname: "mail.example.com", ID: "NOTICE1", To: "taro@example.com", About: "MESSAGE1", Sender: "taro@example.com",
					Arrival: at, Now: at.Add(time.Hour), Until: at.AddDate(0, 0, 5), Lang: lang, Action: action,
					Recipients: []dsn.Recipient{{Address: "hanako@example.jp", Code: r.Code, Status: r.Enhanced, Reply: r.Text, Command: r.Command,
						Cause: cause, Host: "mx.example.jp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), LastTry: at}},
					Message: strings.NewReader("Subject: hello\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"),
				}
				var b strings.Builder
				if err := report.Write(&b); err != nil {
					t.Fatal(err)
				}
				tried++
				causes[cause] = true
				got := explain.Explain([]byte(b.String()), lang)
				if len(got.Diagnosis) == 0 || got.Diagnosis[0].Cause != cause {
					word := "nothing"
					if len(got.Diagnosis) > 0 {
						word = got.Diagnosis[0].Cause
					}
					t.Errorf("%s %s: %q was told as %s and is read as %s", lang, action, r.Text, cause, word)
				}
			}
		}
	}
	t.Logf("%d notices, %d causes", tried, len(causes))
}
