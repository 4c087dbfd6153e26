package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"

	"mailsrv/diag/report"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

func init() { commands = append(commands, userCommand) }

// roles are the addresses that RFC 2142 and RFC 5321 want of every domain with
// mail and a web site.
var roles = []string{"postmaster", "abuse", "hostmaster", "webmaster"}

// user holds what the user commands share.
type user struct {
	*app
	cfg      *config.Config
	accounts *account.Files

	passwordStdin, required, mail, keep, end bool
}

func userCommand(a *app) *cobra.Command {
	u := &user{app: a}
	// with opens the accounts before a command acts on its first argument.
	with := func(do func(args []string) error) func(*cobra.Command, []string) error {
		return func(_ *cobra.Command, args []string) error {
			cfg, err := a.loadForChange()
			if err != nil {
				return err
			}
			u.cfg, u.accounts = cfg, account.Open(cfg.DataDir, cfg.Domains)
			return do(args)
		}
	}
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make, show and change accounts",
		Long: `Make, show and change accounts. A running server sees every change at once.
NAME without @DOMAIN is one of the first domain of the configuration; '*@DOMAIN'
is every address of a domain that has no account of its own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	add := &cobra.Command{
		Use:   "add NAME[@DOMAIN]",
		Short: "Make an account",
		Long: `Make an account with a mailbox. The password is generated and shown once, or
read from standard input.

With --required the addresses that every domain must have (postmaster, abuse)
or should have (hostmaster, webmaster; RFC 2142) lead to the account, in every
local domain; the account may exist already.`,
		Example: `  mailsrv user add taro
  mailsrv user add taro@example.com --password-stdin < password.txt
  mailsrv user add --required taro`,
		Args: cobra.ExactArgs(1),
		RunE: with(func(args []string) error { return u.add(args[0]) }),
	}
	add.Flags().BoolVar(&u.passwordStdin, "password-stdin", false, "read the password from standard input, one line")
	add.Flags().BoolVar(&u.required, "required", false, "make the addresses that RFC 2142 asks for, as forwards to the account")
	passwd := &cobra.Command{
		Use:   "passwd NAME[@DOMAIN]",
		Short: "Change a password",
		Long:  "Change a password: to one that is generated and shown once, or to one from standard input.",
		Args:  cobra.ExactArgs(1),
		RunE:  with(func(args []string) error { return u.passwd(args[0]) }),
	}
	passwd.Flags().BoolVar(&u.passwordStdin, "password-stdin", false, "read the password from standard input, one line")
	remove := &cobra.Command{
		Use:   "remove NAME[@DOMAIN]",
		Short: "Remove an account; its mail stays unless --mail is given",
		Args:  cobra.ExactArgs(1),
		RunE:  with(func(args []string) error { return u.remove(args[0]) }),
	}
	remove.Flags().BoolVar(&u.mail, "mail", false, "delete its mail too")
	cmd.AddCommand(add, passwd, remove, u.forwardCommand(with), u.quotaCommand(with), u.langCommand(with),
		&cobra.Command{
			Use:   "list",
			Short: "List all accounts and where forwards lead",
			Args:  cobra.NoArgs,
			RunE:  with(func([]string) error { return u.list() }),
		},
		&cobra.Command{
			Use:   "show NAME[@DOMAIN]",
			Short: "Show an account: its mailbox, its other addresses, its files",
			Args:  cobra.ExactArgs(1),
			RunE:  with(func(args []string) error { return u.show(args[0]) }),
		},
	)
	return cmd
}

// address completes NAME[@DOMAIN].
func (u *user) address(arg string) (name, domain string) {
	name, domain, ok := account.SplitAddress(strings.ToLower(arg))
	if !ok {
		return name, u.cfg.Domains[0]
	}
	if name == "" { // "@example.com"
		name = account.CatchAll
	}
	if d, err := config.ParseDomain(domain); err == nil {
		domain = d
	}
	return name, domain
}

// refused makes an error of the accounts one of the command: what was asked
// for was wrong, or it could not be done.
func refused(address string, err error) error {
	switch {
	case errors.Is(err, account.ErrNotFound):
		return usagef("%s: there is no such account (mailsrv user list shows all)", address)
	case errors.Is(err, account.ErrExists):
		return usagef("%s: there is an account of that name already", address)
	}
	return usagef("%s: %w", address, err)
}

// password reads or generates one; shown is empty when the user knows it.
func (u *user) password() (password, shown string, err error) {
	if !u.passwordStdin {
		password = account.GeneratePassword()
		return password, password, nil
	}
	line, err := bufio.NewReader(io.LimitReader(u.stdin, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", "", usagef("--password-stdin: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", "", usagef("--password-stdin: standard input holds no password")
	}
	return line, "", nil
}

// done prints what a command did, with the password that was made.
func (u *user) done(address, password, text string) error {
	if u.json {
		doc := map[string]string{"address": address}
		if password != "" {
			doc["password"] = password
		}
		return report.JSON(u.stdout, doc, true)
	}
	p := u.printer()
	if !u.quiet {
		fmt.Fprintln(p.W, text)
	}
	if password != "" {
		fmt.Fprintln(p.W, "  "+u.lang.Pick("password  ", "パスワード  ")+p.Bold(password)+"  "+u.lang.Pick("(shown only now)", "（表示されるのは今だけです）"))
	}
	return nil
}

func (u *user) add(arg string) error {
	name, domain := u.address(arg)
	address := name + "@" + domain
	shown, made := "", true
	if _, err := u.accounts.Lookup(name, domain); u.required && err == nil {
		made = false
	} else {
		password, s, err := u.password()
		if err != nil {
			return err
		}
		if _, err := u.accounts.Add(name, domain, password); err != nil {
			return refused(address, err)
		}
		shown = s
	}
	text := ""
	if made {
		text = fmt.Sprintf(u.lang.Pick("Account %s is ready; its login name is %[1]s.", "アカウント %s を作りました。ログイン名は %[1]s です。"), address)
	}
	if u.required {
		added, err := u.addRoles(address)
		if err != nil {
			return err
		}
		if text != "" {
			text += "\n"
		}
		if len(added) == 0 {
			text += u.lang.Pick("All required addresses were there already.", "必要なアドレスはすべて揃っています。")
		} else {
			text += fmt.Sprintf(u.lang.Pick("Mail for these now goes to %s:", "次のアドレス宛ては %s に届きます:"), address) + "\n  " + strings.Join(added, "\n  ")
		}
	}
	if _, err := u.accounts.Resolve("postmaster", domain); errors.Is(err, account.ErrNotFound) {
		text += "\n" + fmt.Sprintf(u.lang.Pick("postmaster@%s, which every domain must have, leads nowhere yet: mailsrv user add --required %s", "どのドメインにも必要な postmaster@%s がまだありません: mailsrv user add --required %s"), domain, arg)
	}
	return u.done(address, shown, text)
}

// addRoles makes the role addresses that do not exist yet.
func (u *user) addRoles(target string) (added []string, err error) {
	for _, domain := range u.cfg.Domains {
		for _, role := range roles {
			_, err := u.accounts.Lookup(role, domain)
			if err == nil {
				continue
			}
			if errors.Is(err, account.ErrNotFound) {
				err = u.accounts.SetForward(role, domain, []string{target})
			}
			if err != nil {
				return added, refused(role+"@"+domain, err)
			}
			added = append(added, role+"@"+domain)
		}
	}
	return added, nil
}

func (u *user) passwd(arg string) error {
	name, domain := u.address(arg)
	password, shown, err := u.password()
	if err != nil {
		return err
	}
	if err := u.accounts.SetPassword(name, domain, password); err != nil {
		return refused(name+"@"+domain, err)
	}
	return u.done(name+"@"+domain, shown, fmt.Sprintf(u.lang.Pick("%s has a new password; it holds at once.", "%s のパスワードを変えました。すぐに有効です。"), name+"@"+domain))
}

func (u *user) remove(arg string) error {
	name, domain := u.address(arg)
	address, box := name+"@"+domain, store.Box{Name: name, Domain: domain}
	if err := u.accounts.Remove(name, domain); err != nil {
		return refused(address, err)
	}
	text := fmt.Sprintf(u.lang.Pick("%s is removed; its mail, if any, stays in %s", "%s を削除しました。メールがあれば %s に残っています。"), address, store.Dir(u.cfg.DataDir, box))
	if u.mail {
		if err := store.RemoveBox(u.cfg.DataDir, box); err != nil {
			return &exitError{exitFailed, fmt.Errorf("the account is removed, but not its mail: %w", err)}
		}
		text = fmt.Sprintf(u.lang.Pick("%s is removed, and its mail with it.", "%s をメールごと削除しました。"), address)
	}
	all, _, err := u.accounts.List()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if dead := leadingTo(all, address); len(dead) > 0 {
		text += "\n" + fmt.Sprintf(u.lang.Pick("These still lead to it and lead nowhere now: %s", "次のアドレスはまだここへ転送しており、行き先がなくなりました: %s"), strings.Join(dead, ", "))
	}
	return u.done(address, "", text)
}

// leadingTo lists the addresses that are forwarded to address.
func leadingTo(all []account.Account, address string) []string {
	var out []string
	for _, a := range all {
		if slices.Contains(a.Forward, address) {
			out = append(out, a.Address())
		}
	}
	return out
}

// listed is an account as JSON shows it.
type listed struct {
	Address string    `json:"address"`
	Mailbox bool      `json:"mailbox"`
	Forward []string  `json:"forward,omitempty"`
	Keep    bool      `json:"keep,omitempty"`
	Lang    string    `json:"lang,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

func listedOf(a account.Account) listed {
	return listed{a.Address(), a.Mailbox, a.Forward, a.Keep, a.Lang, a.Created, a.Expires}
}

func (u *user) list() error {
	all, damaged, err := u.accounts.List()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if u.json {
		doc := struct {
			Accounts []listed `json:"accounts"`
			Damaged  []string `json:"damaged,omitempty"`
		}{Accounts: []listed{}}
		for _, a := range all {
			doc.Accounts = append(doc.Accounts, listedOf(a))
		}
		for _, d := range damaged {
			doc.Damaged = append(doc.Damaged, d.Error())
		}
		return report.JSON(u.stdout, doc, true)
	}
	if len(all) == 0 && len(damaged) == 0 {
		fmt.Fprintln(u.stdout, u.lang.Pick("There is no account yet: mailsrv user add NAME makes one.", "アカウントはまだありません。mailsrv user add NAME で作れます。"))
		return nil
	}
	width := 0
	for _, a := range all {
		width = max(width, len(a.Address()))
	}
	for _, a := range all {
		kind := u.lang.Pick("mailbox", "メールボックス")
		switch {
		case a.Keep:
			kind += ", " + u.lang.Pick("and a copy", "コピー") + " -> " + strings.Join(a.Forward, ", ")
		case a.Mailbox && len(a.Forward) > 0:
			kind += ", " + u.lang.Pick("but all mail", "すべて転送") + " -> " + strings.Join(a.Forward, ", ")
		case len(a.Forward) > 0:
			kind = "-> " + strings.Join(a.Forward, ", ")
		case !a.Expires.IsZero():
			kind = u.lang.Pick("temporary, until ", "一時的、期限 ") + a.Expires.Local().Format(time.RFC3339)
		}
		fmt.Fprintln(u.stdout, pad(a.Address(), width)+"  "+kind)
	}
	for _, d := range damaged {
		fmt.Fprintln(u.stdout, d.Error())
	}
	return nil
}

func (u *user) show(arg string) error {
	name, domain := u.address(arg)
	a, err := u.accounts.Lookup(name, domain)
	if err != nil {
		return refused(name+"@"+domain, err)
	}
	all, _, err := u.accounts.List()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	box := store.Box{Name: a.Name, Domain: a.Domain}
	doc := struct {
		listed
		Aliases  []string `json:"aliases,omitempty"`
		File     string   `json:"file"`
		Mailbox  string   `json:"mailbox,omitempty"`
		Messages int      `json:"messages"`
		Octets   int64    `json:"octets"`
		Quota    int64    `json:"quota"` // 0: no limit
		Kept     keptDoc  `json:"kept"`  // deleted mail that can be brought back
	}{listed: listedOf(a), Aliases: leadingTo(all, a.Address()), File: u.accounts.File(name, domain)}
	if a.Mailbox {
		doc.Mailbox = store.Dir(u.cfg.DataDir, box)
		doc.Quota = a.Limit(u.cfg.Mailbox.Quota)
		m, err := openStore(u.cfg).Open(box, by("mailsrv user show"))
		if err != nil {
			return &exitError{exitFailed, err}
		}
		for _, msg := range m.Messages() {
			doc.Messages++
			doc.Octets += msg.Size
		}
		if err := m.Close(); err != nil {
			return &exitError{exitFailed, err}
		}
		kept, err := openStore(u.cfg).Kept(box)
		if err != nil {
			return &exitError{exitFailed, err}
		}
		for _, k := range kept {
			doc.Kept.Messages++
			doc.Kept.Octets += k.Size
		}
	}
	if u.json {
		return report.JSON(u.stdout, doc, true)
	}
	row := func(en, ja, text string) {
		if text != "" {
			fmt.Fprintln(u.stdout, pad(u.lang.Pick(en, ja), 16)+text)
		}
	}
	row("address", "アドレス", doc.Address)
	row("goes to", "転送先", strings.Join(doc.Forward, ", "))
	if doc.Keep {
		row("", "", u.lang.Pick("and a copy stays in the mailbox", "メールボックスにもコピーが残ります"))
	}
	row("also", "別のアドレス", strings.Join(doc.Aliases, ", "))
	row("created", "作成", doc.Created.Local().Format(time.RFC3339))
	if doc.Mailbox != "" {
		row("mailbox", "メールボックス", doc.Mailbox)
		row("quota", "容量", u.filled(a, doc.Octets, doc.Quota))
		row("language", "通知の言語", u.language(a))
		row("mail", "メール", fmt.Sprintf(u.lang.Pick("%d messages, %d octets", "%d 通、%d オクテット"), doc.Messages, doc.Octets))
		if doc.Kept.Messages > 0 {
			row("deleted", "削除済み", fmt.Sprintf(u.lang.Pick("%d messages, %d octets, kept for %s: mailsrv mailbox undelete", "%d 通、%d オクテット、%s の間保存: mailsrv mailbox undelete"), doc.Kept.Messages, doc.Kept.Octets, config.FormatDuration(u.cfg.Mailbox.KeepDeleted)))
		}
	}
	row("file", "ファイル", doc.File)
	return nil
}

// pad fills s with blanks to a width in columns; Japanese letters have two.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}
