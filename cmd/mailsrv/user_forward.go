package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailsrv/diag/report"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

// runner makes a command's function of one that finds the accounts opened.
type runner func(do func(args []string) error) func(*cobra.Command, []string) error

func (u *user) forwardCommand(with runner) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forward NAME[@DOMAIN] TARGET...",
		Short: "Send mail for an address on to others, here or elsewhere",
		Long: `Send mail for an address on to others, here or on other servers.

NAME may be new: then it is an address without a mailbox, such as sales. Or it is
an account: then its mail no longer goes into its mailbox, except with --keep,
and --end makes it go there again. '*@DOMAIN' takes what a domain has no account
for.

What goes to other servers keeps its sender. Some of them refuse such mail,
because the sender's domain does not list this server (SPF); see docs/relay.md.`,
		Example: `  mailsrv user forward sales taro hanako
  mailsrv user forward taro taro@example.jp --keep
  mailsrv user forward taro --end
  mailsrv user forward '*@example.net' taro`,
		Args: cobra.MinimumNArgs(1),
		RunE: with(func(args []string) error { return u.forward(args[0], args[1:]) }),
	}
	cmd.Flags().BoolVar(&u.keep, "keep", false, "of an account: a copy stays in its mailbox")
	cmd.Flags().BoolVar(&u.end, "end", false, "of an account: its mail goes into its mailbox again")
	return cmd
}

func (u *user) quotaCommand(with runner) *cobra.Command {
	return &cobra.Command{
		Use:   "quota NAME[@DOMAIN] [SIZE|none|default]",
		Short: "Show or set how large a mailbox may become",
		Long: `Show how full a mailbox is, or set how large it may become: a size such as 500MB,
"none" for no limit, or "default" for what the configuration says
(mailbox.quota). At nine tenths its owner is told by mail; when it is full, new
mail is put off.`,
		Example: `  mailsrv user quota taro
  mailsrv user quota taro 2GB`,
		Args: cobra.RangeArgs(1, 2),
		RunE: with(func(args []string) error { return u.quota(args[0], args[1:]) }),
	}
}

func (u *user) langCommand(with runner) *cobra.Command {
	return &cobra.Command{
		Use:   "lang NAME[@DOMAIN] [en|ja|default]",
		Short: "Show or set in which language the server writes to an account",
		Long: `Show or set in which language the server writes to an account when its mail does
not arrive, is late, or its mailbox fills up: "en", "ja", or "default" for what
the configuration says (lang). An address without a setting of its own has that
of the account its mail goes to.`,
		Example: `  mailsrv user lang taro ja`,
		Args:    cobra.RangeArgs(1, 2),
		RunE:    with(func(args []string) error { return u.writtenTo(args[0], args[1:]) }),
	}
}

// writtenTo shows or sets the language of notices to an account.
func (u *user) writtenTo(arg string, to []string) error {
	name, domain := u.address(arg)
	address := name + "@" + domain
	if len(to) == 1 {
		lang := to[0]
		switch lang {
		case "en", "ja":
		case "default":
			lang = ""
		default:
			return usagef("user lang %s: %q must be en, ja or default", arg, lang)
		}
		if err := u.accounts.SetLang(name, domain, lang); err != nil {
			return refused(address, err)
		}
	}
	a, err := u.accounts.Lookup(name, domain)
	if err != nil {
		return refused(address, err)
	}
	if u.json {
		return report.JSON(u.stdout, struct {
			Address string `json:"address"`
			Lang    string `json:"lang"` // empty: that of the system
			Own     bool   `json:"own"`  // not the configuration's
		}{address, cmp.Or(a.Lang, u.cfg.Lang), a.Lang != ""}, true)
	}
	fmt.Fprintln(u.stdout, address+": "+u.language(a))
	return nil
}

// language says in which language an account is written to, and who says so.
func (u *user) language(a account.Account) string {
	pick := u.lang.Pick
	by := "lang"
	if a.Lang != "" {
		by = pick("set for this account", "このアカウントの設定")
	}
	name := pick("that of the server's system", "サーバーのシステムの言語")
	switch cmp.Or(a.Lang, u.cfg.Lang) {
	case "en":
		name = pick("English", "英語")
	case "ja":
		name = pick("Japanese", "日本語")
	}
	return fmt.Sprintf(pick("%s (%s)", "%s（%s）"), name, by)
}

