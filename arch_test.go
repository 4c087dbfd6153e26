// Package mailsrv_test holds the house rules against the code: which room may
// import which (see docs/house.md).
package mailsrv_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type room struct {
	name string
	why  string
	may  []string // rooms, or single packages, it may import; its own are free
}

var rooms = []room{
	{name: "cmd", why: "cmd calls one judge, server or probe and prints", may: []string{"diag", "server", "codes", "probes"}},
	{name: "diag", why: "judges see of the server only what describes it", may: []string{"codes", "probes", "server/config", "server/account", "server/store", "server/queue"}},
	{name: "server", why: "the server knows codes, but neither judges nor probes", may: []string{"codes"}},
	{name: "probes", why: "probes return facts and know nothing of ours"},
	{name: "codes", why: "codes is knowledge and knows nothing of ours"},
}

// onlyIn says which libraries stay in which rooms.
var onlyIn = map[string][]string{
	"github.com/miekg/dns":              {"probes/dns"},
	"github.com/charmbracelet/lipgloss": {"diag/report", "cmd"},
	"github.com/fatih/color":            {"diag/report", "cmd"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportRules(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	n := 0
	for dec.More() {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		n++
		for _, broken := range judge(p) {
			t.Error(broken)
		}
	}
	if n < 5 {
		t.Errorf("go list found only %d packages", n)
	}
}

// judge returns a sentence for each rule that p breaks.
func judge(p pkg) []string {
	var broken []string
	path := strings.TrimPrefix(p.ImportPath, "mailsrv/")
	r := roomOf(path)
	for _, imp := range p.Imports {
		for lib, places := range onlyIn {
			if within(imp, lib) && !slices.ContainsFunc(places, func(place string) bool { return within(path, place) }) {
				broken = append(broken, path+" imports "+lib+", which only "+strings.Join(places, " and ")+" may")
			}
		}
		imp, ours := strings.CutPrefix(imp, "mailsrv/")
		if !ours || r == nil || within(imp, r.name) {
			continue
		}
		if !slices.ContainsFunc(r.may, func(m string) bool { return within(imp, m) }) {
			broken = append(broken, path+" imports "+imp+", but "+r.name+" may not: "+r.why)
		}
	}
	return broken
}

func roomOf(path string) *room {
	for i := range rooms {
		if within(path, rooms[i].name) {
			return &rooms[i]
		}
	}
	return nil
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// The rules themselves must be able to fail.
func TestImportRulesCanFail(t *testing.T) {
	for _, tt := range []struct {
		path, imp string
		want      bool
	}{
		{"mailsrv/server/smtp", "mailsrv/diag", true},
		{"mailsrv/server/smtp", "mailsrv/probes/dns", true},
		{"mailsrv/server", "mailsrv/server/smtp", false},
		{"mailsrv/diag/doctor", "mailsrv/server/config", false},
		{"mailsrv/diag/doctor", "mailsrv/server/policy", true},
		{"mailsrv/codes", "mailsrv/diag", true},
		{"mailsrv/probes/smtp", "mailsrv/codes", true},
		{"mailsrv/probes/smtp", "mailsrv/probes/dial", false},
		{"mailsrv/diag/checkmx", "github.com/miekg/dns", true},
		{"mailsrv/probes/dns/dnstest", "github.com/miekg/dns", false},
	} {
		got := judge(pkg{ImportPath: tt.path, Imports: []string{tt.imp}})
		if (len(got) > 0) != tt.want {
			t.Errorf("%s imports %s: %q, want a complaint: %v", tt.path, tt.imp, got, tt.want)
		}
	}
}

func TestTopLevelFolders(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	fixed := []string{"mailsrv-data", "cmd", "diag", "codes", "probes", "server", "testdata", "docs", "bench", "packaging", ".ci", ".git"}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(fixed, e.Name()) {
			t.Errorf("folder %s: the top level holds only %s", e.Name(), strings.Join(fixed, ", "))
		}
	}
}
