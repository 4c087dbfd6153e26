package explain

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"mailsrv/codes"
)

// Whatever is pasted: no panic, no hang, an answer of bounded size that is
// valid JSON and names only causes of the list.
func FuzzExplain(f *testing.F) {
	for _, d := range dialogs(f) {
		f.Add([]byte(d.Text))
	}
	f.Add([]byte("From: a\nTo: b\nDate: c\nSubject: d\nContent-Type: multipart/report; report-type=delivery-status\n\n550"))
	f.Add([]byte("\xff\xfeS\x00e\x00r\x00v\x00e\x00r\x00:\x00"))
	f.Add([]byte("DNS Servers . . . . : 192.0.2.53\n a . : b\n c . : d\n e . : f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		start := time.Now()
		r := Explain(raw, codes.Japanese)
		if d := time.Since(start); d > 10*time.Second { // a hang, not a busy machine
			t.Fatalf("took %v", d)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1<<20 {
			t.Fatalf("%d bytes of answer to %d bytes", len(b), len(raw))
		}
		if len(r.Diagnosis) > 60 || r.Input.Kind == "" {
			t.Fatalf("%s with %d causes", r.Input.Kind, len(r.Diagnosis))
		}
		for _, d := range r.Diagnosis {
			for _, e := range d.Evidence {
				if utf8.Valid(raw) && !utf8.ValidString(e) {
					t.Fatalf("evidence %q is cut in a character", e)
				}
			}
		}
	})
}

// A code is read the same with blanks around it, and never twice.
func FuzzCode(f *testing.F) {
	for _, s := range []string{"0x800CCC0E", "-2146644978", "2148322318", "10061", "[10048]", "550 5.7.1", "550-5.7.26", "WSAECONNREFUSED", "５５０", "0x800C\nCC0E", "Q8", "x.7.x", "5xx", "0x8OOCCCOE", "1-1-1", "-", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		r := Explain([]byte(s), codes.English)
		padded := Explain([]byte("\n "+s+" \n"), codes.English)
		if utf8.ValidString(s) && r.Input.Kind == KindCode && (padded.Input.Kind != KindCode || len(padded.Matches) != len(r.Matches)) {
			t.Fatalf("%q: %v, with blanks around it %s %v", s, ids(r), padded.Input.Kind, ids(padded))
		}
		seen := map[string]bool{}
		for _, m := range r.Matches {
			if m.Code == "" || seen[m.Code] {
				t.Fatalf("%q: %v", s, ids(r))
			}
			seen[m.Code] = true
		}
	})
}

// Fields, and the context made of them, come from any text whatever.
func FuzzDialog(f *testing.F) {
	for _, d := range dialogs(f) {
		if d.Lang != "log" && d.Lang != "bare" {
			f.Add(d.Text)
		}
	}
	f.Add("Server: ''':::'''\nPort::::==:\n'")
	f.Fuzz(func(t *testing.T, s string) {
		s = clean(cut(s, 1<<15))
		for _, x := range readFields(s) {
			if x.value == "" || len(x.value) > 2*maxValue || x.label == "" {
				t.Fatalf("%+v", x)
			}
		}
		g := &facts{text: s}
		g.readContext()
		if g.ctx.Port < 0 || g.ctx.Port > 65535 {
			t.Fatalf("port %d", g.ctx.Port)
		}
	})
}

// Log lines are what strangers can write into with every connection.
func FuzzLogLine(f *testing.F) {
	for _, d := range dialogs(f) {
		if d.Lang == "log" {
			f.Add(d.Text)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 1<<14 {
			return
		}
		e, ok := readLogLine(line)
		if ok && (len(e.reply) > 2*len(line)+64 || e.port < 0 || e.port > 65535) {
			t.Fatalf("%+v", e)
		}
	})
}
