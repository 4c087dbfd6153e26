package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
)

// logged writes a log of such lines; each begins with how long ago it was.
func logged(t *testing.T, f files, lines ...string) {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		ago, rest, _ := strings.Cut(l, " ")
		d, err := time.ParseDuration(ago)
		must(t, err)
		fmt.Fprintf(&b, "time=%s %s\n", time.Now().Add(-d).UTC().Format("2006-01-02T15:04:05.000Z07:00"), rest)
	}
	write(t, filepath.Join(f.dir, "mail.log"), b.String())
}

func repeat(n int, line string) []string {
	var out []string
	for range n {
		out = append(out, line)
	}
	return out
}

// withLog is a whole configuration that logs to a file.
func withLog(t *testing.T) files {
	return configured(t, plain(t)+"[log]\nfile = \"mail.log\"\n")
}

func TestLogFailures(t *testing.T) {
	const refused = `1h level=WARN msg="recipient refused" session=A id=B client=%s from=a@example.com to=b%d@example.net rule=relay.denied why="neither the recipient is local nor may the client relay" reply="550 5.7.1 User not local. Authentication required for relay"`
	many := func(client string) []string {
		var out []string
		for i := range 12 {
			out = append(out, fmt.Sprintf(refused, client, i))
		}
		return out
	}
	deferred := func(ago, cause string) string {
		return ago + ` level=INFO msg="message deferred" id=A to=a@b.example host=mx.b.example addr=192.0.2.1 tls="" try=1 delay=1m reply="" cause=` + cause + ` next_try=2026-01-01T00:00:00Z`
	}
	for _, tt := range []struct {
		name  string
		lines []string
		want  map[string]diag.Status // by subject
	}{
		{"nothing", nil, map[string]diag.Status{}},
		{"too few", repeat(9, deferred("1h", "connect-timeout")), map[string]diag.Status{}},
		{"from our own side", many("192.168.1.7"), map[string]diag.Status{"auth-required": diag.Warn}},
		{"from strangers", many("203.0.113.9"), map[string]diag.Status{"auth-required outside": diag.Info}},
		{"the queue's own words", repeat(11, deferred("1h", "connect-timeout")), map[string]diag.Status{"connect-timeout": diag.Warn}},
		{"long ago", repeat(20, deferred("30h", "connect-timeout")), map[string]diag.Status{}},
		{"by the words of the error", repeat(10, `5m level=ERROR msg="message cannot be stored" session=A error="write /var/lib/mailsrv: no space left on device"`),
			map[string]diag.Status{"disk-full-server": diag.Warn}},
		{"doctor's own tries", repeat(30, strings.Replace(fmt.Sprintf(refused, "127.0.0.1", 1), "a@example.com", "relay-test@example.org", 1)), map[string]diag.Status{}},
		{"routine", repeat(50, `1h level=INFO msg="logged in" user=taro@example.com mechanism=PLAIN tls=true`), map[string]diag.Status{}},
		{"other programs' lines", repeat(50, `1h Jan  1 00:00:00 mail postfix/smtpd[1]: NOQUEUE: reject`), map[string]diag.Status{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := withLog(t)
			logged(t, f, tt.lines...)
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
			got := map[string]diag.Status{}
			for _, x := range r.Findings {
				if x.ID == "log.failures" {
					got[x.Subject] = x.Status
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("%s %+v", d, r.Findings)
			}
			if len(bad(r)) == 0 && !has(r.Findings, "logs.ok") {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

// What another finding says already is no news.
func TestLogFailuresExplained(t *testing.T) {
	f := withLog(t)
	logged(t, f, repeat(20, `1h level=INFO msg="message deferred" id=A to=a@b.example host=mx.b.example cause=connect-timeout reply=""`)...)
	queued(t, f, 1, 9*time.Hour, to("a@b.example", 9, "connect-timeout", ""))
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs", "queue"}})
	if d := cmp.Diff([]string{"queue.stuck"}, bad(r)); d != "" {
		t.Error(d)
	}
}

func TestAuthFailures(t *testing.T) {
	fail := func(ago, user, client string) string {
		return ago + ` level=WARN msg="login failed" session=A service=pop3 client=` + client + ` user=` + user + ` mechanism=USER`
	}
	var spread []string
	for i := range 12 {
		spread = append(spread, fail(fmt.Sprintf("%dm", 23*60-i*100), "taro", "192.168.1.7"))
	}
	var botnet []string
	for i := range 12 {
		botnet = append(botnet, fail("20m", "taro", fmt.Sprintf("203.0.113.%d", i)))
	}
	for _, tt := range []struct {
		name    string
		lines   []string
		subject string
		ev      diag.Evidence
	}{
		{"one address", repeat(10, fail("10m", "taro", "203.0.113.9")), "203.0.113.9", diag.Evidence{"kind": "address", "count": 10, "total": 10, "others": []string{"taro"}}},
		{"one account from many", botnet, "taro", diag.Evidence{"kind": "account", "count": 12, "total": 12, "others": []string{"203.0.113.0", "203.0.113.1", "203.0.113.10", "203.0.113.11", "203.0.113.2"}}},
		{"nine", repeat(9, fail("10m", "taro", "203.0.113.9")), "", nil},
		{"over the day", spread, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := withLog(t)
			logged(t, f, tt.lines...)
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
			if tt.subject == "" {
				if len(bad(r)) != 0 {
					t.Errorf("%+v", r.Findings)
				}
				return
			}
			x := find(t, r.Findings, "log.auth_failures")
			if d := cmp.Diff(tt.ev, x.Evidence); d != "" || x.Subject != tt.subject || len(bad(r)) != 1 {
				t.Errorf("%s %+v", d, r.Findings)
			}
		})
	}
}

func TestNoConnections(t *testing.T) {
	const old = `200h level=INFO msg=listening service=smtp addr=[::]:25`
	came := func(ago, client string) string {
		return ago + ` level=INFO msg="message accepted" session=A service=smtp client=` + client + ` from=a@b.example`
	}
	for _, tt := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"nobody", []string{old}, true},
		{"only from here", []string{old, came("1h", "192.168.1.7"), came("1h", "127.0.0.1")}, true},
		{"long ago", []string{came("190h", "203.0.113.9")}, true},
		{"somebody", []string{old, came("50h", "203.0.113.9")}, false},
		{"log too young", []string{came("50h", "192.168.1.7")}, false},
	} {
		f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \":2525\"\n[log]\nfile = \"mail.log\"\n")
		logged(t, f, tt.lines...)
		r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
		if has(r.Findings, "log.no_connections") != tt.want || len(bad(r)) != 0 {
			t.Errorf("%s: %+v", tt.name, r.Findings)
		}
	}
	// Whom nobody can reach, nobody has to.
	f := withLog(t)
	logged(t, f, old)
	if r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}}); has(r.Findings, "log.no_connections") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestLogFile(t *testing.T) {
	// To standard error, or not written yet: nothing to say.
	for _, f := range []files{configured(t, plain(t)), withLog(t)} {
		if r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}}); len(r.Findings) != 0 || r.Checks[0].Why != "nothing" {
			t.Errorf("%+v", r.Findings)
		}
	}
	f := configured(t, plain(t)+"[log]\nfile = \"folder/mail.log\"\n")
	write(t, filepath.Join(f.dir, "folder"), "a file where the folder should be")
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
	if d := cmp.Diff([]string{"log.unwritable"}, bad(r)); d != "" {
		t.Error(d)
	}
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		return
	}
	f = withLog(t)
	logged(t, f, `1h level=INFO msg=stopped`)
	must(t, os.Chmod(filepath.Join(f.dir, "mail.log"), 0o200))
	r = examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
	if !has(r.Findings, "env.admin_missing") || has(r.Findings, "logs.ok") {
		t.Errorf("%+v", r.Findings)
	}
}

// Looking at the log changes nothing, and does not make it.
func TestLogIsOnlyRead(t *testing.T) {
	f := withLog(t)
	logged(t, f, `1h level=INFO msg=stopped`)
	path := filepath.Join(f.dir, "mail.log")
	before, err := os.Stat(path)
	must(t, err)
	examine(t, Options{ConfigFile: f.config, Only: []string{"logs"}})
	after, err := os.Stat(path)
	must(t, err)
	if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("%v %v", before, after)
	}
}

func FuzzParseLogLine(f *testing.F) {
	f.Add(`time=2026-11-21T20:42:20.146Z level=WARN msg="recipient refused" to="\"relay-test@example.net\"" reply="550 5.1.3 <\"x\">"`)
	f.Add(`time="2026-11-21T20:42:20Z level=`)
	f.Add("time= = level==x msg=\"\\xff\"")
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := parseLogLine(line); ok && (l.at.IsZero() && !strings.Contains(line, "0001-01-01") || l.get("msg") == "") {
			t.Errorf("%q: %+v", line, l)
		}
	})
}
