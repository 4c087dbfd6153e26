package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag/report"
	"mailsrv/server/config"
	"mailsrv/server/queue"
	"mailsrv/server/store"
	"mailsrv/server/store/journal"
)

func init() { commands = append(commands, queueCommand) }

// queueRun holds what the queue commands share.
type queueRun struct {
	*app
	cfg *config.Config
	all bool
}

func queueCommand(a *app) *cobra.Command {
	q := &queueRun{app: a}
	with := func(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) (err error) {
			if q.cfg, err = a.loadForChange(); err != nil {
				return err
			}
			for i := range args {
				args[i] = strings.ToUpper(args[i])
			}
			return do(cmd.Context(), args)
		}
	}
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Show what has not gone out yet and why, and act on it",
		Long: `Show what has not gone out yet and why, and act on it. The commands work while
the server runs and while it does not. ID is a message's name in the list, in
the log and in the reply to whoever sent it ("queued as ID").`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "list",
			Short: "List the messages that wait, and why they do",
			Args:  cobra.NoArgs,
			RunE:  with(func(context.Context, []string) error { return q.list() }),
		},
		&cobra.Command{
			Use:   "show ID",
			Short: "Show one message: each recipient, what went wrong, what helps",
			Args:  cobra.ExactArgs(1),
			RunE:  with(func(_ context.Context, args []string) error { return q.show(args[0]) }),
		},
	)
	for _, op := range queueOps {
		sub := &cobra.Command{
			Use:   string(op.op),
			Short: op.short,
			Long:  op.long,
			Args:  cobra.NoArgs,
		}
		if op.ids {
			sub.Use += " ID..."
			sub.Args = cobra.ArbitraryArgs
			sub.Flags().BoolVar(&q.all, "all", false, "all messages in the queue")
		}
		sub.RunE = with(func(ctx context.Context, args []string) error { return q.do(ctx, op, args) })
		cmd.AddCommand(sub)
	}
	return cmd
}

// queueOp is a command that changes something: its help, and what it says when
// it is done.
type queueOp struct {
	op          queue.Op
	ids         bool
	short, long string
	en, ja      string
	enIdle      string // where no server runs and that makes a difference
	jaIdle      string
}

var queueOps = []queueOp{
	{queue.RetryNow, true, "Try messages now, whatever the schedule says", "",
		"%s is tried now", "%s を今すぐ配送します", "%s is tried as soon as the server runs", "%s はサーバーが動き次第配送します"},
	{queue.Hold, true, "Keep messages without trying them", "Keep messages without trying them, until \"queue release\".",
		"%s is held; mailsrv queue release %[1]s lets it go", "%s を止めました。mailsrv queue release %[1]s で再開します", "", ""},
	{queue.Release, true, "Let held messages go; they are tried at once", "",
		"%s goes on", "%s を再開しました", "", ""},
	{queue.Remove, true, "Delete messages; nobody is told", "Delete messages that wait. Neither sender nor recipients are told.",
		"%s is deleted", "%s を削除しました", "", ""},
	{queue.Pause, false, "Switch delivery off; mail is still accepted", "Switch delivery off. Mail is still accepted and waits. It stays off over a restart.",
		"Delivery is off; mail is still accepted, and waits. mailsrv queue resume switches it on.", "配送を止めました。メールの受け付けは続き、溜まります。mailsrv queue resume で再開します。", "", ""},
	{queue.Resume, false, "Switch delivery on again", "",
		"Delivery is on.", "配送を再開しました。", "Delivery is on, as soon as the server runs.", "サーバーが動き次第、配送を再開します。"},
}

