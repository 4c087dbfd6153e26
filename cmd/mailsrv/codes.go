package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/diag/report"
)

func init() { commands = append(commands, codesCommand) }

func codesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "codes",
		Short: "List and show what the catalogue knows",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list [FAMILY...]",
			Short: "List the codes, replies, texts and topics: id and title",
			Long: `List the codes, replies, texts and topics of the catalogue with their titles.

FAMILY narrows it down: ` + strings.Join(codes.Families(), ", ") + `.`,
			RunE: func(_ *cobra.Command, args []string) error { return a.codesList(args) },
		},
		&cobra.Command{
			Use:   "show CODE...",
			Short: "Show all that is known of a code, symbol or topic",
			Args:  cobra.MinimumNArgs(1),
			RunE:  func(_ *cobra.Command, args []string) error { return a.codesShow(args) },
		})
	return cmd
}

// codeRow is an entry in the list.
type codeRow struct {
	ID        string   `json:"id"`
	Code      string   `json:"code"`
	Family    string   `json:"family"`
	Symbol    string   `json:"symbol,omitempty"`
	Aliases   []string `json:"aliases,omitempty"`
	Cause     string   `json:"cause"`
	Who       string   `json:"who"`
	Temporary bool     `json:"temporary"`
	Title     string   `json:"title"`
}

func (a *app) codesList(families []string) error {
	for _, f := range families {
		if !slices.Contains(codes.Families(), f) {
			return usagef("codes list: no family %q: there are %s", f, strings.Join(codes.Families(), ", "))
		}
	}
	rows := []codeRow{}
	width := 0
	for _, e := range codes.All() {
		if len(families) > 0 && !slices.Contains(families, e.Family) {
			continue
		}
		rows = append(rows, codeRow{e.ID(), e.Code, e.Family, e.Symbol, e.Aliases, e.Cause, e.Who, e.Temporary, e.Text(a.lang).Title})
		width = max(width, len(e.ID()))
	}
	if a.json {
		return report.JSON(a.stdout, rows, true)
	}
	p := a.printer()
	for _, r := range rows {
		p.Labelled(0, r.ID, width+2, r.Title)
	}
	return nil
}

func (a *app) codesShow(keys []string) error {
	found := []explain.Match{}
	for _, key := range keys {
		es := codes.Lookup(key)
		if e := explain.ByID(key); e != nil {
			es = []*codes.Entry{e}
		}
		if len(es) == 0 {
			return &exitError{exitFailed, fmt.Errorf("codes show: %q is not in the catalogue%s", key, didYouMean(codes.Suggest(key, 4)))}
		}
		for _, e := range es {
			found = append(found, explain.MatchOf(e, a.lang))
		}
	}
	if a.json {
		return report.JSON(a.stdout, found, true)
	}
	p := a.printer()
	p.Verbose = true
	for i, m := range found {
		if i > 0 {
			p.Blank()
		}
		p.Explain(&explain.Result{Input: explain.Input{Kind: explain.KindCode}, Matches: []explain.Match{m}})
	}
	return nil
}

func didYouMean(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, ", ") + "?"
}
