package simulate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

func TestParseScript(t *testing.T) {
	got, err := parseScript(`
greeting => +OK hello $USER <taro@example.com>
rcpt to:<*%*@*> => <until 5m>451 4.7.1 one\n451 4.7.1 two
RETR => <half><wait 100ms><reset>
STARTTLS => 220 go\n<garbage>
MAIL => <without login>530 no
* => <drip 2s>abc <nothing> 3 < 4
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []rule{
		{when: "GREETING", steps: []step{{text: "+OK hello $USER <taro@example.com>\r\n"}}},
		{when: "RCPT TO:<*%*@*>", until: 5 * time.Minute, steps: []step{{text: "451 4.7.1 one\r\n451 4.7.1 two\r\n"}}},
		{when: "RETR", steps: []step{{deed: "half"}, {deed: "wait", d: 100 * time.Millisecond}, {deed: "reset"}}},
		{when: "STARTTLS", steps: []step{{text: "220 go\r\n"}, {deed: "garbage"}}},
		{when: "MAIL", unless: "login", steps: []step{{text: "530 no\r\n"}}},
		{when: "*", steps: []step{{deed: "drip", d: 2 * time.Second}, {text: "abc <nothing> 3 < 4\r\n"}}},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(rule{}, step{})); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"RETR +OK", " => +OK", "RETR => +OK <until 5m>", "RETR => +OK <without tls>"} {
		if _, err := parseScript(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Every entry of the catalogue can be read.
func TestScriptsOfTheCatalogue(t *testing.T) {
	for _, sim := range codes.Simulations() {
		s := &Server{sim: sim}
		switch s.plays() {
		case "smtp", "pop3", "imap", "http":
			if _, err := parseScript(sim.Script); err != nil {
				t.Errorf("%s: %v", sim.ID, err)
			}
		case "dns", "refused", "full":
		default:
			t.Errorf("%s: nobody plays %q", sim.ID, s.plays())
		}
		switch sim.TLS {
		case "", "offered", "hidden", "implicit", "either":
		default:
			t.Errorf("%s: tls = %q", sim.ID, sim.TLS)
		}
	}
}

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		when, line string
		want       bool
	}{
		{"RETR", "RETR 1", true},
		{"RETR", "RETR", true},
		{"RETR", "RETRY", false},
		{"*", "ANYTHING AT ALL", true},
		{"RCPT TO:<*%*@*>", "RCPT TO:<A%B@C>", true},
		{"RCPT TO:<*%*@*>", "RCPT TO:<A@C>", false},
		{"RCPT TO:<*%*@*>", "RCPT TO:<A%B@C> NOTIFY=NEVER", true},
		{"LOGIN", "LOGIN TARO X", false}, // an event
		{".", ".", false},
	} {
		if got := (rule{when: tt.when}).fits(tt.line); got != tt.want {
			t.Errorf("%q fits %q: %v", tt.when, tt.line, got)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"PASS geheim":                "PASS ***",
		"AUTH PLAIN AGEAYg==":        "AUTH PLAIN ***",
		"AUTH LOGIN":                 "AUTH LOGIN",
		"a1 LOGIN taro geheim":       "a1 LOGIN taro ***",
		"a1 AUTHENTICATE PLAIN AGEA": "a1 AUTHENTICATE PLAIN ***",
		"USER taro":                  "USER taro",
		"MAIL FROM:<a@example.com> SIZE=1 X=2 Y=3": "MAIL FROM:<a@example.com> SIZE=1 X=2 Y=3",
	} {
		if got := mask(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	for _, sim := range codes.Simulations() {
		f.Add(sim.Script)
	}
	f.Fuzz(func(t *testing.T, script string) {
		rules, err := parseScript(script)
		if err != nil {
			return
		}
		for _, r := range rules {
			r.fits("RCPT TO:<A%B@C>")
		}
	})
}
