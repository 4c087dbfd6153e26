package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
	"mailsrv/probes/host"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "logs", Stage: Local, Limit: 30 * time.Second,
		After: []string{"environment", "ports", "resolver", "reach", "relay", "accounts", "mailboxes", "locks", "queue", "certificates"}, Run: needsData("logs", logs)})
}

const (
	day          = 24 * time.Hour
	often        = 10        // failures that are worth a word
	silentDays   = 7 * day   // without a connection from outside
	authWindow   = time.Hour // in which failed logins are counted
	loggedBefore = 8 * day   // how far back the log is read
)

// logs reads mailsrv's own log: what failed again and again, who fails to log
// in, whether anybody came at all.
func logs(ctx context.Context, c *Case) []diag.Finding {
	file := c.Config.Log.File
	if file == "" {
		return []diag.Finding{nothing} // standard error is somebody else's
	}
	if err := mayAppend(file); err != nil {
		return []diag.Finding{diag.New("log.unwritable", file, diag.Evidence{"file": file, "errno": dial.Errno(err), "reason": reason(err)})}
	}
	tail, err := readLog(file, c.Now.Add(-loggedBefore))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []diag.Finding{nothing} // no server has written it yet
	case err != nil:
		return []diag.Finding{diag.New("env.admin_missing", file, diag.Evidence{"what": "log", "path": file, "reason": reason(err)})}
	}
	tail.lines = slices.DeleteFunc(tail.lines, ours)
	out := c.failures(ctx, tail)
	out = append(out, c.failedLogins(tail)...)
	return append(out, c.nobodyCame(tail)...)
}

// mayAppend tells whether the server could write its log, without writing.
func mayAppend(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		a := host.Directory(filepath.Dir(file))
		return a.Err
	}
	return err
}

// ours are the lines that doctor and relay-test themselves have caused.
func ours(l logLine) bool {
	for _, key := range []string{"from", "to", "user"} {
		v := l.get(key)
		if strings.HasPrefix(v, "loop-") || strings.Contains(v, "relay-test") {
			return true
		}
	}
	return false
}

// failure is what came back under one cause.
type failure struct {
	cause    string
	outside  bool // strangers only, who were refused: the server does its work
	count    int
	last     logLine
	examples []string
}

// failures groups what went wrong within a day by its cause.
func (c *Case) failures(ctx context.Context, tail logTail) []diag.Finding {
	groups := map[string]*failure{}
	var order []string
	cause := causes{}
	for _, l := range tail.lines {
		if ctx.Err() != nil {
			return nil // the frame says that time was up
		}
		if c.Now.Sub(l.at) > day || !isFailure(l) {
			continue
		}
		word := cause.of(l)
		if word == "" || word == "none" {
			continue
		}
		outside := c.stranger(l)
		key := word
		if outside {
			key += " outside"
		}
		g := groups[key]
		if g == nil {
			g = &failure{cause: word, outside: outside}
			groups[key] = g
			order = append(order, key)
		}
		g.count++
		g.last = l
		if s := said(l); len(g.examples) < 3 && s != "" && !slices.Contains(g.examples, s) {
			g.examples = append(g.examples, s)
		}
	}
	var out []diag.Finding
	for _, key := range order {
		g := groups[key]
		if g.count < often || c.explained(g.cause) {
			continue
		}
		ev := diag.Evidence{"cause": g.cause, "count": g.count, "last": g.last.at.UTC().Format(time.RFC3339), "examples": g.examples, "outside": g.outside}
		f := diag.New("log.failures", g.cause, ev).With("line", shellWord(said(g.last)))
		title, titleJa := g.cause, g.cause
		if t := codes.CauseOf(g.cause); t != nil {
			title, titleJa = t.En.Title, t.Ja.Title
		}
		f = f.With("title_en", title).With("title_ja", titleJa)
		if g.outside {
			f = f.As(diag.Info)
			f.Subject += " outside"
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b diag.Finding) int { return cmp.Compare(b.Evidence["count"].(int), a.Evidence["count"].(int)) })
	return out
}

// isFailure tells whether a line tells of something that did not work. Failed
// logins are counted by themselves.
func isFailure(l logLine) bool {
	msg := l.get("msg")
	switch {
	case strings.HasPrefix(msg, "login "), l.get("why") == "too many failed logins":
		return false
	case msg == "message deferred", msg == "message failed":
		return true
	}
	return l.get("level") == "WARN" || l.get("level") == "ERROR"
}

// said are the words that say why.
func said(l logLine) string {
	for _, key := range []string{"reply", "error", "why"} {
		if s := l.get(key); s != "" {
			return printable(s)
		}
	}
	return printable(l.get("msg"))
}

// stranger tells whether a line is about somebody out there whom the server
// refused something: nobody's trouble but theirs.
func (c *Case) stranger(l logLine) bool {
	a, err := netip.ParseAddr(l.get("client"))
	return err == nil && l.get("level") != "ERROR" && routable(a.Unmap()) && !c.Own(a) && l.get("user") == ""
}

// causes remembers what lines of one form come down to.
type causes map[string]string

