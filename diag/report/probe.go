package report

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/fatih/color"

	"mailsrv/diag"
	"mailsrv/diag/doctor/talk"
)

// shownLines is how much of a failed dialogue is shown without -v.
const shownLines = 8

// Probe shows one conversation: its stages with their times, the end of the
// dialogue when something failed (all of it with -v), what the likely cause is,
// and the findings.
func (p *Printer) Probe(r *talk.Report) {
	pick := p.Lang.Pick
	head := r.Target.Protocol + " " + net.JoinHostPort(r.Target.Host, strconv.Itoa(r.Target.Port))
	if r.Software != nil {
		head += "  " + p.Faint(strings.TrimSpace(r.Software.Name+" "+r.Software.Version))
	}
	fmt.Fprintln(p.W, p.Bold(head))
	for _, s := range r.Stages {
		p.stage(s)
	}
	if p.Verbose && len(r.Capabilities) > 0 {
		p.Labelled(2, pick("offers", "機能"), 16, strings.Join(r.Capabilities, ", "))
	}
	if t := r.TLS; t != nil {
		p.Labelled(2, pick("certificate", "証明書"), 16, fmt.Sprintf(pick("%s, issued by %s, until %s", "%s、発行元 %s、期限 %s"), strings.Join(t.Names, ", "), t.Issuer, t.NotAfter.Format("2006-01-02")))
	}
	if t := r.Throughput; t != nil {
		p.Labelled(2, pick("throughput", "転送速度"), 16, fmt.Sprintf(pick("%.0f kbit/s, %d octets in %.0f ms", "%.0f kbit/s (%d バイト、%.0f ms)"), t.KbitS, t.Octets, t.Ms))
	}
	for _, a := range r.Alternatives {
		mark, how := p.paint("✗", color.FgRed), a.Outcome
		if a.Status == diag.OK {
			mark, how = p.paint("✓", color.FgGreen), pick("answers", "応答あり")
		}
		mode := "TLS"
		if a.TLS == talk.None {
			mode = pick("plain", "平文")
		}
		p.Labelled(2, mark+" "+pick("instead", "代わりに"), 16, fmt.Sprintf("%d %s: %s", a.Port, mode, how))
	}
	p.transcript(r)
	p.Blank()
	for i, d := range r.Diagnosis {
		if i == 0 && d.Title != "" {
			p.Labelled(0, pick("likely:", "考えられる原因:"), lipgloss.Width(pick("likely: ", "考えられる原因: ")), p.Bold(d.Title))
			if d.Why != "" {
				p.Labelled(6, "", 6, d.Why)
			}
			p.Blank()
		}
	}
	p.Findings(r.Findings)
}

func (p *Printer) stage(s talk.Stage) {
	mark := map[diag.Status]string{
		diag.OK: p.paint("✓", color.FgGreen), diag.Warn: p.paint("!", color.FgYellow), diag.Fail: p.paint("✗", color.FgRed), diag.Skip: p.Faint("-"),
	}[s.Status]
	took := ""
	if s.Status != diag.Skip {
		took = fmt.Sprintf("%.0f ms", s.Ms)
	}
	p.Labelled(2, mark+" "+s.Stage, 18, strings.TrimSpace(fmt.Sprintf("%8s  %s", took, s.Detail)))
}

// transcript shows who said what.
func (p *Printer) transcript(r *talk.Report) {
	lines := r.Transcript
	if !p.Verbose {
		if r.Summary.Fail == 0 {
			return
		}
		lines = lines[max(0, len(lines)-shownLines):]
	}
	if len(lines) == 0 {
		return
	}
	p.Blank()
	for _, l := range lines {
		p.Labelled(2, p.Faint(fmt.Sprintf("%7.0f ", l.Ms))+l.From+":", 13, l.Text)
	}
}
