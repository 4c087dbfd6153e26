package explain

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailsrv/codes"
)

// The dialogs, log lines and replies of the seed pages, names and addresses
// changed: what is read out of each, and the first cause.
func TestSeeds(t *testing.T) {
	files, err := filepath.Glob("testdata/seeds/*.txtar")
	if err != nil || len(files) < 39 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input, want := section_(t, ar, "input"), section_(t, ar, "want")
			for _, lang := range []codes.Lang{codes.English, codes.Japanese} {
				r := Explain([]byte(input), lang)
				if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), describe(r)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", lang, diff)
				}
				if got := strings.ContainsFunc(r.Diagnosis[0].Title, isCJK); got != (lang == codes.Japanese) {
					t.Errorf("%s: title %q", lang, r.Diagnosis[0].Title)
				}
			}
		})
	}
}

func section_(t *testing.T, ar *txtar.Archive, name string) string {
	t.Helper()
	for _, f := range ar.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("no section %q", name)
	return ""
}

// describe writes the parts of a result that do not depend on the language, one
// a line.
func describe(r Result) []string {
	out := []string{"kind " + string(r.Input.Kind)}
	var found []string
	for _, m := range r.Matches {
		found = append(found, m.Code)
	}
	if len(found) > 0 {
		out = append(out, "codes "+strings.Join(found, " "))
	}
	if len(r.Diagnosis) > 0 {
		out = append(out, "cause "+r.Diagnosis[0].Cause)
	}
	if c := r.Context; c != nil {
		for _, x := range []struct {
			name  string
			value any
		}{
			{"account", c.Account}, {"server", c.Server}, {"protocol", c.Protocol}, {"port", c.Port}, {"tls", c.TLS},
			{"client", c.Client}, {"server_response", c.ServerResponse}, {"server_error", c.ServerError}, {"socket_error", c.SocketError},
			{"error_number", c.ErrorNumber}, {"recipient", c.Recipient}, {"sender", c.Sender}, {"subject", c.Subject}, {"queue_id", c.QueueID},
		} {
			if on, ok := x.value.(*bool); ok {
				if on == nil {
					continue
				}
				x.value = *on
			}
			if v := oneLine(fmt.Sprint(x.value)); v != "" && v != "0" {
				out = append(out, x.name+" "+v)
			}
		}
	}
	var keys []string
	for k, values := range r.Extracted {
		keys = append(keys, "extracted "+k+" "+strings.Join(values, " "))
	}
	slices.Sort(keys)
	out = append(out, keys...)
	if len(r.Diagnosis) > 0 && r.Diagnosis[0].Verify != nil {
		v := r.Diagnosis[0].Verify
		out = append(out, "verify "+v.Command+" "+strings.Join(v.Args, " "))
	}
	return out
}
