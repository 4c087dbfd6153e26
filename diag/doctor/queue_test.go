package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/server/queue"
)

// queued puts a message into the queue of a data directory, accepted some time
// ago, and returns its envelope file.
func queued(t *testing.T, f files, n int, ago time.Duration, e queue.Envelope) string {
	t.Helper()
	e.ID = fmt.Sprintf("TEST%06d", n)
	at := time.Now().Add(-ago).UTC().Truncate(time.Second)
	var b strings.Builder
	fmt.Fprintf(&b, "id = %q\naccepted = %s\nsender = %q\nsize = 2\nheld = %v\nrecipients = %d\n", e.ID, at.Format(time.RFC3339), e.Sender, e.Held, len(e.Recipients))
	for _, r := range e.Recipients {
		if r.State == "" {
			r.State = queue.Waiting
		}
		fmt.Fprintf(&b, "[[recipient]]\naddress = %q\nstate = %q\ntries = %d\ncause = %q\nreply = %q\nhost = %q\nlast_try = %s\n",
			r.Address, r.State, r.Tries, r.Cause, r.Reply, r.Host, at.Add(time.Minute).Format(time.RFC3339))
	}
	dir := queue.Dir(f.data())
	write(t, filepath.Join(dir, e.ID+".eml"), "x\n")
	return write(t, filepath.Join(dir, e.ID+".toml"), b.String())
}

func to(address string, tries int, cause, reply string) queue.Envelope {
	return queue.Envelope{Sender: "taro@example.com", Recipients: []queue.Recipient{{Address: address, Tries: tries, Cause: cause, Reply: reply, Host: "mx." + address[strings.Index(address, "@")+1:]}}}
}

func TestQueue(t *testing.T) {
	f := configured(t, plain(t))
	opt := Options{ConfigFile: f.config, Only: []string{"queue"}}
	if r := examine(t, opt); !has(r.Findings, "queue.ok") {
		t.Errorf("an empty queue: %+v", r.Findings)
	}
	queued(t, f, 1, time.Minute, to("a@young.example", 0, "", ""))
	queued(t, f, 2, time.Hour, to("a@once.example", 1, "greylisted", "450 4.2.0 later"))
	if r := examine(t, opt); !has(r.Findings, "queue.ok") {
		t.Errorf("a queue at work: %+v", r.Findings)
	}
	queued(t, f, 3, time.Hour, to("a@twice.example", 2, "connect-timeout", ""))
	queued(t, f, 4, 5*time.Hour, to("a@Stuck.example", 9, "dns-failure", ""))
	queued(t, f, 5, 30*time.Hour, to("b@stuck.example", 20, "server-temporary", "451 4.3.0 try again"))
	queued(t, f, 6, 9*time.Hour, to("c@stuck.example", 20, "server-temporary", "451 4.3.0 try again"))
	r := examine(t, opt)
	if d := cmp.Diff([]string{"queue.stuck", "queue.deferred"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	stuck := find(t, r.Findings, "queue.stuck")
	if stuck.Subject != "stuck.example" || stuck.Evidence["messages"] != 3 || stuck.Evidence["cause"] != "server-temporary" || stuck.Evidence["tries"] != 20 || stuck.Status != diag.Fail {
		t.Errorf("%+v", stuck)
	}
	if d := find(t, r.Findings, "queue.deferred"); d.Subject != "twice.example" || d.Evidence["cause"] != "connect-timeout" {
		t.Errorf("%+v", d)
	}
}

// A delay that was asked for by hand is no fault, and neither is what is done.
func TestQueueHeldAndDone(t *testing.T) {
	f := configured(t, plain(t))
	e := to("a@held.example", 9, "", "")
	e.Held = true
	queued(t, f, 1, 50*time.Hour, e)
	done := to("a@done.example", 9, "", "")
	done.Recipients[0].State = queue.Delivered
	queued(t, f, 2, 50*time.Hour, done)
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"queue"}})
	if x := find(t, r.Findings, "queue.held"); len(bad(r)) != 0 || x.Evidence["messages"] != 1 || x.Status != diag.Info {
		t.Errorf("%+v", r.Findings)
	}
	write(t, filepath.Join(queue.Dir(f.data()), "paused"), "")
	if x := find(t, examine(t, Options{ConfigFile: f.config, Only: []string{"queue"}}).Findings, "queue.held"); x.Evidence["paused"] != true {
		t.Errorf("%+v", x)
	}
}

