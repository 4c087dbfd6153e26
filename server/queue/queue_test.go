package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailsrv/server/deliver"
	"mailsrv/server/deliver/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = "Subject: hello\r\n\r\nhello\r\n"

// byMap is a deliver.Client whose domains lie at sinks.
func byMap(hosts map[string]*sinktest.Sink) *deliver.Client {
	own := map[string]*deliver.SmartHost{}
	for domain, s := range hosts {
		own[domain] = &deliver.SmartHost{Host: s.Addr().Addr().String(), Port: s.Port()}
	}
	return deliver.New(deliver.Config{Hostname: "mail.example.com", Timeouts: deliver.Timeouts{Quit: 200 * time.Millisecond},
		// A smart host chosen by the recipient, which stands in the sender's place here.
		SmartHost: func(domain string) *deliver.SmartHost { return own[domain] }})
}

// options of a queue that delivers to sinks by the recipient's domain.
func options(hosts map[string]*sinktest.Sink) Options {
	c := byMap(hosts)
	return Options{
		Hostname: "mail.example.com",
		Destination: func(_, recipient string) deliver.Destination {
			_, domain, _ := strings.Cut(recipient, "@")
			return c.Destination(domain, recipient)
		},
		Courier: func(d deliver.Destination) Courier { return c.Courier(d) },
		Post:    func(Notice) error { return errors.New("no notice expected") },
		Linger:  20 * time.Millisecond,
		Log:     slog.New(slog.DiscardHandler),
	}
}

func openQueue(t testing.TB, dir string, o Options) *Queue {
	t.Helper()
	q, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run runs q until the test ends, or stop is called.
func run(t testing.TB, q *Queue) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func envelope(id string, to ...string) Envelope {
	e := Envelope{ID: id, Sender: "taro@example.com"}
	for _, a := range to {
		e.Recipients = append(e.Recipients, Recipient{Address: a})
	}
	return e
}

func submit(t testing.TB, q *Queue, e Envelope, text string) {
	t.Helper()
	if err := try(q, e, text); err != nil {
		t.Fatal(err)
	}
}

func try(q *Queue, e Envelope, text string) error {
	m, err := q.Begin(e)
	if err != nil {
		return err
	}
	defer m.Abort()
	_, _ = io.WriteString(m, text)
	return m.Commit()
}

// waitEmpty waits until nothing is left in the queue's folder.
func waitEmpty(t testing.TB, q *Queue) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		names := files(t, q.folder.path)
		if len(names) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still in the queue: %v", names)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// files are the names in a folder, without sub-folders.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestDeliver(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	q := openQueue(t, t.TempDir(), options(map[string]*sinktest.Sink{"example.jp": sink}))
	run(t, q)
	text := "Subject: x\r\n\r\n.\r\n..\r\n\xff\r\n"
	e := envelope("MESSAGE1", "hanako@example.jp", "jiro@example.jp")
	e.EnvID, e.Ret = "QQ1", "HDRS"
	e.Recipients[1].Notify, e.Recipients[1].ORCPT = "FAILURE", "rfc822;j+2Bx@example.com"
	submit(t, q, e, text)
	got := sink.Wait(t, 1, 10*time.Second)
	want := []sinktest.Message{{Session: 1, From: "<taro@example.com> SIZE=24 BODY=8BITMIME RET=HDRS ENVID=QQ1",
		To: []string{"<hanako@example.jp>", "<jiro@example.jp> NOTIFY=FAILURE ORCPT=rfc822;j+2Bx@example.com"}, Raw: strings.ReplaceAll(text, "\r\n.", "\r\n.."), Text: text}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	waitEmpty(t, q)
	if s := q.Stats(); s.Messages != 0 || s.Delivered != 2 {
		t.Errorf("stats %+v", s)
	}
}

// A tarpit and twenty good hosts: the good ones have their mail while the
// tarpit still holds its connections open, and never more of them than it may.
func TestTarpit(t *testing.T) {
	tarpit := sinktest.New(t, sinktest.Config{Script: func(*sinktest.Session, string, string) string { return sinktest.Hang }})
	hosts := map[string]*sinktest.Sink{"tarpit.example": tarpit}
	for i := range 20 {
		hosts[fmt.Sprintf("good%d.example", i)] = sinktest.New(t, sinktest.Config{})
	}
	o := options(hosts)
	o.Connections, o.Grace = 12, time.Millisecond
	q := openQueue(t, t.TempDir(), o)
	run(t, q)
	for i := range 50 {
		submit(t, q, envelope(fmt.Sprintf("TARPIT%d", i), "a@tarpit.example", fmt.Sprintf("b@good%d.example", i%20)), hello)
	}
	for _, s := range hosts {
		if s != tarpit {
			s.Wait(t, 2, 20*time.Second)
		}
	}
	if _, most := tarpit.Sessions(); most == 0 || most > startLimit {
		t.Errorf("%d connections to the tarpit", most)
	}
}

// A host that takes two messages a connection, and two connections at once.
func TestCongestedHost(t *testing.T) {
	var mu sync.Mutex
	open := map[int]bool{}
	sink := sinktest.New(t, sinktest.Config{Script: func(s *sinktest.Session, verb, _ string) string {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case verb == "CONN" && len(open) == 2:
			return "CLOSE 421 4.7.0 Too many connections"
		case verb == "CONN":
			open[s.Number] = true
		case verb == "MAIL" && s.Messages == 2:
			delete(open, s.Number)
			return "CLOSE 421 4.7.0 Enough"
		case verb == "QUIT":
			delete(open, s.Number)
		}
		return ""
	}})
	o := options(map[string]*sinktest.Sink{"example.jp": sink})
	o.Retry.Schedule = []time.Duration{100 * time.Millisecond}
	q := openQueue(t, t.TempDir(), o)
	run(t, q)
	for i := range 40 {
		submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), fmt.Sprintf("r%d@example.jp", i)), hello)
	}
	got := sink.Wait(t, 40, 20*time.Second)
	seen := map[string]int{}
	for _, m := range got {
		seen[m.To[0]]++
	}
	for i := range 40 {
		if n := seen[fmt.Sprintf("<r%d@example.jp>", i)]; n != 1 {
			t.Errorf("recipient %d has %d messages", i, n)
		}
	}
	waitEmpty(t, q)
	// 20 that took two messages each, and few that were refused.
	if total, _ := sink.Sessions(); total > 35 {
		t.Errorf("%d connections", total)
	}
}

