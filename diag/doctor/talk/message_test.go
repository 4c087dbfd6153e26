package talk

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/pop3/pop3test"
	"mailsrv/probes/smtp/smtptest"
)

// --send goes through DATA, and every MAIL says how large the message is where
// the server wants to know.
func TestSend(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		opt          Options
		ids          []string
		stages, why  string
	}{
		{"taken", "", Options{From: "a@example.org", To: "b@example.net", Send: true}, nil,
			"name:ok tcp:ok greeting:ok capabilities:ok mail:ok rcpt:ok data:ok quit:ok", ""},
		{"only asked for", "", Options{From: "a@example.org", To: "b@example.net"}, nil,
			"name:ok tcp:ok greeting:ok capabilities:ok mail:ok rcpt:ok quit:ok", ""},
		{"spam", ". => 554 5.7.1 This message looks like spam", Options{To: "b@example.net", Send: true}, []string{"probe.data"},
			"name:ok tcp:ok greeting:ok capabilities:ok mail:ok rcpt:ok data:fail quit:ok", "spam-content"},
		{"reset", ". => reset", Options{To: "b@example.net", Send: true}, []string{"probe.data"},
			"name:ok tcp:ok greeting:ok capabilities:ok mail:ok rcpt:ok data:fail quit:skip", "connection-reset"},
		{"too large", `EHLO => 250-x\n250 SIZE 100` + "\nMAIL FROM:<a@example.org> SIZE= => 552 5.3.4 Message size exceeds fixed limit", Options{From: "a@example.org"}, []string{"probe.mail"},
			"name:ok tcp:ok greeting:ok capabilities:ok mail:fail quit:ok", "message-too-large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host := smtptest.New(t, smtptest.Config{Script: tt.script})
			tt.opt.Protocol, tt.opt.Port = SMTP, portOf(t, host.Addr)
			r := run(t, tt.opt)
			if got := stages(r); got != tt.stages {
				t.Errorf("stages %s\nwant   %s", got, tt.stages)
			}
			if d := cmp.Diff(tt.ids, ids(r)); d != "" {
				t.Error(d)
			}
			if got := cause(r); got != tt.why {
				t.Errorf("cause %q, want %q", got, tt.why)
			}
			if got := host.Messages(); tt.opt.Send != (len(got) == 1 && strings.Contains(got[0], "\r\nTo: <b@example.net>\r\n")) {
				t.Errorf("sent: %q", got)
			}
		})
	}
}

func TestThroughput(t *testing.T) {
	host := smtptest.New(t, smtptest.Config{})
	r := run(t, Options{Protocol: SMTP, Port: portOf(t, host.Addr), From: "a@example.org", To: "b@example.net", Send: true, Throughput: true, Timeout: 5 * time.Second})
	if r.Throughput == nil || r.Throughput.Octets < measuredBody || r.Throughput.KbitS < slowPath || len(ids(r)) > 0 {
		t.Errorf("%+v %v", r.Throughput, ids(r))
	}
	pop := pop3test.Play(t, plainLogin+"> +OK\n< STAT\n> +OK 1 12\n< LIST\n> +OK\n> 1 12\n> .\n< RETR 1\n> +OK\n> x\n> .\n< QUIT\n> +OK bye")
	r = run(t, Options{Protocol: POP3, Port: portOf(t, pop.Addr), User: "taro", Password: "x", Retr: 1, Throughput: true})
	if r.Throughput != nil || len(ids(r)) > 0 {
		t.Errorf("three octets say nothing about speed: %+v %v", r.Throughput, ids(r))
	}

	for _, tt := range []struct {
		octets int
		took   time.Duration
		err    error
		want   *Throughput
		ids    []string
	}{
		{16000, 4 * time.Second, nil, &Throughput{16000, 4000, 32}, []string{"probe.slow_path"}},
		{16000, 2 * time.Second, nil, &Throughput{16000, 2000, 64}, nil},
		{16000, 4 * time.Second, errors.New("cut off"), nil, nil},
		{measurable - 1, 4 * time.Second, nil, nil, nil},
	} {
		s := &steps{r: &Report{}, opt: Options{Throughput: true}}
		s.measured(tt.octets, tt.took, tt.err)
		if d := cmp.Diff(tt.want, s.r.Throughput); d != "" {
			t.Error(d)
		}
		found := s.r.slow("smtp x:25")
		if err := diag.Localize(found, codes.Japanese); err != nil {
			t.Error(err)
		}
		var ids []string
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		if d := cmp.Diff(tt.ids, ids); d != "" {
			t.Error(d)
		}
	}
}

// TLS 1.0 and 1.1 work here, but nowhere else: a failure, with the version.
func TestOldTLS(t *testing.T) {
	config := certificate(t, "x", []string{"mail.example.com"}, time.Now().Add(time.Hour))
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	implicit := pop3test.PlayTLS(t, "tls\nstall", config)
	for name, tt := range map[string]struct {
		opt       Options
		id, stage string
	}{
		"from the start": {Options{Protocol: POP3, Port: portOf(t, implicit.Addr), TLS: Implicit}, "probe.tls", "tls:fail"},
		"STLS": {Options{Protocol: POP3, Port: portOf(t, pop3test.PlayTLS(t, "> +OK\n< CAPA\n> +OK\n> STLS\n> .\n< STLS\n> +OK\ntls\nstall", config).Addr)},
			"probe.starttls", "starttls:fail"},
		"STARTTLS of SMTP": {Options{Protocol: SMTP, Port: portOf(t, smtptest.New(t, smtptest.Config{TLS: config}).Addr)}, "probe.starttls", "starttls:fail"},
		"STARTTLS of IMAP": {Options{Protocol: IMAP, Port: portOf(t, pop3test.PlayTLS(t, "> * OK\n< a1\n> * CAPABILITY STARTTLS\n> a1 OK\n< a2 STARTTLS\n> a2 OK\ntls\nstall", config).Addr)},
			"probe.starttls", "starttls:fail"},
	} {
		tt.opt.Name, tt.opt.Timeout = "mail.example.com", 5*time.Second
		r := run(t, tt.opt)
		if !strings.Contains(stages(r), tt.stage) || cause(r) != "tls-version" {
			t.Errorf("%s: %s: %s", name, stages(r), cause(r))
		}
		f := r.Findings[0]
		if f.ID != tt.id || f.Evidence["tls_version"] != "TLS 1.1" || !strings.Contains(f.Detail, "TLS 1.1 at best") {
			t.Errorf("%s: %s", name, fmt.Sprint(f))
		}
	}
}
