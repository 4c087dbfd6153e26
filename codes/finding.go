package codes

import (
	"fmt"
	"strings"
	"sync"
	"text/template"

	"github.com/pelletier/go-toml/v2"
)

// FindingText is the message catalogue's entry for one finding id. Title,
// Detail, Causes and the fixes are text/template templates over the finding's
// evidence: "{{.program}} holds {{.address}}". A text that renders to nothing
// is left out, so a template can make a cause or fix depend on the evidence.
type FindingText struct {
	ID         string    `toml:"id"`
	Status     string    `toml:"status"` // usual status: ok, info, warn, fail, skip
	Codes      []string  `toml:"codes"`
	References []string  `toml:"references"`
	Fix        []FixText `toml:"fix"`
	En         IDText    `toml:"en"`
	Ja         IDText    `toml:"ja"`
}

// IDText is a finding in one language. Meaning says in one line what the id
// stands for, without evidence: what `mailsrv findings` lists.
type IDText struct {
	Meaning string   `toml:"meaning"`
	Title   string   `toml:"title"`
	Detail  string   `toml:"detail"`
	Causes  []string `toml:"causes"`
}

// FixText is one remedy: the sentence in both languages, and the command to
// run or the record to publish where there is one.
type FixText struct {
	En      string `toml:"en"`
	Ja      string `toml:"ja"`
	Command string `toml:"command"`
	Record  string `toml:"record"`
	Auto    bool   `toml:"auto"` // doctor --fix does it
}

// Rendered is a finding's text in one language with its evidence filled in.
type Rendered struct {
	Title, Detail string
	Causes        []string
	Fixes         []RenderedFix
}

// RenderedFix is a FixText filled in.
type RenderedFix struct {
	Text, Command, Record string
	Auto                  bool
}

type findingIndex struct {
	ids   []string
	chunk map[string]string
}

var findings = sync.OnceValue(func() findingIndex {
	ix := findingIndex{chunk: map[string]string{}}
	for _, file := range findingsData {
		for _, chunk := range chunks(file, "[[finding]]") {
			for _, id := range chunkWords(chunk, "id") {
				ix.ids = append(ix.ids, id)
				ix.chunk[id] = chunk
			}
		}
	}
	return ix
})

// FindingIDs lists the finding ids of the catalogue, file by file.
func FindingIDs() []string { return findings().ids }

// decodedFindings keeps what FindingOf decoded: a bulk run asks for the same
// few ids for every domain.
var decodedFindings sync.Map // id to *FindingText

// FindingOf returns the text of a finding id, or nil when the catalogue has no
// such id. It is shared: nobody may change it.
func FindingOf(id string) *FindingText {
	if f, ok := decodedFindings.Load(id); ok {
		return f.(*FindingText)
	}
	chunk, ok := findings().chunk[id]
	if !ok {
		return nil
	}
	var doc struct {
		Finding []*FindingText `toml:"finding"`
	}
	if err := toml.Unmarshal([]byte(chunk), &doc); err != nil || len(doc.Finding) != 1 {
		panic(fmt.Sprintf("codes: finding %s: %v", id, err))
	}
	decodedFindings.Store(id, doc.Finding[0])
	return doc.Finding[0]
}

// Render fills the evidence into the finding's text. The error names the
// template that does not parse or names a key the evidence has not; the rest
// is rendered all the same, so that a person sees as much as can be shown.
func (f *FindingText) Render(lang Lang, evidence map[string]any) (Rendered, error) {
	var first error
	fill := func(text string) string {
		s, err := fillIn(text, evidence)
		if err != nil && first == nil {
			first = fmt.Errorf("finding %s: %w", f.ID, err)
		}
		return s
	}
	t := f.En
	if lang == Japanese {
		t = f.Ja
	}
	r := Rendered{Title: fill(t.Title), Detail: fill(t.Detail)}
	for _, c := range t.Causes {
		if s := fill(c); s != "" {
			r.Causes = append(r.Causes, s)
		}
	}
	for _, fix := range f.Fix {
		if s := fill(lang.Pick(fix.En, fix.Ja)); s != "" {
			r.Fixes = append(r.Fixes, RenderedFix{Text: s, Command: fill(fix.Command), Record: fill(fix.Record), Auto: fix.Auto})
		}
	}
	return r, first
}

var templateFuncs = template.FuncMap{
	"join": func(sep string, list []string) string { return strings.Join(list, sep) },
}

var templates sync.Map // text to *template.Template

// parsed returns the template of a text of the catalogue.
func parsed(text string) (*template.Template, error) {
	if t, ok := templates.Load(text); ok {
		return t.(*template.Template), nil
	}
	t, err := template.New("").Funcs(templateFuncs).Option("missingkey=zero").Parse(text)
	if err == nil {
		templates.Store(text, t)
	}
	return t, err
}

func fillIn(text string, evidence map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return strings.TrimSpace(text), nil
	}
	t, err := parsed(text)
	if err != nil {
		return text, err
	}
	var b strings.Builder
	if err := t.Execute(&b, evidence); err != nil {
		return b.String(), err
	}
	// A map of any gives "<no value>" for a key it has not, even with
	// missingkey=zero.
	s := b.String()
	if strings.Contains(s, "<no value>") {
		err = fmt.Errorf("template %.60q names evidence that is missing", text)
		s = strings.ReplaceAll(s, "<no value>", "?")
	}
	return strings.TrimSpace(s), err
}
