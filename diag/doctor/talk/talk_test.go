package talk

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/pop3/pop3test"
)

// certificate makes one that is signed by itself.
func certificate(t *testing.T, subject string, names []string, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stages is a conversation in one line: "name:ok tcp:ok greeting:fail quit:skip".
func stages(r *Report) string {
	var out []string
	for _, s := range r.Stages {
		out = append(out, s.Stage+":"+string(s.Status))
	}
	return strings.Join(out, " ")
}

func ids(r *Report) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Status == diag.Fail || f.Status == diag.Warn {
			out = append(out, f.ID)
		}
	}
	return out
}

func cause(r *Report) string {
	if len(r.Diagnosis) == 0 {
		return ""
	}
	return r.Diagnosis[0].Cause
}

func run(t *testing.T, opt Options) *Report {
	t.Helper()
	if opt.Host == "" {
		opt.Host = "127.0.0.1"
	}
	if opt.Timeout == 0 {
		opt.Timeout = 300 * time.Millisecond
	}
	if opt.Alternatives == nil {
		opt.Alternatives = []Alternative{}
	}
	r := Run(context.Background(), opt)
	for _, lang := range []codes.Lang{codes.Japanese, codes.English} {
		if err := r.Localize(lang); err != nil {
			t.Error(err)
		}
	}
	return r
}

const plainLogin = "> +OK ready\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n"

