package explain

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailsrv/codes"
)

// dialog is one line of testdata/dialogs.jsonl: a text as people paste it and
// what stands in it. Codes are those of the text, CodesOK those that follow from
// them; Cause is what comes first, alternatives apart by "|".
type dialog struct {
	ID, Lang, Client, Text string
	Expect                 struct {
		Codes   []string
		CodesOK []string `json:"codes_ok"`
		Cause   string
		Context map[string]any
	}
}

func dialogs(t testing.TB) []dialog {
	f, err := os.Open("testdata/dialogs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []dialog
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var d dialog
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatalf("line %d: %v", len(out)+1, err)
		}
		out = append(out, d)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDialogs(t *testing.T) {
	ds := dialogs(t)
	if len(ds) < 1100 {
		t.Fatalf("only %d dialogs", len(ds))
	}
	for _, d := range ds {
		t.Run(d.ID, func(t *testing.T) {
			for _, problem := range d.check(Explain([]byte(d.Text), codes.English)) {
				t.Error(problem)
			}
			if t.Failed() {
				t.Log(d.Text)
			}
		})
	}
}

var numeric = regexp.MustCompile(`^(0x[0-9A-F]{8}|[0-9]{3}|[0-9]{5}|[245]\.[0-9]{1,3}\.[0-9]{1,3})$`)

// check compares a result with what is expected: every code and none invented,
// every stated field, a right first cause; nothing at all for what is no error.
func (d dialog) check(r Result) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var have []string
	for _, m := range r.Matches {
		have = append(have, m.Code)
	}
	cause := ""
	if len(r.Diagnosis) > 0 {
		cause = r.Diagnosis[0].Cause
	}
	for _, c := range d.Expect.Codes {
		if !slices.Contains(have, c) {
			complain("code %s is not found: %q", c, have)
		}
	}
	for _, c := range have {
		if numeric.MatchString(c) && !slices.Contains(d.Expect.Codes, c) && !slices.Contains(d.Expect.CodesOK, c) {
			complain("code %s is invented", c)
		}
	}
	if !slices.Contains(strings.Split(d.Expect.Cause, "|"), cause) {
		complain("cause %q, want %q", cause, d.Expect.Cause)
	}
	if d.Expect.Cause == "none" && len(r.Matches) > 0 {
		complain("matches %q in a text that is no error", have)
	}
	ctx := map[string]any{}
	if r.Context != nil {
		b, err := json.Marshal(r.Context)
		if err == nil {
			err = json.Unmarshal(b, &ctx)
		}
		if err != nil {
			complain("context: %v", err)
		}
	}
	for name, want := range d.Expect.Context {
		if got := ctx[name]; strings.TrimRight(fmt.Sprint(got), ".") != strings.TrimRight(fmt.Sprint(want), ".") {
			complain("%s = %v, want %v", name, got, want)
		}
	}
	return problems
}

// The same dialogs, the way they look after a trip through mails, forums and
// input methods: the answer must not change.
func TestDialogsMessed(t *testing.T) {
	for _, way := range []struct {
		name string
		mess func(d dialog) string
		logs bool // logs survive it as well
	}{
		{"quoted in a mail", func(d dialog) string { return "> " + strings.ReplaceAll(d.Text, "\n", "\r\n> ") }, true},
		{"line ends of old Macs", func(d dialog) string { return strings.ReplaceAll(d.Text, "\n", "\r") }, true},
		{"full-width", func(d dialog) string { return fullWidth(d.Text) }, false},
		{"typographic quotes", func(d dialog) string { return typographic(d.Text) }, true},
		{"no-break spaces", func(d dialog) string { return strings.ReplaceAll(d.Text, " ", "\u00a0") }, false},
		{"byte order mark and zero-width spaces", func(d dialog) string { return "\ufeff" + strings.ReplaceAll(d.Text, ", ", ",\u200b ") }, true},
		{"soft wraps", func(d dialog) string { return softWrap(d.Text, 78) }, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			wrong, n := 0, 0
			for _, d := range dialogs(t) {
				if d.Lang == "log" && !way.logs || d.hardWrapped() && !way.logs {
					continue
				}
				n++
				if problems := d.check(Explain([]byte(way.mess(d)), codes.English)); len(problems) > 0 {
					wrong++
					t.Logf("%s: %q", d.ID, problems)
				}
			}
			if wrong*100 > n {
				t.Errorf("%d of %d answers changed", wrong, n)
			}
		})
	}
}

// hardWrapped tells texts whose line ends mean something: a fixed column, or a
// log line below another.
func (d dialog) hardWrapped() bool {
	return d.Lang == "ja" && strings.Contains(d.Text, "\n") && (strings.Contains(d.Text, "アカウント :") || strings.Contains(d.Text, "postfix"))
}

func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r > ' ' && r <= '~':
			return r + 0xFEE0
		case r == ' ':
			return '\u3000'
		}
		return r
	}, s)
}

var (
	singleQuoted = regexp.MustCompile(`([\s:])'([^']*)'`)
	doubleQuoted = regexp.MustCompile(`"([^"]*)"`)
)

func typographic(s string) string {
	return doubleQuoted.ReplaceAllString(singleQuoted.ReplaceAllString(s, "$1‘$2’"), "“$1”")
}

func softWrap(s string, width int) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		row := ""
		for _, w := range strings.Split(line, " ") {
			if row != "" && len(row)+1+len(w) > width {
				out, row = append(out, row), w
				continue
			}
			if row != "" {
				row += " "
			}
			row += w
		}
		out = append(out, row)
	}
	return strings.Join(out, "\n")
}

// The rule that started it all: what the server says counts more than what the
// mail program makes of it.
func TestServerOutranksClient(t *testing.T) {
	r := Explain([]byte("There was a problem logging onto your mail server. Your Password was rejected. Server Response: '-ERR [IN-USE] lock busy', Error Number: 0x800CCC92"), codes.English)
	if got := r.Diagnosis[0].Cause; got != "mailbox-locked" {
		t.Errorf("first cause %q", got)
	}
	for _, d := range r.Diagnosis[1:] {
		if d.Confidence >= r.Diagnosis[0].Confidence {
			t.Errorf("%s is as sure as the lock", d.Cause)
		}
	}
}
