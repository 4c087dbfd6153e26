package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mailsrv/codes"
	"mailsrv/server/address"
)

// Every negative reply that mailsrv itself gives has an entry in the catalogue
// that describes it in words: who runs mailsrv can paste what its clients were
// told. The replies are read out of the source of the server.
func TestOwnRepliesAreExplained(t *testing.T) {
	replies := ownReplies(t)
	if len(replies) < 60 {
		t.Fatalf("only %d replies found: %q", len(replies), replies)
	}
	for _, reply := range replies {
		for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
			r := Explain([]byte(reply), lang)
			worded := false
			for _, m := range r.Matches {
				worded = worded || m.Family == "text"
			}
			switch {
			case !worded:
				t.Errorf("%q has no entry of its own: %q", reply, matchIDs(r))
			case len(r.Diagnosis) == 0 || r.Diagnosis[0].Cause == "unknown" || r.Diagnosis[0].Cause == "none":
				t.Errorf("%q leads to no cause", reply)
			case len(r.Diagnosis[0].Fixes) == 0:
				t.Errorf("%q: no steps for %s", reply, r.Diagnosis[0].Cause)
			}
			if !worded {
				break
			}
		}
	}
}

// ownReplies are the texts of server/**: of Reply{code, status, text} and
// reject(code, status, text), and what POP3 says behind -ERR.
func ownReplies(t *testing.T) []string {
	var out []string
	files := map[string]*ast.File{}
	err := filepath.WalkDir("../../server", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "sinktest" {
			return skipDir(err)
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			files[path] = f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, f := range files {
		names := stringNames(files, filepath.Dir(path))
		add := func(parts ...ast.Expr) {
			var words []string
			for _, p := range parts {
				words = append(words, strings.TrimSpace(said(p, names)))
			}
			if words[1] == "x" { // the status is the caller's
				words[1] = "5.1.3"
			}
			reply := strings.Join(words, " ")
			if !strings.HasSuffix(reply, " Address x") && !strings.HasSuffix(reply, " x x") && words[2] != "x" { // these follow below
				out = append(out, reply)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if name := typeName(n.Type); name == "Reply" && len(n.Elts) == 3 && refusing(value(n.Elts[0])) {
					add(value(n.Elts[0]), value(n.Elts[1]), value(n.Elts[2]))
				}
			case *ast.CallExpr:
				name := typeName(n.Fun)
				switch {
				case name == "reject" && len(n.Args) == 3 && refusing(n.Args[0]):
					add(n.Args...)
				case strings.Contains(path, "pop3") && slices.Contains([]string{"err", "end", "wrong", "refuse", "authFailed"}, name):
					for i := range n.Args { // the last words follow the others
						var text string
						for _, a := range n.Args[:i+1] {
							text += said(a, names)
						}
						if strings.Trim(text, "x") != "" { // else the words are the caller's
							out = append(out, "-ERR "+text)
						}
					}
				case name == "WriteString" && len(n.Args) == 1 && strings.HasPrefix(said(n.Args[0], names), "-ERR"):
					out = append(out, strings.TrimSpace(said(n.Args[0], names)))
				}
			}
			return true
		})
	}
	return append(out, "501 5.1.3 Address "+address.ErrTooLong.Error(),
		"421 4.7.0 mail.example.com Too many recipients that are not accepted",
		"421 4.7.0 mail.example.com Too many connections; try again later",
		"421 4.7.0 mail.example.com Too many connections from your address; try again later")
}

func skipDir(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

// value is the value of an element that may carry its field's name.
func value(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func refusing(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.INT && lit.Value >= "400" && lit.Value < "600"
}

// stringNames are the constants and variables of a package that hold a string.
func stringNames(files map[string]*ast.File, dir string) map[string]string {
	out := map[string]string{}
	for path, f := range files {
		if filepath.Dir(path) != dir {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok {
				for i, x := range v.Values {
					if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING && i < len(v.Names) {
						out[v.Names[i].Name] = said(lit, nil)
					}
				}
			}
			return true
		})
	}
	return out
}

var verb = regexp.MustCompile(`%[sdvqxT]`)

// said is what an expression of a reply's text reads like: what is only known at
// run time is "x", a number 7.
func said(e ast.Expr, names map[string]string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
		return e.Value
	case *ast.BinaryExpr:
		return said(e.X, names) + said(e.Y, names)
	case *ast.Ident:
		if s, ok := names[e.Name]; ok {
			return s
		}
	case *ast.CallExpr:
		if typeName(e.Fun) == "Sprintf" {
			return verb.ReplaceAllStringFunc(said(e.Args[0], names), func(v string) string {
				if v == "%d" {
					return "7"
				}
				return "x"
			})
		}
	}
	return "x"
}
