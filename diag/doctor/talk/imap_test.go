package talk

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/pop3/pop3test"
)

func TestIMAPFaults(t *testing.T) {
	const ready = "> * OK [CAPABILITY IMAP4rev1] Dovecot ready.\n< a1 CAPABILITY\n> * CAPABILITY IMAP4rev1\n> a1 OK\n"
	const bye = "\n< a3 LOGOUT\n> * BYE\n> a3 OK"
	for _, tt := range []struct {
		name, script string
		opt          Options
		stages       string
		id, how, why string
	}{
		{"wrong password", ready + "< a2 LOGIN\n> a2 NO [AUTHENTICATIONFAILED] Authentication failed." + bye, Options{},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "auth-failed"},
		{"unavailable", ready + "< a2 LOGIN\n> a2 NO [UNAVAILABLE] Temporary authentication failure." + bye, Options{},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "temporary", "server-temporary"},
		{"locked", ready + "< a2 LOGIN\n> a2 OK in\n< a3 EXAMINE\n> a3 NO [INUSE] Mailbox is locked\n< a4 LOGOUT\n> a4 OK", Options{},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:ok list:fail quit:ok", "probe.list", "in-use", "mailbox-locked"},
		{"too many", "> * BYE Too many connections from your address", Options{},
			"name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:warn", "probe.greeting", "temporary", "rate-limit"},
		{"login only with TLS", "> * OK hi\n< a1\n> * CAPABILITY IMAP4rev1 LOGINDISABLED\n> a1 OK\n< a2 LOGOUT\n> a2 OK", Options{},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "tls-required"},
		{"no mechanism in common", "> * OK hi\n< a1\n> * CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI\n> a1 OK\n< a2 LOGOUT\n> a2 OK", Options{},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:fail list:skip quit:ok", "probe.auth", "permanent", "auth-method"},
		{"STARTTLS not offered", ready + "< a2 LOGOUT\n> a2 OK", Options{TLS: StartTLS},
			"name:ok tcp:ok greeting:ok capabilities:ok starttls:fail auth:skip list:skip quit:ok", "probe.starttls", "plain-expected", "tls-mismatch"},
		{"a POP3 server", "> +OK ready", Options{},
			"name:ok tcp:ok greeting:fail capabilities:skip auth:skip list:skip quit:skip", "probe.other_protocol", "garbage", ""},
		{"stops in a message", ready + "< a2 LOGIN\n> a2 OK in\n< a3 EXAMINE\n> * 1 EXISTS\n> a3 OK\n< a4 FETCH\n> * 1 FETCH (BODY[] {99}\nraw abc\nstall", Options{Retr: 1},
			"name:ok tcp:ok greeting:ok capabilities:ok auth:ok list:ok retr:fail quit:skip", "probe.retr", "drip", "server-timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := pop3test.Play(t, tt.script)
			tt.opt.Protocol, tt.opt.Port, tt.opt.User, tt.opt.Password = IMAP, portOf(t, s.Addr), "taro", "geheim"
			r := run(t, tt.opt)
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
		})
	}
}

func TestHealthyIMAP(t *testing.T) {
	s := pop3test.Play(t, `
		> * OK ready
		< a1 CAPABILITY
		> * CAPABILITY IMAP4rev1 ID
		> a1 OK
		< a2 LOGIN
		> a2 OK in
		< a3 EXAMINE "INBOX"
		> * 1 EXISTS
		> a3 OK
		< a4 FETCH 1 BODY.PEEK[]
		> * 1 FETCH (BODY[] {5}
		raw abc\r\n)\r\n
		> a4 OK
		< a5 LOGOUT
		> * BYE
		> a5 OK`)
	r := run(t, Options{Protocol: IMAP, Port: portOf(t, s.Addr), User: "taro", Password: "x", Retr: 1})
	if got, want := stages(r), "name:ok tcp:ok greeting:ok capabilities:ok auth:ok list:ok retr:ok quit:ok"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	if r.Findings[0].ID != "probe.ok" || cause(r) != "" || !cmp.Equal(r.Capabilities, []string{"IMAP4REV1", "ID"}) {
		t.Errorf("%+v %q %q", r.Findings, cause(r), r.Capabilities)
	}
}
