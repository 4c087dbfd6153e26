package talk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp"
)

const slowStage = 5000 // ms

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// judge makes findings of what was measured.
func (r *Report) judge(ctx context.Context, opt Options, addrs []netip.Addr) {
	r.Software = softwareOf(r.greeting, r.Capabilities)
	var out []diag.Finding
	subject := fmt.Sprintf("%s %s", opt.Protocol, r.hostPort())
	if f := r.failure; f != nil && f.stage != "cert" {
		out = append(out, r.failed(ctx, opt, addrs, subject))
	}
	product, where := r.shield()
	if r.TLS != nil && r.TLS.Fault != "" && r.TLS.Fault != "none" {
		cert := diag.New("probe.cert", subject, diag.Evidence{
			"fault": r.TLS.Fault, "names": r.TLS.Names, "name": opt.certName(), "issuer": r.TLS.Issuer,
			"not_before": r.TLS.NotBefore.Format(time.RFC3339), "not_after": r.TLS.NotAfter.Format(time.RFC3339),
		}).With("login", opt.User != "")
		if where == "certificate" { // it is the shield's, and follows from it
			cert = cert.As(diag.Info)
			cert.Evidence["because"] = "probe.av_proxy"
		}
		out = append(out, cert)
	}
	if product != "" {
		shield := diag.New("probe.av_proxy", subject, diag.Evidence{"product": product, "where": where})
		if r.failure != nil && r.failure.stage == "cert" { // no login to a stranger
			shield = shield.As(diag.Fail)
		}
		out = append(out, shield)
	}
	for _, s := range r.Stages {
		if s.Ms > slowStage {
			out = append(out, diag.New("probe.slow", subject, diag.Evidence{"stage": s.Stage, "ms": int(s.Ms)}))
			break
		}
	}
	out = append(out, r.slow(subject)...)
	for _, a := range r.Alternatives {
		if a.Status == diag.OK {
			out = append(out, diag.New("probe.alternative_works", fmt.Sprintf("%s %d %s", opt.Host, a.Port, a.TLS), diag.Evidence{"port": a.Port, "tls": a.TLS}))
		}
	}
	if !slices.ContainsFunc(out, func(f diag.Finding) bool {
		return f.Status == diag.Fail || f.Status == diag.Warn || f.Status == diag.Skip
	}) {
		last := ""
		for _, s := range r.Stages {
			if s.Stage != smtp.StageQuit {
				last = s.Stage
			}
		}
		out = append(out, diag.New("probe.ok", subject, diag.Evidence{"stage": last}))
	}
	diag.Sort(out)
	r.Findings, r.Summary = out, diag.Summarize(out)
}

func (r *Report) hostPort() string {
	return net.JoinHostPort(r.Target.Host, strconv.Itoa(r.Target.Port))
}

// failed is the finding of the stage that failed.
func (r *Report) failed(ctx context.Context, opt Options, addrs []netip.Addr, subject string) diag.Finding {
	f := r.failure
	ev := diag.Evidence{"stage": f.stage, "outcome": f.outcome, "host": opt.Host, "port": opt.Port, "protocol": opt.Protocol}
	set := func(key, value string) {
		if value != "" {
			ev[key] = value
		}
	}
	set("address", r.Target.Address)
	set("reply", f.reply)
	if f.err != nil {
		ev["reason"] = dial.Describe(f.outcome, f.err)
		if n := dial.Winsock(f.err); n != 0 {
			ev["winsock"] = n
		}
		set("errno", dial.Errno(f.err))
	}
	if f.mechanisms != nil {
		ev["mechanisms"] = f.mechanisms
	}
	var lost lookupError
	if errors.As(f.err, &lost) && lost.isolated != "" {
		ev["isolated"] = lost.isolated
	}
	var old errOldTLS
	if errors.As(f.err, &old) {
		ev["tls_version"] = string(old)
	}
	id := "probe." + f.stage
	switch {
	case f.stage == smtp.StageGreeting && f.outcome == dial.Garbage:
		if other := protocolOf(r.greeting); other != "" && other != opt.Protocol {
			id = "probe.other_protocol"
			ev["speaks"] = other
		}
	case f.stage == smtp.StageGreeting && f.outcome == dial.Silent && len(addrs) > 0:
		if words := provoke(ctx, opt, addrs[0]); protocolOf(words) == "http" {
			id = "probe.other_protocol"
			ev["speaks"] = "http"
			ev["reply"] = words
		}
	case saysCause(f.reply, "mailbox-damaged") && slices.Contains([]string{"auth", "list", "retr"}, f.stage):
		id = "probe.mailbox_damaged"
	}
	finding := diag.New(id, subject, ev)
	if f.unknown() {
		finding = finding.As(diag.Skip).With("unknown", true)
	}
	if n, ok := ev["winsock"]; ok {
		finding.Codes = append(slices.Clone(finding.Codes), fmt.Sprint(n))
	}
	return finding.With("q_reply", "'"+strings.ReplaceAll(f.reply, "'", `'\''`)+"'")
}

