package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/probes/pop3/pop3test"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/server/store"
)

const mailbox = "> +OK ready\n< CAPA\n> -ERR what\n< USER\n> +OK\n< PASS\n> +OK\n"

// looped runs the loop check against a submission and a POP3 server of the test.
func looped(t *testing.T, smtpScript, popScript string) (*Report, *int) {
	t.Helper()
	h := smtptest.New(t, smtptest.Config{Script: "EHLO => 250-x\\n250 AUTH PLAIN\n" + smtpScript})
	p := pop3test.Play(t, popScript)
	f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsubmission = \""+h.Addr+"\"\npop3 = \""+p.Addr+"\"\n")
	running(t, f.data(), store.RunAddr{Service: "submission", Addr: h.Addr}, store.RunAddr{Service: "pop3", Addr: p.Addr})
	removed := new(int)
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"loop"}, Timeout: 500 * time.Millisecond, TempAccount: func(ttl time.Duration) (TempAccount, error) {
		if ttl <= 0 || ttl > time.Hour {
			t.Errorf("account for %v", ttl)
		}
		return TempAccount{Address: "loop-1@example.com", Password: "x", Remove: func() error { *removed++; return nil }}, nil
	}})
	return r, removed
}

func TestLoopFailures(t *testing.T) {
	for _, tt := range []struct{ name, smtp, pop, stage, words string }{
		{"greeting", "greeting => 421 4.3.2 busy\n", mailbox, "connect", "421 4.3.2 busy"},
		{"login", "AUTH => 535 5.7.8 no\n", mailbox, "auth", "535 5.7.8 no"},
		{"sender", "MAIL => 553 5.7.1 no\n", mailbox, "mail", "553 5.7.1 no"},
		{"recipient", "RCPT => 550 5.1.1 no\n", mailbox, "rcpt", "550 5.1.1 no"},
		{"data", "DATA => 452 4.3.1 full\n", mailbox, "data", "452 4.3.1 full"},
		{"no POP3", "", "close", "pop3-connect", ""},
		{"POP3 login", "", "> +OK\n< CAPA\n> -ERR\n< USER\n> +OK\n< PASS\n> -ERR [SYS/TEMP] spool\n", "pop3-login", "-ERR [SYS/TEMP] spool"},
		{"list", "", mailbox + "< LIST\n> -ERR broken\n", "list", "-ERR broken"},
		{"retr", "", mailbox + "< LIST\n> +OK\n> 1 100\n> .\n< RETR\n> -ERR gone\n", "retr", "-ERR gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, removed := looped(t, tt.smtp, tt.pop)
			f := find(t, r.Findings, "loop.failed")
			if f.Subject != tt.stage || f.Evidence["stage"] != tt.stage {
				t.Errorf("stage %v, want %s: %+v", f.Evidence["stage"], tt.stage, f.Evidence)
			}
			if tt.words != "" && f.Evidence["reply"] != tt.words {
				t.Errorf("reply %v, want %s", f.Evidence["reply"], tt.words)
			}
			if *removed != 1 {
				t.Errorf("the account was removed %d times", *removed)
			}
		})
	}
}

// Something on the way eats the blanks at line ends.
func TestLoopChanged(t *testing.T) {
	r, _ := looped(t, "", mailbox+"< LIST\n> +OK\n> 1 100\n> .\n< RETR\n> +OK\n> From: <loop-1@example.com>\n> To: somebody else\n> .\n< DELE\n> +OK\n< QUIT\n> +OK\n")
	f := find(t, r.Findings, "loop.changed")
	if f.Evidence["got_size"].(int) >= f.Evidence["sent_size"].(int) || !strings.Contains(f.Evidence["got"].(string), "somebody else") {
		t.Errorf("%+v", f.Evidence)
	}
}

func TestLoopWithoutServer(t *testing.T) {
	r := examine(t, Options{ConfigFile: configured(t, plain(t)).config, Only: []string{"loop"}})
	f := find(t, r.Findings, "check.skipped")
	if f.Evidence["because"] != "server.not_running" || r.ExitCode(false) != ExitUnknown {
		t.Errorf("%+v", f)
	}
}

func TestLoopUntested(t *testing.T) {
	addr := freeAddr(t)
	f := onePort(t, "smtp", addr)
	running(t, f.data(), store.RunAddr{Service: "smtp", Addr: addr})
	refuse := func(time.Duration) (TempAccount, error) { return TempAccount{}, errors.New("permission denied") }
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"loop"}, TempAccount: refuse})
	if x := find(t, r.Findings, "loop.untested"); x.Evidence["missing"] != "no-listener" {
		t.Errorf("%+v", x)
	}
	f = configured(t, plain(t)+"pop3 = \""+freeAddr(t)+"\"\n")
	running(t, f.data())
	r = examine(t, Options{ConfigFile: f.config, Only: []string{"loop"}, TempAccount: refuse})
	if x := find(t, r.Findings, "loop.untested"); x.Evidence["missing"] != "no-account" || x.Evidence["reason"] != "permission denied" {
		t.Errorf("%+v", x)
	}
}

func TestCompare(t *testing.T) {
	sent := loopMessage("loop-1@example.com", time.Now())
	if d := compare(sent, append([]byte("Return-Path: <x>\r\nReceived: y\r\n"), sent...)); d != nil {
		t.Errorf("%v", d)
	}
	for _, damage := range []func(string) string{
		func(s string) string { return strings.Replace(s, "  \t \r\n", "\r\n", 1) },
		func(s string) string { return strings.Replace(s, "\r\n..two", "\r\n.two", 1) },
		func(s string) string { return strings.Replace(s, "\r\nFrom here", "\r\n>From here", 1) },
		func(s string) string { return s + "-- \r\nscanned by a mail shield\r\n" },
		func(s string) string { return s[:len(s)-10] },
		func(string) string { return "" },
	} {
		got := damage(string(sent))
		if got == string(sent) {
			t.Fatal("the damage does nothing")
		}
		d := compare(sent, []byte(got))
		if d == nil {
			t.Errorf("%q passes", got[max(0, len(got)-40):])
			continue
		}
		n := d["offset"].(int)
		if n > 0 && n <= len(got) && string(sent[:n]) != got[:n] {
			t.Errorf("offset %d is not where they differ", n)
		}
	}
	want := []string{"\r\n.\r\n", "\r\n..two", "\r\nFrom ", " \t \r\n", "\r\n\r\n\r\n"}
	for _, w := range want {
		if !strings.Contains(string(sent), w) {
			t.Error(cmp.Diff(w, "missing from the test message"))
		}
	}
}