func (u *user) forward(arg string, targets []string) error {
	name, domain := u.address(arg)
	address := name + "@" + domain
	switch {
	case u.end && (len(targets) > 0 || u.keep):
		return usagef("user forward --end: leave targets and --keep out")
	case !u.end && len(targets) == 0:
		return usagef("user forward %s: where to? Name one or several addresses, or --end", arg)
	}
	var away []string
	for i, t := range targets {
		_, td, whole := account.SplitAddress(t)
		if d, err := config.ParseDomain(td); whole && (err != nil || !u.cfg.Local(d)) {
			away = append(away, t) // elsewhere upper and lower case may differ
			continue
		}
		tn, td := u.address(t)
		targets[i] = tn + "@" + td
	}
	if len(away) > 0 && !u.cfg.Relay.Allow {
		return usagef("%s is not on this server, and relay.allow is false: this server sends nothing out; its domains: %s", away[0], strings.Join(u.cfg.Domains, ", "))
	}
	a, err := u.accounts.Lookup(name, domain)
	mailbox := err == nil && a.Mailbox
	pick := u.lang.Pick
	if !mailbox {
		if u.end {
			return usagef("%s is no account with a mailbox; mailsrv user remove takes a forward away", address)
		}
		if u.keep {
			return usagef("%s has no mailbox that could keep a copy; name the account that should have one as a target", address)
		}
		err = u.accounts.SetForward(name, domain, targets)
	} else {
		err = u.accounts.ForwardMailbox(name, domain, targets, u.keep)
	}
	if err != nil {
		for _, t := range targets { // it may be one of them that is wrong
			if tn, td, _ := account.SplitAddress(t); errors.Is(err, account.ErrNotFound) && u.cfg.Local(td) {
				if _, terr := u.accounts.Resolve(tn, td); errors.Is(terr, account.ErrNotFound) {
					return refused(t, account.ErrNotFound)
				}
			}
		}
		return refused(address, err)
	}
	if u.end {
		return u.done(address, "", fmt.Sprintf(pick("Mail for %s goes into its own mailbox again.", "%s 宛てのメールは、また自分のメールボックスに届きます。"), address))
	}
	text := fmt.Sprintf(pick("Mail for %s now goes to %s.", "%s 宛てのメールは %s に届きます。"), address, strings.Join(targets, ", "))
	switch {
	case u.keep:
		text += "\n" + pick("A copy stays in its mailbox.", "メールボックスにもコピーが残ります。")
	case mailbox:
		text += "\n" + pick("None of it stays in its mailbox (--keep keeps a copy, --end ends the forward).", "メールボックスには残りません（--keep でコピーを残し、--end で転送をやめます）。")
	}
	if len(away) > 0 {
		text += "\n" + pick("It is sent on with its sender; servers that check SPF may refuse it (docs/relay.md).", "差出人はそのままで送られるため、SPF を調べるサーバーには拒否されることがあります（docs/relay.md）。")
	}
	return u.done(address, "", text)
}

// quota shows or sets how large a mailbox may become.
func (u *user) quota(arg string, to []string) error {
	name, domain := u.address(arg)
	address := name + "@" + domain
	if len(to) == 1 {
		var octets int64
		switch to[0] {
		case "none", "unlimited", "0":
			octets = account.Unlimited
		case "default":
		default:
			n, likely, err := config.ParseSize(to[0])
			if err != nil {
				if likely != "" {
					likely = "; did you mean: " + likely
				}
				return usagef("user quota %s: %s is no size; write 500MB, 2GB, none, or default%s", arg, to[0], likely)
			}
			octets = n
		}
		if err := u.accounts.SetQuota(name, domain, octets); err != nil {
			return refused(address, err)
		}
	}
	a, err := u.accounts.Lookup(name, domain)
	if err == nil && !a.Mailbox {
		err = account.ErrNoMailbox
	}
	if err != nil {
		return refused(address, err)
	}
	limit := a.Limit(u.cfg.Mailbox.Quota)
	used, err := store.Octets(u.cfg.DataDir, store.Box{Name: name, Domain: domain})
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if u.json {
		return report.JSON(u.stdout, struct {
			Address string `json:"address"`
			Octets  int64  `json:"octets"`
			Quota   int64  `json:"quota"` // 0: no limit
			Own     bool   `json:"own"`   // not the configuration's
		}{address, used, limit, a.Quota != 0}, true)
	}
	fmt.Fprintln(u.stdout, address+": "+u.filled(a, used, limit))
	return nil
}

// filled says how full a mailbox is and who says how full it may be.
func (u *user) filled(a account.Account, used, limit int64) string {
	pick := u.lang.Pick
	by := pick("mailbox.quota", "mailbox.quota")
	if a.Quota != 0 {
		by = pick("set for this account", "このアカウントの設定")
	}
	if limit == 0 {
		return fmt.Sprintf(pick("%d octets, no limit (%s)", "%d オクテット、上限なし（%s）"), used, by)
	}
	return fmt.Sprintf(pick("%d octets of %s, %d %% (%s)", "%d オクテット / %s、%d %%（%s）"), used, config.FormatSize(limit), used*100/limit, by)
}
