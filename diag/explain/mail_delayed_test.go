package explain

import (
	"testing"

	"mailsrv/codes"
)

// A delay warning is no final failure: nothing has come back yet.
func TestDelayWarningWaits(t *testing.T) {
	raw := "Return-Path: <>\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@relay.example.com>\nTo: taro@example.com\nSubject: Warning: could not send message for past 4 hours\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; relay.example.com\n\nFinal-Recipient: RFC822; hanako@example.jp\nAction: delayed\nStatus: 4.4.7\n\n--b--\n"
	r := Explain([]byte(raw), codes.English)
	if len(r.Bounces) != 1 || r.Bounces[0].Reason != "expired" || r.Bounces[0].Action != "delayed" {
		t.Fatalf("bounces %+v", r.Bounces)
	}
	for _, d := range r.Diagnosis {
		if d.Cause == "retry-expired" && d.Confidence >= r.Diagnosis[0].Confidence {
			t.Errorf("a delay is explained as the end: %+v", d)
		}
	}
}
