package mta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// postfixSettings are asked for with their values in effect.
var postfixSettings = []string{
	"mail_version", "config_directory", "queue_directory", "myhostname", "mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains", "mynetworks", "smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_key_file",
}

func (s System) postfix(ctx context.Context, in instance) (Server, bool) {
	postconf := s.look("postconf")
	if postconf == "" {
		return Server{}, false
	}
	srv := Server{Product: Postfix, Program: postconf}
	if in.config != "" {
		srv.options = []string{"-c", in.config}
	}
	var said [3]output
	var wg sync.WaitGroup
	for i, args := range [][]string{{"-n"}, {"-M"}, append([]string{"-x"}, postfixSettings...)} {
		wg.Go(func() { said[i] = run(ctx, slices.Concat([]string{postconf}, srv.options, args)...) })
	}
	wg.Wait()
	srv.Late = said[0].late || said[1].late || said[2].late
	v := parsePostconf(said[0].stdout)
	if srv.Complaint = complaints(said[0], "fatal:", "error:"); srv.Complaint == "" {
		srv.Complaint = complaints(said[1], "fatal:", "error:")
	}
	for name, value := range parsePostconf(said[2].stdout) {
		v[name] = value
	}
	srv.Version, srv.ConfigDir, srv.Hostname = v["mail_version"], cmp.Or(v["config_directory"], in.config), v["myhostname"]
	for _, name := range []string{"mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"} {
		srv.takes(lists(v[name]))
	}
	srv.trust("mynetworks", lists(v["mynetworks"]))
	if _, known := v["smtpd_relay_restrictions"]; known && letsIn(v["smtpd_relay_restrictions"]) && letsIn(v["smtpd_recipient_restrictions"]) {
		srv.Open = "smtpd_relay_restrictions = " + v["smtpd_relay_restrictions"]
	}
	srv.Certs = postfixCerts(v)
	srv.queueDir = cmp.Or(v["queue_directory"], "/var/spool/postfix")
	srv.PID, srv.Running = s.alive(filepath.Join(srv.queueDir, "pid", "master.pid"), "master")
	return srv, true
}

// postfixRuns asks a running Postfix for its own check, and for what waits:
// both take a while, and without the server the queue is not told.
func (s System) postfixRuns(ctx context.Context, srv *Server) {
	if !srv.Running {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if postfix := s.look("postfix"); postfix != "" && srv.Complaint == "" && os.Getuid() == 0 && whole(s.file(srv.queueDir)) {
		wg.Go(func() {
			srv.Complaint = complaints(run(ctx, slices.Concat([]string{postfix}, srv.options, []string{"check"})...), "fatal:", "error:")
		})
	}
	postqueue := s.look("postqueue")
	if postqueue == "" {
		return
	}
	o := run(ctx, slices.Concat([]string{postqueue}, srv.options, []string{"-j"})...)
	srv.Queue = parsePostqueue(o.stdout)
	if o.err != nil {
		srv.QueueErr = errors.New(firstLines(o.stderr, 1))
	}
}

// whole tells whether nothing is missing that "postfix check" would create.
func whole(queue string) bool {
	for _, dir := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid", "private", "public", "saved", "trace"} {
		if info, err := os.Stat(filepath.Join(queue, dir)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// letsIn tells whether a list of restrictions lets a stranger's mail to a stranger
// pass: it comes to a bare permit, or to its end, before anything that refuses.
// What needs a table or the network to be decided counts for nothing.
func letsIn(restrictions string) bool {
	for _, r := range lists(restrictions) {
		switch r {
		case "permit":
			return true
		case "reject", "defer", "defer_if_permit", "reject_unauth_destination", "defer_unauth_destination":
			return false
		}
	}
	return true
}

// parsePostconf reads "name = value" lines.
func parsePostconf(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if name = strings.TrimSpace(name); ok && name != "" && !strings.ContainsAny(name, " \t") {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// lists cuts a value at blanks and commas.
func lists(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

func postfixCerts(v map[string]string) []Pair {
	// A chain file holds key and certificates; it wins over the older settings.
	if chain := lists(v["smtpd_tls_chain_files"]); len(chain) > 0 {
		var out []Pair
		for _, f := range chain {
			out = append(out, Pair{f, f})
		}
		return out
	}
	cert, key := v["smtpd_tls_cert_file"], v["smtpd_tls_key_file"]
	if cert == "" || cert == "none" {
		return nil
	}
	if key == "" || key == "$smtpd_tls_cert_file" {
		key = cert
	}
	return []Pair{{cert, key}}
}

// parsePostqueue reads the lines of "postqueue -j", one message each.
func parsePostqueue(text string) []Waiting {
	var out []Waiting
	for line := range strings.Lines(text) {
		var m struct {
			QueueName   string `json:"queue_name"`
			QueueID     string `json:"queue_id"`
			ArrivalTime int64  `json:"arrival_time"`
			Sender      string `json:"sender"`
			Recipients  []struct {
				Address     string `json:"address"`
				DelayReason string `json:"delay_reason"`
			} `json:"recipients"`
		}
		if json.Unmarshal([]byte(line), &m) != nil || m.QueueID == "" {
			continue
		}
		sender := m.Sender
		if sender == "MAILER-DAEMON" { // how it shows the null sender
			sender = ""
		}
		for _, r := range m.Recipients {
			out = append(out, Waiting{
				ID: m.QueueID, Sender: sender, Recipient: r.Address, Reason: r.DelayReason, Since: time.Unix(m.ArrivalTime, 0),
				Held: m.QueueName == "hold", Tried: m.QueueName == "deferred" || r.DelayReason != "",
			})
		}
	}
	return out
}
