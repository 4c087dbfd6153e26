package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/server/deliver"
)

// bubble runs f with a queue in a synctest bubble: time passes only when
// everybody waits for it.
func bubble(t *testing.T, change func(*Options), f func(t *testing.T, n *internet, q *Queue, dir string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := newInternet(t)
		o := n.options()
		o.Retry = Retry{Schedule: []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}, WarnAfter: 20 * time.Minute, GiveUpAfter: time.Hour}
		if change != nil {
			change(&o)
		}
		q := openQueue(t, dir, o)
		q.jitter = func() float64 { return 1 }
		q.poll = 24 * time.Hour
		stop := run(t, q)
		f(t, n, q, dir)
		stop()
	})
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// The whole life of a message that cannot be delivered.
func TestSchedule(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(string, int) deliver.Result { return busy }
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(3 * time.Hour)
		var want []string
		for _, at := range []string{"0s", "1m0s", "6m0s", "16m0s", "26m0s", "36m0s", "46m0s", "56m0s", "1h0m0s"} {
			want = append(want, at+" a@example.jp")
		}
		same(t, "tries", want, n.lines())
		same(t, "notices", []string{"20m0s delay to taro@example.com about MESSAGE1", "1h0m0s failure to taro@example.com about MESSAGE1"}, n.told())
		if left := files(t, q.folder.path); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// The defaults of the configuration: every 10 minutes, warning after 4 hours,
// the end after 5 days.
func TestDefaultSchedule(t *testing.T) {
	bubble(t, func(o *Options) { o.Retry = Retry{WarnAfter: 4 * time.Hour} }, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(string, int) deliver.Result { return busy }
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(6 * 24 * time.Hour)
		if got := len(n.lines()); got != 5*24*6+1 {
			t.Errorf("%d tries", got)
		}
		same(t, "notices", []string{"4h0m0s delay to taro@example.com about MESSAGE1", "120h0m0s failure to taro@example.com about MESSAGE1"}, n.told())
	})
}

// The shortest schedule does not turn into a storm: times are whole seconds,
// rounded up.
func TestShortSchedule(t *testing.T) {
	bubble(t, func(o *Options) {
		o.Retry = Retry{Schedule: []time.Duration{time.Millisecond}, GiveUpAfter: time.Minute}
	}, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(string, int) deliver.Result { return busy }
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(time.Hour)
		if got := len(n.lines()); got != 61 {
			t.Errorf("%d tries", got)
		}
	})
}

func TestJitter(t *testing.T) {
	q := openQueue(t, t.TempDir(), newInternet(t).options())
	low, high := 2.0, 0.0
	for range 1000 {
		j := q.jitter()
		low, high = min(low, j), max(high, j)
	}
	if low < 0.9 || low > 0.92 || high > 1.1 || high < 1.08 {
		t.Errorf("from %v to %v", low, high)
	}
}

