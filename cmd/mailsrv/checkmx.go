package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/checkmx"
	"mailsrv/diag/report"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/server/config"
)

func init() { commands = append(commands, checkMXCommand) }

// checkMX holds the flags of check-mx.
type checkMX struct {
	*app
	dialMap, caFile, file, output   string
	resolver                        []string
	timeout                         time.Duration
	noSMTP, noDNSBL, strict, resume bool
	authoritative, watch            bool
	every                           time.Duration
	smtpPort, jobs                  int
	expect, only, skip              []string
	selectors, dnsbl                []string
}

func checkMXCommand(a *app) *cobra.Command {
	c := &checkMX{app: a}
	cmd := &cobra.Command{
		Use:   "check-mx DOMAIN...",
		Short: "Look at a domain as other mail servers see it",
		Long: `Look at a domain as other mail servers see it: its DNS, its mail hosts, its
sender policies. Says what is wrong, why, and which record or setting mends it.

No mail is sent: the mail hosts are asked up to RCPT, never DATA.`,
		Example: `  mailsrv check-mx example.jp
  mailsrv check-mx example.jp --expect-address 192.0.2.1
  mailsrv check-mx --file domains.txt --jobs 50 --no-smtp --json`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.resolver, "resolver", nil, "ask this resolver, `ADDR[:PORT]` (repeatable: the next one when it fails; default: the configured ones, then the system's)")
	f.BoolVar(&c.authoritative, "authoritative", false, "ask each zone's own name servers instead of a resolver's cache")
	f.BoolVar(&c.watch, "watch", false, "show how a change spreads over the name servers and resolvers, until all agree")
	f.DurationVar(&c.every, "every", 10*time.Second, "how often --watch looks")
	f.StringVar(&c.dialMap, "dial-map", "", "`FILE` with lines \"ADDR:PORT TARGET\": where connections really go (tests and labs)")
	f.StringVar(&c.caFile, "ca-file", "", "PEM `FILE` with more trust roots")
	f.DurationVar(&c.timeout, "timeout", 5*time.Second, "limit of each network step; a domain ends within six of them")
	f.BoolVar(&c.noSMTP, "no-smtp", false, "do not connect to the mail hosts")
	f.IntVar(&c.smtpPort, "smtp-port", 25, "`port` of the mail hosts")
	f.StringArrayVar(&c.expect, "expect-address", nil, "public `IP` address of this server, to which the MX must lead (repeatable)")
	f.StringArrayVar(&c.selectors, "dkim-selector", nil, "also try this DKIM `selector` (repeatable)")
	f.StringArrayVar(&c.dnsbl, "dnsbl", nil, "ask this block list instead of the usual ones, `ZONE` (repeatable)")
	f.BoolVar(&c.noDNSBL, "no-dnsbl", false, "ask no block lists")
	f.StringSliceVar(&c.only, "only", nil, "check only these `families`: "+strings.Join(checkmx.Families(), ", "))
	f.StringSliceVar(&c.skip, "skip", nil, "leave these `families` out")
	f.StringVar(&c.file, "file", "", "read domains from `FILE`, one a line (- for standard input)")
	f.IntVar(&c.jobs, "jobs", 8, "check so many domains at the same time")
	f.StringVar(&c.output, "output", "", "write one JSON document a line to `FILE` instead of the report")
	f.BoolVar(&c.resume, "resume", false, "go on with an --output file that broke off, behind the domains it has")
	f.BoolVar(&c.strict, "strict", false, "exit 1 on a warning, too")
	return cmd
}

func (c *checkMX) run(ctx context.Context, args []string) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	if len(args) == 0 && c.file == "" {
		return usagef("check-mx: name a domain, or --file with a list of domains")
	}
	if c.resume && c.output == "" {
		return usagef("--resume: goes with --output FILE, the file that broke off")
	}
	if c.watch {
		return c.watchOne(ctx, args, opt)
	}
	domains, readErr := c.domains(args)
	single := len(args) == 1 && c.file == ""
	show := c.show(single)
	done := 0
	if c.output != "" {
		var out *os.File
		out, done, err = openOutput(c.output, c.resume)
		if err != nil {
			return usagef("--output: %v", err)
		}
		defer out.Close()
		domains = skip(domains, done)
		show = func(r *checkmx.Report) error { return report.JSON(out, r, false) }
	}
	bar := c.bar(single)
	checker := checkmx.New(opt)
	defer checker.Close()
	failed, unknown, checked := false, false, done
	for r := range each(ctx, c.jobs, domains, checker.Check) {
		if err := r.Localize(c.lang); err != nil {
			return err
		}
		failed = failed || r.Summary.Fail > 0 || c.strict && r.Summary.Warn > 0
		unknown = unknown || r.Unknown()
		checked++
		if err := show(r); err != nil {
			return err
		}
		bar.step()
	}
	bar.clear()
	if err := *readErr; err != nil {
		return usagef("check-mx: --file %s: %v", c.file, err)
	}
	switch {
	case ctx.Err() != nil:
		return exit(exitUnknown)
	case checked == 0:
		return usagef("check-mx: --file %s names no domain", c.file)
	case failed:
		return exit(exitFailed)
	case unknown:
		return exit(exitUnknown)
	}
	return nil
}

