package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var verb = regexp.MustCompile(`%(?:\[\d+\])?[a-z]`)

// mayLack is how many messages, or commands, may wait for their Japanese (they
// show English till then): whoever adds one need not write Japanese at once.
const mayLack = 40

// The messages of usagef have Japanese ones with the same values.
func TestUsageInJapanese(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	said := map[string]bool{}
	var lacking []string
	for _, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, ok := call.Fun.(*ast.Ident)
			if !ok || name.Name != "usagef" {
				return true
			}
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the format of usagef must be a literal", files.Position(call.Pos()))
				return true
			}
			format, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			said[format] = true
			ja, ok := usageJa[format]
			if words := verb.ReplaceAllString(format, ""); !ok && strings.ContainsFunc(words, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
				lacking = append(lacking, fmt.Sprintf("%s: %q has no Japanese in usage_ja.go", files.Position(call.Pos()), format))
			} else if ok {
				a, b := verb.FindAllString(format, -1), verb.FindAllString(ja, -1)
				slices.Sort(a)
				slices.Sort(b)
				if !slices.Equal(a, b) {
					t.Errorf("%q and %q have other values: %v, %v", format, ja, a, b)
				}
			}
			return true
		})
	}
	for format := range usageJa {
		if !said[format] {
			lacking = append(lacking, fmt.Sprintf("usage_ja.go: nobody says %q", format))
		}
	}
	few(t, lacking)
}

func few(t *testing.T, lacking []string) {
	t.Helper()
	for _, line := range lacking {
		t.Log(line)
	}
	if len(lacking) > mayLack {
		t.Errorf("%d are lacking, more than %d", len(lacking), mayLack)
	}
}

// The commands say in Japanese what they do.
func TestHelpInJapanese(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	root := a.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	there, flags := map[string]bool{}, map[string]bool{}
	var lacking []string
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := pathOf(cmd)
		there[path] = true
		if shortJa[path] == "" && (cmd.IsAvailableCommand() || path == "") {
			lacking = append(lacking, fmt.Sprintf("help.go: %q has no line in Japanese", path))
		}
		if longJa[path] == "" && cmd.Long != "" {
			lacking = append(lacking, fmt.Sprintf("help_long_ja.go: the long text of %q is missing", path))
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			flags[f.Usage] = true
			if flagsJa[f.Usage] == "" && f.Name != "help" {
				lacking = append(lacking, fmt.Sprintf("help_flags_ja.go: %s --%s: %q is missing", path, f.Name, f.Usage))
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	for _, texts := range []map[string]string{shortJa, longJa} {
		for path := range texts {
			if !there[path] {
				lacking = append(lacking, fmt.Sprintf("there is no command %q", path))
			}
		}
	}
	for english := range flagsJa {
		if !flags[english] {
			lacking = append(lacking, fmt.Sprintf("help_flags_ja.go: no flag says %q", english))
		}
	}
	few(t, lacking)
}

// Errors of the other rooms are said in Japanese, whatever stands around them,
// and each format is one that somebody says.
func TestErrorsInJapanese(t *testing.T) {
	for _, tt := range [][2]string{
		{"data directory data is in use by the mailsrv with process id 412: stop it first, or give this one another data_dir",
			"データディレクトリー data は、動いている mailsrv (プロセス 412) が使っています。先にそれを止めるか、こちらの data_dir を別の場所にしてください"},
		{"data directory /x cannot be used: mkdir /x: permission denied: it must belong to the user that mailsrv runs as",
			"データディレクトリー /x を使えません: mkdir /x: アクセスする権限がありません。mailsrv を動かす利用者のものでなければなりません"},
		{"mailbox show: there is no message 9: the mailbox has 1", "mailbox show: 9 番のメールはありません。メールボックスにあるのは 1 通です"},
		{"something else: happened", "something else: happened"},
		{"a: permission denied\nb", "a: アクセスする権限がありません\nb"},
	} {
		if got := errorJa(tt[0]); got != tt[1] {
			t.Errorf("%s:\n%s\nwant\n%s", tt[0], got, tt[1])
		}
	}
	var sources strings.Builder
	for _, dir := range []string{".", "../../server", "../../diag"} {
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, "_ja.go") {
				text, rerr := os.ReadFile(path)
				sources.Write(text)
				err = rerr
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range errorsJa[:slices.IndexFunc(errorsJa, func(e [2]string) bool { return e[0] == "no such file or directory" })] {
		pieces := regexp.MustCompile(`%s|: |; | of another`).Split(e[0], -1)
		slices.SortFunc(pieces, func(a, b string) int { return len(b) - len(a) })
		if !strings.Contains(sources.String(), pieces[0]) {
			t.Errorf("errors_ja.go: nobody says %q", e[0])
		}
		if strings.Count(e[0], "%s") != strings.Count(e[1], "%s") {
			t.Errorf("%q and %q have other values", e[0], e[1])
		}
	}
}
