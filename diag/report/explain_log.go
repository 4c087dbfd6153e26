package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"mailsrv/diag/explain"
)

// log shows what the troubled lines of a log come down to, the worst first, and
// below that what to do about the first.
func (p *Printer) log(r *explain.Result) {
	l := r.Log
	head := fmt.Sprintf(p.Lang.Pick("%d of %d log lines tell of trouble", "ログ %[2]d 行のうち %[1]d 行が問題を示しています"), l.Trouble, l.Lines)
	if l.First != "" && l.First != l.Last {
		head += p.Lang.Pick(", ", " (") + l.First + p.Lang.Pick(" to ", " 〜 ") + l.Last + p.Lang.Pick("", ")")
	}
	p.Line(0, p.Bold(head+p.Lang.Pick(".", "。")))
	width := len(fmt.Sprint(l.Trouble))
	var groups [][]string
	for i := range r.Groups {
		groups = append(groups, p.lines(func(p *Printer) {
			p.Blank()
			p.group(&r.Groups[i], width, verdictOf(r, r.Groups[i].Cause))
		}))
	}
	groups, more := p.fit(groups, p.screen()/2)
	p.write(slices.Concat(groups...))
	if more > 0 {
		p.Line(0, p.Faint(p.more(more)))
	}
	if r.Diagnosis[0].Cause == "unknown" {
		return
	}
	p.Blank()
	if r.Diagnosis[0].Cause == r.Groups[0].Cause {
		p.heading(p.Lang.Pick("What to do about the first", "最初の問題への対処"), 0)
	} else { // a live check brought another one to the top
		p.heading(p.Lang.Pick("What to do", "対処"), 0)
	}
	rest := *p
	if p.Height > 0 {
		rest.Height = max(minScreen, p.Height-count(groups)-4) // the lines above and around them
	}
	one := *r
	one.Log, one.Groups, one.Bounces, one.Matches, one.Diagnosis = nil, nil, nil, nil, r.Diagnosis[:1]
	rest.diagnosis(&one)
}

// verdictOf is the judgement on a group's cause, which a live check may have
// come to.
func verdictOf(r *explain.Result, cause string) explain.Diagnosis {
	for _, d := range r.Diagnosis {
		if d.Cause == cause {
			return d
		}
	}
	return explain.Diagnosis{}
}

func (p *Printer) group(g *explain.Group, width int, d explain.Diagnosis) {
	hang := width + 2
	p.Labelled(0, fmt.Sprintf("%*d", width, g.Count), hang, g.Title+"  "+p.Faint("["+g.Cause+"]")+p.verdict(d))
	var about []string
	if g.Last != "" && g.Count > 1 {
		about = append(about, p.Lang.Pick("last ", "最後は ")+g.Last)
	}
	for _, n := range g.Top {
		about = append(about, fmt.Sprintf("%s (%d)", n.Name, n.Count))
	}
	if g.Deferred > 0 {
		about = append(about, fmt.Sprintf(p.Lang.Pick("%d still tried again", "再送中 %d"), g.Deferred))
	}
	if len(about) > 0 {
		p.Labelled(hang, "", hang, p.cut(strings.Join(about, ", "), hang))
	}
	sample := g.Sample
	if room := p.width() - hang; p.Height > 0 && !p.Verbose && g.Words != "" && ansi.StringWidth(sample) > room {
		sample = p.cut(strings.TrimSpace(g.First+"  "+g.Words), hang) // the rest of the line says less
	}
	fmt.Fprintln(p.W, p.Faint(strings.Repeat(" ", hang)+p.cut(sample, hang)))
}
