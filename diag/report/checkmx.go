package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/fatih/color"

	"mailsrv/diag"
	"mailsrv/diag/checkmx"
)

// CheckMX shows one domain: the path its mail takes, then what is wrong by
// weight with the remedies, the healthy things in one line, and the verdict.
func (p *Printer) CheckMX(r *checkmx.Report) {
	fmt.Fprintln(p.W, p.Bold(r.Domain))
	p.path(r)
	p.Blank()
	p.Findings(p.brief(r.Findings))
}

// brief leaves of a note its title, so that what is wrong fits one screen; -v
// shows the rest. Where notes are all there is, they stay as they are.
func (p *Printer) brief(fs []diag.Finding) []diag.Finding {
	s := diag.Summarize(fs)
	if p.Verbose || s.Fail+s.Warn+s.Skip == 0 && s.Info <= 2 {
		return fs
	}
	out := slices.Clone(fs)
	for i, f := range out {
		if f.Status == diag.Info {
			out[i].Detail, out[i].Causes, out[i].Fixes = "", nil, nil
		}
	}
	return out
}

// path draws domain → MX → address → PTR → TLS, one line an address, with a
// mark for the worst finding about each station.
func (p *Printer) path(r *checkmx.Report) {
	worst := map[string]diag.Status{}
	for _, f := range r.Findings {
		for _, about := range append([]string{f.Subject}, words(f.Evidence["host"])...) {
			key := stationOf(f.ID) + " " + about
			if s, ok := worst[key]; !ok || weightOf(f.Status) > weightOf(s) {
				worst[key] = f.Status
			}
		}
	}
	rows := r.Path()
	if len(rows) == 0 {
		return
	}
	hostWidth, addrWidth, ptrWidth := 0, 0, 0
	for _, row := range rows {
		hostWidth = max(hostWidth, lipgloss.Width(row.Host)+len(fmt.Sprint(row.Preference))+1)
		addrWidth = max(addrWidth, lipgloss.Width(row.Address))
		ptrWidth = max(ptrWidth, lipgloss.Width(row.PTR))
	}
	last := ""
	for _, row := range rows {
		host := fmt.Sprintf("%d %s", row.Preference, row.Host)
		hostMark := p.mark(worst["mx "+row.Host])
		if host == last {
			host, hostMark = "", " "
		} else {
			last = host
		}
		line := "  " + p.Faint("→") + " " + pad(host, hostWidth) + " " + hostMark
		if row.Address != "" {
			line += " " + p.Faint("→") + " " + pad(row.Address, addrWidth) + " " + p.mark(worseOf(worst["address "+row.Address], worst["address "+row.Host]))
		}
		if row.PTR != "" {
			line += " " + p.Faint("→") + " " + pad(row.PTR, ptrWidth) + " " + p.mark(worst["ptr "+row.Address])
		}
		if row.TLS != "" {
			line += " " + p.Faint("→") + " " + row.TLS + " " + p.mark(worst["tls "+row.Host])
		}
		fmt.Fprintln(p.W, strings.TrimRight(line, " "))
	}
}

// stationOf says at which station of the path a finding is shown.
func stationOf(id string) string {
	family, _, _ := strings.Cut(id, ".")
	switch family {
	case "tls":
		return "tls"
	case "smtp":
		if strings.Contains(id, "starttls") {
			return "tls"
		}
		return "address"
	case "helo", "dnsbl":
		return "address"
	case "ptr":
		return "ptr"
	}
	if id == "mx.private_address" || id == "mx.same_address" || id == "mx.address_mismatch" {
		return "address"
	}
	return "mx"
}

// worseOf is the graver of two; none is the lightest.
func worseOf(a, b diag.Status) diag.Status {
	if b != "" && (a == "" || weightOf(b) > weightOf(a)) {
		return b
	}
	return a
}

func words(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	return nil
}

func weightOf(s diag.Status) int {
	switch s {
	case diag.Fail:
		return 4
	case diag.Warn:
		return 3
	case diag.Skip:
		return 2
	}
	return 1
}

func (p *Printer) mark(s diag.Status) string {
	switch s {
	case diag.Fail:
		return p.paint("✗", color.FgRed, color.Bold)
	case diag.Warn:
		return p.paint("!", color.FgYellow, color.Bold)
	case diag.Skip:
		return p.paint("?", color.FgMagenta, color.Bold)
	}
	return p.paint("✓", color.FgGreen)
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
}

// Round shows one look of a watch: what the servers answer, grouped by answer,
// as far as they differ; the MX always.
func (p *Printer) Round(r *checkmx.Round) {
	mark, words := p.mark(diag.OK), p.Lang.Pick("all servers agree", "すべてのサーバーが一致しています")
	if !r.Agree {
		mark, words = p.mark(diag.Warn), p.Lang.Pick("not everywhere yet", "まだ行き渡っていません")
	}
	fmt.Fprintf(p.W, "%s %s %s\n", p.Faint(r.Time.Local().Format("15:04:05")), mark, words)
	for i, a := range r.Answers {
		same := func(j int) bool {
			return j >= 0 && j < len(r.Answers) && r.Answers[j].Name == a.Name && r.Answers[j].Type == a.Type
		}
		if a.Type != "MX" && !same(i-1) && !same(i+1) {
			continue
		}
		if !same(i - 1) {
			fmt.Fprintf(p.W, "  %s %s\n", p.Bold(a.Name), a.Type)
		}
		p.Labelled(4, "", 4, a.Value)
		p.Labelled(6, "", 6, p.Faint(fmt.Sprintf("%s  (TTL %d)", strings.Join(a.Servers, ", "), a.TTL)))
	}
	if len(r.Silent) > 0 {
		p.Labelled(2, "", 2, p.Lang.Pick("no answer: ", "応答なし: ")+strings.Join(r.Silent, ", "))
	}
}
