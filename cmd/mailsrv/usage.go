package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/server/config"
)

// usage is a message about wrong usage or configuration. It is made in English;
// the Japanese for its format stands in usageJa.
type usage struct {
	format string
	args   []any
	err    error // the English message, with what it wraps
}

func usagef(format string, args ...any) error {
	plain := make([]any, len(args))
	for i, arg := range args {
		plain[i] = arg
		if err, ok := arg.(error); ok {
			plain[i] = inEnglish(err)
		}
	}
	return &exitError{exitUsage, &usage{format, args, fmt.Errorf(format, plain...)}}
}

func (u *usage) Error() string { return u.err.Error() }
func (u *usage) Unwrap() error { return u.err }

// say is an error in a language, as far as there are words for it.
func say(err error, lang codes.Lang) string {
	if lang != codes.Japanese {
		return err.Error()
	}
	var u *usage
	if !errors.As(err, &u) {
		return errorJa(err.Error())
	}
	format, ok := usageJa[u.format]
	if !ok {
		format = u.format
	}
	args := make([]any, len(u.args))
	for i, arg := range u.args {
		args[i] = arg
		switch arg := arg.(type) {
		case error:
			args[i] = inJapanese(arg)
		case words:
			args[i] = arg.ja
		}
	}
	return fmt.Errorf(format, args...).Error()
}

// words are a part of a message that has words of its own in each language.
type words struct{ en, ja string }

func (w words) String() string { return w.en }

// reworded is an error in other words; it stays the same for errors.Is.
type reworded struct {
	error
	words string
}

func (r reworded) Error() string { return r.words }
func (r reworded) Unwrap() error { return r.error }

// inEnglish says what is wrong with a file without naming system calls.
func inEnglish(err error) error {
	var file *fs.PathError
	if !errors.As(err, &file) || err.Error() != file.Error() {
		return err
	}
	return reworded{err, file.Path + ": " + file.Err.Error()}
}

func inJapanese(err error) error {
	var file *fs.PathError
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return reworded{err, problemsIn(problems, codes.Japanese)}
	case errors.As(err, &file) && err.Error() == file.Error():
		return reworded{err, file.Path + ": " + fileFault(file.Err)}
	}
	return reworded{err, errorJa(err.Error())}
}

// fileFault is what the system says of a file, in Japanese.
func fileFault(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "ファイルまたはフォルダーがありません"
	case errors.Is(err, fs.ErrPermission):
		return "アクセスする権限がありません"
	case errors.Is(err, fs.ErrExist):
		return "すでにあります"
	case errors.As(err, &errno) && errno == syscall.EISDIR:
		return "フォルダーです"
	case errors.As(err, &errno) && errno == syscall.ENOTDIR:
		return "フォルダーではありません"
	}
	return err.Error()
}

// problemsIn are the mistakes of a configuration file in the words in which
// doctor says them.
func problemsIn(problems config.Problems, lang codes.Lang) string {
	var lines []string
	for _, p := range problems {
		found := []diag.Finding{doctor.ConfigMistake(p)}
		if err := diag.Localize(found, lang); err != nil {
			lines = append(lines, p.Error())
			continue
		}
		f := found[0]
		words := []string{f.Title}
		for _, fix := range f.Fixes {
			words = append(words, fix.Text)
		}
		if len(f.Fixes) == 0 && f.Detail != "" {
			words = append(words, f.Detail)
		}
		lines = append(lines, strings.Join(words, "。"))
	}
	return strings.Join(lines, "\n")
}

// strict gives a command and all below it messages of ours for arguments and
// flags that it does not take: they name what is accepted.
func strict(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(flagError)
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return argumentError(cmd, args)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

func argumentError(cmd *cobra.Command, args []string) error {
	path := pathOf(cmd)
	if cmd.HasAvailableSubCommands() && len(args) > 0 {
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef("%sthere is no command %q; did you mean %s?", colon(path), args[0], near[0])
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() && c.Name() != "help" {
				names = append(names, c.Name())
			}
		}
		return usagef("%sthere is no command %q; it must be one of %s", colon(path), args[0], strings.Join(names, ", "))
	}
	_, wants, _ := strings.Cut(cmd.Use, " ")
	switch {
	case wants == "":
		return usagef("%s takes no argument; %q is too much", path, args[0])
	case len(args) == 0:
		return usagef("%s needs %s; see mailsrv %[1]s --help", path, wants)
	}
	return usagef("%s takes %s, not %q; see mailsrv %[1]s --help", path, wants, strings.Join(args, " "))
}

// pathOf names a command as a user types it after "mailsrv".
func pathOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "mailsrv"), " ")
}

// colon puts one behind the name of a command, if there is a name.
func colon(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	path := colon(pathOf(cmd))
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		if near := nearFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			return usagef("%sthere is no flag %s; did you mean --%s?", path, name, near)
		}
		return usagef("%sthere is no flag %s; the --help of the command lists them", path, name)
	case errors.As(err, &empty):
		return usagef("%s--%s needs a value: %s", path, empty.GetFlag().Name, meaning(empty.GetFlag()))
	case errors.As(err, &bad):
		return usagef("%s--%s %q is not valid; it takes %s: %s", path, bad.GetFlag().Name, bad.GetValue(), kindOf(bad.GetFlag()), meaning(bad.GetFlag()))
	}
	return usagef("%s%v", path, err)
}

func meaning(f *pflag.Flag) words {
	_, en := pflag.UnquoteUsage(f)
	usage, ok := flagsJa[f.Usage]
	if !ok {
		usage = globalFlagsJa[f.Name]
	}
	if usage == "" {
		return words{en, en}
	}
	same := *f
	same.Usage = usage
	_, ja := pflag.UnquoteUsage(&same)
	return words{en, ja}
}

// kindOf says what a value of a flag looks like.
func kindOf(f *pflag.Flag) words {
	switch f.Value.Type() {
	case "int", "int64", "uint", "count":
		return words{"a number", "数字"}
	case "duration":
		return words{"a time such as 500ms, 10s or 5m", "500ms、10s、5m のような時間"}
	case "bool":
		return words{"true or false", "true か false"}
	}
	return words{f.Value.Type(), f.Value.Type()}
}

// nearFlag finds a flag whose name begins alike or differs by little.
func nearFlag(cmd *cobra.Command, name string) string {
	best, least := "", 3
	see := func(f *pflag.Flag) {
		d := distance(f.Name, name)
		if len(name) > 2 && strings.HasPrefix(f.Name, name) {
			d = 1
		}
		if !f.Hidden && d < least && d < len(name) {
			best, least = f.Name, d
		}
	}
	cmd.Flags().VisitAll(see)
	cmd.InheritedFlags().VisitAll(see)
	return best
}

// distance is how many letters must change, come or go to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// languageOf is the language for an error that came before the flags were read.
func (a *app) languageOf(args []string) codes.Lang {
	if a.langFlag == "" {
		for i, arg := range args {
			if value, ok := strings.CutPrefix(arg, "--lang="); ok {
				a.langFlag = value
			} else if arg == "--lang" && i+1 < len(args) {
				a.langFlag = args[i+1]
			}
		}
	}
	if lang, ok := codes.ParseLang(a.langFlag); ok {
		return lang
	}
	return defaultLang(os.Getenv)
}
