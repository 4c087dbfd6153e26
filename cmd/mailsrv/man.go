package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func init() { commands = append(commands, manCommand) }

func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "Write the manual pages",
		Long: "Writes one manual page per command, mailsrv.1, mailsrv-explain.1 and so on, into DIR\n" +
			"(the current folder when none is given). Put them into a man1 folder of your MANPATH.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return usagef("cannot create the folder for the manual pages: %w", err)
			}
			header := &doc.GenManHeader{Title: "MAILSRV", Section: "1", Source: "mailsrv " + version, Manual: "mailsrv"}
			if err := doc.GenManTree(cmd.Root(), header, dir); err != nil {
				return usagef("cannot write the manual pages: %w", err)
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "manual pages written to %s\n", dir)
			}
			return nil
		},
	}
}
