package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/checkmx"
	"mailsrv/diag/doctor"
	"mailsrv/diag/relaytest"
	"mailsrv/diag/report"
	"mailsrv/probes/dns"
	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/policy"
	"mailsrv/server/store"
)

func init() { commands = append(commands, doctorCommand) }

// doctorRun holds the flags of doctor.
type doctorRun struct {
	*app
	stage, dialMap, caFile          string
	only, skip, spools              []string
	resolvers, expect, ignore       []string
	reach, send, domains            []string
	timeout                         time.Duration
	strict, list, fix, dryRun, doIt bool
	watch                           bool
	every                           time.Duration
	html, bundle                    string
	host                            hostFlags
}

func doctorCommand(a *app) *cobra.Command {
	d := &doctorRun{app: a}
	cmd := &cobra.Command{
		Use:   "doctor [CHECK...]",
		Short: "Examine this machine and its mailsrv, and say what to repair first",
		Long: `Examine this machine and its mailsrv: what keeps it from serving mail, why, and
what to do about it. The first failure is what to repair first.

The stages follow the order that finds faults fastest: "local" looks at the
server machine itself over 127.0.0.1, "lan" adds its own addresses, "internet"
adds DNS and mail hosts. Naming checks runs only these.

With --host a server somewhere is looked at as it is seen from here: its name,
the ports that answer, TLS, certificate, and with --user the login. Whether it
relays is tried only when the check "relay" is named.

On a machine with Postfix, Exim, Dovecot or sendmail these are examined, too.
Where one of them runs and mailsrv has no configuration, stage "internet" looks
at its host name, the domains it takes mail for, and its ways in and out.

Reading changes nothing. The check "loop" sends one message to an account of
its own on this server and removes both. --send-matrix tries recipients here and
elsewhere, only as far as the answer to RCPT. --fix repairs what is safe to
repair, after asking.

--html and --report make files to hand on; the archive of --report also has the
configuration, the end of the log and the state of the queue, but no password,
key, account or mail.

Exit code: 0 nothing failed, 1 a failure, 3 a named check could not be made.`,
		Example: `  mailsrv doctor --stage local
  mailsrv doctor ports loop
  mailsrv doctor locks --spool /var/spool/mail
  mailsrv doctor --send-matrix taro@example.jp --send-matrix hanako@example.net
  mailsrv doctor --fix --dry-run
  mailsrv doctor --host mail.example.com --user taro --password-stdin < password.txt
  mailsrv doctor --report mail-trouble.zip`,
		ValidArgs: checkNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.only = append(d.only, args...)
			if d.list {
				return d.printList()
			}
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.stage, "stage", "internet", "how far to look: `local|lan|internet`")
	d.host.register(f)
	f.StringSliceVar(&d.only, "only", nil, "run only this `check` (repeatable)")
	f.StringSliceVar(&d.skip, "skip", nil, "leave this `check` out (repeatable)")
	f.BoolVar(&d.list, "list", false, "list the checks")
	f.StringArrayVar(&d.spools, "spool", nil, "look at this mbox spool `DIR` instead of the system's usual places (repeatable)")
	f.StringArrayVar(&d.resolvers, "resolver", nil, "ask this resolver, `ADDR[:PORT]`, instead of the configured ones (repeatable)")
	f.StringVar(&d.dialMap, "dial-map", "", "`FILE` with lines \"ADDR:PORT TARGET\": where connections to other machines really go (tests and labs)")
	f.StringArrayVar(&d.domains, "domain", nil, "look at this `DOMAIN` instead of the configured ones (repeatable)")
	f.StringArrayVar(&d.expect, "expect-address", nil, "public `IP` address of this server (repeatable)")
	f.StringVar(&d.caFile, "ca-file", "", "PEM `FILE` with more trust roots")
	f.StringArrayVar(&d.reach, "reach-target", nil, "try outgoing port 25 with this `ADDR` instead of large providers (repeatable)")
	f.StringArrayVar(&d.send, "send-matrix", nil, "also try to send to this `ADDRESS`, as far as RCPT (repeatable)")
	f.DurationVar(&d.timeout, "timeout", doctor.DefaultTimeout, "limit of each network step")
	f.StringArrayVar(&d.ignore, "ignore", nil, "silence a finding this once, `ID=REASON` (repeatable)")
	f.BoolVar(&d.strict, "strict", false, "exit 1 on a warning, too")
	f.BoolVar(&d.fix, "fix", false, "repair what is safe to repair: stale locks, missing postmaster and abuse addresses, files open to others")
	f.BoolVar(&d.dryRun, "dry-run", false, "with --fix: only show what would be done")
	f.BoolVar(&d.doIt, "yes", false, "with --fix: do not ask")
	f.BoolVar(&d.watch, "watch", false, "look again and again, and show what has changed")
	f.DurationVar(&d.every, "every", 30*time.Second, "how often --watch looks")
	f.StringVar(&d.html, "html", "", "also write the report as a page, `FILE`")
	f.StringVar(&d.bundle, "report", "", "also write an archive for whoever helps, without secrets, `FILE.zip`")
	return cmd
}

