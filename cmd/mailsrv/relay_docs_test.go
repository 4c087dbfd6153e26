package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Every command in docs/relay.md is run with the settings that stand above it,
// and ends with the line that stands below it.
func TestRelayDocs(t *testing.T) {
	data, err := os.ReadFile("../../docs/relay.md")
	if err != nil {
		t.Fatal(err)
	}
	const base = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:2525\"\n[dns]\nservers = [\"127.0.0.1:9\"]\n"
	settings, n := "", 0
	var script, files strings.Builder
	script.WriteString("stdin password.txt\nexec mailsrv --config 0.toml user add taro --required --password-stdin\nexec mailsrv --config 0.toml user forward sales taro\n")
	file := func(content string) string {
		name := fmt.Sprint(n, ".toml")
		fmt.Fprintf(&files, "-- %s --\n%s", name, base+content)
		fmt.Fprintf(&script, "exec mailsrv config check %s\n", name)
		n++
		return name
	}
	current := file("")
	commands := 0
	for _, block := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```").FindAllStringSubmatch(string(data), -1) {
		if block[1] == "toml" {
			settings = block[2]
			current = file(settings)
			continue
		}
		var want string
		for line := range strings.Lines(block[2]) {
			line = strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(line, "$ mailsrv "); ok {
				fmt.Fprintf(&script, "exec mailsrv --config %s %s\n", current, rest)
				commands++
				continue
			}
			// It may be broken into two lines.
			want = strings.ReplaceAll(regexp.QuoteMeta(line), " ", `\s+`)
			fmt.Fprintf(&script, "stdout '^%s\\n$'\n", strings.ReplaceAll(want, "'", "''"))
		}
	}
	if commands < 25 {
		t.Fatalf("only %d commands found", commands)
	}
	dir := t.TempDir()
	text := script.String() + "-- password.txt --\ncorrect horse battery\n" + files.String()
	if err := os.WriteFile(filepath.Join(dir, "relay_docs.txtar"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
		env.Setenv("MAILSRV_LANG", "en")
		env.Setenv("MAILSRV_CONFIG", "")
		return nil
	}})
}
