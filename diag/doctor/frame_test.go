package doctor

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/relaytest"
	"mailsrv/server/config"
)

func TestCheckThatCrashes(t *testing.T) {
	fs, _ := runOne(context.Background(), &Case{}, Check{Name: "ports", Limit: time.Second, Run: func(context.Context, *Case) []diag.Finding {
		var c *Case
		return []diag.Finding{diag.New("ports.ok", c.ConfigFile, nil)}
	}})
	renders(t, fs)
	f := find(t, fs, "check.crashed")
	if f.Subject != "ports" || f.Status != diag.Skip || !strings.Contains(f.Evidence["panic"].(string), "nil pointer") || !strings.HasPrefix(f.Evidence["at"].(string), "frame_test.go:") {
		t.Errorf("%+v", f)
	}
	if len(fs) != 1 {
		t.Errorf("%+v", fs)
	}
}

// A panic in a goroutine of the check is the check's own.
func TestCheckThatCrashesAside(t *testing.T) {
	fs, _ := runOne(context.Background(), &Case{}, Check{Name: "ports", Limit: time.Second, Run: func(context.Context, *Case) []diag.Finding {
		parallel(3, func(i int) {
			if i == 1 {
				panic("one of three")
			}
		})
		return nil
	}})
	f := find(t, fs, "check.crashed")
	if f.Evidence["panic"] != "one of three" || !strings.HasPrefix(f.Evidence["at"].(string), "frame_test.go:") {
		t.Errorf("%+v", f)
	}
}

func TestCheckThatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, run := range map[string]func(context.Context, *Case) []diag.Finding{
		"deaf":   func(context.Context, *Case) []diag.Finding { <-release; return nil },
		"listen": func(ctx context.Context, _ *Case) []diag.Finding { <-ctx.Done(); return nil },
	} {
		fs, _ := runOne(context.Background(), &Case{Config: config.Default()}, Check{Name: "ports", Limit: 20 * time.Millisecond, Run: run})
		renders(t, fs)
		if d := cmp.Diff([]string{"check.timeout"}, idsOf(fs, diag.Skip, diag.OK)); d != "" {
			t.Error(name, d)
		}
	}
}

func TestHealthyCheckSaysOK(t *testing.T) {
	c := &Case{Config: config.Default()}
	one := func(fs ...diag.Finding) ([]string, bool) {
		got, idle := runOne(context.Background(), c, Check{Name: "ports", Limit: time.Second, Run: func(context.Context, *Case) []diag.Finding { return fs }})
		return idsOf(got, diag.OK, diag.Info, diag.Warn), idle
	}
	for _, tt := range []struct {
		fs   []diag.Finding
		want []string
		idle bool
	}{
		{nil, []string{"ports.ok"}, false},
		{[]diag.Finding{diag.New("relay.off", "", nil)}, []string{"relay.off", "ports.ok"}, false},
		{[]diag.Finding{diag.New("config.limit_low", "", nil)}, []string{"config.limit_low"}, false},
		{[]diag.Finding{nothing}, []string{}, true},
	} {
		got, idle := one(tt.fs...)
		if d := cmp.Diff(tt.want, got); d != "" || idle != tt.idle {
			t.Error(d, idle)
		}
	}
}

func TestBecause(t *testing.T) {
	c := &Case{Config: config.Default()}
	c.add([]diag.Finding{diag.New("resolver.silent", "", nil)})
	ran := false
	fs, _ := runOne(context.Background(), c, Check{Name: "domains", Limit: time.Second, Because: deadResolver, Run: func(context.Context, *Case) []diag.Finding { ran = true; return nil }})
	if f := find(t, fs, "check.skipped"); f.Evidence["because"] != "resolver.silent" || ran {
		t.Errorf("%+v, ran %v", f, ran)
	}
}

