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
		Use:   "man DIR",
		Short: "Write the manual pages",
		Long: "Writes one manual page per command, mailsrv.1, mailsrv-explain.1 and so on, into the\n" +
			"folder DIR, which is made if need be. A man1 folder of your MANPATH is the place.",
		Example: "  mailsrv man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return usagef("cannot create the folder for the manual pages: %w", err)
			}
			header := &doc.GenManHeader{Title: "MAILSRV", Section: "1", Source: "mailsrv " + version, Manual: "mailsrv"}
			if err := doc.GenManTree(cmd.Root(), header, dir); err != nil {
				return usagef("cannot write the manual pages: %w", err)
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, a.lang.Pick("manual pages written to %s\n", "マニュアルページを %s に書きました\n"), dir)
			}
			return nil
		},
	}
}
