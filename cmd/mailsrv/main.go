// Command mailsrv is a mail server and the doctor for mail servers.
//
// Each command has a file of its own here: flags in, one call into diag,
// server, codes or probes, report out. Judgement and protocol live there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailsrv/codes"
	"mailsrv/diag/report"
)

func main() {
	program = startedAs(os.Args[0])
	out := &output{File: os.Stdout}
	code := run(os.Args[1:], os.Stdin, out, os.Stderr)
	if out.err != nil {
		fmt.Fprintln(os.Stderr, "mailsrv: "+say(fmt.Errorf("standard output: %w", out.err), defaultLang(os.Getenv)))
		code = exitUnknown
	}
	os.Exit(code)
}

// app is what every command shares: the streams and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile string
	langFlag   string
	json       bool
	colorFlag  string
	verbose    bool
	quiet      bool

	lang   codes.Lang
	noHelp error // why help was asked for in vain
}

// Exit codes of every command.
const (
	exitDone    = 0 // done; for a diagnosis: nothing failed
	exitFailed  = 1 // the diagnosis found a failure, or explain recognised nothing
	exitUsage   = 2 // wrong usage or configuration
	exitUnknown = 3 // could not find out
)

// exitError ends the program with a code. A nil err says nothing more: the
// report has said it all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exit(code int) error {
	if code == exitDone {
		return nil
	}
	return &exitError{code: code}
}

// commands build the sub-commands; each command's file appends its own.
var commands []func(*app) *cobra.Command

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does not wait
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.noHelp
	}
	if err == nil {
		return exitDone
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{exitUsage, err}
	}
	if e.err != nil {
		fmt.Fprintln(stderr, "mailsrv: "+say(e.err, a.languageOf(args)))
	}
	return e.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mailsrv",
		Short:         "A mail server, and the doctor for mail servers",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.globals()
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.configFile, "config", "", "configuration `file` (default $MAILSRV_CONFIG, then ./mailsrv.toml, then the system's usual place)")
	f.StringVar(&a.langFlag, "lang", "", "language of the texts, `en|ja` (default $MAILSRV_LANG, then the locale)")
	f.BoolVar(&a.json, "json", false, "one JSON document on standard output (one per line for several inputs)")
	f.StringVar(&a.colorFlag, "color", "auto", "colours: `auto|always|never`")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say less")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	for _, c := range commands {
		root.AddCommand(c(a))
	}
	root.InitDefaultCompletionCmd()
	strict(root)
	a.helpIn(root)
	return root
}

// globals checks the global flags and fixes the language.
func (a *app) globals() error {
	switch a.colorFlag {
	case "auto", "always", "never":
	default:
		return usagef("--color %q: must be auto, always or never", a.colorFlag)
	}
	if a.langFlag != "" {
		lang, ok := codes.ParseLang(a.langFlag)
		if !ok {
			return usagef("--lang %q: must be en or ja", a.langFlag)
		}
		a.lang = lang
		return nil
	}
	a.lang = defaultLang(os.Getenv)
	return nil
}

func defaultLang(getenv func(string) string) codes.Lang {
	for _, name := range []string{"MAILSRV_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); v != "" {
			lang, _ := codes.ParseLang(v)
			return lang
		}
	}
	return systemLang()
}

// printer writes reports for people to standard output.
func (a *app) printer() *report.Printer {
	p := &report.Printer{W: a.stdout, Lang: a.lang, Verbose: a.verbose, Program: a.program()}
	f, isFile := a.stdout.(*output)
	isTerminal := isFile && term.IsTerminal(int(f.Fd()))
	if isTerminal {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			p.Width, p.Height = w, h
		}
	}
	p.Color = a.colorFlag == "always" ||
		a.colorFlag == "auto" && isTerminal && os.Getenv("NO_COLOR") == "" && !strings.EqualFold(os.Getenv("TERM"), "dumb")
	return p
}
