// Package report shows what the judges found: on a terminal, as JSON, in
// English and Japanese. It decides nothing; texts come from the message
// catalogue.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/fatih/color"

	"mailsrv/codes"
	"mailsrv/diag"
)

// Printer writes for people. Color says whether to use colours, Width is the
// number of terminal cells to fill (80 when zero).
type Printer struct {
	W       io.Writer
	Lang    codes.Lang
	Color   bool
	Width   int
	Height  int  // lines an answer should keep to; 0: any number
	Verbose bool // also show evidence, and what is healthy, one by one

	// Program is how this program is started from where the reader sits, with
	// the options that commands need; empty: by its name.
	Program string
}

// JSON writes v as one document on one line, or indented.
func JSON(w io.Writer, v any, indent bool) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if indent {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

func (p *Printer) width() int {
	if p.Width <= 0 {
		return 80
	}
	return min(p.Width, 110) // longer lines are hard to read
}

// paint returns s in the given colours, or plain.
func (p *Printer) paint(s string, attrs ...color.Attribute) string {
	if !p.Color || s == "" {
		return s
	}
	c := color.New(attrs...)
	c.EnableColor()
	return c.Sprint(s)
}

// Bold emphasises s.
func (p *Printer) Bold(s string) string { return p.paint(s, color.Bold) }

// Faint plays s down.
func (p *Printer) Faint(s string) string { return p.paint(s, color.Faint) }

// Line writes one line, wrapped to the width, hanging by the given number of
// cells.
func (p *Printer) Line(hang int, s string) { p.Labelled(0, "", hang, s) }

// Labelled writes label and text side by side, the text wrapped in a column of
// its own that begins at cell hang.
func (p *Printer) Labelled(indent int, label string, hang int, text string) {
	pad := strings.Repeat(" ", indent) + label
	if gap := hang - lipgloss.Width(pad); gap > 0 && label != "" {
		pad += strings.Repeat(" ", gap)
	}
	body := strings.Join(wrap(text, max(20, p.width()-hang)), "\n")
	if label == "" && indent == 0 {
		lines := strings.Split(body, "\n")
		for i := range lines[1:] {
			lines[i+1] = strings.Repeat(" ", hang) + strings.TrimLeft(lines[i+1], " ")
		}
		fmt.Fprintln(p.W, strings.Join(lines, "\n"))
		return
	}
	if label == "" {
		pad = strings.Repeat(" ", hang)
	}
	for line := range strings.Lines(lipgloss.JoinHorizontal(lipgloss.Top, pad, body) + "\n") {
		fmt.Fprintln(p.W, strings.TrimRight(line, " \n"))
	}
}

// Blank writes an empty line.
func (p *Printer) Blank() { fmt.Fprintln(p.W) }

// Steps writes numbered steps.
func (p *Printer) Steps(indent int, steps []string) {
	for i, s := range steps {
		label := fmt.Sprintf("%d.", i+1)
		p.Labelled(indent, label, indent+lipgloss.Width(label)+1, s)
	}
}

var statusWords = map[diag.Status][2]string{
	diag.OK: {"ok", "正常"}, diag.Info: {"info", "情報"}, diag.Warn: {"WARN", "警告"}, diag.Fail: {"FAIL", "異常"}, diag.Skip: {"skip", "不明"},
}

var statusColor = map[diag.Status]color.Attribute{
	diag.OK: color.FgGreen, diag.Info: color.FgCyan, diag.Warn: color.FgYellow, diag.Fail: color.FgRed, diag.Skip: color.FgMagenta,
}

func (p *Printer) status(s diag.Status) string {
	w := statusWords[s]
	return p.paint(p.Lang.Pick(w[0], w[1]), statusColor[s], color.Bold)
}

// Findings writes localized, sorted findings: what is wrong first, each with
// its steps; the healthy ones in one line; and last one line that agrees with
// those above it.
func (p *Printer) Findings(fs []diag.Finding) { p.findings(fs, false) }

// findings folds the checks that were not made for the sake of another finding
// into a line each behind all others.
func (p *Printer) findings(fs []diag.Finding, fold bool) {
	var healthy []string
	var later []diag.Finding
	for _, f := range fs {
		if fold && f.ID == "check.skipped" {
			later = append(later, f)
			continue
		}
		if f.Status == diag.OK && !p.Verbose {
			healthy = append(healthy, strings.TrimSuffix(f.ID, ".ok"))
			continue
		}
		p.finding(f)
	}
	if len(healthy) > 0 {
		p.Labelled(0, p.status(diag.OK), 6, strings.Join(compact(healthy), ", "))
	}
	for _, f := range later {
		p.Labelled(0, p.status(f.Status), 6, f.Title+p.Lang.Pick(". ", "。")+f.Detail)
	}
	p.Blank()
	p.VerdictLine(diag.Summarize(fs))
}

// compact drops repeated words and keeps their order.
func compact(words []string) []string {
	seen := map[string]int{}
	var out []string
	for _, w := range words {
		if seen[w]++; seen[w] == 1 {
			out = append(out, w)
		}
	}
	for i, w := range out {
		if n := seen[w]; n > 1 {
			out[i] = fmt.Sprintf("%s (%d)", w, n)
		}
	}
	return out
}

func (p *Printer) finding(f diag.Finding) {
	p.Labelled(0, p.status(f.Status), 6, p.Bold(f.Title)+"  "+p.Faint("["+f.ID+"]"))
	if f.Detail != "" {
		p.Labelled(6, "", 6, f.Detail)
	}
	if f.Status == diag.OK {
		return
	}
	for _, c := range f.Causes {
		p.Labelled(6, p.Lang.Pick("why:", "原因:"), p.hang(), c)
	}
	for i, x := range f.Fixes {
		label := "→"
		if len(f.Fixes) > 1 {
			label = fmt.Sprintf("%d.", i+1)
		}
		p.Labelled(6, label, 9, x.Text)
		if x.Command != "" {
			p.verbatim(9, "$ "+p.Command(x.Command))
		}
		if x.Record != "" {
			p.verbatim(9, x.Record)
		}
	}
	if p.Verbose && len(f.Evidence) > 0 {
		b, err := json.Marshal(f.Evidence)
		if err == nil {
			p.Labelled(6, "", 6, p.Faint(string(b)))
		}
	}
}

// verbatim writes what is meant to be copied: never wrapped.
func (p *Printer) verbatim(indent int, s string) {
	for line := range strings.Lines(s) {
		fmt.Fprintln(p.W, strings.Repeat(" ", indent)+p.paint(strings.TrimRight(line, "\n"), color.FgCyan))
	}
}

// ownName is where a command starts this program.
var ownName = regexp.MustCompile(`(^|\bsudo |&& |\| |; |: )mailsrv( |$)`)

// Command is a command line as it works for the reader: with this program by the
// name it was started by.
func (p *Printer) Command(line string) string {
	if p.Program == "" {
		return line
	}
	return ownName.ReplaceAllString(line, "${1}"+strings.ReplaceAll(p.Program, "$", "$$")+"${2}")
}

// VerdictLine writes the verdict.
func (p *Printer) VerdictLine(s diag.Summary) { p.Line(0, p.Verdict(s)) }

// Verdict says in one line how a report came out.
func (p *Printer) Verdict(s diag.Summary) string {
	var parts []string
	add := func(n int, one, many, ja string) {
		if n == 1 {
			parts = append(parts, p.Lang.Pick("1 "+one, ja+" 1 件"))
		} else if n > 1 {
			parts = append(parts, p.Lang.Pick(fmt.Sprintf("%d %s", n, many), fmt.Sprintf("%s %d 件", ja, n)))
		}
	}
	add(s.Fail, "failure", "failures", "異常")
	add(s.Warn, "warning", "warnings", "警告")
	add(s.Skip, "could not be checked", "could not be checked", "確認できず")
	add(s.Info, "note", "notes", "情報")
	add(s.OK, "ok", "ok", "正常")
	line := strings.Join(parts, p.Lang.Pick(", ", "、"))
	switch {
	case s.Fail > 0:
		return p.paint(p.Lang.Pick("Not working: ", "問題があります: "), color.FgRed, color.Bold) + line
	case s.Warn > 0:
		return p.paint(p.Lang.Pick("Works, with warnings: ", "注意点があります: "), color.FgYellow, color.Bold) + line
	case s.OK+s.Info == 0:
		return p.paint(p.Lang.Pick("Nothing could be checked: ", "何も確認できませんでした: "), color.FgMagenta, color.Bold) + line
	case s.Skip > 0:
		return p.paint(p.Lang.Pick("No fault found; ", "異常は見つかりませんでした。"), color.FgMagenta, color.Bold) + line
	}
	return p.paint(p.Lang.Pick("Healthy: ", "正常です: "), color.FgGreen, color.Bold) + line
}

// hang is where the text beside "why:" begins.
func (p *Printer) hang() int {
	if p.Lang == codes.Japanese {
		return 12
	}
	return 11
}
