package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/relaytest"
	"mailsrv/diag/report"
	"mailsrv/probes/smtp"
	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/policy"
)

func init() { commands = append(commands, relayTestCommand) }

// relayTestRun holds the flags of relay-test.
type relayTestRun struct {
	*app
	opt relaytest.Options

	from, to, helo         string
	client, user, listener string
}

func relayTestCommand(a *app) *cobra.Command {
	r := &relayTestRun{app: a}
	cmd := &cobra.Command{
		Use:   "relay-test [HOST[:PORT]]",
		Short: "Try whether a server passes on mail from strangers to strangers",
		Long: `Try whether a mail server passes on mail from strangers to strangers: the
classic open-relay tries and some more, each named with the server's reply.
Nothing is sent; every try ends with the answer to RCPT. Only with --deliver,
which names a mailbox of your own elsewhere, do the tries that are accepted
carry a message, and those that arrive there prove the relaying.

Test only servers that you run: others take it for an attack. Run it from
outside the server's own network, whose addresses it may trust.

Without HOST the rules of the configuration are asked offline, what they do with
one recipient and why; no server needs to run.

Exit code: 0 closed, 1 strangers can relay, 3 could not be found out. A question
to the rules ends with 0 whatever they answer.`,
		Example: `  mailsrv relay-test mail.example.com
  mailsrv relay-test 192.0.2.1:2525 --domain example.com --helo client.example.jp
  mailsrv relay-test mail.example.com --deliver me@example.jp
  mailsrv relay-test --client 203.0.113.9 --from a@example.org --to b@example.net
  mailsrv relay-test --config mailsrv.toml --client 192.168.1.7 --user taro --to b@example.net`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return r.online(cmd, args[0])
			}
			return r.offline(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.opt.Domain, "domain", "", "a local `DOMAIN` of the server (default: guessed from its name)")
	f.StringVar(&r.helo, "helo", "", "`NAME` to greet with (default: this machine's)")
	f.StringVar(&r.from, "from", "", "`ADDRESS` of the sender (default: nobody's; \"\" offline: the null sender)")
	f.StringVar(&r.to, "to", "", "`ADDRESS` of the recipient (default: nobody's)")
	f.StringVar(&r.opt.Deliver, "deliver", "", "send a message by each try that is accepted, to this `MAILBOX` of your own elsewhere")
	f.DurationVar(&r.opt.Timeout, "timeout", smtp.DefaultTimeout, "limit of each step")
	f.StringVar(&r.client, "client", "", "offline: `IP` address of the client (default: a stranger's)")
	f.StringVar(&r.user, "user", "", "offline: `NAME` that has logged in")
	f.StringVar(&r.listener, "listener", config.SMTP, "offline: service connected to, `smtp|submission|submissions`")
	return cmd
}

// only refuses flags that belong to the other way of asking.
func only(cmd *cobra.Command, why string, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return usagef("relay-test: --%s %s", name, why)
		}
	}
	return nil
}