// What users of POP3 servers run into; many of these scripts are the words of
// real servers.
func TestPOP3Faults(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		stages       string
		id, how, why string // finding, outcome, cause
	}{
		{"lock busy", plainLogin + "> -ERR [IN-USE] /var/spool/mail/.taro.pop lock busy! Is another session active? (11)\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "in-use", "mailbox-locked"},
		{"lock busy in words", plainLogin + "> -ERR Mail drop lock busy!\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "in-use", "mailbox-locked"},
		{"wrong password", plainLogin + "> -ERR [AUTH] Password supplied for \"taro\" is incorrect\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "auth-failed"},
		{"wrong password in words", plainLogin + "> -ERR Logon failure: unknown user name or bad password.\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "auth-failed"},
		{"app password", plainLogin + "> -ERR [AUTH] Application-specific password required\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "app-password"},
		{"spool permission", plainLogin + "> -ERR [SYS/TEMP] Failed to create /var/spool/mail/.taro.pop with uid 1034, gid 12. Change permissions.\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "temporary", "server-temporary"},
		{"From lines", plainLogin + "> -ERR [SYS/PERM] Unable to process From lines (envelopes), change recognition modes or check for corrupted mail drop.\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.mailbox_damaged", "permanent", "mailbox-damaged"},
		{"no greeting", "stall", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.greeting", "silent", "server-timeout"},
		{"drip", "raw +\nstall", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.greeting", "drip", "server-timeout"},
		{"closes", "close", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.greeting", "closed", "connection-reset"},
		{"reset after USER", "> +OK\n< CAPA\n> -ERR\n< USER\nreset", "name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:skip", "probe.auth", "reset", "connection-reset"},
		{"web server", "> HTTP/1.1 400 Bad Request\nclose", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.other_protocol", "garbage", ""},
		{"web server that waits", "< QUIT\n> HTTP/1.1 400 Bad Request", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.other_protocol", "silent", ""},
		{"imap", "> * OK IMAP4rev1 ready\nclose", "name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.other_protocol", "garbage", ""},
		{"list fails", plainLogin + "> +OK\n< STAT\n> -ERR [SYS/TEMP] disk\n< QUIT\n> +OK",
			"name:ok tcp:ok greeting:ok capabilities:ok auth:ok list:fail quit:ok", "probe.list", "temporary", "server-temporary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := pop3test.Play(t, tt.script)
			r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), User: "taro", Password: "geheim"})
			if got := stages(r); got != tt.stages {
				t.Errorf("stages %s\nwant   %s", got, tt.stages)
			}
			if d := cmp.Diff([]string{tt.id}, ids(r)); d != "" {
				t.Fatal(d)
			}
			if got := r.Findings[0].Evidence["outcome"]; got != tt.how {
				t.Errorf("outcome %v, want %s", got, tt.how)
			}
			if got := cause(r); got != tt.why {
				t.Errorf("cause %q, want %q (%+v)", got, tt.why, r.Diagnosis)
			}
			doc, err := json.Marshal(r)
			if err != nil || strings.Contains(string(doc), "geheim") {
				t.Errorf("the password stands in the document: %s %v", doc, err)
			}
		})
	}
}

func TestSMTPFaults(t *testing.T) {
	const ehlo = "> 220 mail.example.com ESMTP Postfix\n< EHLO\n> 250-mail.example.com\n> 250-AUTH PLAIN LOGIN\n> 250 SIZE 1000\n"
	for _, tt := range []struct {
		name, script string
		opt          Options
		id, how, why string
	}{
		{"relay denied", ehlo + "< MAIL\n> 250 ok\n< RCPT\n> 550 5.7.1 Relaying denied\n< QUIT\n> 221 bye", Options{From: "a@example.org", To: "b@example.net"}, "probe.rcpt", "permanent", "relay-denied"},
		{"user unknown", ehlo + "< MAIL\n> 250 ok\n< RCPT\n> 550 5.1.1 User unknown\n< QUIT\n> 221 bye", Options{From: "a@example.org", To: "b@example.net"}, "probe.rcpt", "permanent", "user-unknown"},
		{"greylisted", ehlo + "< MAIL\n> 250 ok\n< RCPT\n> 451 4.7.1 Greylisted, try again in 5 minutes\n< QUIT\n> 221 bye", Options{From: "a@example.org", To: "b@example.net"}, "probe.rcpt", "temporary", "greylisted"},
		{"sender domain", ehlo + "< MAIL\n> 553 5.1.8 Sender domain does not exist\n< QUIT\n> 221 bye", Options{From: "a@example.org"}, "probe.mail", "permanent", "sender-rejected"},
		{"wrong password", ehlo + "< AUTH\n> 535 5.7.8 Authentication credentials invalid\n< QUIT\n> 221 bye", Options{User: "taro", Password: "x"}, "probe.auth", "permanent", "auth-failed"},
		{"too many", "> 421 4.7.0 Too many connections from your address\nclose", Options{}, "probe.greeting", "temporary", "rate-limit"},
		{"reset in starttls", "> 220 x ESMTP\n< EHLO\n> 250-x\n> 250 STARTTLS\n< STARTTLS\n> 220 go\nraw not a handshake at all\nclose", Options{}, "probe.starttls", "", "tls-mismatch"}, // garbage or no TLS, as the octets arrive
		{"starttls not offered", ehlo + "< QUIT\n> 221 bye", Options{TLS: StartTLS}, "probe.starttls", "plain-expected", "tls-mismatch"},
		{"no mechanism in common", "> 220 x ESMTP\n< EHLO\n> 250-x\n> 250 AUTH GSSAPI\n< QUIT\n> 221 bye", Options{User: "taro", Password: "x"}, "probe.auth", "permanent", "auth-method"},
		{"login not offered in clear", "> 220 x ESMTP\n< EHLO\n> 250 x\n< QUIT\n> 221 bye", Options{User: "taro", Password: "x"}, "probe.auth", "permanent", "tls-required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := pop3test.Play(t, tt.script)
			tt.opt.Protocol, tt.opt.Port = SMTP, portOf(t, s.Addr)
			r := run(t, tt.opt)
			if d := cmp.Diff([]string{tt.id}, ids(r)); d != "" {
				t.Fatal(d, stages(r))
			}
			if got := r.Findings[0].Evidence["outcome"]; got != tt.how && tt.how != "" {
				t.Errorf("outcome %v, want %s", got, tt.how)
			}
			if got := cause(r); got != tt.why {
				t.Errorf("cause %q, want %q (%+v)", got, tt.why, r.Diagnosis)
			}
		})
	}
}

func TestHealthyConversation(t *testing.T) {
	s := pop3test.Play(t, plainLogin+"> +OK\n< STAT\n> +OK 1 12\n< LIST\n> +OK\n> 1 12\n> .\n< RETR 1\n> +OK\n> Subject: x\n> .\n< QUIT\n> +OK bye")
	r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), User: "taro", Password: "x", Retr: 1})
	if got, want := stages(r), "name:ok tcp:ok greeting:ok capabilities:ok auth:ok list:ok retr:ok quit:ok"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	if len(r.Findings) != 1 || r.Findings[0].ID != "probe.ok" || len(r.Diagnosis) != 0 {
		t.Errorf("%+v %+v", r.Findings, r.Diagnosis)
	}
}

func TestStopAfter(t *testing.T) {
	for _, tt := range []struct{ after, script, want string }{
		{"name", "stall", "name:ok quit:skip"},
		{"tcp", "stall", "name:ok tcp:ok quit:skip"},
		{"greeting", "> +OK ready\n< QUIT\n> +OK", "name:ok tcp:ok greeting:ok quit:ok"},
		{"capabilities", "> +OK ready\n< CAPA\n> -ERR what\n< QUIT\n> +OK", "name:ok tcp:ok greeting:ok capabilities:ok quit:ok"},
	} {
		s := pop3test.Play(t, tt.script)
		r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), User: "taro", Password: "x", StopAfter: tt.after})
		if got := stages(r); got != tt.want {
			t.Errorf("--stop-after %s: %s, want %s", tt.after, got, tt.want)
		}
		for _, line := range s.Said() {
			if strings.HasPrefix(line, "USER") {
				t.Errorf("--stop-after %s went on to %s", tt.after, line)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	const talkTLS = "tls\n> +OK ready\n< CAPA\n> +OK\n> USER\n> .\n< QUIT\n> +OK"
	next := time.Now().Add(90 * 24 * time.Hour)
	for _, tt := range []struct {
		name, subject, cert string
		until               time.Time
		ids                 []string
		fault, why          string
	}{
		{"self-signed", "mail.example.com", "mail.example.com", next, []string{"probe.cert"}, "self-signed", "tls-cert"},
		{"expired", "mail.example.com", "mail.example.com", time.Now().Add(-time.Hour), []string{"probe.cert"}, "expired", "tls-cert"},
		{"wrong name", "other.example.com", "other.example.com", next, []string{"probe.cert"}, "name", "tls-cert"},
		{"mail shield", "Avast Web/Mail Shield Root", "mail.example.com", next, []string{"probe.av_proxy"}, "self-signed", "antivirus-proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pop3test.PlayTLS(t, talkTLS, certificate(t, tt.subject, []string{tt.cert}, tt.until))
			r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), TLS: Implicit, Name: "mail.example.com", Timeout: 5 * time.Second})
			if d := cmp.Diff(tt.ids, ids(r)); d != "" {
				t.Fatal(d, stages(r))
			}
			cert := r.Findings[slices.IndexFunc(r.Findings, func(f diag.Finding) bool { return f.ID == "probe.cert" })]
			if because := cert.Evidence["because"]; (tt.why == "antivirus-proxy") != (because == "probe.av_proxy" && cert.Status == diag.Info) {
				t.Errorf("%s because of %v", cert.Status, because)
			}
			if got := cert.Evidence["fault"]; got != tt.fault {
				t.Errorf("fault %v, want %s", got, tt.fault)
			}
			if got := cause(r); got != tt.why {
				t.Errorf("cause %s, want %s", got, tt.why)
			}
			if r.TLS == nil || r.TLS.Version != "TLS 1.3" {
				t.Errorf("%+v", r.TLS)
			}
		})
	}
}