// Recipients of one message each come to their own end, and nobody gets it
// twice.
func TestPartialSuccess(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
		n.answer = func(to string, try int) deliver.Result {
			switch {
			case strings.HasPrefix(to, "gone"):
				return unknown
			case strings.HasPrefix(to, "late") && try < 3:
				return busy
			}
			return accepted
		}
		submit(t, q, envelope("MESSAGE1", "a@example.jp", "gone@example.jp", "late@example.jp", "b@example.net"), hello)
		synctest.Wait()
		e, _, err := Show(dir, "MESSAGE1")
		if err != nil {
			t.Fatal(err)
		}
		at := n.began.UTC()
		want := []Recipient{
			{Address: "a@example.jp", State: Delivered, Told: true, Tries: 1, LastTry: at, Code: 250, Status: "2.0.0", Reply: "250 2.0.0 Ok", Command: "DATA", Host: "mx.example.jp", Addr: "192.0.2.1:25", TLS: "TLS 1.3"},
			{Address: "gone@example.jp", State: Failed, Told: true, Tries: 1, LastTry: at, Code: 550, Status: "5.1.1", Reply: "550 5.1.1 User unknown", Command: "RCPT", Cause: "user-unknown", Host: "mx.example.jp", Addr: "192.0.2.1:25", TLS: "TLS 1.3"},
			{Address: "late@example.jp", State: Waiting, Tries: 1, LastTry: at, NextTry: at.Add(time.Minute), Code: 451, Status: "4.3.0", Reply: "451 4.3.0 Not now", Command: "RCPT", Cause: "server-temporary", Host: "mx.example.jp", Addr: "192.0.2.1:25", TLS: "TLS 1.3"},
			{Address: "b@example.net", State: Delivered, Told: true, Tries: 1, LastTry: at, Code: 250, Status: "2.0.0", Reply: "250 2.0.0 Ok", Command: "DATA", Host: "mx.example.jp", Addr: "192.0.2.1:25", TLS: "TLS 1.3"},
		}
		if diff := cmp.Diff(want, e.Recipients); diff != "" {
			t.Errorf("envelope (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		lines := n.lines()
		slices.Sort(lines[:2]) // two destinations at once
		same(t, "tries", []string{"0s a@example.jp gone@example.jp late@example.jp", "0s b@example.net", "1m0s late@example.jp", "6m0s late@example.jp"}, lines)
		same(t, "notices", []string{"0s failure to taro@example.com about MESSAGE1"}, n.told())
		got := n.delivered()
		slices.Sort(got)
		same(t, "delivered", []string{"a@example.jp", "b@example.net", "late@example.jp"}, got)
		if left := files(t, dir+"/queue"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// A failure waits a minute for the other destinations of its message, not
// longer.
func TestOneNoticeForAll(t *testing.T) {
	for _, tt := range []struct {
		slow time.Duration
		want []string
	}{
		{50 * time.Second, []string{"50s failure to taro@example.com about MESSAGE1"}},
		{30 * time.Minute, []string{"1m0s failure to taro@example.com about MESSAGE1", "30m0s failure to taro@example.com about MESSAGE1"}},
	} {
		bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
			n.answer = func(to string, _ int) deliver.Result {
				if to == "a@slow.example" {
					return after(tt.slow, unknown)
				}
				return unknown
			}
			submit(t, q, envelope("MESSAGE1", "a@slow.example", "b@example.jp"), hello)
			time.Sleep(2 * time.Hour)
			same(t, "notices", tt.want, n.told())
			if tt.slow < time.Minute && strings.Count(n.notices[0].Text, "Final-Recipient:") != 2 {
				t.Errorf("notice:\n%s", n.notices[0].Text)
			}
			if left := files(t, q.folder.path); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Who hears what: RFC 3461 4.1, RFC 5321 4.5.5.
func TestNotify(t *testing.T) {
	gone, slow, relayed := unknown, busy, accepted
	reports := accepted
	reports.DSN = true
	for _, tt := range []struct {
		notify, sender string
		answer         deliver.Result
		want           []string
	}{
		{"", "taro@example.com", gone, []string{"0s failure to taro@example.com"}},
		{"FAILURE", "taro@example.com", gone, []string{"0s failure to taro@example.com"}},
		{"SUCCESS,FAILURE,DELAY", "taro@example.com", gone, []string{"0s failure to taro@example.com"}},
		{"NEVER", "taro@example.com", gone, nil},
		{"SUCCESS,DELAY", "taro@example.com", gone, nil},
		{"", "", gone, nil},
		{"FAILURE", "", gone, nil},
		{"", "taro@example.com", slow, []string{"20m0s delay to taro@example.com", "1h0m0s failure to taro@example.com"}},
		{"FAILURE", "taro@example.com", slow, []string{"1h0m0s failure to taro@example.com"}},
		{"DELAY", "taro@example.com", slow, []string{"20m0s delay to taro@example.com"}},
		{"NEVER", "taro@example.com", slow, nil},
		{"", "", slow, nil},
		{"", "taro@example.com", relayed, nil},
		{"FAILURE,DELAY", "taro@example.com", relayed, nil},
		{"SUCCESS", "taro@example.com", relayed, []string{"0s success to taro@example.com"}},
		{"SUCCESS", "taro@example.com", reports, nil},
		{"SUCCESS", "", relayed, nil},
	} {
		t.Run(fmt.Sprintf("%s from %q %s", tt.notify, tt.sender, tt.answer.Outcome), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
				n.answer = func(string, int) deliver.Result { return tt.answer }
				e := envelope("MESSAGE1", "a@example.jp")
				e.Sender, e.Recipients[0].Notify = tt.sender, tt.notify
				submit(t, q, e, hello)
				time.Sleep(3 * time.Hour)
				var want []string
				for _, w := range tt.want {
					want = append(want, w+" about MESSAGE1")
				}
				same(t, "notices", want, n.told())
				if left := files(t, q.folder.path); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
			})
		})
	}
}

// A bounce that cannot be delivered goes to the postmaster at most, and a
// notice about that to nobody.
func TestDoubleBounce(t *testing.T) {
	to := func(*Envelope) string { return "postmaster@example.com" }
	bubble(t, func(o *Options) { o.DoubleBounce = to }, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(string, int) deliver.Result { return unknown }
		bounce := envelope("BOUNCE1", "gone@example.jp")
		bounce.Sender, bounce.Notice = "", Failure
		submit(t, q, bounce, hello)
		double := envelope("DOUBLE1", "postmaster@example.com")
		double.Sender, double.Notice = "", DoubleBounce
		submit(t, q, double, hello)
		time.Sleep(time.Hour)
		same(t, "notices", []string{"0s double-bounce to postmaster@example.com about BOUNCE1"}, n.told())
		if left := files(t, q.folder.path); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// While notices cannot be posted, what they are about stays in the queue.
func TestPostFails(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
		n.postErr = errors.New("no space left on device")
		n.answer = func(string, int) deliver.Result { return unknown }
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(5*time.Minute + time.Second)
		if e, _, err := Show(dir, "MESSAGE1"); err != nil || e.Recipients[0].State != Failed || e.Recipients[0].Told {
			t.Errorf("%+v, %v", e, err)
		}
		n.mu.Lock()
		n.postErr = nil
		n.mu.Unlock()
		time.Sleep(time.Minute)
		same(t, "notices", []string{"6m0s failure to taro@example.com about MESSAGE1"}, n.told())
		same(t, "tries", []string{"0s a@example.jp"}, n.lines())
		if left := files(t, dir+"/queue"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// A storm of failing mail does not become a storm of notices; none is lost.
func TestNoticeCap(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(string, int) deliver.Result { return unknown }
		for i := range capOne + 30 {
			submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), "a@example.jp"), hello)
		}
		other := envelope("OTHER1", "a@example.jp")
		other.Sender = "hanako@example.com"
		submit(t, q, other, hello)
		synctest.Wait()
		if got := len(n.told()); got != capOne+1 {
			t.Errorf("%d notices at once", got)
		}
		time.Sleep(time.Minute + time.Second)
		if got := len(n.told()); got != capOne+1+6 {
			t.Errorf("%d notices after a minute", got)
		}
		time.Sleep(time.Hour)
		n.mu.Lock()
		defer n.mu.Unlock()
		seen := map[string]bool{}
		for _, p := range n.notices {
			seen[p.About] = true
		}
		if len(n.notices) != capOne+31 || len(seen) != capOne+31 {
			t.Errorf("%d notices about %d messages", len(n.notices), len(seen))
		}
	})
}

// What waits for a dead destination shares one attempt, and the others do not
// notice.
func TestDeadDestination(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, dir string) {
		n.answer = func(to string, try int) deliver.Result {
			if strings.HasSuffix(to, "@dead.example") && time.Since(n.began) < 2*time.Minute {
				return after(30*time.Second, dead)
			}
			return accepted
		}
		for i := range 100 {
			submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), fmt.Sprintf("r%d@dead.example", i)), hello)
		}
		submit(t, q, envelope("OTHER1", "a@example.jp"), hello)
		synctest.Wait()
		same(t, "delivered", []string{"a@example.jp"}, n.delivered())
		time.Sleep(31 * time.Second)
		if tries := len(n.lines()); tries > startLimit+1 {
			t.Errorf("%d attempts: %q", tries, n.lines())
		}
		l, err := List(dir)
		if err != nil || len(l.Messages) != 100 {
			t.Fatalf("%d messages, %v", len(l.Messages), err)
		}
		for _, e := range l.Messages {
			if r := e.Recipients[0]; r.Tries != 1 || r.Cause != "connect-refused" || r.Reply == "" || r.NextTry.IsZero() {
				t.Fatalf("%+v", r)
			}
		}
		time.Sleep(10 * time.Minute)
		if got := len(n.delivered()); got != 101 {
			t.Errorf("%d delivered", got)
		}
	})
}