func (r *relayTestRun) online(cmd *cobra.Command, host string) (err error) {
	if err := only(cmd, "asks the configuration offline: leave HOST out", "client", "user", "listener"); err != nil {
		return err
	}
	o := &r.opt
	if o.Host, o.Port, err = hostPort(host); err != nil {
		return err
	}
	o.Helo, o.From, o.To = r.helo, r.from, r.to
	if err := r.check(); err != nil {
		return err
	}
	if !r.quiet && !isLoopback(o.Host) {
		fmt.Fprintf(r.stderr, r.lang.Pick("relay-test: asking %s as a stranger would. Test only servers that you run.\n",
			"relay-test: 第三者の立場で %s に問い合わせます。自分が運用するサーバーだけを試験してください。\n"), o.Host)
	}
	rep := relaytest.Run(cmd.Context(), *o)
	if err := rep.Localize(r.lang); err != nil {
		return err
	}
	if r.json {
		if err := report.JSON(r.stdout, rep, true); err != nil {
			return err
		}
	} else {
		r.printer().RelayTest(rep)
	}
	switch {
	case rep.Summary.Fail > 0:
		return exit(exitFailed)
	case rep.Summary.Skip > 0:
		return exit(exitUnknown)
	}
	return nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (r *relayTestRun) check() error {
	o := &r.opt
	for flag, value := range map[string]string{"--from": o.From, "--to": o.To, "--deliver": o.Deliver} {
		if value == "" {
			continue
		}
		if a, rest, err := address.ParsePath("<" + value + ">"); err != nil || rest != "" || a.Domain == "" {
			return usagef("relay-test %s %q: must be an address such as taro@example.com", flag, value)
		}
	}
	if o.Deliver != "" && o.To != "" {
		return usagef("relay-test: --deliver is a recipient already; leave --to out")
	}
	if o.Domain != "" {
		d, err := config.ParseDomain(o.Domain)
		if err != nil {
			return usagef("relay-test --domain %q: %v", o.Domain, err)
		}
		o.Domain = d
	}
	if strings.ContainsAny(o.Helo, " \t\r\n\x00") {
		return usagef("relay-test --helo %q: must be one word", o.Helo)
	}
	if o.Timeout < 10*time.Millisecond {
		return usagef("relay-test --timeout %s: must be at least 10ms", o.Timeout)
	}
	return nil
}

// ruling is the document of the rules' answer.
type ruling struct {
	Verdict policy.Verdict `json:"verdict"`
	Reply   string         `json:"reply"`
	Rule    string         `json:"rule"`
	Rules   []policy.Trace `json:"rules"`
}

// offline asks the policy room what it does with one recipient.
func (r *relayTestRun) offline(cmd *cobra.Command) error {
	if err := only(cmd, "needs HOST, the server to ask", "domain", "deliver", "timeout"); err != nil {
		return err
	}
	if r.to == "" {
		return usagef("relay-test: name the HOST to test, or with --to a recipient to ask the configuration about")
	}
	cfg, err := r.loadConfig()
	if err != nil {
		return err
	}
	accounts := account.Open(cfg.DataDir, cfg.Domains)
	q, err := r.question(cmd, accounts)
	if err != nil {
		return err
	}
	d := policy.New(cfg, accounts).Decide(q)
	doc := ruling{d.Verdict, d.Reply(), d.Rule, d.Rules}
	if r.json {
		return report.JSON(r.stdout, doc, true)
	}
	r.printRuling(q, doc)
	return nil
}

func (r *relayTestRun) question(cmd *cobra.Command, accounts *account.Files) (q policy.Request, err error) {
	q = policy.Request{Client: relaytest.Stranger, Listener: r.listener, HELO: r.helo}
	if !slices.Contains([]string{config.SMTP, config.Submission, config.Submissions}, r.listener) {
		return q, usagef("relay-test --listener %q: must be smtp, submission or submissions", r.listener)
	}
	if r.client != "" {
		if q.Client, err = netip.ParseAddr(r.client); err != nil {
			return q, usagef("relay-test --client %q: is no IP address", r.client)
		}
	}
	if q.HELO == "" {
		q.HELO = relaytest.StrangerDomain
	}
	if r.user != "" {
		name, domain, ok := account.SplitAddress(r.user)
		if a, lerr := lookupUser(accounts, name, domain, ok); lerr != nil {
			return q, usagef("relay-test --user %q: %v", r.user, lerr)
		} else {
			q.User = a
		}
	}
	from := r.from
	if !cmd.Flags().Changed("from") {
		if from = "relay-test@" + relaytest.StrangerDomain; q.User != "" {
			from = q.User
		}
	}
	if q.Sender, err = path("--from", from); err != nil {
		return q, err
	}
	q.Recipient, err = path("--to", r.to)
	return q, err
}

// lookupUser is the address of the account that a login names.
func lookupUser(accounts *account.Files, name, domain string, whole bool) (string, error) {
	if !whole {
		all, _, err := accounts.List()
		if err != nil {
			return "", err
		}
		for _, a := range all {
			if a.Name == strings.ToLower(name) && a.Mailbox {
				return a.Address(), nil
			}
		}
		return "", account.ErrNotFound
	}
	a, err := accounts.Lookup(name, domain)
	if err == nil && !a.Mailbox {
		err = errors.New("is a forward, with which nobody logs in")
	}
	return a.Address(), err
}

func path(flag, s string) (address.Address, error) {
	a, rest, err := address.ParsePath("<" + s + ">")
	if err == nil && rest != "" {
		err = address.ErrSyntax
	}
	if err != nil {
		return a, usagef("relay-test %s %q %v", flag, s, err)
	}
	return a, nil
}

func (r *relayTestRun) printRuling(q policy.Request, d ruling) {
	pick := r.lang.Pick
	p := r.printer()
	who := pick("nobody logged in", "未ログイン")
	if q.User != "" {
		who = fmt.Sprintf(pick("%s logged in", "%s がログイン済み"), q.User)
	}
	p.Line(0, p.Faint(fmt.Sprintf(pick("client %s on %s, HELO %s, %s", "接続元 %s、%s、HELO %s、%s"), q.Client, q.Listener, q.HELO, who)))
	p.Line(0, p.Faint(fmt.Sprintf("MAIL FROM:<%s> RCPT TO:<%s>", q.Sender, q.Recipient)))
	p.Blank()
	for _, t := range d.Rules {
		mark := "-"
		switch {
		case t.Rule == d.Rule || t.Matched && t == d.Rules[len(d.Rules)-1]:
			mark = "→"
		case t.Matched:
			mark = "✓"
		}
		p.Labelled(2, mark+" "+pad(t.Rule, 20), 25, t.Why)
	}
	p.Blank()
	word := map[policy.Verdict]string{
		policy.Accept: pick("Accepted", "受け付けます"), policy.Reject: pick("Refused", "拒否します"), policy.Defer: pick("Put off", "後でもう一度と答えます"),
	}[d.Verdict]
	p.Line(0, p.Bold(word)+fmt.Sprintf(pick(" by the rule %s: ", "（規則 %s）: "), d.Rule)+d.Reply)
}