// When the sender is warned is when the doctor does.
func TestQueueWarnAfter(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                {"queue.stuck"},
		"[retry]\nwarn_after = \"12h\"\n": {},
		"[retry]\nwarn_after = \"0s\"\n":  {"queue.stuck"},
	} {
		f := configured(t, plain(t)+text)
		queued(t, f, 1, 6*time.Hour, to("a@b.example", 1, "", ""))
		r := examine(t, Options{ConfigFile: f.config, Only: []string{"queue"}})
		if d := cmp.Diff(want, bad(r)); d != "" {
			t.Errorf("%q: %s", text, d)
		}
	}
}

func TestQueueDamaged(t *testing.T) {
	f := configured(t, plain(t))
	file := queued(t, f, 1, time.Minute, to("a@b.example", 0, "", ""))
	queued(t, f, 2, time.Minute, to("a@c.example", 0, "", ""))
	must(t, os.WriteFile(file, []byte("id = \"nonsense\x1b[31m"), 0o600))
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"queue"}})
	if d := cmp.Diff([]string{"queue.damaged"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	if x := find(t, r.Findings, "queue.damaged"); x.Evidence["count"] != 1 || x.Subject != "TEST000001" || strings.Contains(fmt.Sprint(x.Evidence["items"]), "\x1b") {
		t.Errorf("%+v", x)
	}
}

func TestQueueShape(t *testing.T) {
	now := time.Now()
	messages := func(n int, ago time.Duration, sender string) []*queue.Envelope {
		out := make([]*queue.Envelope, n)
		for i := range out {
			out[i] = &queue.Envelope{Sender: sender, Accepted: now.Add(-ago)}
		}
		return out
	}
	c := &Case{Options: Options{Now: now}}
	for _, tt := range []struct {
		name string
		l    []*queue.Envelope
		want []string
	}{
		{"few", messages(9, time.Minute, ""), []string{}},
		{"big", messages(10_001, 2*time.Hour, "taro@example.com"), []string{"queue.big"}},
		{"grown", append(messages(50, 2*time.Hour, "a@example.com"), messages(450, time.Minute, "taro@example.com")...), []string{"queue.big"}},
		{"one more mailing", append(messages(200, 2*time.Hour, "a@example.com"), messages(450, time.Minute, "taro@example.com")...), []string{}},
		{"bounces", append(messages(15, time.Minute, ""), messages(10, time.Minute, "taro@example.com")...), []string{"queue.bounce_storm"}},
		{"half", append(messages(10, time.Minute, ""), messages(10, time.Minute, "taro@example.com")...), []string{}},
	} {
		fs := c.shape(queue.Listing{Messages: tt.l})
		renders(t, fs)
		if d := cmp.Diff(tt.want, idsOf(fs, diag.Warn)); d != "" {
			t.Error(tt.name, d)
		}
		if tt.name == "grown" && fs[0].Evidence["sender"] != "taro@example.com (450)" {
			t.Errorf("%+v", fs)
		}
	}
}

// A queue that cannot be looked into is not an empty one.
func TestQueueClosed(t *testing.T) {
	f := configured(t, plain(t))
	write(t, queue.Dir(f.data()), "a file in its place")
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"queue"}})
	if !has(r.Findings, "env.admin_missing") || has(r.Findings, "queue.ok") || r.ExitCode(false) != ExitUnknown {
		t.Errorf("%+v", r.Findings)
	}
}