// A lost reply to the final dot is a try like any other: it is not repeated at
// once.
func TestUncertain(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
		lost := busy
		lost.Code, lost.Uncertain, lost.Cause = 0, true, "server-timeout"
		n.answer = func(_ string, try int) deliver.Result {
			if try == 1 {
				return lost
			}
			return accepted
		}
		submit(t, q, envelope("MESSAGE1", "a@example.jp"), hello)
		time.Sleep(time.Hour)
		same(t, "tries", []string{"0s a@example.jp", "1m0s a@example.jp"}, n.lines())
	})
}

// An idle connection is used again by what comes in time.
func TestLinger(t *testing.T) {
	bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
		var couriers atomic.Int64
		o := n.options()
		o.Courier = func(deliver.Destination) Courier { couriers.Add(1); return &fakeCourier{n: n} }
		q.Configure(o)
		for i, wait := range []time.Duration{time.Second, time.Second, 3 * time.Second, 0} {
			submit(t, q, envelope(fmt.Sprintf("MESSAGE%d", i), "a@example.jp"), hello)
			time.Sleep(wait)
		}
		synctest.Wait()
		if couriers.Load() != 2 {
			t.Errorf("%d connections", couriers.Load())
		}
	})
}

// When all connections are in use, the next free one goes to a destination
// that has none.
func TestFairness(t *testing.T) {
	bubble(t, func(o *Options) { o.Connections = 2 }, func(t *testing.T, n *internet, q *Queue, _ string) {
		n.answer = func(to string, _ int) deliver.Result {
			if to == "x@slow.example" {
				return after(10*time.Second, accepted)
			}
			return accepted
		}
		for i := range 6 {
			submit(t, q, envelope(fmt.Sprintf("SLOW%dX", i), "x@slow.example"), hello)
		}
		synctest.Wait()
		submit(t, q, envelope("OTHER1", "a@example.jp"), hello)
		time.Sleep(time.Minute)
		at := slices.Index(n.lines(), "10s a@example.jp")
		if at < 0 {
			t.Errorf("tries %q", n.lines())
		}
	})
}