// A password is not given to a server that cannot prove who it is.
func TestPasswordNeedsCertificate(t *testing.T) {
	s := pop3test.PlayTLS(t, "tls\n> +OK ready\n< CAPA\n> +OK\n> USER\n> .\n< QUIT\n> +OK", certificate(t, "x", []string{"mail.example.com"}, time.Now().Add(time.Hour)))
	opt := Options{Protocol: POP3, Port: portOf(t, s.Addr), TLS: Implicit, User: "taro", Password: "geheim", Timeout: 5 * time.Second,
		Host: "192.0.2.1", Dialer: to(s.Addr)}
	r := run(t, opt)
	if got, want := stages(r), "name:ok tcp:ok tls:ok greeting:ok capabilities:ok auth:skip list:skip quit:ok"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	for _, line := range s.Said() {
		if strings.Contains(line, "geheim") {
			t.Error("the password was sent")
		}
	}
}

// to is a dialer that leads everything to one address.
type to string

func (d to) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, string(d))
}

func TestAlternatives(t *testing.T) {
	plain := pop3test.Play(t, "> +OK ready\n< QUIT\n> +OK")
	secure := pop3test.PlayTLS(t, "tls\n> +OK ready\n< QUIT\n> +OK", certificate(t, "x", nil, time.Now().Add(time.Hour)))
	closed := pop3test.Play(t, "close")
	alts := []Alternative{{Port: portOf(t, plain.Addr), TLS: None}, {Port: portOf(t, closed.Addr), TLS: None}}

	// TLS asked of a plain port: the same port answers without.
	r := run(t, Options{Protocol: POP3, Port: portOf(t, plain.Addr), TLS: Implicit, Alternatives: alts})
	if got, want := stages(r), "name:ok tcp:ok tls:fail greeting:skip capabilities:skip quit:skip"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	if r.Findings[0].ID != "probe.tls" || r.Findings[0].Evidence["outcome"] != "plain-expected" || cause(r) != "tls-mismatch" {
		t.Errorf("%+v %s", r.Findings[0], cause(r))
	}
	want := []Alternative{{Port: alts[0].Port, TLS: None, Status: diag.OK}, {Port: alts[1].Port, TLS: None, Status: diag.Fail, Outcome: "closed"}}
	if d := cmp.Diff(want, r.Alternatives); d != "" {
		t.Error(d)
	}
	if !slices.ContainsFunc(r.Findings, func(f diag.Finding) bool {
		return f.ID == "probe.alternative_works" && f.Evidence["port"] == alts[0].Port
	}) {
		t.Errorf("%+v", r.Findings)
	}

	// Plain text spoken to a TLS port: silence, but TLS works there.
	r = run(t, Options{Protocol: POP3, Port: portOf(t, secure.Addr), TLS: None, Timeout: time.Second})
	if r.Findings[0].ID != "probe.greeting" || cause(r) != "tls-mismatch" || len(r.Alternatives) != 1 || r.Alternatives[0].Status != diag.OK {
		t.Errorf("%+v %s %+v", r.Findings, cause(r), r.Alternatives)
	}

	r = run(t, Options{Protocol: POP3, Port: portOf(t, secure.Addr), TLS: None, NoAlternatives: true})
	if r.Alternatives != nil {
		t.Errorf("%+v", r.Alternatives)
	}
}

