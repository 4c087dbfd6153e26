package explain

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

const mixedLog = `Nov 20 03:10:00 mx postfix/qmgr[5]: 4XyZ: removed
Nov 20 03:11:01 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
Nov 20 03:11:02 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
Nov 20 03:11:03 mx postfix/smtpd[8]: warning: unknown[203.0.113.10]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
Nov 20 03:11:04 mx postfix/smtp[9]: 4XyA: to=<kim@example.net>, relay=mx.example.net[198.51.100.7]:25, delay=1, dsn=5.1.1, status=bounced (host mx.example.net[198.51.100.7] said: 550 5.1.1 <kim@example.net>: User unknown (in reply to RCPT TO command))
Nov 20 03:11:05 mx postfix/smtp[9]: 4XyB: to=<lee@example.org>, relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.example.org[198.51.100.8]:25: Connection timed out)
Nov 20 03:11:06 mx postfix/smtp[9]: 4XyC: to=<kay@example.org>, relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.example.org[198.51.100.8]:25: Connection timed out)
Nov 20 03:11:07 mx postfix/cleanup[7]: warning: mail_queue_enter: create file maildrop/12.99: No space left on device
Nov 20 03:12:00 mx postfix/smtpd[8]: disconnect from unknown[203.0.113.9]
`