func (q *queueRun) do(ctx context.Context, op queueOp, ids []string) error {
	if op.ids && (len(ids) == 0) != q.all {
		return usagef("queue %s: name the messages by ID, or give --all for every one (mailsrv queue list shows them)", op.op)
	}
	if _, err := os.Stat(q.cfg.DataDir); err != nil {
		return usagef("data_dir: %w (no server has run here; see --config)", err)
	}
	_, running, err := store.ReadRun(q.cfg.DataDir)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	answers, err := queue.Execute(ctx, q.cfg.DataDir, queue.Command{Op: op.op, IDs: ids, All: q.all})
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("queue %s: %w", op.op, err)}
	}
	code := exitDone
	for _, a := range answers {
		if a.Result != queue.Done {
			code = exitFailed
		}
	}
	if q.json {
		if answers == nil {
			answers = []queue.Answer{}
		}
		if err := report.JSON(q.stdout, map[string]any{"op": op.op, "running": running, "answers": answers}, true); err != nil {
			return err
		}
		return exit(code)
	}
	en, ja := op.en, op.ja
	if !running && op.enIdle != "" {
		en, ja = op.enIdle, op.jaIdle
	}
	done := q.lang.Pick(en, ja)
	if !op.ids {
		fmt.Fprintln(q.stdout, done)
		return nil
	}
	later, err := q.later(running)
	if err != nil {
		return err
	}
	if later != "" && op.ids {
		fmt.Fprintln(q.stderr, "mailsrv: "+later)
	}
	if len(answers) == 0 && !q.quiet && later == "" {
		fmt.Fprintln(q.stdout, q.lang.Pick("The queue is empty.", "送信待ちのメールはありません。"))
	}
	for _, a := range answers {
		switch a.Result {
		case queue.Done:
			if e, _, err := queue.Show(q.cfg.DataDir, a.ID); err == nil && e.Held && op.op == queue.RetryNow {
				fmt.Fprintf(q.stdout, q.lang.Pick("%s is held and not tried: mailsrv queue release %[1]s\n", "%s は停止中のため配送しません: mailsrv queue release %[1]s\n"), a.ID)
			} else if !q.quiet {
				fmt.Fprintf(q.stdout, done+"\n", a.ID)
			}
		case queue.NotFound:
			fmt.Fprintf(q.stderr, q.lang.Pick("mailsrv: %s is not in the queue: delivered, returned or never there (mailsrv queue list)\n", "mailsrv: %s は送信待ちにありません。配送済みか、差出人へ返送済みか、もともとありません（mailsrv queue list）\n"), a.ID)
		case queue.Delivering:
			fmt.Fprintf(q.stderr, q.lang.Pick("mailsrv: %s is deleted, but an attempt was under way: some recipients may get it\n", "mailsrv: %s は削除しましたが、配送の途中でした。届く宛先があるかもしれません\n"), a.ID)
		default:
			fmt.Fprintf(q.stderr, "mailsrv: %s: %s\n", a.ID, a.Result)
		}
	}
	if op.op == queue.RetryNow || op.op == queue.Release {
		l, err := queue.List(q.cfg.DataDir)
		if err != nil {
			return &exitError{exitFailed, err}
		}
		if l.Paused {
			fmt.Fprintln(q.stdout, q.off())
		}
	}
	return exit(code)
}

// later says, where a server was killed, that its journal may hold more than
// the queue's folder does.
func (q *queueRun) later(running bool) (string, error) {
	if running {
		return "", nil
	}
	unsettled, err := journal.Unsettled(store.JournalDir(q.cfg.DataDir))
	if err != nil {
		return "", &exitError{exitFailed, err}
	}
	if !unsettled {
		return "", nil
	}
	return q.lang.Pick("The server did not end by itself: messages that only its journal holds are not seen here until it has started again (mailsrv serve).",
		"サーバーは正常に終了していません。ジャーナルにだけ残っているメールは、次に起動する（mailsrv serve）まで、ここには現れません。"), nil
}

func (q *queueRun) off() string {
	return q.lang.Pick("Delivery is switched off: mailsrv queue resume", "配送を止めています: mailsrv queue resume で再開します")
}

// shownRecipient and shownMessage are JSON's view: the envelope, and why in
// words.
type shownRecipient struct {
	queue.Recipient
	Why string `json:"why,omitempty"`
}

type shownMessage struct {
	*queue.Envelope
	Recipients []shownRecipient `json:"recipients"`
	File       string           `json:"file,omitempty"`
}