func TestConnectionLimit(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	o := options(map[string]*sinktest.Sink{"example.jp": sink})
	o.PerDestination = 4
	q := openQueue(t, t.TempDir(), o)
	for i := range 100 {
		submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), "a@example.jp"), hello)
	}
	run(t, q)
	sink.Wait(t, 100, 20*time.Second)
	if total, most := sink.Sessions(); most > 4 || total > 8 {
		t.Errorf("%d connections, %d at once", total, most)
	}
	waitEmpty(t, q)
}

// What is in the queue when the server stops goes out when it starts again.
func TestRestart(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	dir := t.TempDir()
	o := options(map[string]*sinktest.Sink{"example.jp": sink})
	q := openQueue(t, dir, o)
	for i := range 5 {
		submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), "a@example.jp"), hello)
	}
	again := openQueue(t, dir, o)
	run(t, again)
	sink.Wait(t, 5, 10*time.Second)
	waitEmpty(t, again)
}

// Stopping in the middle of an attempt neither loses the message nor counts
// the attempt.
func TestStopInAttempt(t *testing.T) {
	var mu sync.Mutex
	hang, hung := true, make(chan struct{})
	sink := sinktest.New(t, sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
		mu.Lock()
		defer mu.Unlock()
		if verb == "DATA" && hang {
			hang = false
			close(hung)
			return sinktest.Hang
		}
		return ""
	}})
	dir := t.TempDir()
	o := options(map[string]*sinktest.Sink{"example.jp": sink})
	o.Grace = time.Millisecond
	q := openQueue(t, dir, o)
	stop := run(t, q)
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	<-hung
	stop()
	e, _, err := Show(dir, "MESSAGE1")
	if err != nil || e.Recipients[0].Tries != 0 || e.Recipients[0].State != Waiting {
		t.Errorf("%+v, %v", e, err)
	}
	again := openQueue(t, dir, o)
	run(t, again)
	sink.Wait(t, 1, 10*time.Second)
	waitEmpty(t, again)
}

