package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailsrv/diag/mailbox"
	"mailsrv/diag/report"
	"mailsrv/probes/dial"
	"mailsrv/probes/imap"
	"mailsrv/probes/pop3"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

func init() { commands = append(commands, mailboxCommand) }

// mailboxRun holds the flags of mailbox list, show and delete.
type mailboxRun struct {
	*app
	server, caFile      string
	opt                 mailbox.Server
	passwordStdin       bool
	sizes, raw, confirm bool
	lines               int

	local   string        // address of the local mailbox
	running bool          // a server runs on its data directory
	keep    time.Duration // how long deleted mail of the local mailbox is kept
}

func mailboxCommand(a *app) *cobra.Command {
	m := &mailboxRun{app: a}
	cmd := &cobra.Command{
		Use:   "mailbox",
		Short: "List, show and delete single messages; check and repair mailbox files",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{
		Use:   "list [USER]",
		Short: "List the messages of a mailbox: size, sender, subject",
		Long: `List the messages of a mailbox with size, date, sender and subject, without
downloading them: of a local USER of this mailsrv, or with --server on any POP3
or IMAP server. A POP3 server that does not know TOP shows sizes only. A message on which the
server hangs or breaks the connection is marked: it is the one that mail
programs get stuck at.`,
		Example: `  mailsrv mailbox list taro
  mailsrv mailbox list --server mail.example.com --user taro --password-stdin < password.txt
  mailsrv mailbox list --server mail.example.com:993 --user taro --password-stdin < password.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.list(cmd.Context(), args) },
	}
	show := &cobra.Command{
		Use:   "show [USER] NUMBER|UID",
		Short: "Show the header of one message",
		Long: `Show the header of one message, without downloading it; --lines adds some lines of
its body, --raw writes all of it as it is. NUMBER counts from 1 as in list; the
UID never changes (a UID that is a number is written uid:123).`,
		Example: `  mailsrv mailbox show taro 3 --lines 20
  mailsrv mailbox show --server mail.example.com --user taro --password-stdin 3 < password.txt`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return m.show(cmd.Context(), args) },
	}
	del := &cobra.Command{
		Use:   "delete [USER] NUMBER|UID...",
		Short: "Delete messages that no mail program can fetch",
		Long: `Delete single messages, without downloading them. Without --yes it only shows
which ones it would delete.

A local mailbox may be in use meanwhile: a message is one file. A POP3 session
that is open keeps its list, and is told that the message is gone when it asks
for it. On a POP3 server nothing is deleted until the server has confirmed all;
on an IMAP server nothing else that is marked as deleted goes with them.`,
		Example: `  mailsrv mailbox delete taro 3 --yes
  mailsrv mailbox delete --server mail.example.com --user taro --password-stdin 3 --yes < password.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return m.delete(cmd.Context(), args) },
	}
	for _, c := range []*cobra.Command{list, show, del} {
		f := c.Flags()
		f.StringVar(&m.server, "server", "", "a mailbox on the POP3 or IMAP server `HOST[:PORT]` instead of a local one")
		f.StringVar(&m.opt.Protocol, "protocol", "", "with --server: `pop3|imap` (default imap on ports 143 and 993, else pop3)")
		f.StringVar(&m.opt.User, "user", "", "with --server: login `NAME`")
		f.BoolVar(&m.passwordStdin, "password-stdin", false, "with --server: read the password from standard input, one line")
		f.StringVar(&m.opt.TLS, "tls", mailbox.TLSAuto, "with --server: `auto|none|starttls|implicit`; auto is TLS on ports 993 and 995, elsewhere STARTTLS where offered")
		f.StringVar(&m.opt.Name, "name", "", "with --server: `HOST` name that the certificate must carry")
		f.StringVar(&m.caFile, "ca-file", "", "with --server: PEM `FILE` with more trust roots")
		f.DurationVar(&m.opt.Timeout, "timeout", pop3.DefaultTimeout, "with --server: limit of each step")
	}
	list.Flags().BoolVar(&m.sizes, "sizes", false, "sizes only, no headers")
	show.Flags().IntVar(&m.lines, "lines", 0, "also show the first `N` lines of the body")
	show.Flags().BoolVar(&m.raw, "raw", false, "write the whole message as it is")
	del.Flags().BoolVar(&m.confirm, "yes", false, "really delete")
	cmd.AddCommand(list, show, del)
	cmd.AddCommand(mailboxCheckCommands(a)...)
	cmd.AddCommand(mailboxHistoryCommands(a)...)
	return cmd
}

