package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailsrv/diag/report"
	"mailsrv/server/account"
	"mailsrv/server/config"
)

func init() { commands = append(commands, domainCommand) }

// domain holds what the domain commands share.
type domain struct {
	*app
	cfg      *config.Config
	accounts *account.Files
}

func domainCommand(a *app) *cobra.Command {
	d := &domain{app: a}
	with := func(do func(args []string) error) func(*cobra.Command, []string) error {
		return func(_ *cobra.Command, args []string) error {
			cfg, err := a.loadForChange()
			if err != nil {
				return err
			}
			d.cfg, d.accounts = cfg, account.Open(cfg.DataDir, cfg.Domains)
			return do(args)
		}
	}
	cmd := &cobra.Command{
		Use:   "domain",
		Short: "Add, list and remove local domains",
		Long: `Add, list and remove the domains that mail is received for, beside those that
the configuration names. A running server sees every change at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "add DOMAIN",
			Short: "Receive mail for one more domain",
			Long: `Receive mail for one more domain. The addresses that every domain must have
(postmaster, abuse) or should have (hostmaster, webmaster) lead to the postmaster
of the main domain, if there is one. The domain's records in the DNS are another
matter: "mailsrv dns records DOMAIN" prints them.`,
			Example: `  mailsrv domain add example.net
  mailsrv user add taro@example.net
  mailsrv user forward '*@example.net' taro@example.com`,
			Args: cobra.ExactArgs(1),
			RunE: with(func(args []string) error { return d.add(args[0]) }),
		},
		&cobra.Command{
			Use:   "list",
			Short: "List the local domains, where they stand, and how many addresses each has",
			Args:  cobra.NoArgs,
			RunE:  with(func([]string) error { return d.list() }),
		},
		&cobra.Command{
			Use:   "remove DOMAIN",
			Short: "Receive no more mail for a domain",
			Long: `Receive no more mail for a domain that was added with "mailsrv domain add". Its
forwards go with it; accounts with a mailbox have to be removed before.`,
			Args: cobra.ExactArgs(1),
			RunE: with(func(args []string) error { return d.remove(args[0]) }),
		},
	)
	return cmd
}

func (d *domain) parse(arg string) (string, error) {
	if strings.TrimSpace(arg) == "" {
		return "", usagef("a domain needs a name, such as example.net")
	}
	name, err := config.ParseDomain(strings.TrimPrefix(arg, "@"))
	if err != nil {
		return "", usagef("%s: %w", arg, err)
	}
	return name, nil
}

// done prints what was done, or the domain as JSON.
func (d *domain) done(name, text string) error {
	if d.json {
		return report.JSON(d.stdout, map[string]string{"domain": name}, true)
	}
	if !d.quiet {
		fmt.Fprintln(d.stdout, text)
	}
	return nil
}

func (d *domain) add(arg string) error {
	name, err := d.parse(arg)
	if err != nil {
		return err
	}
	switch err := d.accounts.AddDomain(name); {
	case errors.Is(err, account.ErrExists):
		return usagef("%s is a local domain already", name)
	case err != nil:
		return &exitError{exitFailed, err}
	}
	pick := d.lang.Pick
	text := fmt.Sprintf(pick("Mail for %s is received now.", "%s 宛てのメールを受け取るようになりました。"), name)
	made, to, err := d.roles(name)
	switch {
	case err != nil:
		return &exitError{exitFailed, err}
	case to == "":
		text += "\n" + pick("It has no postmaster yet, which every domain must have: mailsrv user add --required NAME", "どのドメインにも必要な postmaster がまだありません: mailsrv user add --required NAME")
	case len(made) > 0:
		text += "\n" + fmt.Sprintf(pick("Mail for these goes to %s:", "次のアドレス宛ては %s に届きます:"), to) + "\n  " + strings.Join(made, "\n  ")
	}
	if !strings.HasPrefix(name, "[") {
		text += "\n" + pick("Its records in the DNS: ", "DNS に登録するレコード: ") + "mailsrv dns records " + name
	}
	return d.done(name, text)
}

// roles makes the addresses that a domain must or should have, as forwards to
// the postmaster of the main domain: to is empty when there is none.
func (d *domain) roles(name string) (made []string, to string, err error) {
	to = "postmaster@" + d.cfg.Domains[0]
	if _, err := d.accounts.Resolve("postmaster", d.cfg.Domains[0]); err != nil {
		return nil, "", nil
	}
	for _, role := range roles {
		if _, err := d.accounts.Lookup(role, name); err == nil {
			continue
		}
		if err := d.accounts.SetForward(role, name, []string{to}); err != nil {
			return made, to, err
		}
		made = append(made, role+"@"+name)
	}
	return made, to, nil
}

// listedDomain is a domain as JSON shows it.
type listedDomain struct {
	Domain    string `json:"domain"`
	Source    string `json:"source"` // "configuration" or "command"
	Mailboxes int    `json:"mailboxes"`
	Forwards  int    `json:"forwards"`
	CatchAll  bool   `json:"catch_all,omitempty"`
}

func (d *domain) list() error {
	all, _, err := d.accounts.List()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	out := []listedDomain{}
	for _, name := range d.cfg.Domains {
		l := listedDomain{Domain: name, Source: "configuration"}
		if slices.Contains(d.cfg.Added, name) {
			l.Source = "command"
		}
		for _, a := range all {
			switch {
			case a.Domain != name || !a.Expires.IsZero():
			case a.Mailbox:
				l.Mailboxes++
			default:
				l.Forwards++
				l.CatchAll = l.CatchAll || a.Name == account.CatchAll
			}
		}
		out = append(out, l)
	}
	if d.json {
		return report.JSON(d.stdout, map[string]any{"domains": out}, true)
	}
	pick := d.lang.Pick
	width := 0
	for _, l := range out {
		width = max(width, len(l.Domain))
	}
	for _, l := range out {
		source := pick("added with mailsrv domain", "mailsrv domain で追加")
		if l.Source == "configuration" {
			if source = d.cfg.File; source == "" {
				source = pick("built-in default", "組み込みの既定値")
			}
		}
		count := fmt.Sprintf(pick("mailboxes %d, forwards %d", "メールボックス %d、転送 %d"), l.Mailboxes, l.Forwards)
		if l.CatchAll {
			count += pick(", catch-all", "、キャッチオール")
		}
		fmt.Fprintf(d.stdout, "%s  %s  (%s)\n", pad(l.Domain, width), count, source)
	}
	return nil
}

func (d *domain) remove(arg string) error {
	name, err := d.parse(arg)
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(d.cfg.Domains, name):
		return usagef("%s is no local domain; these are: %s", name, strings.Join(d.cfg.Domains, ", "))
	case !slices.Contains(d.cfg.Added, name):
		return usagef("%s stands in the configuration: take it out of domains in %s", name, d.cfg.File)
	}
	all, damaged, err := d.accounts.List()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	var boxes, forwards []string
	for _, a := range all {
		switch {
		case a.Domain != name:
		case a.Mailbox:
			boxes = append(boxes, a.Address())
		default:
			forwards = append(forwards, a.Name)
		}
	}
	for _, b := range damaged {
		if strings.Contains(b.File, name) {
			return usagef("%s: repair or remove it first", b.Error())
		}
	}
	if len(boxes) > 0 {
		return usagef("%s still has mailboxes: %s; remove them first (mailsrv user remove)", name, strings.Join(boxes, ", "))
	}
	for _, f := range forwards {
		if err := d.accounts.Remove(f, name); err != nil && !errors.Is(err, account.ErrNotFound) {
			return &exitError{exitFailed, err}
		}
	}
	if err := d.accounts.RemoveDomain(name); err != nil && !errors.Is(err, account.ErrNotFound) {
		return &exitError{exitFailed, err}
	}
	pick := d.lang.Pick
	text := fmt.Sprintf(pick("Mail for %s is no longer received.", "%s 宛てのメールはもう受け取りません。"), name)
	var dead []string
	for _, a := range all {
		if a.Domain == name {
			continue
		}
		for _, target := range a.Forward {
			if strings.HasSuffix(target, "@"+name) {
				dead = append(dead, a.Address())
				break
			}
		}
	}
	if len(dead) > 0 {
		text += "\n" + fmt.Sprintf(pick("These lead to addresses in it, which are now looked for elsewhere: %s", "次のアドレスはこのドメインへ転送しており、今後は外のサーバーへ送られます: %s"), strings.Join(dead, ", "))
	}
	return d.done(name, text)
}
