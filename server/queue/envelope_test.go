package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var fullEnvelope = Envelope{
	ID: "0123456789", Accepted: time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC), Sender: "taro@example.com", User: "taro@example.com", Size: 4096,
	EightBit: true, UTF8: true, Ret: "HDRS", EnvID: "QQ+2B1", Notice: Failure, Held: true, Warned: time.Date(2026, 11, 21, 13, 30, 0, 0, time.UTC), Count: 2,
	Recipients: []Recipient{
		{Address: "花子@example.jp", ORCPT: "rfc822;hanako@example.jp", Notify: "SUCCESS,DELAY", State: Waiting, Tries: 3,
			LastTry: time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC), NextTry: time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC),
			Code: 451, Status: "4.7.1", Reply: `451 4.7.1 "Grey" \ listed`, Command: "RCPT", Cause: "greylisted", Host: "mx.example.jp", Addr: "192.0.2.1:25", TLS: "TLS 1.3"},
		{Address: `"a b"@example.jp`, State: Failed, Told: true, Expired: true},
	},
}

const fullText = `# The envelope of the message in 0123456789.eml

id = "0123456789"
accepted = 2026-11-21T09:30:00Z
sender = "taro@example.com"
user = "taro@example.com"
size = 4096
eight_bit = true
smtputf8 = true
ret = "HDRS"
envid = "QQ+2B1"
notice = "failure"
held = true
warned = 2026-11-21T13:30:00Z
recipients = 2

[[recipient]]
address = "花子@example.jp"
orcpt = "rfc822;hanako@example.jp"
notify = "SUCCESS,DELAY"
state = "waiting"
tries = 3
last_try = 2026-11-21T13:00:00Z
next_try = 2026-11-21T14:00:00Z
code = 451
status = "4.7.1"
reply = "451 4.7.1 \"Grey\" \\ listed"
command = "RCPT"
cause = "greylisted"
host = "mx.example.jp"
addr = "192.0.2.1:25"
tls = "TLS 1.3"

[[recipient]]
address = "\"a b\"@example.jp"
state = "failed"
told = true
expired = true
tries = 0
`

func TestEnvelope(t *testing.T) {
	if diff := cmp.Diff(fullText, string(fullEnvelope.encode())); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	got, err := decode([]byte(fullText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&fullEnvelope, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// Control characters in a reply survive the way to the disk and back.
func TestEnvelopeQuotes(t *testing.T) {
	e := Envelope{ID: "ABCDEF", Accepted: fullEnvelope.Accepted, Count: 1, Recipients: []Recipient{{Address: "a", State: Waiting, Reply: "a\x00\x1b\t\r\n\u007f\"\\\u3042"}}}
	got, err := decode(e.encode())
	if err != nil || got.Recipients[0].Reply != e.Recipients[0].Reply {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	if _, err := decode([]byte(fullText)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"size = 4096", "size = -1", "size = -1"},
		{"size = 4096", "size = \"4096\"", "line 7: toml: cannot decode TOML string into struct field queue.Envelope.Size of type int64"},
		{"id = \"0123456789\"", "id = \"../a/b\"", `id "../a/b" is not 6 to 64 letters and digits`},
		{"accepted = 2026-11-21T09:30:00Z\n", "", "accepted is missing"},
		{"recipients = 2", "recipients = 3", "recipients = 3, but there are 2"},
		{"HDRS", "SOME", `ret "SOME" is neither FULL nor HDRS`},
		{"QQ+2B1", "a b", `envid "a b" is no xtext`},
		{"state = \"waiting\"", "state = \"sleeping\"", `recipient 1: state "sleeping" is not waiting, delivered or failed`},
		{"SUCCESS,DELAY", "SUCCESS,NEVER", `recipient 1: notify "SUCCESS,NEVER" is neither NEVER nor a list of SUCCESS, FAILURE and DELAY`},
		{"rfc822;hanako", "rfc822;han ako", `recipient 1: orcpt "rfc822;han ako@example.jp" is not of the form rfc822;xtext`},
		{"tries = 3", "tries = -3", "recipient 1: tries = -3"},
		{"sender = \"taro", "sender = \"ta\\nro", `sender "ta\nro@example.com" has characters that no address has`},
		{"sender", "sandman", "line 5: unknown key sandman"},
	} {
		text := strings.Replace(fullText, tt.old, tt.new, 1)
		if _, err := decode([]byte(text)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.new, err, tt.want)
		}
	}
	// Cut anywhere, it is refused, or says what the whole says.
	for n := range len(fullText) {
		if e, err := decode([]byte(fullText[:n])); err == nil && len(e.Recipients) != 2 {
			t.Errorf("cut at %d: %+v", n, e)
		}
	}
}

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"a+2Bb": "a+b", "abc": "abc", "": "", "+E3+81+82": "\u3042"} {
		if got, ok := unxtext(in); !ok || got != want {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
	for _, in := range []string{"a+", "a+2", "a+GG", "+0D+0A"} {
		if got, ok := unxtext(in); ok {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(fullText))
	f.Add([]byte("id = \"ABCDEF\"\naccepted = 2026-01-01T00:00:00+09:00\nrecipients = 1\n[[recipient]]\naddress = \"a@b\"\nstate = \"waiting\"\n"))
	f.Add([]byte("recipient = [{address=\"\\u0000\", state=\"waiting\"}]\nrecipients=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err != nil {
			return
		}
		// What is accepted can be written and read again, and is the same.
		e.Accepted, e.Warned = e.Accepted.UTC().Truncate(time.Second), e.Warned.UTC().Truncate(time.Second)
		for i := range e.Recipients {
			r := &e.Recipients[i]
			r.LastTry, r.NextTry = r.LastTry.UTC().Truncate(time.Second), r.NextTry.UTC().Truncate(time.Second)
		}
		if y := e.Accepted.Year(); y < 1 || y > 9999 {
			return
		}
		again, err := decode(e.encode())
		if err != nil {
			t.Fatalf("%v\n%s", err, e.encode())
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}