func checkNames() []string {
	var out []string
	for _, c := range slices.Concat(doctor.Checks(), doctor.HostChecks()) {
		out = append(out, c.Name)
	}
	return out
}

// printList names the checks, the stage from which each runs, and what its ok
// means.
func (d *doctorRun) printList() error {
	type row struct {
		Name  string `json:"name"`
		Stage string `json:"stage"`
		OK    string `json:"ok"`
	}
	var rows []row
	for _, c := range doctor.Checks() {
		t := codes.FindingOf(c.Name + ".ok")
		rows = append(rows, row{c.Name, c.Stage.String(), d.lang.Pick(t.En.Meaning, t.Ja.Meaning)})
	}
	for _, c := range doctor.HostChecks() {
		t := codes.FindingOf("probe.ok")
		if id := hostOK[c.Name]; id != "" {
			t = codes.FindingOf(id)
		}
		rows = append(rows, row{c.Name, "host", d.lang.Pick(t.En.Meaning, t.Ja.Meaning)})
	}
	if d.json {
		return report.JSON(d.stdout, rows, true)
	}
	p := d.printer()
	for i, r := range rows {
		if r.Stage == "host" && rows[i-1].Stage != "host" {
			p.Blank()
			p.Line(0, d.lang.Pick("With --host:", "--host を付けたとき:"))
		}
		p.Labelled(0, r.Name, 14, d.lang.Pick("ok: ", "正常: ")+r.OK)
	}
	return nil
}

func (d *doctorRun) run(ctx context.Context) error {
	opt, err := d.options()
	if err != nil {
		return err
	}
	if d.watch {
		return d.watching(ctx)
	}
	bar := d.bar()
	opt.Progress = bar.show
	r, err := doctor.Run(ctx, opt)
	bar.clear()
	opt.Progress = nil
	if err != nil {
		return usagef("doctor: %w", err)
	}
	if err := diag.Localize(r.Findings, d.lang); err != nil {
		return err
	}
	var failed error
	if d.fix {
		if r, failed, err = d.repair(ctx, opt, r); err != nil {
			return err
		}
	}
	if err := d.print(r); err != nil {
		return err
	}
	if err := d.writeFiles(ctx, opt, r); err != nil {
		return &exitError{exitFailed, err}
	}
	if failed != nil {
		return &exitError{exitFailed, failed}
	}
	return exit(r.ExitCode(d.strict))
}

func (d *doctorRun) print(r *doctor.Report) error {
	if d.json {
		return report.JSON(d.stdout, r, !d.watch)
	}
	d.printer().Doctor(r, d.quiet)
	return nil
}

func (d *doctorRun) options() (opt doctor.Options, err error) {
	if d.timeout < 10*time.Millisecond {
		return opt, usagef("--timeout %s: must be at least 10ms", d.timeout)
	}
	switch {
	case d.watch && (d.fix || d.html != "" || d.bundle != ""):
		return opt, usagef("--watch only looks: it goes with neither --fix nor --html nor --report")
	case d.every < 100*time.Millisecond:
		return opt, usagef("--every %s: must be at least 100ms", d.every)
	}
	if (d.dryRun || d.doIt) && !d.fix {
		return opt, usagef("--dry-run and --yes belong to --fix")
	}
	login, err := d.host.check(d)
	if err != nil {
		return opt, err
	}
	opt = doctor.Options{
		Host: d.host.host, Login: login,
		ConfigFile: config.Find(d.configFile), Only: d.only, Skip: d.skip, Spools: d.spools, Timeout: d.timeout, Built: built(),
	}
	if opt.Stage, err = doctor.ParseStage(d.stage); err != nil {
		return opt, usagef("--stage %w", err)
	}
	for _, dir := range d.spools {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return opt, usagef("--spool %s: there is no such directory", dir)
		}
	}
	for _, name := range d.domains {
		domain, err := checkmx.DomainName(name)
		if err != nil {
			return opt, usagef("--domain %q: %v", name, err)
		}
		opt.Domains = append(opt.Domains, domain)
	}
	for _, s := range d.resolvers {
		addr, err := dns.ServerAddr(s)
		if err != nil {
			return opt, usagef("--resolver %q: %v", s, err)
		}
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return opt, usagef("--resolver %q: %v", s, err)
		}
		opt.Resolvers = append(opt.Resolvers, ap)
	}
	if opt.ReachTargets, err = d.reachTargets(); err != nil {
		return opt, err
	}
	for _, s := range d.send {
		a, rest, err := address.ParsePath("<" + s + ">")
		if err != nil || rest != "" || a.Domain == "" {
			return opt, usagef("--send-matrix %q: must be an address such as taro@example.com", s)
		}
		opt.SendMatrix = append(opt.SendMatrix, a.String())
	}
	if opt.Expect, err = addressFlags("--expect-address", d.expect); err != nil {
		return opt, err
	}
	if opt.DialMap, err = dialMapFlag(d.dialMap); err != nil {
		return opt, err
	}
	if opt.RootCAs, err = rootsFlag(d.caFile); err != nil {
		return opt, err
	}
	for _, s := range d.ignore {
		id, reason, ok := strings.Cut(s, "=")
		if !ok || reason == "" || codes.FindingOf(id) == nil {
			return opt, usagef("--ignore %q: want ID=REASON with the id of a finding", s)
		}
		opt.Ignore = append(opt.Ignore, doctor.Ignore{ID: id, Reason: reason})
	}
	cfg, _ := config.Load(opt.ConfigFile) // its problems are doctor's findings
	opt.Policy, opt.TempAccount = relayPolicy(cfg), tempAccount(cfg)
	return opt, nil
}

