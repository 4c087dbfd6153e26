package queue

import (
	"testing"

	"mailsrv/codes"
	"mailsrv/server/deliver"
)

// What deliver says where there is no reply is recognised by its words alone:
// mailsrv explain reads a notice back to the cause that the queue knew.
func TestOwnWordsAreKnown(t *testing.T) {
	for text, want := range map[string]string{
		"connect to mx.example.net[192.0.2.2]:25: Connection refused":                                                                     "connect-refused",
		"connect to mx.example.net[192.0.2.2]:25: Connection timed out":                                                                   "connect-timeout",
		"connect to mx.example.net[192.0.2.2]:25: No route to host":                                                                       "network-unreachable",
		"connect to mx.example.net[192.0.2.2]:25: Network is unreachable":                                                                 "network-unreachable",
		"conversation with mx.example.net[192.0.2.2]:25 timed out while sending MAIL FROM":                                                "server-timeout",
		"lost connection with mx.example.net[192.0.2.2]:25 while sending DATA: Connection closed by the other side":                       "connection-reset",
		"lost connection with mx.example.net[192.0.2.2]:25 while sending the message text: Connection reset by peer":                      "connection-reset",
		"Host or domain name not found: gone.example has no address":                                                                      "dns-failure",
		"DNS did not answer the question for the MX of bad.example: lookup bad.example.: server misbehaving":                              "dns-failure",
		"TLS with mx.example.net[192.0.2.2]:587 failed: tls: failed to verify certificate: x509: certificate signed by unknown authority": "tls-cert",
		"TLS is required, but was not offered by host mx.example.net[192.0.2.2]:587: without it no credentials are sent":                  "tls-mismatch",
		"cannot log in at mx.example.net[192.0.2.2]:587, no mechanism available: it offers GSSAPI; PLAIN or LOGIN is needed":              "auth-method",
		"mail for x.example loops back to myself: its best mail host is this server, which does not have the domain among its own":        "mail-loop",
		"mail loops back to myself: mx.example.net[192.0.2.2]:25 is this server":                                                          "mail-loop",
		"message size 25 exceeds size limit 20 of mx.example.jp[192.0.2.1]:25":                                                            "message-too-large",
		"connect to mx.example.net[192.0.2.2]:25: too many connections of this server there already":                                      "rate-limit",
	} {
		if got := Cause(deliver.Result{Text: text}); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestCauseOf(t *testing.T) {
	for _, tt := range []struct {
		r    deliver.Result
		want string
	}{
		{deliver.Result{Cause: "connect-refused", Text: "550 5.1.1 User unknown"}, "connect-refused"},
		{deliver.Result{Code: 550, Enhanced: "5.1.1", Text: "550 5.1.1 User unknown"}, "user-unknown"},
		{deliver.Result{Code: 550, Text: "550 no such user here"}, "user-unknown"},
		{deliver.Result{Code: 452, Enhanced: "4.2.2", Text: "452 4.2.2 The mailbox is over quota"}, "mailbox-full"},
		{deliver.Result{Code: 450, Enhanced: "4.7.1", Text: "450 4.7.1 Greylisted, please try again later"}, "greylisted"},
		{deliver.Result{Code: 550, Enhanced: "5.7.1", Text: "550 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org"}, "blocklisted"},
		{deliver.Result{Code: 552, Enhanced: "5.3.4", Text: "552 5.3.4 xyzzy"}, "message-too-large"},
		{deliver.Result{Code: 299, Text: "299 xyzzy"}, "unknown"},
		{deliver.Result{Text: "xyzzy"}, "unknown"},
	} {
		got := Cause(tt.r)
		if got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.r, got, tt.want)
		}
		if codes.CauseOf(got) == nil {
			t.Errorf("%s is no word of the list", got)
		}
	}
}