// What stops the server comes first, then what concerns most lines, last what is
// only refused to strangers.
func TestGroups(t *testing.T) {
	r := Explain([]byte(mixedLog), codes.English)
	if diff := cmp.Diff(&Log{Lines: 9, Trouble: 7, First: "Nov 20 03:10:00", Last: "Nov 20 03:12:00"}, r.Log); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, g := range r.Groups {
		got = append(got, fmt.Sprintf("%s %d failed %d deferred %d %s-%s %s %v", g.Cause, g.Count, g.Failed, g.Deferred, g.First, g.Last, g.Who, g.Top))
		if g.Title != codes.CauseOf(g.Cause).En.Title || !strings.Contains(mixedLog, g.Sample) || !strings.Contains(g.Sample, g.First) {
			t.Errorf("%+v", g)
		}
	}
	want := []string{
		"disk-full-server 1 failed 0 deferred 0 Nov 20 03:11:07-Nov 20 03:11:07 your-server []",
		"connect-timeout 2 failed 0 deferred 2 Nov 20 03:11:05-Nov 20 03:11:06 your-server [{example.org 2}]",
		"user-unknown 1 failed 1 deferred 0 Nov 20 03:11:04-Nov 20 03:11:04 sender [{mx.example.net 1}]",
		"auth-failed 3 failed 0 deferred 0 Nov 20 03:11:01-Nov 20 03:11:03 sender [{203.0.113.9 2} {203.0.113.10 1}]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var causes []string
	for _, d := range r.Diagnosis {
		causes = append(causes, d.Cause)
	}
	if diff := cmp.Diff([]string{"disk-full-server", "connect-timeout", "user-unknown", "auth-failed"}, causes[:4]); diff != "" {
		t.Error(diff)
	}
	if len(r.Bounces) != 3 {
		t.Errorf("%d deliveries", len(r.Bounces))
	}
}

// One troubled line is answered as such.
func TestSingleLineHasNoGroups(t *testing.T) {
	if r := Explain([]byte(strings.Split(mixedLog, "\n")[4]), codes.English); r.Log != nil || r.Groups != nil || len(r.Bounces) != 1 {
		t.Errorf("%+v", r)
	}
}

// A long log gives the same groups as the same text read whole.
func TestStreamIsTheSame(t *testing.T) {
	whole := Explain([]byte(mixedLog), codes.English)
	var reads []int64
	streamed, err := ExplainLog(strings.NewReader(strings.ReplaceAll(mixedLog, "\n", "\r\n")), codes.English, func(n int64) { reads = append(reads, n) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole.Groups, streamed.Groups); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(whole.Diagnosis, streamed.Diagnosis); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{int64(len(mixedLog) + strings.Count(mixedLog, "\n"))}, reads); diff != "" {
		t.Error(diff)
	}
}

// endless is a log of n different lines.
type endless struct {
	n, i int
	rest []byte
}

func (e *endless) Read(b []byte) (int, error) {
	for len(e.rest) == 0 {
		if e.i == e.n {
			return 0, io.EOF
		}
		e.i++
		i := e.i
		switch i % 5 {
		case 0:
			e.rest = fmt.Appendf(nil, "Nov 20 03:11:04 mx postfix/smtp[9]: 4X%08X: to=<user%d@example.net>, relay=mx%d.example.net[198.51.100.7]:25, dsn=5.1.1, status=bounced (host mx%d.example.net[198.51.100.7] said: 550 5.1.1 <user%d@example.net>: User unknown %d (in reply to RCPT TO command))\n", i, i, i, i, i, i)
		case 1:
			e.rest = fmt.Appendf(nil, "Nov 20 03:11:01 mx postfix/smtpd[8]: warning: unknown[203.0.%d.%d]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n", i/250%250, i%250)
		case 2:
			e.rest = fmt.Appendf(nil, "a line of something else %d\n", i)
		default:
			e.rest = fmt.Appendf(nil, "Nov 20 03:10:00 mx postfix/qmgr[5]: 4X%08X: removed\n", i)
		}
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// However long a log is, memory stays small, and every line counts.
func TestStreamInConstantMemory(t *testing.T) {
	n := 500_000
	if testing.Short() {
		n = 50_000
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	r, err := ExplainLog(&endless{n: n}, codes.English, func(read int64) {
		if read>>20%16 == 0 {
			most = max(most, heap())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if most > before+16<<20 {
		t.Errorf("%d MB more than before while reading", (most-before)>>20)
	}
	if r.Log.Lines != n*4/5 || r.Log.Trouble != n*2/5 || len(r.Groups) != 2 || r.Groups[0].Cause != "user-unknown" || r.Groups[0].Count != n/5 || r.Groups[1].Count != n/5 {
		t.Errorf("%+v %+v", r.Log, r.Groups)
	}
	if len(r.Bounces) > maxEvents || len(r.Matches) > maxMatches {
		t.Errorf("%d deliveries, %d codes", len(r.Bounces), len(r.Matches))
	}
}

func TestStreamOddLines(t *testing.T) {
	long := "Nov 20 03:11:07 mx postfix/cleanup[7]: warning: " + strings.Repeat("x", 3*MaxLine) + "\n"
	r, err := ExplainLog(strings.NewReader(long+"\x00\xff\xfe binary \n"+mixedLog+"Nov 20 03:13:00 mx postfix/smtp[9]: 4XyD: to=<a@example.net>, relay=none, dsn=5.4.4, status=bounced (Host or domain name not found.\n\tName service error for name=example.net type=A: Host not found)"), codes.Japanese, nil)
	if err != nil || r.Log.Lines != 11 || r.Log.Trouble != 8 {
		t.Errorf("%v %+v", err, r.Log)
	}
	if _, err := ExplainLog(io.MultiReader(strings.NewReader(mixedLog), failing{}), codes.English, nil); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestIsLog(t *testing.T) {
	for text, want := range map[string]bool{
		mixedLog:             true,
		mixedLog[:700]:       true,
		"hello\nworld\n":     false,
		"From: a\nTo: b\n\n": false,
		"":                   false,
		"\x00\x01":           false,
	} {
		if got := IsLog([]byte(text)); got != want {
			t.Errorf("%.40q: %v", text, got)
		}
	}
}

// BenchmarkLog is the speed of a long log in MB/s.
func BenchmarkLog(b *testing.B) {
	size, _ := io.Copy(io.Discard, &endless{n: 20_000})
	b.SetBytes(size)
	for b.Loop() {
		if _, err := ExplainLog(&endless{n: 20_000}, codes.English, nil); err != nil {
			b.Fatal(err)
		}
	}
}