func TestConsequencesAreLeftOut(t *testing.T) {
	of := func(name string, fs ...diag.Finding) result { return result{check: Check{Name: name}, findings: fs} }
	rs := consequences([]result{
		of("environment", diag.New("env.data_dir_unwritable", "", nil), diag.New("env.disk_low", "", nil)),
		of("accounts", diag.New("account.store_damaged", "", nil), diag.New("account.none", "", nil).As(diag.Info)),
		of("loop", diag.New("loop.failed", "", nil)), of("relay", diag.New("relay.open", "", nil)),
	})
	var got [][]string
	for _, r := range rs {
		got = append(got, idsOf(r.findings, diag.Fail, diag.Warn, diag.Info, diag.Skip))
	}
	want := [][]string{{"env.data_dir_unwritable"}, {"account.none", "check.skipped"}, {"check.skipped"}, {"relay.open"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := rs[2].summary(); s.Status != diag.Skip || s.Why != "env.data_dir_unwritable" {
		t.Errorf("%+v", s)
	}
	// A cause that is only a note causes nothing.
	rs = consequences([]result{of("accounts", diag.New("account.none", "", nil).As(diag.Info), diag.New("account.no_postmaster", "", nil))})
	if len(rs[0].findings) != 2 {
		t.Errorf("%+v", rs)
	}
}

// Each line of the list of checks agrees with the findings.
func TestCheckSummaries(t *testing.T) {
	for _, tt := range []struct {
		x    result
		want CheckResult
	}{
		{result{findings: []diag.Finding{diag.New("ports.ok", "", nil)}}, CheckResult{Status: diag.OK}},
		{result{idle: true}, CheckResult{Status: diag.Info, Why: "nothing"}},
		{result{findings: skipped("loop", "server.not_running")}, CheckResult{Status: diag.Skip, Why: "server.not_running"}},
		{result{findings: []diag.Finding{diag.New("loop.untested", "", nil)}}, CheckResult{Status: diag.Skip, Why: "loop.untested"}},
		{result{idle: true, findings: []diag.Finding{diag.New("domain.bare_address", "", nil)}}, CheckResult{Status: diag.Fail}},
	} {
		if d := cmp.Diff(tt.want, tt.x.summary()); d != "" {
			t.Error(d)
		}
	}
}

func TestWhatWasOnlyNotTriedComesLast(t *testing.T) {
	fs := slices.Concat(skipped("loop", "server.not_running"), []diag.Finding{diag.New("relay.untested", "", nil), diag.New("ports.ok", "", nil), diag.New("env.disk_full", "", nil)})
	sortFindings(fs)
	if d := cmp.Diff([]string{"env.disk_full", "relay.untested", "check.skipped", "ports.ok"}, idsOf(fs, diag.Fail, diag.Skip, diag.OK)); d != "" {
		t.Error(d)
	}
}

func TestSkippedAreMerged(t *testing.T) {
	fs := mergeSkipped(slices.Concat(skipped("relay", "config.syntax"), skipped("loop", "server.not_running"), skipped("auth", "config.syntax")))
	if len(fs) != 2 || fs[0].Subject != "relay, auth" || fs[1].Subject != "loop" {
		t.Errorf("%+v", fs)
	}
}

func TestSilence(t *testing.T) {
	today := time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)
	day := func(d int) time.Time { return time.Date(2026, 5, d, 0, 0, 0, 0, time.UTC) }
	all := []diag.Finding{diag.New("config.limit_low", "a", nil), diag.New("config.limit_low", "b", nil), diag.New("ports.ok", "", nil)}
	for _, tt := range []struct {
		ignore Ignore
		want   int
	}{
		{Ignore{ID: "config.limit_low"}, 2},
		{Ignore{ID: "config.limit_low", Subject: "b"}, 1},
		{Ignore{ID: "config.limit_low", Until: day(10)}, 2},
		{Ignore{ID: "config.limit_low", Until: day(9)}, 0},
		{Ignore{ID: "ports.ok"}, 0},
		{Ignore{ID: "config.limit"}, 0},
	} {
		left, n := silence(slices.Clone(all), []Ignore{tt.ignore}, today)
		if n != tt.want || len(left) != len(all)-n {
			t.Errorf("%+v: %d silenced, want %d", tt.ignore, n, tt.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		fail, warn int
		named      diag.Status // of the check that was asked for
		strict     bool
		want       int
	}{
		{0, 0, diag.OK, false, 0},
		{0, 1, diag.Warn, false, 0},
		{0, 1, diag.Warn, true, 1},
		{1, 0, diag.Fail, false, 1},
		{0, 0, diag.Skip, false, 3},
		{0, 1, diag.Skip, false, 0},
		{1, 0, diag.Skip, false, 1},
	} {
		r := &Report{Summary: diag.Summary{Fail: tt.fail, Warn: tt.warn, OK: 1}, Checks: []CheckResult{{Name: "loop", Status: tt.named}, {Name: "ports", Status: diag.Skip}}, named: []string{"loop"}}
		if got := r.ExitCode(tt.strict); got != tt.want {
			t.Errorf("%+v: exit %d", tt, got)
		}
	}
	// Nothing here to look at is no result, either.
	r := &Report{Checks: []CheckResult{{Name: "mailboxes", Status: diag.Info, Why: "nothing"}}, named: []string{"mailboxes"}}
	if got := r.ExitCode(false); got != ExitUnknown {
		t.Errorf("exit %d", got)
	}
}

func TestUnknownCheck(t *testing.T) {
	for _, opt := range []Options{{Only: []string{"prots"}}, {Skip: []string{"prots"}}} {
		if _, err := Run(context.Background(), opt); err == nil || !strings.Contains(err.Error(), "prots") {
			t.Errorf("%v", err)
		}
	}
}

// A fresh machine: no file, no data, no server. Nothing is wrong with it.
func TestFreshMachineIsQuiet(t *testing.T) {
	t.Chdir(t.TempDir())
	r := examine(t, Options{Stage: Internet, Spools: []string{t.TempDir()}, Policy: func(relaytest.Try) relaytest.Verdict { return relaytest.Verdict{Result: relaytest.Refused} }})
	// The ports of the defaults may be taken on the machine of the test.
	left := slices.DeleteFunc(bad(r), func(id string) bool { return id == "port.in_use" })
	if len(left) != 0 {
		t.Errorf("%v", left)
	}
	if !has(r.Findings, "config.default") || !has(r.Findings, "domain.local_only") || has(r.Findings, "resolver.ok") {
		t.Errorf("%+v", r.Findings)
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 0 {
		t.Errorf("examining left something behind: %v %v", entries, err)
	}
}

// Every id in the code has a text, and every text of doctor an id in the code.
func TestEveryIDHasATextAndViceVersa(t *testing.T) {
	used := map[string]bool{}
	var sources []string
	for _, dir := range []string{".", "../relaytest"} {
		some, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, some...)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && codes.FindingOf(s) != nil {
					used[s] = true
				}
			}
			// diag.New with an id that stands there must find its text.
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
				sel, isSel := call.Fun.(*ast.SelectorExpr)
				lit, isLit := call.Args[0].(*ast.BasicLit)
				if pkg, ok := pkgOf(sel, isSel); ok && isLit && pkg == "diag" && sel.Sel.Name == "New" {
					if s, err := strconv.Unquote(lit.Value); err == nil && codes.FindingOf(s) == nil {
						t.Errorf("%s: no text for %s", name, s)
					}
				}
			}
			return true
		})
	}
	for _, c := range Checks() {
		used[c.Name+".ok"] = true
		if codes.FindingOf(c.Name+".ok") == nil {
			t.Errorf("no text for %s.ok", c.Name)
		}
	}
	for _, k := range []config.Kind{config.Syntax, config.UnknownKey, config.BadValue, config.BadAddress, config.NotFound, config.Unreadable,
		config.NoHostname, config.NoDomain, config.NoListener, config.PortZero, config.ListenDuplicate} {
		id := "config." + string(k)
		used[id] = true
		if codes.FindingOf(id) == nil {
			t.Errorf("no text for %s", id)
		}
	}
	for _, k := range DamageOrder {
		used["mbox."+k] = true
		if codes.FindingOf("mbox."+k) == nil {
			t.Errorf("no text for mbox.%s", k)
		}
	}
	data, err := os.ReadFile("../../codes/data/findings-doctor.toml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "id = "); ok {
			n++
			if id, err := strconv.Unquote(strings.TrimSpace(rest)); err != nil || !used[id] {
				t.Errorf("the code never says %s", id)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d ids found in the file", n)
	}
}

func pkgOf(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}
