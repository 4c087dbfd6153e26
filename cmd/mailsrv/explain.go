package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/diag/report"
	"mailsrv/diag/verify"
)

func init() { commands = append(commands, explainCommand) }

// explainCommand parses its own flags: what one explains may begin with a minus
// (-2146644978, "-ERR [IN-USE] ...") and is no flag then.
func explainCommand(a *app) *cobra.Command {
	var recursive bool
	var live probeFlags
	cmd := &cobra.Command{
		Use:   "explain INPUT...",
		Short: "Say what a mail error means, why it happened and what to do",
		Long: `Say what a mail error means, why it happened and what to do.

INPUT is a code in any spelling (0x800CCC0E, 800ccc0e, -2146644978, 10061,
WSAECONNREFUSED, 550, 5.7.1), a question number or topic (FAQ00, Q8,
pop-before-smtp), the name of an older server's setting ("Allow Relay",
RELAY_MAP), the text of an error message, a line of a server's log, or the name
of a file that holds any of these or a mail. "-", or nothing at all with a pipe,
reads standard input.

Several inputs are answered one by one, with --json one object a line. A reply
code and the status behind it are one input: 550 5.7.1. Plain words typed without
quotation marks are one text: explain connection refused.

Files packed by gzip are read as what they hold. Of a long output that is neither
log nor mail, the beginning and the end are read.

A log of any length is read line by line and its troubled lines are grouped by
cause: first what stops the server itself, then what concerns most lines, last
what was only refused to strangers. In JSON "log" holds the number of lines and
of those with trouble, "groups" one object a cause: cause, count, failed,
deferred, first, last, top (hosts by lines), sample, words.

With --probe the causes are checked live: against the server, port and TLS mode
that the message names, and against the usual other ports when that fails. What
is contacted is said first. Each cause is then confirmed, rejected, or left
undetermined with the reason; in JSON "verdict" and "checked" of a diagnosis,
beside "contacts" and "findings". No password is asked for or sent, and no
message. Exit code 1: a cause is confirmed or something else is broken; 3: it
could not be found out; 0: nothing is wrong any more.`,
		Example: `  mailsrv explain 0x800CCC0E
  mailsrv explain 550 5.7.1
  mailsrv explain "-ERR [IN-USE] lock busy! Is another session active?"
  mailsrv explain error.txt bounce.eml
  mailsrv explain /var/log/mail.log
  mailsrv explain --probe error.txt
  mailsrv explain --probe --server pop.example.com:110 0x800CCC0E
  xclip -o | mailsrv explain`,
		DisableFlagParsing: true,
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "read directories, every file in them")
	live.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags, inputs, err := splitFlags(cmd, args)
		if err != nil {
			return err
		}
		if help, err := parseFlags(cmd, flags); err != nil || help {
			return err
		}
		if err := a.globals(); err != nil {
			return err
		}
		v, err := live.verifier(cmd)
		if err != nil {
			return err
		}
		return a.explain(cmd.Context(), inputs, recursive, v)
	}
	return cmd
}

// splitFlags parts the flags from the inputs. After "--" everything is input.
func splitFlags(cmd *cobra.Command, args []string) (flags, inputs []string, err error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return flags, append(inputs, args[i+1:]...), nil
		}
		if len(arg) < 2 || arg[0] != '-' || strings.ContainsAny(arg, " \t\r\n") || isNegative(arg) || strings.HasPrefix(strings.ToUpper(arg), "-ERR") {
			inputs = append(inputs, arg)
			continue
		}
		f, hasValue := flagOf(cmd, arg)
		if f == nil && arg != "-h" && arg != "--help" {
			return nil, nil, usagef("explain: unknown flag %s; put -- before a text that begins with a minus", arg)
		}
		flags = append(flags, arg)
		if f != nil && f.NoOptDefVal == "" && !hasValue && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	return flags, inputs, nil
}

func isNegative(arg string) bool {
	return strings.Trim(arg[1:], "0123456789") == ""
}

// flagOf finds the flag an argument names. Of joined letters the last counts:
// it is the one that may take a value.
func flagOf(cmd *cobra.Command, arg string) (f *pflag.Flag, hasValue bool) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	find := cmd.Flags().Lookup
	if !strings.HasPrefix(arg, "--") {
		for i := range len(name) {
			if cmd.Flag(name[i:i+1]) == nil && shorthand(cmd, name[i:i+1]) == nil {
				return nil, false
			}
		}
		return shorthand(cmd, name[len(name)-1:]), hasValue
	}
	if f = find(name); f == nil {
		f = cmd.InheritedFlags().Lookup(name)
	}
	return f, hasValue
}