func (q *queueRun) shown(e *queue.Envelope, file string) shownMessage {
	m := shownMessage{Envelope: e, File: file}
	for _, r := range e.Recipients {
		m.Recipients = append(m.Recipients, shownRecipient{r, r.Why(q.lang)})
	}
	return m
}

func (q *queueRun) list() error {
	l, err := queue.List(q.cfg.DataDir)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	_, running, err := store.ReadRun(q.cfg.DataDir)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	later, err := q.later(running)
	if err != nil {
		return err
	}
	if q.json {
		doc := struct {
			Running   bool            `json:"running"`
			Unsettled bool            `json:"unsettled,omitempty"` // the journal may hold more
			Paused    bool            `json:"paused"`
			Messages  []shownMessage  `json:"messages"`
			Damaged   []queue.Damaged `json:"damaged,omitempty"`
		}{running, later != "", l.Paused, []shownMessage{}, l.Damaged}
		for _, e := range l.Messages {
			doc.Messages = append(doc.Messages, q.shown(e, ""))
		}
		return report.JSON(q.stdout, doc, true)
	}
	p := q.printer()
	switch n := len(l.Messages); {
	case n == 0 && later != "":
	case n == 0:
		p.Line(0, q.lang.Pick("The queue is empty: nothing waits to go out.", "送信待ちのメールはありません。"))
	case n == 1:
		p.Line(0, q.lang.Pick("1 message waits.", "送信待ちのメール: 1 通"))
	default:
		p.Line(0, fmt.Sprintf(q.lang.Pick("%d messages wait.", "送信待ちのメール: %d 通"), n))
	}
	if later != "" {
		p.Line(0, p.Bold(later))
	}
	if l.Paused {
		p.Line(0, p.Bold(q.off()))
	}
	if len(l.Messages) > 0 && !running {
		p.Line(0, p.Bold(q.lang.Pick("No server runs: nothing goes out until mailsrv serve does.", "サーバーが動いていないため、mailsrv serve まで何も送られません。")))
	}
	now := time.Now()
	for _, e := range l.Messages {
		p.Blank()
		q.message(p, e, now, false)
	}
	for _, d := range l.Damaged {
		p.Blank()
		p.Line(2, p.Bold(d.ID)+"  "+fmt.Sprintf(q.lang.Pick("is damaged and not tried: %s; its files lie in %s", "は壊れているため配送しません: %s。ファイルの場所: %s"), d.Why, d.Folder))
	}
	return nil
}