// watchOne shows each round of a watch until the change has spread.
func (c *checkMX) watchOne(ctx context.Context, args []string, opt checkmx.Options) error {
	if len(args) != 1 || c.file != "" {
		return usagef("--watch: name one domain")
	}
	domain, err := checkmx.DomainName(args[0])
	if err != nil {
		return usagef("--watch: %v", err)
	}
	if c.every < 100*time.Millisecond {
		return usagef("--every %s: must be at least 100ms", c.every)
	}
	checker := checkmx.New(opt)
	defer checker.Close()
	printer := c.printer()
	spread := checker.Watch(ctx, domain, c.every, func(r *checkmx.Round) {
		if c.json {
			err = report.JSON(c.stdout, r, false)
			return
		}
		printer.Round(r)
	})
	if err != nil {
		return err
	}
	if !spread {
		return exit(exitUnknown)
	}
	return nil
}

// show prints one report to standard output.
func (c *checkMX) show(single bool) func(*checkmx.Report) error {
	printer := c.printer()
	return func(r *checkmx.Report) error {
		if c.json {
			return report.JSON(c.stdout, r, single)
		}
		printer.CheckMX(r)
		if !single {
			printer.Blank()
		}
		return nil
	}
}

func (c *checkMX) options() (checkmx.Options, error) {
	opt := checkmx.Options{Timeout: c.timeout, NoSMTP: c.noSMTP, SMTPPort: c.smtpPort, Authority: c.authoritative, Only: c.only, Skip: slices.Clone(c.skip),
		Selectors: c.selectors, DNSBL: c.dnsbl}
	if c.noDNSBL {
		opt.Skip = append(opt.Skip, "dnsbl")
	}
	for _, zone := range c.dnsbl {
		if checkmx.DeadList(zone) {
			return opt, usagef("--dnsbl %s: this list has been given up; asking it gives wrong answers", zone)
		}
	}
	if c.timeout < 10*time.Millisecond {
		return opt, usagef("--timeout %s: must be at least 10ms", c.timeout)
	}
	if c.smtpPort < 1 || c.smtpPort > 65535 {
		return opt, usagef("--smtp-port %d: must be 1 to 65535", c.smtpPort)
	}
	if c.jobs < 1 || c.jobs > 1000 {
		return opt, usagef("--jobs %d: must be 1 to 1000", c.jobs)
	}
	for flag, names := range map[string][]string{"--only": c.only, "--skip": c.skip} {
		for _, name := range names {
			if !slices.Contains(checkmx.Families(), name) {
				return opt, usagef("%s %q: must be one of %s", flag, name, strings.Join(checkmx.Families(), ", "))
			}
		}
	}
	for _, s := range c.expect {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return opt, usagef("--expect-address %q: is no IP address", s)
		}
		opt.Expect = append(opt.Expect, ip.Unmap())
	}
	if c.dialMap != "" {
		f, err := os.Open(c.dialMap)
		if err != nil {
			return opt, usagef("--dial-map: %v", err)
		}
		defer f.Close()
		if opt.Map, err = dial.ParseMap(f); err != nil {
			return opt, usagef("--dial-map %s: %v", c.dialMap, err)
		}
	}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return opt, usagef("--ca-file: %v", err)
		}
		if opt.RootCAs, err = x509.SystemCertPool(); err != nil {
			opt.RootCAs = x509.NewCertPool()
		}
		if !opt.RootCAs.AppendCertsFromPEM(pem) {
			return opt, usagef("--ca-file %s: holds no certificate in PEM form", c.caFile)
		}
	}
	return opt, c.resolvers(&opt)
}

func (c *checkMX) resolvers(opt *checkmx.Options) error {
	for _, r := range c.resolver {
		addr, err := dns.ServerAddr(r)
		if err != nil {
			return usagef("--resolver %q: %v", r, err)
		}
		opt.Resolvers = append(opt.Resolvers, addr)
	}
	// A mistake elsewhere in the configuration is for doctor to tell.
	if cfg, _ := config.Load(config.Find(c.configFile)); cfg != nil && len(opt.Resolvers) == 0 {
		for _, a := range cfg.DNS.Servers {
			opt.Resolvers = append(opt.Resolvers, a.String())
		}
	}
	if len(opt.Resolvers) > 0 {
		return nil
	}
	servers, err := dns.SystemServers()
	if err != nil {
		return &exitError{exitUnknown, fmt.Errorf("%w; name one with --resolver ADDR", err)}
	}
	opt.Resolvers = servers
	return nil
}
