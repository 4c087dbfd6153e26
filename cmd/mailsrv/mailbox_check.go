package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"mailsrv/diag"
	"mailsrv/diag/report"
	"mailsrv/diag/spoolfix"
)

// mboxRun holds the flags of mailbox check and repair.
type mboxRun struct {
	*app
	backup               string
	dryRun, doIt, strict bool
}

func mailboxCheckCommands(a *app) []*cobra.Command {
	m := &mboxRun{app: a}
	check := &cobra.Command{
		Use:   "check FILE...",
		Short: "Say what is wrong with the form of mailbox files (mbox)",
		Long: `Say what is wrong with the form of mailbox files (mbox), and at which octet: From
lines that are missing, escaped or cut ("Unable to process From lines"), NUL
octets, text or a byte order mark before the first message, CRLF line ends,
missing blank lines, a Content-Length that hides a message, a message that is
cut off. Only the most basic fault of each file is told; repair mends all.

Exit code: 0 fine, 1 a failure.`,
		Example: `  mailsrv mailbox check /var/mail/taro
  mailsrv mailbox check *.mbox --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.check(cmd.Context(), args) },
	}
	repair := &cobra.Command{
		Use:   "repair FILE...",
		Short: "Mend the form of mailbox files, keeping copies",
		Long: `Mend the form of mailbox files (mbox) so that every POP server and mail program
can read them: From lines, NUL octets, what stands before the first message,
line ends, blank lines, Content-Length. No octet of a message is lost but the
NULs, which is checked before the file is replaced; a message that is cut off
keeps what there is of it. The file as it was is kept under a dated name.

The mailbox is locked meanwhile the way other mail programs lock it. On a
terminal it shows what it would do and asks, unless --yes is given.

Exit code: 0 fine now, 1 something could not be repaired.`,
		Example: `  mailsrv mailbox repair --dry-run /var/mail/taro
  sudo mailsrv mailbox repair /var/mail/taro --backup /root/mail-copies`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.repair(cmd.Context(), args) },
	}
	check.Flags().BoolVar(&m.strict, "strict", false, "exit 1 on a warning, too")
	repair.Flags().BoolVar(&m.dryRun, "dry-run", false, "only show what would be done")
	repair.Flags().BoolVar(&m.doIt, "yes", false, "do not ask")
	repair.Flags().StringVar(&m.backup, "backup", "", "keep the copies in `DIR`")
	return []*cobra.Command{check, repair}
}

// existing makes sure that all arguments are files.
func existing(command string, files []string) error {
	for _, file := range files {
		info, err := os.Stat(file)
		switch {
		case err != nil:
			return usagef("%s: %w", command, err)
		case info.IsDir():
			return usagef("%s: %s is a folder; it takes mailbox files in mbox form", command, file)
		case !info.Mode().IsRegular():
			return usagef("%s: %s is no ordinary file", command, file)
		}
	}
	return nil
}

func (m *mboxRun) check(ctx context.Context, files []string) error {
	if err := existing("mailbox check", files); err != nil {
		return err
	}
	code := exitDone
	for i, file := range files {
		c, err := spoolfix.Check(ctx, file)
		if err != nil {
			return &exitError{exitUnknown, fmt.Errorf("mailbox check: %w", err)}
		}
		if err := diag.Localize(c.Findings, m.lang); err != nil {
			return err
		}
		if c.Summary.Fail > 0 || m.strict && c.Summary.Warn > 0 {
			code = exitFailed
		}
		if m.json {
			if err := report.JSON(m.stdout, c, len(files) == 1); err != nil {
				return err
			}
			continue
		}
		p := m.printer()
		if i > 0 && !m.quiet {
			p.Blank()
		}
		p.Checked(c, m.quiet)
	}
	return exit(code)
}

func (m *mboxRun) repair(ctx context.Context, files []string) error {
	if err := existing("mailbox repair", files); err != nil {
		return err
	}
	if m.dryRun && m.doIt {
		return usagef("mailbox repair: --dry-run and --yes exclude each other")
	}
	code := exitDone
	for _, file := range files {
		// A link is followed here, once: the mailbox it leads to is meant.
		path, err := filepath.EvalSymlinks(file)
		if err != nil {
			return usagef("mailbox repair: %w", err)
		}
		r, err := m.repairOne(ctx, path)
		if err != nil {
			return &exitError{exitUnknown, fmt.Errorf("mailbox repair: %w", err)}
		}
		if r.Summary.Fail > 0 || r.Why != "" {
			code = exitFailed
		}
		if m.json {
			if err := report.JSON(m.stdout, r, len(files) == 1); err != nil {
				return err
			}
			continue
		}
		m.printer().Repaired(r, m.quiet)
	}
	return exit(code)
}

func (m *mboxRun) repairOne(ctx context.Context, path string) (spoolfix.RepairReport, error) {
	opt := spoolfix.Options{Backup: m.backup, DryRun: m.dryRun}
	if !m.dryRun && !m.doIt && m.isTerminal() {
		opt.DryRun = true
		r, err := spoolfix.Repair(ctx, path, opt)
		if err != nil || r.Action != spoolfix.Repaired {
			return m.localized(r, err)
		}
		p := m.printer()
		p.W = m.stderr
		p.Repaired(r, m.quiet)
		if !m.asked() {
			return m.localized(r, nil)
		}
		opt.DryRun = false
	}
	r, err := spoolfix.Repair(ctx, path, opt)
	return m.localized(r, err)
}

func (m *mboxRun) localized(r spoolfix.RepairReport, err error) (spoolfix.RepairReport, error) {
	if err != nil {
		return r, err
	}
	return r, diag.Localize(r.Findings, m.lang)
}
