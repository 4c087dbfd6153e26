package report

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"mailsrv/codes"
	"mailsrv/diag/checkmx"
)

// Records prints recommended records as a zone file: what does not belong into
// the domain's zone is a comment there.
func (p *Printer) Records(r *checkmx.Recommended) {
	last := ""
	for _, rec := range r.Publish {
		if rec.Why != last {
			if last != "" {
				p.Blank()
			}
			for _, l := range p.comment(rec.Why) {
				fmt.Fprintln(p.W, p.Faint("; "+l))
			}
			last = rec.Why
		}
		line := rec.Line()
		if rec.Place != checkmx.PlaceZone {
			line = "; " + line
		}
		fmt.Fprintln(p.W, line)
	}
	for _, f := range r.Files {
		p.Blank()
		fmt.Fprintln(p.W, p.Faint("; "+f.URL))
		for l := range strings.Lines(f.Content) {
			fmt.Fprintln(p.W, ";   "+strings.TrimRight(l, "\n"))
		}
	}
}

// comment breaks a text into lines: English between words, Japanese, which has
// no spaces, behind each sentence.
func (p *Printer) comment(text string) []string {
	if p.Lang == codes.Japanese {
		return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "。", "。\n"), "\n"), "\n")
	}
	return strings.Split(ansi.Wordwrap(text, min(p.width(), 78)-2, ""), "\n")
}