func TestBeginRefuses(t *testing.T) {
	q := openQueue(t, t.TempDir(), options(nil))
	for name, e := range map[string]Envelope{
		"no recipients":  {ID: "MESSAGE1"},
		"path":           envelope("../../etc", "a@example.jp"),
		"lower case":     envelope("message", "a@example.jp"),
		"empty":          envelope("MESSAGE1", ""),
		"line end":       envelope("MESSAGE1", "a@example.jp\r\nDATA"),
		"bad notify":     {ID: "MESSAGE1", Recipients: []Recipient{{Address: "a@example.jp", Notify: "PERHAPS"}}},
		"bad orcpt":      {ID: "MESSAGE1", Recipients: []Recipient{{Address: "a@example.jp", ORCPT: "rfc822;a b"}}},
		"bad envid":      {ID: "MESSAGE1", EnvID: "a\nb", Recipients: []Recipient{{Address: "a@example.jp"}}},
		"bad ret":        {ID: "MESSAGE1", Ret: "full", Recipients: []Recipient{{Address: "a@example.jp"}}},
		"sender in NULs": {ID: "MESSAGE1", Sender: "a\x00", Recipients: []Recipient{{Address: "a@example.jp"}}},
	} {
		if _, err := q.Begin(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	if _, err := q.Begin(envelope("MESSAGE1", "b@example.jp")); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same id twice: %v", err)
	}
	for _, text := range []string{"a", "a\n", "a\r", "a\r\nb", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "\n", "a\r\n\n", "\r\n\r"} {
		if err := try(q, envelope("MESSAGE2", "a@example.jp"), text); !errors.Is(err, ErrLineEnds) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for i, text := range []string{"", "\r\n", "a\r\n", "\r\n\r\n"} {
		submit(t, q, envelope(fmt.Sprintf("GOODID%d", i), "a@example.jp"), text)
	}
	want := []string{"GOODID0.eml", "GOODID0.toml", "GOODID1.eml", "GOODID1.toml", "GOODID2.eml", "GOODID2.toml", "GOODID3.eml", "GOODID3.toml", "MESSAGE1.eml", "MESSAGE1.toml"}
	if got := files(t, q.folder.path); !slices.Equal(got, want) {
		t.Errorf("files %v", got)
	}
}

// Facts do not depend on how a text is cut into writes.
func TestFacts(t *testing.T) {
	for _, tt := range []struct {
		text string
		want facts
	}{
		{"a: b\r\n\r\nc\r\n", facts{inBody: true}},
		{"a: \xe3\r\n\r\nc\r\n", facts{inBody: true, eightBit: true, eightBitHeader: true}},
		{"a: b\r\n\r\n\xe3\r\n", facts{inBody: true, eightBit: true}},
		{"a: b\r\n\r\nc\n", facts{inBody: true, bare: true}},
		{"a: b\rc\r\n", facts{bare: true}},
	} {
		for size := 1; size <= len(tt.text); size++ {
			var f facts
			for part := range slices.Chunk([]byte(tt.text), size) {
				f.look(part)
			}
			if f != tt.want {
				t.Errorf("%q in pieces of %d: %+v, want %+v", tt.text, size, f, tt.want)
			}
		}
	}
}

// A notice goes back through the queue to a sender elsewhere, from the null
// sender; when that fails nothing more happens.
func TestNoticeThroughQueue(t *testing.T) {
	refuses := func(_ *sinktest.Session, verb, arg string) string {
		if verb == "RCPT" && strings.Contains(arg, "gone") {
			return "550 5.1.1 User unknown"
		}
		return ""
	}
	here, there := sinktest.New(t, sinktest.Config{}), sinktest.New(t, sinktest.Config{Script: refuses})
	o := options(map[string]*sinktest.Sink{"example.com": here, "example.jp": there})
	var q *Queue
	o.Post = func(n Notice) error {
		m, err := q.Begin(Envelope{ID: n.ID, Notice: n.Kind, Recipients: []Recipient{{Address: n.To}}})
		if err != nil {
			return err
		}
		defer m.Abort()
		if err := n.Write(m); err != nil {
			return err
		}
		return m.Commit()
	}
	q = openQueue(t, t.TempDir(), o)
	run(t, q)
	submit(t, q, envelope("MESSAGE1", "gone@example.jp"), hello)
	m := here.Wait(t, 1, 10*time.Second)[0]
	if !strings.HasPrefix(m.From, "<> SIZE=") || m.To[0] != "<taro@example.com>" || !strings.Contains(m.Text, "\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\r\n") ||
		!strings.Contains(m.Text, "\r\nContent-Type: message/rfc822\r\n\r\n"+hello) {
		t.Errorf("%+v", m)
	}
	waitEmpty(t, q)
	e := envelope("MESSAGE2", "gone@example.jp")
	e.Sender = "gone2@example.jp"
	submit(t, q, e, hello)
	waitFor(t, func() bool { return q.Stats().Failed == 3 })
	waitEmpty(t, q)
	if s := q.Stats(); s.Notices != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConfigure(t *testing.T) {
	sink := sinktest.New(t, sinktest.Config{})
	dir := t.TempDir()
	o := options(nil)
	o.Destination = func(string, string) deliver.Destination { return deliver.Destination{Domain: "nowhere"} }
	o.Courier = func(deliver.Destination) Courier { return refuser{} }
	q := openQueue(t, dir, o)
	run(t, q)
	submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
	waitFor(t, func() bool {
		e, _, err := Show(dir, "MESSAGE1")
		return err == nil && e.Recipients[0].Tries == 1
	})
	q.Configure(options(map[string]*sinktest.Sink{"example.jp": sink}))
	if _, err := q.Do(Command{Op: RetryNow, All: true}); err != nil {
		t.Fatal(err)
	}
	sink.Wait(t, 1, 10*time.Second)
	waitEmpty(t, q)
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
	}
}

// refuser is a courier to a host that cannot be reached.
type refuser struct{}

func (refuser) Deliver(_ context.Context, m *deliver.Message) []deliver.Result {
	out := make([]deliver.Result, len(m.Recipients))
	for i := range out {
		out[i] = deliver.Result{Outcome: deliver.Deferred, Enhanced: "4.4.1", Command: "CONN", Cause: "connect-refused", Host: "mx.example.jp",
			Addr: netip.MustParseAddrPort("192.0.2.1:25"), Text: "connect to mx.example.jp[192.0.2.1]:25: Connection refused", Down: true}
	}
	return out
}
func (refuser) Connected() bool { return false }
func (refuser) Close()          {}

// BenchmarkQueue: 1,000 messages of 4 KiB that lie in the queue go to one smart
// host on loopback.
func BenchmarkQueue(b *testing.B) {
	text := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 64)...)[:4094]
	text = append(text, '\r', '\n')
	for range b.N {
		b.StopTimer()
		sink := sinktest.New(b, sinktest.Config{})
		q := openQueue(b, b.TempDir(), options(map[string]*sinktest.Sink{"example.jp": sink}))
		start := time.Now()
		var wg sync.WaitGroup
		for c := range 10 {
			wg.Go(func() {
				for i := range 100 {
					m, err := q.Begin(envelope(fmt.Sprintf("MESSAGE%dX%d", c, i), "a@example.jp"))
					if err == nil {
						_, _ = m.Write(text)
						err = m.Commit()
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		submitted := time.Since(start)
		b.StartTimer()
		start = time.Now()
		ctx, cancel := context.WithCancel(b.Context())
		wg.Go(func() { q.Run(ctx) })
		sink.Wait(b, 1000, time.Minute)
		b.StopTimer()
		b.ReportMetric(1000/submitted.Seconds(), "submitted/s")
		b.ReportMetric(1000/time.Since(start).Seconds(), "messages/s")
		waitEmpty(b, q)
		cancel()
		wg.Wait()
	}
}
