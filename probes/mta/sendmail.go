package mta

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// sendmail is the program that others, Postfix and Exim among them, give their
// own name to: only with its own configuration file it counts.
func (s System) sendmail(ctx context.Context, _ instance) (Server, bool) {
	cf := s.file("/etc/mail/sendmail.cf")
	program := s.look("sendmail-mta", "sendmail")
	if _, err := os.Stat(cf); err != nil || program == "" {
		return Server{}, false
	}
	if real, err := filepath.EvalSymlinks(program); err == nil && imitates(real) {
		return Server{}, false
	}
	srv := Server{Product: Sendmail, Program: program, ConfigDir: filepath.Dir(cf)}
	about := run(ctx, program, "-d0.1", "-bt")
	srv.Version = sendmailVersion(about.stdout)
	srv.Late = about.late
	srv.Complaint = complaints(about, "configuration error", "cannot open", "unknown configuration line", "invalid")
	srv.PID, srv.Running = s.alive("/run/sendmail/mta/sendmail.pid", "sendmail", "sendmail-mta")
	if !srv.Running {
		srv.PID, srv.Running = s.alive("/run/sendmail.pid", "sendmail", "sendmail-mta")
	}
	var entries []string
	if data, err := os.ReadFile(s.file("/etc/mail/access")); err == nil {
		entries = accessRelay(string(data))
	}
	if data, err := os.ReadFile(s.file("/etc/mail/relay-domains")); err == nil {
		entries = append(entries, strings.Fields(string(data))...)
	}
	srv.trust("/etc/mail/access", entries)
	o := run(ctx, program, "-bp")
	srv.Queue = parseMailq(o.stdout, s.Now)
	if o.err != nil {
		srv.QueueErr = errors.New(firstLines(o.stderr, 1))
	}
	return srv, true
}

// imitates tells whether a program only stands in for sendmail.
func imitates(path string) bool {
	name := filepath.Base(path)
	for _, other := range []string{"postfix", "exim", "exim4", "msmtp", "ssmtp", "nullmailer", "dma", "smtpctl", "mailsrv", "esmtp", "courier"} {
		if strings.HasPrefix(name, other) {
			return true
		}
	}
	return false
}

func sendmailVersion(text string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Version "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// accessRelay are the clients of an access table that may relay:
// "Connect:192.168 RELAY" stands for 192.168.0.0/16.
func accessRelay(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 || strings.HasPrefix(f[0], "#") || !strings.EqualFold(f[1], "RELAY") {
			continue
		}
		client := f[0]
		if i := strings.IndexByte(client, ':'); i >= 0 && strings.EqualFold(client[:i], "connect") {
			client = client[i+1:]
		}
		if rest, ok := strings.CutPrefix(strings.ToLower(client), "ipv6:"); ok {
			client = rest
		} else if parts := strings.Split(client, "."); len(parts) < 4 && strings.Trim(client, "0123456789.") == "" {
			bits := map[int]string{1: "/8", 2: "/16", 3: "/24"}[len(parts)]
			client += strings.Repeat(".0", 4-len(parts)) + bits
		}
		out = append(out, client)
	}
	return out
}

// mailqLine is the first line of a message in sendmail's queue:
// "4AL9x1Yh001234*    123 Thu Nov 21 10:00 <alice@example.com>".
var mailqLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\w{8,20})([*X-]?)\s+(\d+|-)\s+(\w{3} \w{3} +\d{1,2} \d{2}:\d{2}) (\S+)`)
})

// parseMailq reads sendmail's list, whose dates have no year.
func parseMailq(text string, now time.Time) []Waiting {
	var out []Waiting
	var m Waiting
	from := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if f := mailqLine().FindStringSubmatch(line); f != nil {
			m = Waiting{ID: f[1], Sender: strings.Trim(f[5], "<>"), Since: mailqTime(f[4], now)}
			if m.Sender == "MAILER-DAEMON" {
				m.Sender = ""
			}
			from = len(out)
			continue
		}
		text := strings.TrimSpace(line)
		switch {
		case m.ID == "" || line == text: // head and foot
		case strings.HasPrefix(text, "("):
			// The reason of the message stands before, of a recipient behind it.
			reason := strings.Trim(text, "()")
			if len(out) > from {
				out[len(out)-1].Reason, out[len(out)-1].Tried = reason, true
			} else {
				m.Reason, m.Tried = reason, true
			}
		case strings.HasPrefix(text, "<") || strings.Contains(text, "@"):
			w := m
			w.Recipient = strings.Trim(text, "<>")
			out = append(out, w)
		}
	}
	return out
}

// mailqTime adds the year to a date: the last one that is not in the future.
func mailqTime(s string, now time.Time) time.Time {
	t, err := time.ParseInLocation("Mon Jan _2 15:04 2006", s+" "+now.Format("2006"), now.Location())
	if err != nil {
		// The day of the week may not fit this year.
		fields := strings.SplitN(s, " ", 2)
		if t, err = time.ParseInLocation("Jan _2 15:04 2006", fields[len(fields)-1]+" "+now.Format("2006"), now.Location()); err != nil {
			return now
		}
	}
	if t.After(now.Add(24 * time.Hour)) {
		t = t.AddDate(-1, 0, 0)
	}
	return t
}
