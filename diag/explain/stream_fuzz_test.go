package explain

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mailsrv/codes"
)

// A log, however it comes in: no panic, counts that agree with each other, and
// the same answer whether it is read at once or octet by octet.
func FuzzLog(f *testing.F) {
	for _, s := range []string{
		"Nov 20 03:11:05 mx postfix/smtp[9]: 4XyB: to=<lee@example.org>, relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.example.org[198.51.100.8]:25: Connection timed out)\n",
		"Nov 20 03:11:02 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\r\n\tmore\r\n",
		"2026-11-01 06:06:42 1rAbC6-0003XY-06 ** c6@example.com R=dnslookup T=remote_smtp H=mx.example.com [198.51.100.8]: 550 5.1.1 no\n",
		"Nov 20 03:11:07 mx dovecot: pop3-login: Disconnected (auth failed, 3 attempts in 12 secs): user=<x>, method=PLAIN, rip=203.0.113.3, lip=192.0.2.1\n",
		"\x00\xff\xfe\n\n \tindented first\n", "@400000005f5e1000 status: local 1/10\n",
	} {
		f.Add([]byte(s))
		f.Add(bytes.Repeat([]byte(s), 3))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		r, err := ExplainLog(bytes.NewReader(raw), codes.Japanese, nil)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := ExplainLog(iotest.OneByteReader(bytes.NewReader(raw)), codes.Japanese, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, slow, cmpopts.IgnoreUnexported(Match{})); d != "" {
			t.Fatal(d)
		}
		if b, err := json.Marshal(r); err != nil || len(b) > 4<<20 {
			t.Fatalf("%d bytes of answer, %v", len(b), err)
		}
		if r.Log == nil {
			return
		}
		n := 0
		for _, g := range r.Groups {
			n += g.Count
			if g.Failed+g.Deferred > g.Count || g.Title == "" {
				t.Fatalf("%+v", g)
			}
		}
		if n != r.Log.Trouble || n > r.Log.Lines {
			t.Fatalf("%d lines in the groups, %+v", n, r.Log)
		}
	})
}