// A port that says nothing to a TLS handshake is not one without
// TLS, unless it answers without.
func TestSilenceIsNoMismatch(t *testing.T) {
	for script, want := range map[string]string{
		"stall":                "server-timeout",
		"raw +OK\\r\\n\nstall": "tls-mismatch",
	} {
		s := pop3test.Play(t, script)
		r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), TLS: Implicit})
		if r.Findings[0].ID != "probe.tls" || cause(r) != want {
			t.Errorf("%q: %s %v: %s, want %s", script, r.Findings[0].ID, r.Findings[0].Evidence["outcome"], cause(r), want)
		}
	}
}

func TestRefusedAndUnknownName(t *testing.T) {
	r := run(t, Options{Protocol: POP3, Port: 1})
	if f := r.Findings[0]; f.ID != "probe.tcp" || f.Evidence["outcome"] != "refused" || f.Evidence["winsock"] != 10061 || !slices.Contains(f.Codes, "10061") || cause(r) != "connect-refused" {
		t.Errorf("%+v %s", f, cause(r))
	}
	r = run(t, Options{Protocol: SMTP, Host: "name.invalid", Port: 25, Resolver: "127.0.0.1:1"})
	if f := r.Findings[0]; f.ID != "probe.name" || f.Evidence["outcome"] != "servfail" || cause(r) != "dns-failure" {
		t.Errorf("%+v %s", f, cause(r))
	}
	if got, want := stages(r), "name:fail tcp:skip greeting:skip capabilities:skip quit:skip"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
}