// How much of a message comes back with its failure (RFC 3461 4.3): what its
// sender asked for; else all of a small one, and the header of a big one.
func TestReturned(t *testing.T) {
	small := "Subject: hello\r\n\r\nthe body\r\n"
	big := small + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 600)
	for _, tt := range []struct {
		ret, text string
		whole     bool
	}{{"", small, true}, {"", big, false}, {"FULL", small, true}, {"FULL", big, true}, {"HDRS", small, false}, {"HDRS", big, false}} {
		t.Run(fmt.Sprint(tt.ret, len(tt.text)), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, n *internet, q *Queue, _ string) {
				n.answer = func(string, int) deliver.Result { return unknown }
				e := envelope("MESSAGE1", "a@example.jp")
				e.Ret = tt.ret
				submit(t, q, e, tt.text)
				synctest.Wait()
				n.mu.Lock()
				defer n.mu.Unlock()
				if len(n.notices) != 1 {
					t.Fatalf("%d notices", len(n.notices))
				}
				text := n.notices[0].Text
				if !strings.Contains(text, "Subject: hello\r\n") || strings.Contains(text, "the body\r\n") != tt.whole || strings.Contains(text, "xxxx") != (tt.whole && len(tt.text) > len(small)) {
					t.Errorf("returned: %.3000s", text)
				}
			})
		})
	}
}
