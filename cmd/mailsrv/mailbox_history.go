package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	osuser "os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/mailbox"
	"mailsrv/diag/report"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

// historyRun holds the flags of mailbox history and undelete.
type historyRun struct {
	*app
	since string
	all   bool
}

func mailboxHistoryCommands(a *app) []*cobra.Command {
	h := &historyRun{app: a}
	history := &cobra.Command{
		Use:   "history USER",
		Short: "Say who deleted which messages, when and from where",
		Long: `Say who deleted which messages of a local mailbox, when and from where: by POP3
with the address of the client and the session as in the log, or by a command
and who ran it; and what was brought back. -v adds UID, Message-ID and session.
Deleted mail is kept for [mailbox] keep_deleted, and the last line says how much
room it takes. What other programs do to the files stands nowhere.`,
		Example: `  mailsrv mailbox history taro
  mailsrv mailbox history taro --since 2d --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return h.history(args[0]) },
	}
	undelete := &cobra.Command{
		Use:   "undelete USER [NUMBER|UID]...",
		Short: "Bring deleted messages back",
		Long: `Bring deleted messages of a local mailbox back, with the same UID: those named by
NUMBER or UID, or with --since all that were deleted since then. Without either
it lists what can be brought back. The server may run meanwhile; a POP3 session
that is open shows the messages at its next login. Mail programs that remember
UIDs take what they have fetched before for known.`,
		Example: `  mailsrv mailbox undelete taro
  mailsrv mailbox undelete taro 3 4
  mailsrv mailbox undelete taro --since 2h
  mailsrv mailbox undelete taro --all`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return h.undelete(cmd.Context(), args) },
	}
	for _, c := range []*cobra.Command{history, undelete} {
		c.Flags().StringVar(&h.since, "since", "", "only what was deleted since `WHEN`: 2h, 3d, 2026-01-31, 2026-01-31T09:30:00+09:00")
	}
	undelete.Flags().BoolVar(&h.all, "all", false, "bring back all that can be")
	return []*cobra.Command{history, undelete}
}

// openStore is the store of a configuration.
func openStore(cfg *config.Config) *store.Maildirs {
	s := store.New(cfg.DataDir)
	s.Keep = cfg.Mailbox.KeepDeleted
	return s
}

// by names a command and who runs it, for the history of a mailbox.
func by(command string) store.By {
	who := os.Getenv("SUDO_USER")
	if u, err := osuser.Current(); err == nil && who == "" {
		who = u.Username
	}
	if who != "" {
		command += ", run by " + mailbox.Clean(who)
	}
	return store.By{Client: command}
}

// localBox is the mailbox of a USER argument.
func (a *app) localBox(command, arg string) (*config.Config, store.Box, error) {
	cfg, err := a.loadForChange()
	if err != nil {
		return nil, store.Box{}, err
	}
	if len(cfg.Domains) == 0 {
		return nil, store.Box{}, usagef("mailbox %s: the configuration has no local domain", command)
	}
	u := user{app: a, cfg: cfg, accounts: account.Open(cfg.DataDir, cfg.Domains)}
	name, domain := u.address(arg)
	acc, err := u.accounts.Lookup(name, domain)
	if err != nil {
		return nil, store.Box{}, refused(name+"@"+domain, err)
	}
	if !acc.Mailbox {
		return nil, store.Box{}, usagef("%s has no mailbox: its mail goes to %s", acc.Address(), strings.Join(acc.Forward, ", "))
	}
	return cfg, store.Box{Name: acc.Name, Domain: acc.Domain}, nil
}

// sinceTime reads --since: a time, a day, or how long ago.
func sinceTime(s string, now time.Time) (time.Time, error) {
	for _, form := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	d, _, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, usagef("--since %q: must be how long ago (2h, 3d), a day (%s) or a time (%s)", s, now.Format(time.DateOnly), now.Format(time.RFC3339))
	}
	return now.Add(-d), nil
}

func (h *historyRun) read(command, arg string) (*config.Config, store.Box, *mailbox.History, time.Time, error) {
	var since time.Time
	if h.since != "" {
		var err error
		if since, err = sinceTime(h.since, time.Now()); err != nil {
			return nil, store.Box{}, nil, since, err
		}
	}
	cfg, box, err := h.localBox(command, arg)
	if err != nil {
		return nil, box, nil, since, err
	}
	hist, err := mailbox.ReadHistory(openStore(cfg), box)
	if err != nil {
		return nil, box, nil, since, &exitError{exitUnknown, fmt.Errorf("mailbox %s: %w", command, err)}
	}
	return cfg, box, hist, since, nil
}

// keptDoc says what deleted mail takes.
type keptDoc struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
}

func (h *historyRun) history(arg string) error {
	cfg, box, hist, since, err := h.read("history", arg)
	if err != nil {
		return err
	}
	events := []mailbox.Event{}
	for _, e := range hist.Events {
		if !e.Time.Before(since) {
			events = append(events, e)
		}
	}
	hist.Events = events
	keep := config.FormatDuration(cfg.Mailbox.KeepDeleted)
	if h.json {
		return report.JSON(h.stdout, struct {
			Mailbox string          `json:"mailbox"`
			Keep    string          `json:"keep_deleted"`
			Kept    keptDoc         `json:"kept"`
			Damaged int             `json:"damaged_lines,omitempty"`
			Events  []mailbox.Event `json:"events"`
		}{box.String(), keep, keptDoc{len(hist.Kept), hist.Octets}, hist.Damaged, events}, true)
	}
	h.printer().History(hist, keep)
	return nil
}

func (h *historyRun) undelete(ctx context.Context, args []string) error {
	words := args[1:]
	ways := 0
	for _, given := range []bool{len(words) > 0, h.since != "", h.all} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return usagef("mailbox undelete: numbers or UIDs, --since and --all exclude each other")
	}
	cfg, box, hist, since, err := h.read("undelete", args[0])
	if err != nil {
		return err
	}
	keep := config.FormatDuration(cfg.Mailbox.KeepDeleted)
	doc := struct {
		Mailbox  string          `json:"mailbox"`
		Keep     string          `json:"keep_deleted"`
		Restored *int            `json:"restored,omitempty"`
		Messages []mailbox.Event `json:"messages"`
	}{box.String(), keep, nil, hist.Kept}
	if doc.Messages == nil {
		doc.Messages = []mailbox.Event{}
	}
	if ways == 0 {
		if h.json {
			return report.JSON(h.stdout, doc, true)
		}
		p := h.printer()
		p.Kept(hist, keep)
		if len(hist.Kept) > 0 {
			fmt.Fprintln(p.W, p.Command(fmt.Sprintf(h.lang.Pick("Bring one back: mailsrv mailbox undelete %s NUMBER. All: --all.", "1 通を復元: mailsrv mailbox undelete %s 番号。すべて復元: --all。"), args[0])))
		}
		return nil
	}
	chosen := hist.Kept
	if !h.all {
		if chosen, err = hist.Select(words, since); err != nil {
			return &exitError{exitFailed, fmt.Errorf("mailbox undelete: %w", err)}
		}
	}
	if len(chosen) == 0 {
		return &exitError{exitFailed, errors.New("mailbox undelete: " + h.lang.Pick("no deleted message of that time can be brought back", "その期間に復元できる削除済みメールはありません"))}
	}
	if err := hist.Restore(ctx, chosen, by("mailsrv mailbox undelete")); err != nil {
		return &exitError{exitFailed, fmt.Errorf("mailbox undelete: %w", err)}
	}
	if h.json {
		n := len(chosen)
		doc.Restored, doc.Messages = &n, chosen
		return report.JSON(h.stdout, doc, true)
	}
	p := h.printer()
	if !h.quiet {
		p.Restored(chosen)
	}
	them := "them"
	if len(chosen) == 1 {
		them = "it"
	}
	p.Line(0, fmt.Sprintf(h.lang.Pick("%s brought back; a POP3 session that is open shows "+them+" at its next login.", "%sを復元しました。接続中の POP3 セッションには次回のログインから表示されます。"), p.Count(len(chosen))))
	return nil
}
