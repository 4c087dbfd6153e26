package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
func TestShortHelpInJapanese(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	root := a.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	there := map[string]bool{}
	var lacking []string
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := pathOf(cmd)
		there[path] = true
		if shortJa[path] == "" && (cmd.IsAvailableCommand() || path == "") {
			lacking = append(lacking, fmt.Sprintf("help.go: %q has no line in Japanese", path))
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	for path := range shortJa {
		if !there[path] {
			lacking = append(lacking, fmt.Sprintf("help.go: there is no command %q", path))
		}
	}
	few(t, lacking)
}
