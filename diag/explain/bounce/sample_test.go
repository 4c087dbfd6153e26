package bounce

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// sample is a mail of testdata with what must be read from it.
type sample struct {
	name string
	mail []byte
	want string
}

// readSamples returns the mails of testdata/*.txtar: NAME.eml, and NAME.want
// in the form of describe.
func readSamples(tb testing.TB) []sample {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no samples: %v", err)
	}
	var out []sample
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		for i := 0; i+1 < len(a.Files); i += 2 {
			name, _, _ := strings.Cut(a.Files[i].Name, ".eml")
			if a.Files[i+1].Name != name+".want" {
				tb.Fatalf("%s: %s is followed by %s", f, a.Files[i].Name, a.Files[i+1].Name)
			}
			out = append(out, sample{strings.TrimSuffix(filepath.Base(f), ".txtar") + "/" + name, a.Files[i].Data, string(a.Files[i+1].Data)})
		}
	}
	return out
}

func samples(tb testing.TB) [][]byte {
	var out [][]byte
	for _, s := range readSamples(tb) {
		out = append(out, s.mail)
	}
	return out
}

// describe writes a mail's kind and one line for each bounce with every field
// that is set, in a fixed order.
func describe(m Mail) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind %s\n", m.Kind)
	for _, x := range m.Bounces {
		words := []string{x.Recipient}
		if x.Recipient == "" {
			words[0] = "-"
		}
		if x.OriginalRecipient != "" {
			words = append(words, "<-", x.OriginalRecipient)
		}
		words = append(words, x.Reason)
		if x.Hard {
			words = append(words, "hard")
		}
		for _, w := range []string{x.FeedbackType, x.Status + "/" + x.StatusSource, x.ReplyCode, x.Command, x.Action, x.Source, x.RemoteHost, x.ReportingMTA, x.Time} {
			if w != "" {
				words = append(words, w)
			}
		}
		fmt.Fprintf(&b, "%s | %s\n", strings.Join(words, " "), x.Diagnostic)
	}
	return b.String()
}

func TestSamples(t *testing.T) {
	for _, s := range readSamples(t) {
		t.Run(s.name, func(t *testing.T) {
			got := describe(Parse(s.mail))
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// Line ends must not matter: CRLF as mail has them, CR alone as some archives.
func TestLineEnds(t *testing.T) {
	for _, s := range readSamples(t) {
		for name, end := range map[string]string{"crlf": "\r\n", "cr": "\r"} {
			got := describe(Parse(bytes.ReplaceAll(s.mail, []byte("\n"), []byte(end))))
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s with %s: -want +got\n%s", s.name, name, diff)
			}
		}
	}
}