func (q *queueRun) show(id string) error {
	e, file, err := queue.Show(q.cfg.DataDir, id)
	if errors.Is(err, fs.ErrNotExist) {
		return &exitError{exitFailed, fmt.Errorf(q.lang.Pick("%s is not in the queue: delivered, returned or never there (mailsrv queue list)", "%s は送信待ちにありません。配送済みか、差出人へ返送済みか、もともとありません（mailsrv queue list）"), id)}
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if q.json {
		return report.JSON(q.stdout, q.shown(e, file), true)
	}
	p := q.printer()
	q.message(p, e, time.Now(), true)
	p.Blank()
	row := func(en, ja, text string) {
		if text != "" {
			p.Labelled(2, pad(q.lang.Pick(en, ja), 12), 15, text)
		}
	}
	row("accepted", "受付", e.Accepted.Local().Format(time.RFC3339))
	row("login", "ログイン", e.User)
	if !e.Warned.IsZero() {
		row("warned", "遅延を通知", e.Warned.Local().Format(time.RFC3339))
	}
	row("text", "本文", file)
	return nil
}

// message prints one message; long also says what helps.
func (q *queueRun) message(p *report.Printer, e *queue.Envelope, now time.Time, long bool) {
	pick := q.lang.Pick
	from := e.Sender
	switch {
	case e.Notice != "":
		from = pick("notice of this server", "このサーバーからの通知")
	case from == "":
		from = "<>"
	}
	line := fmt.Sprintf(pick("%s  from %s, %s, %s ago", "%s  差出人 %s、%s、%s前"), p.Bold(e.ID), from, octets(e.Size), span(now.Sub(e.Accepted)))
	if e.Held {
		line += p.Bold(fmt.Sprintf(pick("  held (mailsrv queue release %s)", "  停止中（mailsrv queue release %s で再開）"), e.ID))
	}
	p.Line(2, line)
	told := map[string]bool{}
	for _, alike := range groups(e.Recipients) {
		r := alike[0]
		p.Labelled(2, "", 2, q.recipients(alike, long)+q.state(e, r, now))
		if r.State == queue.Delivered {
			continue
		}
		if why := r.Why(q.lang); why != "" {
			p.Labelled(4, "", 4, why)
		}
		if r.Reply != "" {
			p.Labelled(4, "", 4, p.Faint(said(r, pick)))
		}
		if long && !told[r.Cause] {
			told[r.Cause] = true
			q.help(p, r)
		}
	}
}

// help says what a cause is and what to do about it.
func (q *queueRun) help(p *report.Printer, r queue.Recipient) {
	c := codes.CauseOf(r.Cause)
	if r.Why(q.lang) == "" || c == nil {
		return
	}
	t := c.Text(q.lang)
	p.Blank()
	p.Labelled(4, "", 4, t.Why)
	p.Steps(4, t.Fixes)
}

func said(r queue.Recipient, pick func(en, ja string) string) string {
	if r.Code == 0 || r.Host == "" {
		return r.Reply
	}
	return fmt.Sprintf(pick("%s [%s] said: %s", "%s [%s] の応答: %s"), r.Host, r.Addr, r.Reply)
}

// groups puts recipients together to whom the same has happened, the one that is
// tried next in front.
func groups(all []queue.Recipient) (out [][]queue.Recipient) {
next:
	for _, r := range all {
		for i, g := range out {
			f := g[0]
			if f.State == r.State && f.Tries == r.Tries && f.Cause == r.Cause && f.Reply == r.Reply && f.Addr == r.Addr {
				if out[i] = append(g, r); r.NextTry.Before(f.NextTry) {
					g := out[i]
					g[0], g[len(g)-1] = g[len(g)-1], g[0]
				}
				continue next
			}
		}
		out = append(out, []queue.Recipient{r})
	}
	return out
}

// mostNames is how many recipients of one group the list names.
const mostNames = 5

func (q *queueRun) recipients(rs []queue.Recipient, all bool) string {
	var names []string
	for i, r := range rs {
		if i == mostNames && !all {
			names = append(names, fmt.Sprintf(q.lang.Pick("and %d more", "ほか %d 件"), len(rs)-i))
			break
		}
		names = append(names, r.Address)
	}
	return fmt.Sprintf(q.lang.Pick("to %s: ", "宛先 %s: "), strings.Join(names, ", "))
}

// state says how far delivery to a recipient has come.
func (q *queueRun) state(e *queue.Envelope, r queue.Recipient, now time.Time) string {
	pick := q.lang.Pick
	switch {
	case r.State == queue.Delivered:
		return pick("delivered", "配送済み")
	case r.State == queue.Failed:
		return pick("failed; the sender has still to be told", "失敗。差出人への通知はこれからです")
	case r.Tries == 0 && e.Held:
		return pick("not tried", "未配送")
	case r.Tries == 0:
		return pick("not tried yet", "まだ配送していません")
	}
	tries := fmt.Sprintf(pick("tried %d times", "%d 回試行"), r.Tries)
	if r.Tries == 1 {
		tries = pick("tried once", "1 回試行")
	}
	tries += fmt.Sprintf(pick(", last %s ago", "、最後は %s前"), span(now.Sub(r.LastTry)))
	switch wait := r.NextTry.Sub(now); {
	case e.Held:
		return tries
	case wait <= 0:
		return tries + pick(", next now", "、次はまもなく")
	default:
		return tries + fmt.Sprintf(pick(", next in %s", "、次は %s後"), span(wait))
	}
}

// span is a duration for people: two units at most.
func span(d time.Duration) string {
	switch {
	case d < time.Hour:
		d = d.Round(time.Second)
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
	return config.FormatDuration(max(d, 0))
}

// octets is a size for people.
func octets(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%dB", n)
	case n < 1_000_000:
		return fmt.Sprintf("%dKB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1fMB", float64(n)/1e6)
}
