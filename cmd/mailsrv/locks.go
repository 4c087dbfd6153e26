package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailsrv/diag"
	"mailsrv/diag/report"
	"mailsrv/diag/spoolfix"
	"mailsrv/probes/spool"
	"mailsrv/server/config"
)

func init() { commands = append(commands, locksCommand) }

// locksRun holds the flags of locks.
type locksRun struct {
	*app
	user, backup         string
	dryRun, doIt, strict bool
}

func locksCommand(a *app) *cobra.Command {
	l := &locksRun{app: a}
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "Find and clear what mail programs left locked in mail spools",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	scan := &cobra.Command{
		Use:   "scan [DIR...]",
		Short: "List locks in mail spools: who holds them, which are left over",
		Long: `List the locks in mail spools: Qpopper's .user.pop, dotlocks (user.lock), kernel
locks, Dovecot's lock files, a running mailsrv's; who holds each, or since when nobody does, and how
the mail in a .user.pop relates to that in the spool. Nothing is changed.

Without DIR the system's usual places are looked at: /var/mail, /var/spool/mail
and hashed ones (/var/spool/mail/t/taro), and the data directory of mailsrv.

Exit code: 0 nothing in the way, 1 a failure, 3 something could not be judged.`,
		Example: `  mailsrv locks scan
  mailsrv locks scan /var/spool/mail --user taro --json`,
		RunE: func(cmd *cobra.Command, args []string) error { return l.scan(cmd.Context(), args) },
	}
	clear := &cobra.Command{
		Use:   "clear [DIR...]",
		Short: "Bring stranded mail back and remove locks that nobody holds",
		Long: `Bring the mail of a .user.pop that a POP session left behind back into the
spool, together with what has arrived since, in order and without duplicates;
remove locks whose process is gone; give back owner and mode (as root). What a
process holds or nobody can judge is left alone.

No mail is lost: mailboxes are locked the way other mail programs lock them,
copied first (beside the mailbox, or in the --backup directory), written anew,
compared message by message, and only then replaced. It may be interrupted at
any time and run again.

On a terminal it shows what it would do and asks, unless --yes is given.

Exit code: 0 nothing in the way any more, 1 a failure is left, 3 something could
not be judged.`,
		Example: `  mailsrv locks clear --dry-run
  sudo mailsrv locks clear /var/spool/mail --user taro --backup /root/mail-copies`,
		RunE: func(cmd *cobra.Command, args []string) error { return l.clear(cmd.Context(), args) },
	}
	for _, c := range []*cobra.Command{scan, clear} {
		c.Flags().StringVar(&l.user, "user", "", "only the mailbox of this user, `NAME`")
		c.Flags().BoolVar(&l.strict, "strict", false, "exit 1 on a warning, too")
	}
	clear.Flags().BoolVar(&l.dryRun, "dry-run", false, "only show what would be done")
	clear.Flags().BoolVar(&l.doIt, "yes", false, "do not ask")
	clear.Flags().StringVar(&l.backup, "backup", "", "keep the copies in `DIR`")
	cmd.AddCommand(scan, clear)
	return cmd
}

func (l *locksRun) options(dirs []string) (spoolfix.Options, error) {
	opt := spoolfix.Options{Dirs: dirs, User: l.user, Backup: l.backup}
	if len(dirs) == 0 {
		opt.Dirs = spool.UsualDirs()
		if dir := l.dataDir(); dir != "" {
			opt.Dirs = append(opt.Dirs, dir)
		}
		if len(opt.Dirs) == 0 {
			return opt, &exitError{exitUnknown, errors.New("locks: there is no mail spool at the usual places (/var/mail, /var/spool/mail); name its directory")}
		}
	}
	if err := spoolfix.CheckDirs(dirs); err != nil {
		return opt, usagef("locks: %w", err)
	}
	return opt, nil
}

// dataDir is the data directory of this mailsrv, if there is one.
func (l *locksRun) dataDir() string {
	cfg, problems := config.Load(config.Find(l.configFile))
	if len(problems) > 0 {
		return "" // config check says why
	}
	if info, err := os.Stat(cfg.DataDir); err != nil || !info.IsDir() {
		return ""
	}
	return cfg.DataDir
}

func (l *locksRun) scan(ctx context.Context, dirs []string) error {
	opt, err := l.options(dirs)
	if err != nil {
		return err
	}
	r, err := spoolfix.Scan(ctx, opt)
	return l.done(r, err)
}

func (l *locksRun) clear(ctx context.Context, dirs []string) error {
	opt, err := l.options(dirs)
	if err != nil {
		return err
	}
	if l.dryRun && l.doIt {
		return usagef("locks: --dry-run and --yes exclude each other")
	}
	ask := !l.doIt && l.isTerminal()
	if opt.DryRun = l.dryRun || ask; opt.DryRun {
		r, err := spoolfix.Clear(ctx, opt)
		todo := r != nil && slices.ContainsFunc(r.Actions, func(a spoolfix.Action) bool { return a.Action != spoolfix.Kept })
		if err != nil || l.dryRun || !todo {
			return l.done(r, err)
		}
		if err := diag.Localize(r.Findings, l.lang); err != nil {
			return err
		}
		p := l.printer()
		p.W = l.stderr
		p.Locks(r, l.quiet)
		if !l.asked() {
			fmt.Fprintln(l.stderr, l.lang.Pick("Nothing was changed.", "何も変更していません。"))
			return exit(r.ExitCode(l.strict))
		}
	}
	opt.DryRun = false
	r, err := spoolfix.Clear(ctx, opt)
	return l.done(r, err)
}

// done prints a report and turns it into an exit code.
func (l *locksRun) done(r *spoolfix.Report, err error) error {
	if err != nil {
		return &exitError{exitUnknown, fmt.Errorf("locks: %w", err)}
	}
	if err := diag.Localize(r.Findings, l.lang); err != nil {
		return err
	}
	if l.json {
		if err := report.JSON(l.stdout, r, true); err != nil {
			return err
		}
	} else {
		l.printer().Locks(r, l.quiet)
	}
	return exit(r.ExitCode(l.strict))
}

// isTerminal tells whether a person sits at standard input.
func (a *app) isTerminal() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// asked asks on standard error whether to go on.
func (a *app) asked() bool {
	fmt.Fprint(a.stderr, a.lang.Pick("Do this? [y/N] ", "実行しますか? [y/N] "))
	line, _ := bufio.NewReader(a.stdin).ReadString('\n') // its end means no
	return slices.Contains([]string{"y", "yes", "はい"}, strings.ToLower(strings.TrimSpace(line)))
}

// clearLock is how doctor --fix clears a lock: as locks clear does, in all of
// the spool directories.
func clearLock(ctx context.Context, dirs []string) func(path, user string) (string, error) {
	if len(dirs) == 0 {
		dirs = spool.UsualDirs()
	}
	return func(path, user string) (string, error) {
		r, err := spoolfix.Clear(ctx, spoolfix.Options{Dirs: dirs, User: user})
		if err != nil {
			return "", err
		}
		for _, a := range r.Actions {
			if a.Path != path {
				continue
			}
			if a.Action == spoolfix.Kept {
				return "", fmt.Errorf("left as it is: %s %s", a.Why, a.Error)
			}
			return a.Backup, nil
		}
		return "", nil // gone together with another one
	}
}