func shorthand(cmd *cobra.Command, letter string) *pflag.Flag {
	if f := cmd.Flags().ShorthandLookup(letter); f != nil {
		return f
	}
	return cmd.InheritedFlags().ShorthandLookup(letter)
}

func parseFlags(cmd *cobra.Command, flags []string) (help bool, err error) {
	cmd.DisableFlagParsing = false
	defer func() { cmd.DisableFlagParsing = true }()
	if err := cmd.ParseFlags(flags); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return true, cmd.Help()
		}
		return false, usagef("explain: %w", err)
	}
	if help, err := cmd.Flags().GetBool("help"); err == nil && help {
		return true, cmd.Help()
	}
	return false, nil
}

// source is one input before it is read.
type source struct {
	name string // of a file
	text []byte
	err  error  // why the file could not be read
	rest bool   // there was more than explain.MaxInput
	end  []byte // of that, the last maxEnd bytes; nil when they were not read

	log  io.Reader // a long log, read while it is explained; text is empty then
	size int64     // of the log in bytes, 0 when it is not known
}

func (a *app) explain(ctx context.Context, args []string, recursive bool, v *verify.Verifier) error {
	if len(args) == 0 {
		if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return usagef("explain: nothing to explain: give a code, a text or a file, or paste into 'mailsrv explain -'")
		}
		args = []string{"-"}
	}
	recognised, unread, n, live := false, false, 0, exitDone
	inputs := joinWords(args)
	files := len(inputs) > 1 && slices.ContainsFunc(inputs, isPath)
	for _, arg := range inputs {
		for s := range a.sources(arg, recursive) {
			r := a.explainSource(s)
			if files && s.name == "" && !r.Recognised() && oneWord(s.text) { // beside files, a word that means nothing was meant as one
				s = source{name: arg, err: fs.ErrNotExist}
				r = a.explainSource(s)
			}
			recognised = recognised || r.Recognised()
			unread = unread || s.err != nil
			if v != nil {
				if err := a.probe(ctx, v, &r); err != nil {
					return err
				}
				if code := probed(&r); live != exitFailed && code != exitDone {
					live = code
				}
			}
			if err := a.showExplained(&r, n, len(inputs) > 1 || recursive); err != nil {
				return err
			}
			if r.Input.Kind != "" {
				n++
			}
		}
	}
	switch {
	case unread:
		return exit(exitUsage)
	case !recognised:
		return exit(exitFailed)
	}
	return exit(live)
}

// showExplained writes the n-th answer; of several each is headed by the name of
// its file.
func (a *app) showExplained(r *explain.Result, n int, several bool) error {
	if a.json {
		return report.JSON(a.stdout, r, false)
	}
	if r.Input.Kind == "" { // could not be read
		problem := r.Input.Error
		if a.lang == codes.Japanese {
			problem = errorJa(problem)
		}
		_, err := fmt.Fprintln(a.stderr, "mailsrv: explain: "+problem)
		return err
	}
	p := a.printer()
	if n > 0 {
		p.Blank()
	}
	if several && r.Input.Name != "" {
		p.Line(0, p.Faint(r.Input.Name))
	}
	p.Explain(r)
	return nil
}

