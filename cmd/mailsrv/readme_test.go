package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadme runs the commands of README.md and compares what they print with
// what it shows. The scripts in testdata/readme set the scene; "readme COMMAND
// FILE" compares. What differs from run to run (times, ids, passwords, ports,
// folders) and where lines break does not count; a line "..." stands for any
// lines.
func TestReadme(t *testing.T) {
	shown := readmeCommands(t)
	scripts, err := filepath.Glob("testdata/readme/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all strings.Builder
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	compared := regexp.MustCompile(`(?m)^readme '(.*)' \S+$`).FindAllStringSubmatch(all.String(), -1)
	for command := range shown {
		if !slices.ContainsFunc(compared, func(c []string) bool { return commandOf(shown, c[1]) == command }) {
			t.Errorf("README.md: no script in testdata/readme compares what this prints:\n%s", command)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/readme",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MAILSRV_LANG", "en")
			env.Setenv("MAILSRV_CONFIG", "")
			return nil
		},
		Cmds: withReadme(shown),
	})
}

// readmeCommands are the commands that README shows, with what stands below
// each.
func readmeCommands(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		for i, part := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1) {
			if i == 0 {
				continue
			}
			command, output, _ := strings.Cut(part, "\n")
			if strings.HasPrefix(command, "python3 -c") { // goes on over some lines, prints nothing
				continue
			}
			if strings.HasSuffix(command, " &") && output == "" {
				continue
			}
			if _, twice := out[command]; twice {
				t.Errorf("README.md shows %q twice", command)
			}
			out[command] = output
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d commands in README.md", len(out))
	}
	return out
}

// commandOf is the command that is given, or the only one that begins with it.
func commandOf(shown map[string]string, begin string) string {
	if _, ok := shown[begin]; ok {
		return begin
	}
	found := ""
	for command := range shown {
		if strings.HasPrefix(command, begin) {
			if found != "" {
				return ""
			}
			found = command
		}
	}
	return found
}

func withReadme(shown map[string]string) map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	for name, f := range scriptCommands {
		commands[name] = f
	}
	commands["readme"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: readme COMMAND FILE...")
		}
		command := commandOf(shown, args[0])
		if command == "" {
			ts.Fatalf("README.md shows nothing that begins with %q, or several", args[0])
		}
		var got strings.Builder
		for _, file := range args[1:] {
			got.WriteString(ts.ReadFile(file))
		}
		if err := sameWords(shown[command], alike(ts, got.String())); err != nil {
			ts.Fatalf("README.md, %s: %v", args[0], err)
		}
	}
	return commands
}

// alike puts what README has in the place of what only this run has: its folder
// and its ports.
func alike(ts *testscript.TestScript, text string) string {
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "/srv/shop")
	for _, p := range [][2]string{{"SMTP", "2525"}, {"SUB", "5587"}, {"POP", "1110"}, {"WEB", "8025"}, {"SIM", "11110"}, {"FREE", "110"}} {
		if port := ts.Getenv(p[0]); port != "" {
			text = strings.ReplaceAll(text, ":"+port, ":"+p[1])
			text = strings.ReplaceAll(text, "port "+port, "port "+p[1])
			var n int
			if _, err := fmt.Sscan(port, &n); err == nil {
				text = strings.ReplaceAll(text, fmt.Sprint(":", n+10000), ":1"+p[1])
			}
		}
	}
	return text
}

// changing is what differs from run to run.
var changing = []struct {
	form *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`process( id)? \d+|kill \d+`), "process N"},
	{regexp.MustCompile(`,? ?1 silenced by configuration`), ""},
	{regexp.MustCompile(`user \w+\)`), "user NAME)"},
	{regexp.MustCompile(`pop3 from [0-9.]+`), "pop3 from ADDR"},
	{regexp.MustCompile(`; if it fails:( \d+ (TLS|plain)\b,?)+`), ""},
	{regexp.MustCompile(`\b[a-z0-9]{4}(-[a-z0-9]{4}){3}\b`), "PASSWORD"},
	{regexp.MustCompile(`\bid [A-Z0-9]{10}\b`), "id ID"},
	{regexp.MustCompile(`\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}`), "DATE"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`\d{8}T\d{6}Z`), "STAMP"},
	{regexp.MustCompile(`\b\d+ (ms|B)\b`), "N $1"},
	{regexp.MustCompile(`\b\d+ ([CS]):`), "N $1:"},
}

// bare is a text in one line, without what changes.
func bare(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, c := range changing {
		text = c.form.ReplaceAllString(text, c.by)
	}
	return text
}

// sameWords tells where got differs from what README has.
func sameWords(readme, got string) error {
	got = bare(got)
	rest := got
	parts := strings.Split("\n"+readme, "\n...\n")
	for i, part := range parts {
		part = bare(part)
		at := strings.Index(rest, part)
		if at < 0 || i == 0 && at > 0 {
			return fmt.Errorf("it shows\n%s\nbut it is\n%s", part, rest)
		}
		rest = rest[at+len(part):]
	}
	if last := bare(parts[len(parts)-1]); last != "" && strings.TrimSpace(rest) != "" {
		return fmt.Errorf("behind %q it does not show\n%s", last[max(0, len(last)-40):], rest)
	}
	return nil
}

// What the comparison takes for the same, and what not.
func TestSameWords(t *testing.T) {
	for _, tt := range []struct {
		readme, got string
		same        bool
	}{
		{"a (process 1)\nb\n", "a (process\n 22)   b\n", true},
		{"a\nb\n", "a\nc\n", false},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"a\n...\nc\n", "a\nb\nb\nc\n", true},
		{"a\n...\nc\n", "a\nb\n", false},
		{"a\n...\n", "a\nb\n", true},
		{"b\n", "a\nb\n", false},
	} {
		if err := sameWords(tt.readme, tt.got); (err == nil) != tt.same {
			t.Errorf("%q, %q: %v", tt.readme, tt.got, err)
		}
	}
}
