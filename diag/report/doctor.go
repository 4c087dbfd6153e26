package report

import (
	"fmt"
	"slices"

	"mailsrv/diag"
	"mailsrv/diag/doctor"
)

// Doctor shows an examination: what was looked at, what is wrong by weight with
// the remedies, the healthy things in one line, what was repaired, and the
// verdict. Quiet leaves out what is no trouble.
func (p *Printer) Doctor(r *doctor.Report, quiet bool) {
	pick := p.Lang.Pick
	if !quiet {
		p.Line(0, p.Faint(p.head(r)))
		p.Blank()
	}
	fs := r.Findings
	if quiet {
		fs = slices.DeleteFunc(slices.Clone(fs), func(f diag.Finding) bool { return f.Status == diag.OK || f.Status == diag.Info })
	}
	if !p.Verbose { // a note says it in its title
		fs = slices.Clone(fs)
		for i := range fs {
			if fs[i].Status == diag.Info {
				fs[i].Detail = ""
			}
		}
	}
	for _, f := range r.Fixed {
		did := f.Did
		if f.Backup != "" {
			did += " " + fmt.Sprintf(pick("(copy kept in %s)", "（コピーの保存先: %s）"), f.Backup)
		}
		p.Labelled(0, pick("fix", "修復"), 6, did)
	}
	if len(r.Fixed) > 0 {
		p.Blank()
	}
	p.findings(fs, !r.Named())
	if r.Ignored > 0 {
		p.Line(0, p.Faint(p.ignored(r.Ignored)))
	}
}

// head says what was examined.
func (p *Printer) head(r *doctor.Report) string {
	pick := p.Lang.Pick
	if r.Host != "" {
		return fmt.Sprintf(pick("%s, as it is seen from here", "%s をこのマシンから検査"), r.Host)
	}
	config := r.Config
	if config == "" {
		config = pick("defaults", "既定値")
	}
	server := pick("not running", "停止中")
	switch {
	case r.Server.Hidden:
		server = pick("running as another user", "別のユーザーで動作中")
	case r.Server.Running:
		server = fmt.Sprintf(pick("running, process %d", "動作中、プロセス %d"), r.Server.PID)
	}
	return fmt.Sprintf(pick("stage %s, configuration %s, mailsrv %s", "段階 %s、設定 %s、mailsrv は%s"), r.Stage, config, server)
}

func (p *Printer) ignored(n int) string {
	return fmt.Sprintf(p.Lang.Pick("%d silenced by configuration", "%d 件は設定により非表示"), n)
}

// Finding shows one finding with its causes and remedies.
func (p *Printer) Finding(f diag.Finding) { p.finding(f) }