// Only a resolver that knows the root can say that a name does not exist; and
// what this machine's own network keeps from being tried is no fault of the
// server.
func TestWhatCouldNotBeFoundOut(t *testing.T) {
	for _, tt := range []struct {
		name, zone string
		dialer     dial.Dialer
		status     diag.Status
		id         string
		outcome    string
	}{
		{"the name does not exist", ". NS a.root.test.\n", nil, diag.Fail, "probe.name", "nxdomain"},
		{"the resolver knows nothing", "!nxdomain .\n", nil, diag.Skip, "probe.name", "servfail"},
		{"the resolver fails", "!servfail .\n", nil, diag.Skip, "probe.name", "servfail"},
		{"the resolver is silent", "!silent .\n", nil, diag.Skip, "probe.name", "timeout"},
		{"no route", "mail.test. A 192.0.2.1\n", failing(syscall.ENETUNREACH), diag.Skip, "probe.tcp", "unreachable"},
		{"the router knows no way", "mail.test. A 192.0.2.1\n", failing(syscall.EHOSTUNREACH), diag.Fail, "probe.tcp", "unreachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := dnstest.New(t, tt.zone)
			r := run(t, Options{Protocol: POP3, Host: "mail.test", Resolver: srv.Addr, Dialer: tt.dialer, Timeout: 300 * time.Millisecond, NoAlternatives: true})
			f := r.Findings[0]
			if f.ID != tt.id || f.Status != tt.status || f.Evidence["outcome"] != tt.outcome {
				t.Errorf("%+v", f)
			}
			if tt.status == diag.Skip && (r.Summary.Fail+r.Summary.Warn+r.Summary.OK > 0 || r.Summary.Skip != 1) {
				t.Errorf("%+v", r.Summary)
			}
		})
	}
}

// failing is a network on which every connection fails with that error number.
type failing syscall.Errno

func (f failing) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.Errno(f)}
}

// A message that breaks off: the +OK before it explains nothing.
func TestRetrBreaksOff(t *testing.T) {
	s := pop3test.Play(t, "> +OK\n< CAPA\n> +OK\n> .\n< USER\n> +OK\n< PASS\n> +OK\n< STAT\n> +OK 1 500\n< LIST\n> +OK\n> 1 500\n> .\n< RETR\n> +OK 500 octets\n> Subject: x\nreset\n")
	r := run(t, Options{Protocol: POP3, Port: portOf(t, s.Addr), User: "taro", Password: "x", Retr: 1})
	f := r.Findings[0]
	if f.ID != "probe.retr" || f.Evidence["reply"] != nil || f.Evidence["outcome"] != "reset" || cause(r) != "connection-reset" {
		t.Errorf("%+v %s", f, cause(r))
	}
	if d := r.Stages[slices.IndexFunc(r.Stages, func(s Stage) bool { return s.Stage == "retr" })].Detail; d != "reset: ECONNRESET, Winsock 10054, after 12 octets" {
		t.Errorf("%q", d)
	}
}

func TestSoftware(t *testing.T) {
	for greeting, want := range map[string]Software{
		"+OK QPOP (version 2.53) at mail.example.com starting.":                {Name: "Qpopper", Version: "2.53"},
		"+OK Dovecot (Debian) ready.":                                          {Name: "Dovecot"},
		"220 mail.example.com ESMTP Exim 4.98 Mon, 01 Jan 2024 00:00:00 +0000": {Name: "Exim", Version: "4.98"},
		"220 x Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready":     {Name: "IIS SMTP", Version: "6.0.3790.4675"},
		"220 localhost ESMTP mailsrv":                                          {Name: "mailsrv"},
	} {
		want.Evidence = greeting
		got := softwareOf(greeting, nil)
		if got == nil || *got != want {
			t.Errorf("%q: %+v, want %+v", greeting, got, want)
		}
	}
	if got := softwareOf("+OK ready", []string{"USER", "IMPLEMENTATION Cyrus POP3 v2.4.17"}); got == nil || got.Name != "Cyrus" || got.Version != "2.4.17" {
		t.Errorf("%+v", got)
	}
	if got := softwareOf("+OK ready", nil); got != nil {
		t.Errorf("%+v", got)
	}
}