// built is when this program was built, as far as it is known.
func built() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
				return t
			}
		}
	}
	return time.Time{}
}

// relayPolicy asks the policy room what the server would answer.
func relayPolicy(cfg *config.Config) func(relaytest.Try) relaytest.Verdict {
	rules := policy.New(cfg, account.Open(cfg.DataDir, cfg.Domains))
	client := relaytest.Outside(cfg.Relay.Networks)
	return func(t relaytest.Try) relaytest.Verdict {
		from, _, err := address.ParsePath("<" + t.From + ">")
		to, rest, rerr := address.ParsePath("<" + t.To + ">")
		if err != nil || rerr != nil || rest != "" {
			return relaytest.Verdict{Result: relaytest.Refused, Reply: "501 5.1.3 Syntax"}
		}
		d := rules.Decide(policy.Request{Client: client, Listener: config.SMTP, HELO: relaytest.StrangerDomain, Sender: from, Recipient: to})
		v := relaytest.Verdict{Result: relaytest.Refused, Reply: d.Reply(), Rule: d.Rule}
		switch d.Verdict {
		case policy.Accept:
			v.Result = relaytest.Accepted
		case policy.Defer:
			v.Result = relaytest.Unclear
		}
		return v
	}
}

// tempAccount makes the account of the loop check, and removes it with its
// mailbox.
func tempAccount(cfg *config.Config) func(time.Duration) (doctor.TempAccount, error) {
	if len(cfg.Domains) == 0 {
		return nil
	}
	accounts := account.Open(cfg.DataDir, cfg.Domains)
	return func(ttl time.Duration) (doctor.TempAccount, error) {
		a, password, err := accounts.AddTemporary(ttl)
		if err != nil {
			return doctor.TempAccount{}, err
		}
		remove := func() error {
			if err := accounts.Remove(a.Name, a.Domain); err != nil {
				return err
			}
			return store.RemoveBox(cfg.DataDir, store.Box{Name: a.Name, Domain: a.Domain})
		}
		file := accounts.File(a.Name, a.Domain)
		if err := giveToOwnerOf(cfg.DataDir, filepath.Dir(file), file); err != nil {
			_ = remove() // the first error is the one to tell
			return doctor.TempAccount{}, err
		}
		return doctor.TempAccount{Address: a.Address(), Password: password, Remove: remove}, nil
	}
}

// repair shows what can be done, asks, does it, and examines again.
func (d *doctorRun) repair(ctx context.Context, opt doctor.Options, r *doctor.Report) (*doctor.Report, error, error) {
	cfg, _ := config.Load(opt.ConfigFile)
	plan := doctor.Plan(r, doctor.Fixers{ClearLock: clearLock(ctx, d.spools), Forward: func(addr, target string) error {
		name, domain, _ := account.SplitAddress(addr)
		accounts := account.Open(cfg.DataDir, cfg.Domains)
		if err := accounts.SetForward(name, domain, []string{target}); err != nil {
			return err
		}
		file := accounts.File(name, domain)
		return giveToOwnerOf(cfg.DataDir, filepath.Dir(file), file)
	}})
	if len(plan) == 0 || d.dryRun {
		r.Fixed = plan
		return r, nil, nil
	}
	if !d.doIt && !d.confirm(plan) {
		return r, nil, nil
	}
	after, failed := doctor.Apply(ctx, opt, plan)
	if after == nil {
		return nil, nil, failed
	}
	return after, failed, diag.Localize(after.Findings, d.lang)
}

// confirm shows the plan on standard error and reads yes or no.
func (d *doctorRun) confirm(plan []doctor.Fixed) bool {
	for _, p := range plan {
		fmt.Fprintln(d.stderr, "  "+p.Did)
	}
	fmt.Fprint(d.stderr, d.lang.Pick("Do this? [y/N] ", "実行しますか? [y/N] "))
	line, err := bufio.NewReader(d.stdin).ReadString('\n')
	fmt.Fprintln(d.stderr)
	answer := strings.ToLower(strings.TrimSpace(line))
	return (err == nil || line != "") && slices.Contains([]string{"y", "yes", "はい"}, answer)
}