// particular are the parts of a text that differ from line to line.
var particular = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<[^>]*>|\S+@\S+|[0-9]+`) })

// of is the word of the closed list for a line; the queue writes it itself, for
// the others explain reads it.
func (c causes) of(l logLine) string {
	if word := l.get("cause"); word != "" && codes.CauseOf(word) != nil {
		return word
	}
	form := l.get("msg") + "\x00" + l.get("rule") + "\x00" + particular().ReplaceAllString(said(l), "#") + "\x00" + replyCode(l)
	word, known := c[form]
	if !known {
		if r := explain.Explain([]byte(l.raw), codes.English); len(r.Diagnosis) > 0 {
			word = r.Diagnosis[0].Cause
		}
		c[form] = word
	}
	return word
}

// replyCode keeps apart what only the numbers in it tell apart.
func replyCode(l logLine) string {
	words := strings.Fields(l.get("reply"))
	return strings.Join(words[:min(2, len(words))], " ")
}

// explainedBy are findings after which a cause in the log is no news.
var explainedBy = map[string][]string{
	"disk-full-server":    {"env.disk_full", "env.inodes_low"},
	"mailbox-locked":      {"lock.qpopper_left", "lock.qpopper_newer", "lock.dotlock_stale", "lock.dovecot_stale"},
	"mailbox-damaged":     {"mailbox.size_mismatch", "mailbox.not_a_maildir"},
	"dns-failure":         deadResolver,
	"connect-timeout":     {"reach.out25_blocked", "reach.no_network", "relay.smart_host_unreachable"},
	"connect-refused":     {"relay.smart_host_unreachable"},
	"port25-blocked":      {"reach.out25_blocked"},
	"network-unreachable": {"reach.no_network"},
	"server-timeout":      {"reach.out25_blocked", "relay.smart_host_unreachable"},
	"server-temporary":    {"env.data_dir_unwritable", "account.store_damaged", "account.forward_dead", "account.forward_loop", "mailbox.unreadable", "mailbox.not_a_maildir"},
	"tls-cert":            {"cert.expired", "cert.untrusted", "cert.self_signed", "cert.name_mismatch", "cert.not_reloaded", "relay.smart_host_tls"},
	"auth-failed":         {"relay.smart_host_auth"},
	"auth-required":       {"relay.smart_host_needs_auth"},
	"relay-denied":        {"relay.smart_host_refuses"},
}

// explained tells whether another finding says why already.
func (c *Case) explained(cause string) bool {
	return c.Has(explainedBy[cause]...) != "" || c.queueSays(cause)
}

// failedLogins looks for an hour in which one account or one address failed ten
// times.
func (c *Case) failedLogins(tail logTail) []diag.Finding {
	byAddr, byUser := map[string][]logLine{}, map[string][]logLine{}
	var addrs, users []string
	for _, l := range tail.lines {
		if l.get("msg") != "login failed" || c.Now.Sub(l.at) > day {
			continue
		}
		addr, user := l.get("client"), strings.ToLower(l.get("user"))
		if byAddr[addr] == nil {
			addrs = append(addrs, addr)
		}
		if byUser[user] == nil {
			users = append(users, user)
		}
		byAddr[addr] = append(byAddr[addr], l)
		byUser[user] = append(byUser[user], l)
	}
	var out []diag.Finding
	reported := map[string]bool{}
	one := func(kind, subject string, lines []logLine, others []string) {
		a, _ := netip.ParseAddr(subject)
		slices.Sort(others)
		others = slices.Compact(others)
		f := diag.New("log.auth_failures", subject, diag.Evidence{"kind": kind, "count": densest(lines), "total": len(lines), "others": others[:min(5, len(others))]})
		out = append(out, f.With("own", kind == "address" && !routable(a)))
	}
	for _, addr := range addrs {
		if lines := byAddr[addr]; addr != "" && densest(lines) >= often {
			reported[addr] = true
			one("address", addr, lines, values(lines, "user"))
		}
	}
	for _, user := range users {
		// What one address did is said already.
		rest := slices.DeleteFunc(slices.Clone(byUser[user]), func(l logLine) bool { return reported[l.get("client")] })
		if user != "" && densest(rest) >= often {
			one("account", user, rest, values(rest, "client"))
		}
	}
	return out
}

func values(lines []logLine, key string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.get(key))
	}
	return out
}

// densest is how many lines the busiest hour has.
func densest(lines []logLine) int {
	most, from := 0, 0
	for i, l := range lines {
		for l.at.Sub(lines[from].at) > authWindow {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// nobodyCame says that no server from outside has tried to deliver for a week,
// where the log goes back that far and others could.
func (c *Case) nobodyCame(tail logTail) []diag.Finding {
	if _, open := c.openSMTP(); !open || !tail.whole || tail.first.IsZero() || c.Now.Sub(tail.first) < silentDays {
		return nil
	}
	came := slices.ContainsFunc(tail.lines, func(l logLine) bool {
		a, err := netip.ParseAddr(l.get("client"))
		// Lines of a transaction do not name the service.
		service := l.get("service")
		return err == nil && routable(a.Unmap()) && (service == config.SMTP || service == "") && c.Now.Sub(l.at) < silentDays
	})
	if came {
		return nil
	}
	return []diag.Finding{diag.New("log.no_connections", "", diag.Evidence{"days": int(silentDays / day), "file": c.Config.Log.File})}
}