// unknown tells that nothing was learnt about the server, because this machine's
// resolver or network did not help to reach it.
func (f *failure) unknown() bool {
	return f.stage == smtp.StageName && f.outcome != dial.NXDomain || f.stage == smtp.StageTCP && dial.NoRoute(f.err)
}

// protocolOf guesses the protocol by the first line a server says.
func protocolOf(line string) string {
	upper := strings.ToUpper(line)
	switch {
	case strings.HasPrefix(upper, "HTTP/"), strings.HasPrefix(upper, "<!DOCTYPE"), strings.HasPrefix(upper, "<HTML"):
		return "http"
	case strings.HasPrefix(upper, "SSH-"):
		return "ssh"
	case strings.HasPrefix(upper, "+OK"), strings.HasPrefix(upper, "-ERR"):
		return "pop3"
	case strings.HasPrefix(upper, "* OK"), strings.HasPrefix(upper, "* BYE"), strings.HasPrefix(upper, "* PREAUTH"):
		return "imap"
	case strings.HasPrefix(upper, "220") && strings.Contains(upper, "FTP"):
		return "ftp"
	case strings.HasPrefix(upper, "220"), strings.HasPrefix(upper, "554"), strings.HasPrefix(upper, "421"):
		return "smtp"
	case strings.HasPrefix(upper, "200 ") && strings.Contains(upper, "NNTP"), strings.HasPrefix(upper, "201 "):
		return "nntp"
	case strings.HasPrefix(upper, "RFB "):
		return "vnc"
	}
	return ""
}

// provoke says something senseless to a server that does not greet: a web
// server answers that at once.
func provoke(ctx context.Context, opt Options, a netip.Addr) string {
	ctx, cancel := context.WithTimeout(ctx, min(opt.Timeout, 2*time.Second))
	defer cancel()
	c, err := opt.Dialer.DialContext(ctx, "tcp", hostPort(a, opt.Port))
	if err != nil {
		return ""
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	if _, err := c.Write([]byte("QUIT\r\n\r\n")); err != nil {
		return ""
	}
	buf := make([]byte, 200)
	n, _ := c.Read(buf) // what came before an error counts
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "�"))
}

// shield names the mail shield that answers in the server's place.
func (r *Report) shield() (product, where string) {
	if p, ok := port.ShieldByWords(r.greeting); ok {
		return p.Name, "greeting"
	}
	if r.TLS != nil {
		if p, ok := port.ShieldByWords(r.TLS.Issuer); ok {
			return p.Name, "certificate"
		}
	}
	return "", ""
}

// Software is the server program as far as it tells.
type Software struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Evidence string `json:"evidence"`
}

// program is a server and the words that tell it.
type program struct {
	words *regexp.Regexp // the first group is the version
	name  string
}

// programs are made when they are first asked for: most runs never talk.
var programs = sync.OnceValue(func() []program {
	return []program{
		{regexp.MustCompile(`(?i)\bmailsrv\b(?: ([\d.]+\d))?`), "mailsrv"},
		{regexp.MustCompile(`(?i)\bdovecot\b`), "Dovecot"},
		{regexp.MustCompile(`(?i)\bq?pop(?:per)? \(version ([\w.]+)\)`), "Qpopper"},
		{regexp.MustCompile(`(?i)\bqpopper\b`), "Qpopper"},
		{regexp.MustCompile(`(?i)\bpostfix\b`), "Postfix"},
		{regexp.MustCompile(`(?i)\bexim ([\d.]+)`), "Exim"},
		{regexp.MustCompile(`(?i)\bsendmail ([\d.]+\d)`), "sendmail"},
		{regexp.MustCompile(`(?i)\bESMTP ([\d.]+/[\d.]+)`), "sendmail"},
		{regexp.MustCompile(`(?i)\bOpenSMTPD\b`), "OpenSMTPD"},
		{regexp.MustCompile(`(?i)Microsoft ESMTP MAIL Service, Version: ([\d.]+)`), "IIS SMTP"},
		{regexp.MustCompile(`(?i)Microsoft (?:Exchange|ESMTP)`), "Microsoft Exchange"},
		{regexp.MustCompile(`(?i)\bcyrus\b(?: POP3)?(?: v?([\d.]+\d))?`), "Cyrus"},
		{regexp.MustCompile(`(?i)\bcourier\b`), "Courier"},
		{regexp.MustCompile(`(?i)\bhMailServer\b(?: ([\d.]+))?`), "hMailServer"},
		{regexp.MustCompile(`(?i)\bArGoSoft\b.*?([\d.]+\d)?`), "ArGoSoft Mail Server"},
		{regexp.MustCompile(`(?i)\bgsmtp\b|\bGpop\b`), "Google"},
		{regexp.MustCompile(`(?i)\bharaka\b(?: ([\d.]+))?`), "Haraka"},
		{regexp.MustCompile(`(?i)\bstalwart\b`), "Stalwart"},
	}
})

