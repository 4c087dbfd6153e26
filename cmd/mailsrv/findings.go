package main

import (
	"strings"

	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag/report"
)

func init() { commands = append(commands, findingsCommand) }

// findingRow is one word of the finding vocabulary.
type findingRow struct {
	ID      string   `json:"id"`
	Status  string   `json:"status"` // the usual one
	Meaning string   `json:"meaning"`
	Codes   []string `json:"codes,omitempty"`
}

func findingsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "findings [PREFIX...]",
		Short: "List the findings that doctor, check-mx and the others may report",
		Long: `List the findings that doctor, check-mx, probe and the others may report: id,
usual status, meaning. Ids never change their meaning.

PREFIX narrows it down: findings port tls.`,
		RunE: func(_ *cobra.Command, args []string) error { return a.findings(args) },
	}
}

func (a *app) findings(prefixes []string) error {
	rows := []findingRow{}
	width := 0
	for _, id := range codes.FindingIDs() {
		if !hasAnyPrefix(id, prefixes) {
			continue
		}
		f := codes.FindingOf(id)
		meaning := f.En.Meaning
		if a.lang == codes.Japanese {
			meaning = f.Ja.Meaning
		}
		rows = append(rows, findingRow{id, f.Status, meaning, f.Codes})
		width = max(width, len(id))
	}
	if len(rows) == 0 {
		return usagef("findings: no id begins with %s", strings.Join(prefixes, ", "))
	}
	if a.json {
		return report.JSON(a.stdout, rows, true)
	}
	p := a.printer()
	for _, r := range rows {
		p.Labelled(0, r.ID+strings.Repeat(" ", width-len(r.ID)+2)+r.Status, width+8, r.Meaning)
	}
	return nil
}

func hasAnyPrefix(id string, prefixes []string) bool {
	for _, p := range prefixes {
		if id == p || strings.HasPrefix(id, strings.TrimSuffix(p, ".")+".") {
			return true
		}
	}
	return len(prefixes) == 0
}