// joinWords puts together what a person typed as one thing: a reply code with
// the status behind it, and plain words without quotation marks.
func joinWords(args []string) []string {
	if len(args) > 1 && slices.ContainsFunc(args, plainWord) && !slices.ContainsFunc(args, isPath) {
		var files, words []string
		for _, arg := range args {
			if looksLikeFile(arg) { // and is missing
				files = append(files, arg)
			} else {
				words = append(words, arg)
			}
		}
		return append(files, strings.Join(words, " "))
	}
	var out []string
	for i := 0; i < len(args); i++ {
		if i+1 < len(args) && explain.IsReply(args[i]) && explain.IsStatus(args[i+1]) && !isPath(args[i]) && !isPath(args[i+1]) {
			out = append(out, args[i]+" "+args[i+1])
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// plainWord tells a word of a sentence: letters, with the punctuation that goes
// with it, and no code or topic.
func plainWord(s string) bool {
	w := strings.Trim(s, ".,:;!?'\"()<>")
	if w == "" || w[0] == '-' || codes.Known(w) || strings.ToUpper(w) == w {
		return false
	}
	return strings.IndexFunc(w, func(r rune) bool {
		return r < 0x80 && !('a' <= r|0x20 && r|0x20 <= 'z') && r != '\'' && r != '-'
	}) < 0
}

func isPath(arg string) bool {
	if arg == "-" || strings.ContainsRune(arg, filepath.Separator) {
		return true
	}
	_, err := os.Lstat(arg)
	return err == nil
}

// sources yields the inputs that an argument stands for: standard input, a
// file, the files of a directory, or the text itself.
func (a *app) sources(arg string, recursive bool) func(yield func(source) bool) {
	return func(yield func(source) bool) {
		if arg == "-" {
			r, _, err := unpacked(a.stdin)
			if err != nil {
				yield(source{err: err})
				return
			}
			readMails("", r, 0, yield)
			return
		}
		if len(arg) > 1024 || strings.ContainsAny(arg, "\n\x00") {
			yield(textSource(arg))
			return
		}
		info, err := os.Stat(arg)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !looksLikeFile(arg), err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			yield(textSource(arg))
		case err != nil:
			yield(source{name: arg, err: err})
		case !info.IsDir():
			openSource(arg, yield)
		case !recursive:
			yield(source{name: arg, err: errDirectory})
		default:
			walkSources(arg, yield)
		}
	}
}

var errDirectory = errors.New("is a directory; --recursive reads the files in it")

// oneWord tells a text without blanks in it.
func oneWord(text []byte) bool { return len(text) > 0 && !bytes.ContainsAny(text, " \t\r\n") }

// looksLikeFile tells a name that can only be meant as a file, so that a missing
// one is an error and no riddle.
func looksLikeFile(arg string) bool {
	if strings.ContainsAny(arg, " \t<>@'\"") {
		return false
	}
	switch strings.ToLower(filepath.Ext(arg)) {
	case ".eml", ".msg", ".txt", ".log", ".mbox", ".json":
		return true
	}
	return filepath.IsAbs(arg) || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../")
}

func walkSources(dir string, yield func(source) bool) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			if !yield(source{name: path, err: err}) {
				return fs.SkipAll
			}
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		if !openSource(path, yield) {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		yield(source{name: dir, err: err})
	}
}

// readSource reads no more than explain.MaxInput, however long the input is, and
// of a longer one its end: the output of a program ends with what went wrong.
func readSource(name string, r io.Reader) source {
	b, err := io.ReadAll(io.LimitReader(r, explain.MaxInput+1))
	s := source{name: name, text: b, err: err}
	if len(b) > explain.MaxInput {
		s.text, s.rest = b[:explain.MaxInput], true
		s.end, s.err = readEnd(b[explain.MaxInput:], r)
	}
	return s
}

// maxEnd is how much is kept of the end of a long input.
const maxEnd = 64 << 10

// readEnd returns the last maxEnd bytes of begun and what follows it in r.
func readEnd(begun []byte, r io.Reader) ([]byte, error) {
	end := append(make([]byte, 0, 2*maxEnd), begun...)
	for {
		if len(end) > maxEnd {
			end = append(end[:0], end[len(end)-maxEnd:]...)
		}
		n, err := r.Read(end[len(end):cap(end)])
		end = end[:len(end)+n]
		if errors.Is(err, io.EOF) {
			return end[max(0, len(end)-maxEnd):], nil
		} else if err != nil {
			return nil, err
		}
	}
}

func textSource(arg string) source {
	s := source{text: []byte(arg)}
	if len(s.text) > explain.MaxInput {
		s.text, s.rest = s.text[:explain.MaxInput], true
	}
	return s
}

func (a *app) explainSource(s source) explain.Result {
	if s.log != nil {
		r, err := a.readLog(s)
		if err == nil {
			r.Input.Name = s.name
			return r
		}
		s.err = err
	}
	return s.explain(a.lang)
}

func (s source) explain(lang codes.Lang) explain.Result {
	if s.err != nil {
		err := s.err
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return explain.Result{Input: explain.Input{Name: s.name, Error: fmt.Sprintf("%s: %v", displayName(s.name), err)}}
	}
	r := explain.Explain(s.text, lang)
	if r.Input.Kind == explain.KindText && !r.Recognised() && len(s.end) > 0 {
		if e := explain.Explain(s.end, lang); e.Recognised() {
			r = e
		}
	}
	r.Input.Name = s.name
	switch {
	case s.end != nil:
		r.Input.Error = lang.Pick(
			fmt.Sprintf("The input is long: only its first %d MiB and its last %d KiB were read.", explain.MaxInput>>20, maxEnd>>10),
			fmt.Sprintf("入力が長いため、先頭の %d MiB と末尾の %d KiB だけを読みました。", explain.MaxInput>>20, maxEnd>>10))
	case s.rest:
		r.Input.Error = lang.Pick(
			fmt.Sprintf("The input is long: only its first %d MiB were read.", explain.MaxInput>>20),
			fmt.Sprintf("入力が長いため、先頭の %d MiB だけを読みました。", explain.MaxInput>>20))
	}
	return r
}

func displayName(name string) string {
	if name == "" {
		return "standard input"
	}
	return name
}
