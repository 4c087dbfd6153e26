package mta

import (
	"context"
	"errors"
	"strings"
	"time"
)

func (s System) exim(ctx context.Context, _ instance) (Server, bool) {
	exim := s.look("exim4", "exim")
	if exim == "" {
		return Server{}, false
	}
	srv := Server{Product: Exim, Program: exim}
	about := run(ctx, exim, "-bV")
	srv.Version, srv.ConfigDir = parseEximVersion(about.stdout)
	srv.Late = about.late
	srv.Complaint = complaints(about, "configuration error", "cannot open", "failed to")
	srv.PID, srv.Running = s.alive("/run/exim4/exim.pid", "exim4", "exim")
	if !srv.Running {
		srv.PID, srv.Running = s.alive("/run/exim.pid", "exim4", "exim")
	}
	if srv.Complaint != "" {
		return srv, true
	}
	v := parsePostconf(run(ctx, exim, "-bP", "primary_hostname", "tls_certificate", "tls_privatekey").stdout)
	srv.Hostname = v["primary_hostname"]
	// Values may be expressions that are worked out for each connection.
	if cert := v["tls_certificate"]; strings.HasPrefix(cert, "/") && !strings.Contains(cert, "$") {
		srv.Certs = []Pair{{cert, v["tls_privatekey"]}}
	}
	srv.takes(eximList(run(ctx, exim, "-bP", "+local_domains").stdout))
	srv.trust("relay_from_hosts", eximList(run(ctx, exim, "-bP", "+relay_from_hosts").stdout))
	o := run(ctx, exim, "-bp")
	srv.Queue = parseEximQueue(o.stdout, s.Now)
	if o.err != nil {
		srv.QueueErr = errors.New(firstLines(o.stderr, 1))
	}
	s.eximReasons(ctx, exim, srv.Queue)
	return srv, true
}

// parseEximVersion reads "exim -bV".
func parseEximVersion(text string) (version, file string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "Exim version "); ok {
			version, _, _ = strings.Cut(rest, " ")
		}
		if rest, ok := strings.CutPrefix(line, "Configuration file is "); ok {
			file = rest
		}
	}
	return version, file
}

// eximList reads the value of a named list, "hostlist relay_from_hosts = ...":
// entries between colons, or what "<;" at the beginning names instead; a doubled
// colon is one.
func eximList(text string) []string {
	_, value, ok := strings.Cut(text, "=")
	if !ok {
		return nil
	}
	value = strings.TrimSpace(value)
	sep := ":"
	if strings.HasPrefix(value, "<") && len(value) > 1 {
		sep, value = value[1:2], value[2:]
	}
	const double = "\x00"
	if sep == ":" {
		value = strings.ReplaceAll(value, "::", double)
	}
	var out []string
	for e := range strings.SplitSeq(value, sep) {
		if e = strings.TrimSpace(strings.ReplaceAll(e, double, ":")); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// parseEximQueue reads "exim -bp":
//
//	25m  2.9K 0t5C6f-0000c8-00 <alice@example.com> *** frozen ***
//	          bob@example.net
//
// A D before a recipient says that it was delivered.
func parseEximQueue(text string, now time.Time) []Waiting {
	var out []Waiting
	var m Waiting
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 4 && strings.HasPrefix(f[3], "<"):
			m = Waiting{ID: f[2], Sender: strings.Trim(f[3], "<>"), Since: now.Add(-eximAge(f[0])), Held: strings.Contains(line, "*** frozen ***")}
		case len(f) == 1 && m.ID != "" && strings.Contains(f[0], "@"):
			w := m
			w.Recipient = f[0]
			// The list does not tell who was tried; what is this old was.
			w.Tried = now.Sub(m.Since) > time.Minute
			out = append(out, w)
		}
	}
	return out
}

// eximAge reads "25m", "3h", "4d".
func eximAge(s string) time.Duration {
	if s == "" {
		return 0
	}
	var n time.Duration
	for _, c := range s[:len(s)-1] {
		if c < '0' || c > '9' || n > 100_000 {
			return 0
		}
		n = n*10 + time.Duration(c-'0')
	}
	switch s[len(s)-1] {
	case 'm':
		return n * time.Minute
	case 'h':
		return n * time.Hour
	case 'd':
		return n * 24 * time.Hour
	}
	return 0
}

// maxReasons is of how many messages the log is asked for.
const maxReasons = 10

// eximReasons asks the log of some messages why they wait; the list itself does
// not say.
func (s System) eximReasons(ctx context.Context, exim string, queue []Waiting) {
	asked := map[string]string{}
	for i, w := range queue {
		reason, known := asked[w.ID]
		if !known {
			if len(asked) >= maxReasons {
				return
			}
			reason = lastDefer(run(ctx, exim, "-Mvl", w.ID).stdout)
			asked[w.ID] = reason
		}
		queue[i].Reason = reason
	}
}

// lastDefer is the last line of a message's log that tells of a try:
// "2024-01-01 00:00:00 bob@example.net R=dnslookup T=remote_smtp defer (111): Connection refused".
func lastDefer(text string) string {
	reason := ""
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, " defer ("); ok {
			if _, words, ok := strings.Cut(rest, "): "); ok {
				reason = strings.TrimSpace(words)
			} else {
				reason = "(" + strings.TrimSpace(rest)
			}
		}
	}
	return reason
}