// open opens the mailbox that the arguments and flags name, and returns the
// arguments that are left.
func (m *mailboxRun) open(ctx context.Context, command string, args []string) (mailbox.Box, []string, error) {
	if m.server != "" {
		box, err := m.openRemote(ctx, command)
		return box, args, err
	}
	if m.opt.User != "" || m.passwordStdin {
		return nil, nil, usagef("mailbox %s: --user and --password-stdin belong to --server HOST; a local mailbox is named without them: mailsrv mailbox %[1]s USER", command)
	}
	if len(args) == 0 {
		return nil, nil, usagef("mailbox %s: name a local USER, or --server HOST --user NAME --password-stdin", command)
	}
	cfg, local, err := m.localBox(command, args[0])
	if err != nil {
		return nil, nil, err
	}
	m.local, m.keep = local.String(), cfg.Mailbox.KeepDeleted
	_, m.running, _ = store.ReadRun(cfg.DataDir) // only for a hint
	box, err := mailbox.OpenLocal(openStore(cfg), local, by("mailsrv mailbox "+command))
	if err != nil {
		return nil, nil, m.failed(command, err)
	}
	return box, args[1:], nil
}

func (m *mailboxRun) openRemote(ctx context.Context, command string) (box mailbox.Box, err error) {
	o := &m.opt
	if o.Host, o.Port, err = hostPort(m.server); err != nil {
		return nil, usagef("mailbox %s: --server %w", command, err)
	}
	switch {
	case !slices.Contains([]string{mailbox.TLSAuto, mailbox.TLSNone, mailbox.TLSStart, mailbox.TLSImplicit}, o.TLS):
		return nil, usagef("--tls %q: must be auto, none, starttls or implicit", o.TLS)
	case !slices.Contains([]string{"", mailbox.POP3, mailbox.IMAP}, o.Protocol):
		return nil, usagef("--protocol %q: must be pop3 or imap", o.Protocol)
	case o.User == "" || !m.passwordStdin:
		return nil, usagef("mailbox %s: --server needs --user NAME and --password-stdin", command)
	case o.Timeout < 10*time.Millisecond:
		return nil, usagef("--timeout %s: must be at least 10ms", o.Timeout)
	case strings.ContainsAny(o.User, "\r\n\x00"):
		return nil, usagef("--user must not contain line ends")
	}
	if o.RootCAs, err = rootsFlag(m.caFile); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(io.LimitReader(m.stdin, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return nil, usagef("--password-stdin: %w", err)
	}
	if o.Password = strings.TrimRight(line, "\r\n"); o.Password == "" {
		return nil, usagef("--password-stdin: standard input holds no password")
	}
	o.Protocol = o.Speaks()
	box, clear, err := mailbox.OpenServer(ctx, *o)
	if err != nil {
		return nil, m.failed(command, err)
	}
	if clear {
		m.warn("The password went over the network without encryption.", "パスワードは暗号化されずに送信されました。")
	}
	return box, nil
}

// warn says something on standard error.
func (m *mailboxRun) warn(en, ja string) {
	if !m.quiet {
		fmt.Fprintln(m.stderr, m.lang.Pick("warning: "+en, "警告: "+ja))
	}
}

// failed makes an error of the command: what was refused is 1, what could not
// be found out is 3.
func (m *mailboxRun) failed(command string, err error) error {
	code := exitFailed
	hint := ""
	stage, how, broken := "", "", false
	if e := pop3.As(err); e != nil {
		stage, how, broken = e.Stage, e.How, e.Err != nil
	}
	if e := imap.As(err); e != nil {
		stage, how, broken = e.Stage, e.How, e.Err != nil && !errors.Is(err, imap.ErrOthersMarked)
	}
	if broken || how == dial.Temporary || how == dial.InUse {
		code = exitUnknown
	}
	switch stage {
	case "", pop3.StageList, pop3.StageRetr, pop3.StageDele, pop3.StageQuit:
	default:
		hint = fmt.Sprintf(m.lang.Pick("\nTo find out why: mailsrv probe %s %s --user %s --password-stdin", "\n原因を調べるには: mailsrv probe %s %s --user %s --password-stdin"), m.opt.Speaks(), m.opt.Address(), mailbox.Clean(m.opt.User))
	}
	if errors.Is(err, mailbox.ErrUncertain) {
		code = exitUnknown
	}
	return &exitError{code, fmt.Errorf("mailbox %s: %w%s", command, err, hint)}
}

// mailboxDoc is the document of mailbox list and delete.
type mailboxDoc struct {
	Mailbox  string            `json:"mailbox"`          // address, or login name
	Server   string            `json:"server,omitempty"` // host:port
	Octets   int64             `json:"octets"`
	Headers  bool              `json:"headers"` // false: sizes only
	DryRun   bool              `json:"dry_run,omitempty"`
	Deleted  *int              `json:"deleted,omitempty"`
	Messages []mailbox.Message `json:"messages"`
}

func (m *mailboxRun) doc(ms []mailbox.Message) mailboxDoc {
	d := mailboxDoc{Mailbox: m.local, Messages: ms}
	if m.server != "" {
		d.Mailbox, d.Server = m.opt.User, m.opt.Address()
	}
	if d.Messages == nil {
		d.Messages = []mailbox.Message{}
	}
	for _, x := range ms {
		d.Octets += x.Size
	}
	return d
}

// heads fills in the headers, as far as the server knows how, with a progress
// line on a terminal.
func (m *mailboxRun) heads(ctx context.Context, box mailbox.Box, ms []mailbox.Message) (bool, error) {
	began, shown := time.Now(), false
	f, isFile := m.stderr.(*os.File)
	terminal := isFile && term.IsTerminal(int(f.Fd())) && !m.quiet
	err := mailbox.Heads(ctx, box, ms, func(done int) {
		if terminal && (shown || time.Since(began) > time.Second) {
			shown = true
			fmt.Fprintf(m.stderr, "\r%d/%d ", done, len(ms))
		}
	})
	if shown {
		fmt.Fprint(m.stderr, "\r\x1b[K")
	}
	if errors.Is(err, mailbox.ErrNoHead) {
		m.warn("the server does not know TOP: sizes only, no headers.", "サーバーが TOP に対応していないため、サイズのみ表示します。")
		return false, nil
	}
	return true, err
}

func (m *mailboxRun) list(ctx context.Context, args []string) error {
	box, rest, err := m.open(ctx, "list", args)
	if err != nil {
		return err
	}
	defer box.Close()
	if len(rest) > 0 {
		return usagef("mailbox list: %q: a local USER and --server exclude each other", rest[0])
	}
	ms, err := box.List(ctx)
	if err != nil {
		return m.failed("list", err)
	}
	headers := !m.sizes
	if headers {
		if headers, err = m.heads(ctx, box, ms); err != nil {
			return m.failed("list", err)
		}
	}
	doc := m.doc(ms)
	doc.Headers = headers
	if m.json {
		err = report.JSON(m.stdout, doc, true)
	} else {
		m.printer().Mailbox(ms, headers)
	}
	if err == nil && slices.ContainsFunc(ms, func(x mailbox.Message) bool { return x.Error != "" }) {
		return exit(exitFailed)
	}
	return err
}

func (m *mailboxRun) show(ctx context.Context, args []string) error {
	if m.lines < 0 {
		return usagef("--lines %d: must not be negative", m.lines)
	}
	box, rest, err := m.open(ctx, "show", args)
	if err != nil {
		return err
	}
	defer box.Close()
	if len(rest) != 1 {
		return usagef("mailbox show: name one message, by its number or id")
	}
	ms, err := m.find(ctx, box, "show", rest)
	if err != nil {
		return err
	}
	x := ms[0]
	if m.raw {
		if err := box.Copy(ctx, x, m.stdout); err != nil {
			return m.failed("show", err)
		}
		return nil
	}
	text, err := box.Head(ctx, x, m.lines)
	if errors.Is(err, mailbox.ErrNoHead) {
		m.warn("the server does not know TOP: its size only. --raw fetches the whole message.", "サーバーが TOP に対応していないため、サイズのみ表示します。--raw で全体を取得できます。")
		text, err = nil, nil
	}
	if err != nil {
		return m.failed("show", err)
	}
	head, body, _ := bytes.Cut(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	if m.json {
		return report.JSON(m.stdout, struct {
			mailbox.Message
			Header string `json:"header,omitempty"`
			Body   string `json:"body,omitempty"`
		}{x, string(head), string(body)}, true)
	}
	m.printer().Message(x, string(head), string(body))
	return nil
}

// find looks messages up.
func (m *mailboxRun) find(ctx context.Context, box mailbox.Box, command string, words []string) ([]mailbox.Message, error) {
	all, err := box.List(ctx)
	if err != nil {
		return nil, m.failed(command, err)
	}
	ms, err := mailbox.Find(all, words)
	if err != nil {
		return nil, usagef("mailbox %s: %w", command, err)
	}
	return ms, nil
}

func (m *mailboxRun) delete(ctx context.Context, args []string) error {
	box, rest, err := m.open(ctx, "delete", args)
	if err != nil {
		return err
	}
	defer box.Close()
	if len(rest) == 0 {
		return usagef("mailbox delete: name the messages, by number or id")
	}
	ms, err := m.find(ctx, box, "delete", rest)
	if err != nil {
		return err
	}
	deleted := 0
	doc := m.doc(ms)
	doc.DryRun, doc.Deleted = !m.confirm, &deleted
	if !m.confirm {
		if doc.Headers, err = m.heads(ctx, box, ms); err != nil {
			return m.failed("delete", err)
		}
	} else if err := box.Delete(ctx, ms); err != nil {
		return m.failed("delete", err)
	} else {
		deleted = len(ms)
	}
	if m.json {
		return report.JSON(m.stdout, doc, true)
	}
	p := m.printer()
	if !m.confirm {
		p.Mailbox(ms, doc.Headers)
		p.Line(0, fmt.Sprintf(m.lang.Pick("Nothing was deleted. With --yes: %s.", "まだ何も削除していません。--yes を付けると %s を削除します。"), p.Count(len(ms))))
		return nil
	}
	for _, x := range ms {
		p.Line(0, fmt.Sprintf(m.lang.Pick("Message %d (%d octets%s) is deleted.", "%d 番のメール (%d バイト%s) を削除しました。"), x.Number, x.Size, uidNote(x)))
	}
	if m.keep > 0 && !m.quiet {
		fmt.Fprintln(p.W, p.Faint(p.Command(fmt.Sprintf(m.lang.Pick("It can be brought back for %s: mailsrv mailbox undelete %s", "%s の間は復元できます: mailsrv mailbox undelete %s"), config.FormatDuration(m.keep), m.local))))
	}
	if m.running && !m.quiet {
		p.Line(0, p.Faint(m.lang.Pick("A session that is open now still lists it, and is told that it is gone.", "現在接続中のセッションには一覧に残り、取り出そうとすると削除済みと通知されます。")))
	}
	return nil
}

func uidNote(x mailbox.Message) string {
	if x.UID == "" {
		return ""
	}
	return ", " + mailbox.Clean(x.UID)
}
