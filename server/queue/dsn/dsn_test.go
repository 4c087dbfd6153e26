package dsn

import (
	"encoding/base64"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	arrival = time.Date(2026, 11, 21, 18, 30, 0, 0, time.FixedZone("", 9*3600))
	last    = arrival.Add(26 * time.Hour)
)

const message = "Received: from x\r\n\tby y\r\nSubject: hello\r\nDate: Sat, 21 Nov 2026 18:29:59 +0900\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"

func report(lang codes.Lang, action Action, to ...Recipient) *Report {
	return &Report{
		Hostname: "mail.example.com", ID: "NOTICE1", To: "taro@example.com", About: "MESSAGE1", Sender: "taro@example.com",
		Arrival: arrival, Now: last, Until: arrival.AddDate(0, 0, 5), Lang: lang, Action: action, Recipients: to, Message: strings.NewReader(message),
	}
}

var (
	unknown = Recipient{Address: "hanako@example.jp", Original: "rfc822;h@example.jp", Code: 550, Status: "5.1.1", Command: "RCPT", Cause: "user-unknown",
		Reply: "550 5.1.1 <hanako@example.jp>: Recipient address rejected: User unknown in virtual mailbox table",
		Host:  "mx.example.jp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), LastTry: last}
	refused = Recipient{Address: "jiro@example.net", Expired: true, Status: "4.4.1", Command: "CONN", Cause: "connect-refused",
		Reply: "connect to mx.example.net[192.0.2.2]:25: Connection refused", Host: "mx.example.net", Addr: netip.MustParseAddrPort("192.0.2.2:25"), LastTry: last}
	nullMX = Recipient{Address: "saburo@null.example", Status: "5.1.10", Cause: "user-unknown",
		Reply: "556 5.1.10 Recipient address has null MX: null.example takes no mail (RFC 7505)", LastTry: last}
	taken = Recipient{Address: "hanako@example.jp", Code: 250, Status: "2.0.0", Command: "DATA", Reply: "250 2.0.0 Ok", Host: "mx.example.jp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), LastTry: last}
)

func write(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	if strings.Contains(strings.ReplaceAll(out, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(out, "\r\n", ""), "\r") || !strings.HasSuffix(out, "\r\n") {
		t.Error("a line does not end with CRLF")
	}
	for line := range strings.Lines(out) {
		if len(line) > 1000 {
			t.Errorf("line of %d octets", len(line))
		}
	}
	return out
}

// Whole notices, as they go out, and their words. -update writes them anew;
// read them as somebody would who gets such a mail.
func TestNotices(t *testing.T) {
	full := report("en", Failed, unknown)
	full.Full = true
	double := report("en", Failed, unknown)
	double.To, double.Sender = "postmaster@example.com", ""
	forwarded := report("ja", Failed, refused)
	forwarded.To = "postmaster@example.com"
	envid := report("en", Failed, unknown, refused, nullMX)
	envid.EnvID = "QQ 31"
	late := refused
	late.Expired = false
	for name, r := range map[string]*Report{
		"failed.en": envid, "failed.ja": report("ja", Failed, unknown, refused, nullMX),
		"full.en": full, "double.en": double, "double.ja": forwarded,
		"delayed.en": report("en", Delayed, late), "delayed.ja": report("ja", Delayed, late),
		"relayed.en": report("en", Relayed, taken), "relayed.ja": report("ja", Relayed, taken),
		"delivered.en": report("en", Delivered, Recipient{Address: "hanako@example.com"}), "delivered.ja": report("ja", Delivered, Recipient{Address: "hanako@example.com"}),
	} {
		t.Run(name, func(t *testing.T) {
			got := regexp.MustCompile(`=_[A-Z2-7]{26}`).ReplaceAllString(write(t, r), "=_BOUNDARY")
			words := parts(t, got)[0].text
			if strings.Contains(got, "base64") {
				got += "\r\n[the words]\r\n" + words
			}
			golden(t, name+".txt", got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	got = strings.ReplaceAll(got, "\r\n", "\n")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

type part struct{ kind, encoding, text string }

// parts takes a notice apart with another reader than our own writer's mirror.
func parts(t *testing.T, notice string) []part {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(notice))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", kind, params, err)
	}
	var out []part
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		enc := p.Header.Get("Content-Transfer-Encoding")
		if enc == "base64" {
			if b, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\r\n", "")); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, part{p.Header.Get("Content-Type"), enc, string(b)})
	}
	if len(out) != 3 {
		t.Fatalf("%d parts", len(out))
	}
	return out
}

// The returned message is the message, octet for octet, whatever is in it.
func TestReturned(t *testing.T) {
	for name, text := range map[string]string{
		"plain":     message,
		"no body":   "Subject: x\r\n\r\n",
		"no header": "\r\nbody\r\n",
		"empty":     "",
		"no end":    "Subject: x\r\n",
		"8 bit":     "Subject: \xe3\x81\x82\r\n\r\n\xff\x00\r\n",
		"mime":      "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n.\r\n--x--\r\n",
		"big":       "Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 100_000),
		"one line":  "Subject: x\r\n\r\n" + strings.Repeat("0123456789", 90) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := report("en", Failed, unknown)
			r.Full, r.Message = true, strings.NewReader(text)
			got := parts(t, write(t, r))[2]
			if got.text != text || got.kind != "message/rfc822" || (got.encoding == "8bit") != (name == "8 bit") {
				t.Errorf("%s %s %d octets, want %d", got.kind, got.encoding, len(got.text), len(text))
			}
			r.Full = false
			header, _, ok := strings.Cut(text, "\r\n\r\n")
			if ok {
				header += "\r\n"
			}
			if name == "no header" {
				header = ""
			}
			got = parts(t, write(t, r))[2]
			if got.text != header || got.kind != "text/rfc822-headers" {
				t.Errorf("%s %q, want %q", got.kind, got.text, header)
			}
		})
	}
}

// A header without end is returned in part.
func TestHugeHeader(t *testing.T) {
	r := report("en", Failed, unknown)
	r.Message = strings.NewReader(strings.Repeat("X-A: "+strings.Repeat("y", 900)+"\r\n", 1000) + "\r\nbody\r\n")
	if got := parts(t, write(t, r))[2].text; len(got) > maxHeader || len(got) < maxHeader-2000 || strings.Contains(got, "body") {
		t.Errorf("%d octets", len(got))
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		to     Recipient
		action Action
		want   string
	}{
		{Recipient{Status: "5.1.1", Code: 550}, Failed, "5.1.1"},
		{Recipient{Code: 550}, Failed, "5.0.0"},
		{Recipient{Status: "4.2.2", Code: 452, Expired: true}, Failed, "4.2.2"},
		{Recipient{Code: 452, Expired: true}, Failed, "4.4.7"},
		{Recipient{Status: "5.7.8", Code: 535, Expired: true}, Failed, "5.7.8"},
		{Recipient{Status: "5.7.8", Code: 535}, Delayed, "4.7.8"},
		{Recipient{Status: "4.4.1"}, Delayed, "4.4.1"},
		{Recipient{}, Delayed, "4.0.0"},
		{Recipient{Status: "2.1.5", Code: 250}, Relayed, "2.1.5"},
		{Recipient{}, Delivered, "2.0.0"},
	} {
		if got := tt.to.status(tt.action); got != tt.want {
			t.Errorf("%+v %s: %s, want %s", tt.to, tt.action, got, tt.want)
		}
	}
}

// International addresses: the report is international for a reader who is, and
// escaped for one who is not (RFC 6533).
func TestInternational(t *testing.T) {
	to := unknown
	to.Address, to.Original, to.Reply = "花子@example.jp", "utf-8;花子@example.jp", "550 5.1.1 <花子@example.jp> unknown"
	r := report("ja", Failed, to)
	p := parts(t, write(t, r))
	if p[1].kind != "message/delivery-status" || p[2].kind != "text/rfc822-headers" || !isASCII(p[1].text) ||
		!strings.Contains(p[1].text, `Final-Recipient: utf-8; \x{82B1}\x{5B50}@example.jp`) || !strings.Contains(p[1].text, `Original-Recipient: utf-8; \x{82B1}\x{5B50}@example.jp`) ||
		!strings.Contains(p[1].text, `<\x{82B1}\x{5B50}@example.jp> unknown`) {
		t.Errorf("%+v", p[1:])
	}
	r.To, r.Sender, r.Message = "太郎@example.com", "太郎@example.com", strings.NewReader(message)
	p = parts(t, write(t, r))
	if p[1].kind != "message/global-delivery-status" || p[2].kind != "message/global-headers" ||
		!strings.Contains(p[1].text, "Final-Recipient: utf-8; 花子@example.jp\r\n") || !strings.Contains(p[1].text, "Original-Recipient: utf-8; 花子@example.jp\r\n") {
		t.Errorf("%+v", p[1:])
	}
}

// What the message's header says must not become a header of ours.
func TestHeaderInjection(t *testing.T) {
	r := report("en", Failed, unknown)
	r.Message = strings.NewReader("Subject: =?utf-8?q?a=0D=0ABcc:_evil@example.com?=\r\nMessage-ID: <a b>\r\n c>\r\nDate: \x1b[31mred\r\n\r\n")
	m, err := mail.ReadMessage(strings.NewReader(write(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("References") != "" || m.Header.Get("Subject") != "Undelivered mail: aBcc: evil@example.com" {
		t.Errorf("%v", m.Header)
	}
	if text := parts(t, write(t, r))[0].text; strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
}

// Thousands of recipients: people get some, programs all.
func TestManyRecipients(t *testing.T) {
	r := report("en", Failed)
	for i := range 3000 {
		to := unknown
		to.Address = strings.Repeat("a", 1+i%60) + "@example.jp"
		if i%2 == 1 {
			to.Reply += strings.Repeat(" ", i%100) + "x"
		}
		r.Recipients = append(r.Recipients, to)
	}
	p := parts(t, write(t, r))
	if n := strings.Count(p[1].text, "Final-Recipient:"); n != 3000 {
		t.Errorf("%d in the report", n)
	}
	if len(p[0].text) > 30_000 || !strings.Contains(p[0].text, "... and others: see the attached report.") || !strings.Contains(p[0].text, "... and 1480 more") {
		t.Errorf("%d octets of words:\n%.3000s", len(p[0].text), p[0].text)
	}
}

func TestSubjects(t *testing.T) {
	for in, want := range map[string]string{
		"Subject: hello\r\n":                              "Undelivered mail: hello",
		"subject:hello\r\n world\r\n":                     "Undelivered mail: hello world",
		"Subject: =?ISO-2022-JP?B?GyRCJEYkOSRIGyhC?=\r\n": "Undelivered mail: てすと",
		"Subject: =?unknown?Q?x?=\r\n":                    "Undelivered mail: =?unknown?Q?x?=",
		"Subject: \xff\xfe\r\n":                           "Undelivered mail",
		"Subject: " + strings.Repeat("あ", 300) + "\r\n":   "Undelivered mail: " + strings.Repeat("あ", 200) + " ...",
		"X: y\r\n": "Undelivered mail",
	} {
		r := report("en", Failed, unknown)
		r.Message = strings.NewReader(in + "\r\n")
		m, err := mail.ReadMessage(strings.NewReader(write(t, r)))
		if err != nil {
			t.Fatal(err)
		}
		got := m.Header.Get("Subject")
		if d, err := (&mime.WordDecoder{}).DecodeHeader(got); err == nil {
			got = d
		}
		if got != want {
			t.Errorf("%.40q: %q, want %q", in, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		width int
		in    string
		want  string
	}{
		{10, "one two three four", "one two\nthree four"},
		{10, "a-very-long-word-that-cannot-be-broken x", "a-very-long-word-that-cannot-be-broken\nx"},
		{10, "日本語の文章です。次の文。", "日本語の文\n章です。次\nの文。"},
		{11, "日本語の文。次", "日本語の\n文。次"},
		{12, "相手の mx.example.jp が", "相手の\nmx.example.jp\nが"},
		{10, "", ""},
	} {
		got := wrap("", tt.width, tt.in)
		if got != tt.want {
			t.Errorf("%d %q:\n%s\nwant\n%s", tt.width, tt.in, got, tt.want)
		}
	}
}

func FuzzOriginal(f *testing.F) {
	f.Add([]byte(message))
	f.Add([]byte("Subject: =?ISO-2022-JP?B?GyRCJEYkOSRIGyhC?=\r\n\r\n"))
	f.Add([]byte(":\r\n \r\n\t\r\nMessage-ID: <\r\n>\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		clean := strings.ReplaceAll(strings.ReplaceAll(string(text), "\r", ""), "\n", "\r\n")
		r := report("ja", Failed, unknown)
		r.Message, r.Full = strings.NewReader(clean), true
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(b.String(), "\r\n\r\n")
		if !isASCII(header) || strings.Count(header, "\r\n") > 60 {
			t.Errorf("header %q", header)
		}
		if _, err := mail.ReadMessage(strings.NewReader(b.String())); err != nil {
			t.Error(err)
		}
	})
}

// The language changes what people read and nothing else; the mail is 7-bit,
// encoded as MIME says.
func TestLanguagesDifferInWordsAlone(t *testing.T) {
	type parts3 struct {
		text, status, returned string
	}
	read := func(lang codes.Lang, action Action) (m parts3) {
		raw := write(t, report(lang, action, unknown, refused))
		if !isASCII(raw) {
			t.Errorf("%s: not 7-bit", lang)
		}
		msg, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
			t.Errorf("%s: Subject: %v", lang, err)
		}
		_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(msg.Body, params["boundary"])
		for _, to := range []*string{&m.text, &m.status, &m.returned} {
			p, err := parts.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(p)
			if err != nil {
				t.Fatal(err)
			}
			if p.Header.Get("Content-Transfer-Encoding") == "base64" {
				if b, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\r\n", "")); err != nil {
					t.Errorf("%s: %v", lang, err)
				}
			}
			*to = string(b)
		}
		return m
	}
	for _, action := range []Action{Failed, Delayed} {
		en, ja := read(codes.English, action), read(codes.Japanese, action)
		if diff := cmp.Diff(en.status, ja.status); diff != "" {
			t.Errorf("%s: what programs read differs (-en +ja):\n%s", action, diff)
		}
		if diff := cmp.Diff(en.returned, ja.returned); diff != "" {
			t.Errorf("%s: the message differs (-en +ja):\n%s", action, diff)
		}
		if !utf8.ValidString(ja.text) || !strings.Contains(ja.text, "メール") || strings.Contains(en.text, "メール") {
			t.Errorf("%s: %q and %q", action, en.text, ja.text)
		}
	}
}
