package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
)

// BenchmarkBatch is what a directory of bounces costs, from bytes to JSON, on
// one core. The bound is 5,000 mails of 4 KB a second. "made" are reports of
// that size with the wordings of many servers; "corpus" are the real mails that
// lie beside the repository or where MAILSRV_CORPUS points.
func BenchmarkBatch(b *testing.B) {
	b.Run("made", func(b *testing.B) { benchmarkBatch(b, madeMails(b, 4<<10)) })
	b.Run("corpus", func(b *testing.B) {
		dir := os.Getenv("MAILSRV_CORPUS")
		if dir == "" {
			dir = filepath.Join("..", "..", "..", "shared", "corpus")
		}
		names, err := filepath.Glob(filepath.Join(dir, "bounces", "eml", "*.eml"))
		if err != nil || len(names) == 0 {
			b.Skipf("no bounce mails in %s: set MAILSRV_CORPUS to a directory with bounces/eml/*.eml", dir)
		}
		var mails [][]byte
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			mails = append(mails, raw)
		}
		benchmarkBatch(b, mails)
	})
}

func benchmarkBatch(b *testing.B, mails [][]byte) {
	size := 0
	out := json.NewEncoder(io.Discard)
	explain := func(raw []byte) {
		r := Explain(raw, codes.English)
		if err := out.Encode(&r); err != nil {
			b.Fatal(err)
		}
	}
	for _, m := range mails {
		size += len(m)
		explain(m) // tables and entries are read once in a batch
	}
	b.SetBytes(int64(size / len(mails)))
	b.ReportAllocs()
	start, n := time.Now(), 0
	for b.Loop() {
		explain(mails[n%len(mails)])
		n++
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "mails/s")
}

// madeMails are delivery reports of the given size with the replies that
// package bounce is tested with.
func madeMails(tb testing.TB, size int) [][]byte {
	raw, err := os.ReadFile(filepath.Join("bounce", "testdata", "replies.tsv"))
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for line := range strings.Lines(string(raw)) {
		f := strings.Split(line, "\t")
		if len(f) < 3 {
			continue
		}
		mail := fmt.Sprintf("Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.jp (Mail Delivery System)\nTo: taro@example.jp\nDate: Thu, 20 Nov 2025 10:00:00 +0900\n"+
			"Subject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"x\"\n\n"+
			"--x\nContent-Type: text/plain\n\nThis is the mail system at host mx.example.jp.\n\n<kim@example.com>: host %[1]s[198.51.100.7] said: %[2]s\n\n"+
			"--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.jp\n\nFinal-Recipient: rfc822; kim@example.com\nAction: failed\nStatus: %[3]s.0.0\n"+
			"Remote-MTA: dns; %[1]s\nDiagnostic-Code: smtp; %[2]s\n\n--x\nContent-Type: message/rfc822\n\nFrom: taro@example.jp\nTo: kim@example.com\nSubject: hello\n\n", f[0], f[2], f[2][:1])
		for len(mail) < size {
			mail += "All work and no play makes Jack a dull boy.\n"
		}
		out = append(out, []byte(mail+"\n--x--\n"))
	}
	return out
}