// softwareOf recognises the server by its greeting, or by what it says about
// its implementation (RFC 2449 section 6.9).
func softwareOf(greeting string, capabilities []string) *Software {
	lines := []string{greeting}
	for _, c := range capabilities {
		if strings.HasPrefix(strings.ToUpper(c), "IMPLEMENTATION ") {
			lines = append(lines, c)
		}
	}
	for _, line := range lines {
		for _, p := range programs() {
			if m := p.words.FindStringSubmatch(line); m != nil {
				s := &Software{Name: p.name, Evidence: line}
				if len(m) > 1 {
					s.Version = m[1]
				}
				return s
			}
		}
	}
	return nil
}

// causes by the stage and the way it failed, where the server's words say no
// more.
func causeOf(stage, outcome string) string {
	switch outcome {
	case dial.NXDomain, dial.ServFail:
		return "dns-failure"
	case dial.Refused:
		return "connect-refused"
	case dial.Unreachable:
		return "network-unreachable"
	case dial.Denied:
		return "firewall-local"
	case dial.TLSExpected, dial.PlainExpected:
		return "tls-mismatch"
	case dial.Version:
		return "tls-version"
	case dial.InUse:
		return "mailbox-locked"
	case dial.Temporary:
		return "server-temporary"
	case dial.Reset, dial.Closed:
		return "connection-reset"
	case dial.Timeout, dial.Silent, dial.Drip:
		switch stage {
		case smtp.StageName:
			return "dns-failure"
		case smtp.StageTCP:
			return "connect-timeout"
		}
		return "server-timeout"
	}
	if (stage == smtp.StageTLS || stage == smtp.StageStartTLS) && (outcome == dial.Handshake || outcome == dial.Garbage) {
		return "tls-mismatch"
	}
	return ""
}

// diagnose names the likely causes: by the server's words first, then by the
// stage and how it ended.
func (r *Report) diagnose(lang codes.Lang) []explain.Diagnosis {
	out := []explain.Diagnosis{}
	add := func(cause string, confidence float64, evidence ...string) {
		c := codes.CauseOf(cause)
		if c == nil || slices.ContainsFunc(out, func(d explain.Diagnosis) bool { return d.Cause == cause }) {
			return
		}
		t := c.Text(lang)
		d := explain.Diagnosis{Cause: cause, Confidence: confidence, Who: c.Who, Temporary: c.Temporary, Title: t.Title, Why: t.Why, Evidence: evidence}
		for _, fix := range t.Fixes {
			d.Fixes = append(d.Fixes, diag.Fix{Text: fix})
		}
		out = append(out, d)
	}
	if product, _ := r.shield(); product != "" {
		add("antivirus-proxy", 0.9, product)
	}
	f := r.failure
	if f == nil {
		if r.TLS != nil && r.TLS.Fault != "" {
			add("tls-cert", 0.9, r.TLS.Fault)
		}
		return out
	}
	if f.stage == "cert" {
		add("tls-cert", 0.9, f.outcome)
		return out
	}
	if slices.ContainsFunc(r.Findings, func(x diag.Finding) bool { return x.ID == "probe.other_protocol" }) {
		return out // no mail server there: the finding says it all
	}
	var m errMechanisms
	switch {
	case len(f.mechanisms) > 0:
		add("auth-method", 0.8, f.words())
	case errors.As(f.err, &m) && r.TLS == nil:
		add("tls-required", 0.7, f.words())
	}
	if r.mismatch(f) {
		add("tls-mismatch", 0.9, f.words())
	}
	if f.reply != "" {
		for i, d := range explain.Explain([]byte(f.reply), lang).Diagnosis {
			if i < 3 && d.Cause != "unknown" && d.Cause != "none" {
				add(d.Cause, d.Confidence, f.reply)
			}
		}
	}
	if cause := causeOf(f.stage, f.outcome); cause != "" {
		add(cause, 0.8, f.stage, f.outcome)
	}
	if len(out) == 0 && f.stage == smtp.StageAuth {
		add("auth-failed", 0.6, f.words())
	}
	return out
}

// mismatch tells whether one side began with TLS and the other did not.
// Silence and resets alone say nothing of the kind: then the other mode must
// work on the same port.
func (r *Report) mismatch(f *failure) bool {
	if f.stage != smtp.StageTLS {
		return f.outcome == dial.Silent && r.worksWith(Implicit)
	}
	switch f.outcome {
	case dial.Version:
		return false
	case dial.Silent, dial.Drip, dial.Timeout, dial.Reset:
		return r.worksWith(None)
	}
	return true
}

// worksWith tells whether the same port answers in another TLS mode.
func (r *Report) worksWith(mode string) bool {
	return slices.ContainsFunc(r.Alternatives, func(a Alternative) bool {
		return a.Port == r.Target.Port && a.TLS == mode && a.Status == diag.OK
	})
}
