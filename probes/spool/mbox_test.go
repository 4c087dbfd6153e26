package spool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// message is one message in mbox form.
func message(n int) string {
	return fmt.Sprintf("From taro@example.com Mon Jan  1 00:00:%02d 2024\nReceived: from mail.example.com\nSubject: number %d\n\nHello %d\nFrom here on it is text\n>From taro Mon Jan  1 00:00:00 2024\n\n", n, n, n)
}

// bareMessage is one without a From line.
func bareMessage(n int) string {
	return fmt.Sprintf("Received: from mail.example.com\nFrom: taro@example.com\nSubject: number %d\n\nHello %d\n\nSubject: of the talk\n\n", n, n)
}

func bareMessages(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		b.WriteString(bareMessage(n))
	}
	return b.String()
}

func messages(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		b.WriteString(message(n))
	}
	return b.String()
}

func read(t testing.TB, text string) *Mbox {
	t.Helper()
	m, err := ReadMbox(context.Background(), strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReadMbox(t *testing.T) {
	withLength := func(n int, body string) string {
		return fmt.Sprintf("From a@example.com Tue Feb  6 10:00 JST 2024\nSubject: x\nContent-Length: %d\n\n%s\n", n, body)
	}
	const inside = "text\n\nFrom b@example.com Mon Jan  1 00:00:00 2024\nSubject: not a message\n\nmore\n"
	for _, tt := range []struct {
		name, text string
		messages   int
		damage     []string
	}{
		{"empty", "", 0, nil},
		{"three", messages(1, 2, 3), 3, nil},
		{"netscape", "From - Mon Jan  1 00:00:00 2024\nX: y\n\nbody\n\n", 1, nil},
		{"zone after the year", "From a@example.com Mon Jan  1 00:00:00 2024 +0900\nX: y\n\nbody\n\n", 1, nil},
		{"right length covers From line", withLength(len(inside), inside) + message(1), 2, nil},
		{"right length at the end", withLength(len(inside), inside), 1, nil},
		{"length too long hides the next", withLength(500, "text\n") + message(1), 2, []string{ContentLength}},
		{"length wrong, hides nothing", withLength(2, "text\n") + message(1), 2, nil},
		{"leading blank line", "\n" + messages(1, 2), 2, []string{LeadingJunk}},
		{"byte order mark", "\xef\xbb\xbf" + messages(1, 2), 2, []string{LeadingJunk}},
		{"text before", "What is this?\n" + message(1), 1, []string{LeadingJunk}},
		{"only text", "What is this?\n", 1, []string{LeadingJunk}},
		{"escaped first line", ">" + messages(1, 2), 2, []string{DamagedFrom}},
		{"cut first line", message(1)[2:] + message(2), 2, []string{DamagedFrom}},
		{"header first", message(1)[strings.Index(message(1), "\n")+1:] + message(2), 2, []string{DamagedFrom}},
		{"date of a mail header", "From a@example.com Mon, 01 Jan 2024 00:00:00 +0000\nSubject: x\n\nbody\n\n" + message(1), 2, []string{DamagedFrom}},
		{"no date in the middle", message(1) + "From a@example.com\nSubject: x\n\nbody\n\n" + message(2), 3, []string{DamagedFrom}},
		{"date of another form in the middle", message(1) + "From taro 2024-01-02 03:04:05\nSubject: x\n\nbody\n\n" + message(2), 3, []string{DamagedFrom}},
		{"only a name in the middle", message(1) + "From taro\nReceived: from x\n\nbody\n\n" + message(2), 3, []string{DamagedFrom}},
		{"text that begins with From", message(1) + "From what I see,\nNote: all is well\n\nFrom there\nSubject: x\n\n" + message(2), 2, nil},
		{"MMDF of two", "\x01\x01\x01\x01\nFrom: a@example.com\n\nbody\n\x01\x01\x01\x01\n\x01\x01\x01\x01\nFrom: b@example.com\n\nbody\n\x01\x01\x01\x01\n", 2, []string{DamagedFrom}},
		{"all escaped", strings.ReplaceAll(messages(1, 2, 3), "From taro@example.com Mon", ">From taro@example.com Mon"), 3, []string{DamagedFrom}},
		{"no From lines at all", bareMessages(1, 2, 3), 3, []string{DamagedFrom}},
		{"no From lines, a message inside one", bareMessage(1) + "Received: from x\nFrom: a@example.com\nSubject: with a part\nContent-Type: multipart/mixed;\n boundary=\"b\"\n\n--b\nContent-Type: message/rfc822\n\nReceived: from y\nFrom: c@example.com\nSubject: inside\n\nbody\n\n--b--\n\n" + bareMessage(2), 3, []string{DamagedFrom}},
		{"no From line first, forwarded header later", bareMessage(1) + message(2) + "Received: from y\nFrom: c@example.com\nSubject: quoted\n\nbody\n\n", 2, []string{DamagedFrom}},
		{"NULs up to the next From line", message(1) + strings.Repeat("\x00", 512) + message(2), 2, []string{NulRun}},
		{"NULs in the middle of a line, then a From line", strings.TrimRight(message(1), "\n") + strings.Repeat("\x00", 100_000) + message(2), 2, []string{NulRun}},
		{"right length, then half a From line", withLength(len(inside), inside) + "From a@exa", 1, []string{TruncatedTail}},
		{"MMDF", "\x01\x01\x01\x01\nFrom: a@example.com\n\nbody\n\x01\x01\x01\x01\n", 1, []string{DamagedFrom}},
		{"NUL run", message(1) + strings.Repeat("\x00", 512) + "\n" + message(2), 2, []string{NoBlankLine, NulRun}},
		{"NUL run first", strings.Repeat("\x00", 512) + messages(1, 2), 2, []string{NulRun}},
		{"one NUL in a body", strings.Replace(messages(1, 2), "Hello 1", "Hel\x00lo", 1), 2, nil},
		{"cut in the header", messages(1, 2) + "From a@example.com Mon Jan  1 00:00:00 2024\nSubj", 3, []string{TruncatedTail}},
		{"no last line end", strings.TrimRight(messages(1, 2), "\n"), 2, []string{TruncatedTail}},
		{"no blank line", strings.TrimSuffix(message(1), "\n") + message(2), 2, []string{NoBlankLine}},
		{"CRLF", strings.ReplaceAll(messages(1, 2), "\n", "\r\n"), 2, []string{CRLF}},
		{"very long line", "From - Mon Jan  1 00:00:00 2024\nX: y\n\n" + strings.Repeat("x", 200_000) + "\n\n" + message(1), 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := read(t, tt.text)
			got := slices.Sorted(maps.Keys(m.Damage))
			if len(m.Messages) != tt.messages || !slices.Equal(got, tt.damage) {
				t.Errorf("%d messages, damage %v; want %d, %v", len(m.Messages), m.Damage, tt.messages, tt.damage)
			}
		})
	}
}

func TestDamageOffset(t *testing.T) {
	text := message(1) + "x\x00\x00\x00\x00\n\n" + message(2)
	d := read(t, text).Damage[NulRun]
	if want := int64(strings.IndexByte(text, 0)); d.Offset != want || d.Count != 1 {
		t.Errorf("%+v, want offset %d once", d, want)
	}
}

// The hash leaves out what mail programs write for themselves, and nothing else.
func TestHash(t *testing.T) {
	plain := message(1)
	marked := strings.Replace(plain, "Subject:", "Status: RO\nX-UIDL: abc\n def\nContent-Length: 12\nX-Keywords:\n  \nSubject:", 1)
	same := []string{plain, marked, strings.ReplaceAll(plain, "\n", "\r\n"), strings.TrimRight(plain, "\n"), plain + "\n"}
	other := []string{
		strings.Replace(plain, "Hello", "Status: RO\nHello", 1), // a body line that looks like a header
		strings.Replace(plain, "Subject:", "X-Other: y\nSubject:", 1),
		strings.Replace(plain, "Hello", "hello", 1),
	}
	want := read(t, plain).Messages[0].Hash
	for _, s := range same {
		if read(t, s).Messages[0].Hash != want {
			t.Errorf("not the same:\n%s", s)
		}
	}
	for _, s := range other {
		if read(t, s).Messages[0].Hash == want {
			t.Errorf("the same:\n%s", s)
		}
	}
}

func FuzzReadMbox(f *testing.F) {
	f.Add(messages(1, 2))
	f.Add(">" + message(1))
	f.Add("\xef\xbb\xbf" + message(1) + "\x00\x00\x00\x00\x00")
	f.Add("From a Mon Jan  1 00:00:00 2024\nContent-Length: 3\n\nabc\n\nFrom a Mon Jan  1 00:00:00 2024\n\n")
	f.Add("From a Mon Jan  1 00:00:00 2024\nContent-Length: 9223372036854775807\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := read(t, text)
		at := int64(-1)
		for i, x := range m.Messages {
			if at >= 0 && x.Offset != at || x.Length <= 0 {
				t.Errorf("message %d at %d of %d octets, want it at %d", i, x.Offset, x.Length, at)
			}
			at = x.Offset + x.Length
		}
		if len(m.Messages) > 0 && at != int64(len(text)) {
			t.Errorf("messages end at %d of %d", at, len(text))
		}
		if len(text) > 0 && len(m.Messages) == 0 {
			t.Error("content, but no message")
		}
	})
}
