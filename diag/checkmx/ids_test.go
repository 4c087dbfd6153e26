package checkmx

import (
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
)

// Every id that the code can give has a text, and every text has code that can
// give it.
func TestEveryIDHasItsText(t *testing.T) {
	data, err := os.ReadFile("../../codes/data/findings-checkmx.toml")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, m := range regexp.MustCompile(`(?m)^id = "(.+)"$`).FindAllStringSubmatch(string(data), -1) {
		known = append(known, m[1])
	}
	var prefixes []string
	given := map[string]bool{}
	for _, name := range Families() {
		prefixes = append(prefixes, name)
		given[name+".ok"] = true
	}
	id := regexp.MustCompile(`^(` + strings.Join(prefixes, "|") + `)\.[a-z0-9_]+$`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && id.MatchString(s) {
					given[s] = true
				}
			}
			return true
		})
	}
	for s := range given {
		if !slices.Contains(known, s) {
			t.Errorf("%s is given by the code, but has no text", s)
		}
	}
	for _, s := range known {
		if !given[s] {
			t.Errorf("%s has a text, but no code gives it", s)
		}
	}
}
