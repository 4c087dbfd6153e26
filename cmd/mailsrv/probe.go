package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/report"
	"mailsrv/probes/dns"
	"mailsrv/probes/smtp"
)

func init() { commands = append(commands, probeCommand) }

// probeRun holds the flags of probe.
type probeRun struct {
	*app
	opt           talk.Options
	caFile        string
	resolver      string
	passwordStdin bool
	strict        bool
}

func probeCommand(a *app) *cobra.Command {
	p := &probeRun{app: a}
	cmd := &cobra.Command{
		Use:   "probe smtp|submission|pop3|imap HOST[:PORT]",
		Short: "Talk to a mail server stage by stage, and say where it fails",
		Long: `Talk to a mail server stage by stage: name, connection, TLS, greeting,
capabilities, login, and say which stage fails, how, and what the server said.
When the connection itself fails, the other TLS mode and the usual ports are
tried, and the one that works is named.

No mail is sent without --send: a recipient is asked for with RCPT and then
forgotten. Messages are only looked at, never deleted or marked as read.
Passwords do not show in the transcript.

Exit code: 0 every stage went well, 1 a stage failed, 3 it could not be found
out, because this machine's network or resolver did not lead to the server.`,
		Example: `  mailsrv probe pop3 mail.example.com
  mailsrv probe submission mail.example.com:465
  mailsrv probe pop3 192.0.2.1:110 --user taro --password-stdin < password.txt
  mailsrv probe imap mail.example.com:993
  mailsrv probe smtp mail.example.com --from me@example.jp --to taro@example.com
  mailsrv probe smtp mail.example.com --from me@example.jp --to taro@example.com --send --throughput`,
		Args:      cobra.ExactArgs(2),
		ValidArgs: talk.Protocols,
		RunE:      func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.StringVar(&p.opt.TLS, "tls", talk.Auto, "`auto|none|starttls|implicit`; auto goes by the port number, elsewhere plain, with STARTTLS where offered")
	f.StringVar(&p.opt.User, "user", "", "log in as this `NAME`; the password comes with --password-stdin")
	f.BoolVar(&p.passwordStdin, "password-stdin", false, "read the password from standard input, one line")
	f.StringVar(&p.opt.From, "from", "", "smtp, submission: `ADDRESS` of the sender to try")
	f.StringVar(&p.opt.To, "to", "", "smtp, submission: `ADDRESS` of the recipient to try")
	f.BoolVar(&p.opt.Send, "send", false, "smtp, submission: really send a small message to --to")
	f.IntVar(&p.opt.Retr, "retr", 0, "pop3, imap: fetch message `N`")
	f.BoolVar(&p.opt.Throughput, "throughput", false, "measure how fast the message of --send (of 32 KiB then) or --retr goes")
	f.StringVar(&p.opt.Name, "name", "", "`HOST` name that the certificate must carry (default: the host talked to)")
	f.StringVar(&p.caFile, "ca-file", "", "PEM `FILE` with more trust roots")
	f.StringVar(&p.resolver, "resolver", "", "ask this resolver for the host's address, `ADDR[:PORT]`")
	f.DurationVar(&p.opt.Timeout, "timeout", smtp.DefaultTimeout, "limit of each stage")
	f.StringVar(&p.opt.StopAfter, "stop-after", "", "go no further than this `STAGE`")
	f.BoolVar(&p.opt.NoAlternatives, "no-alternatives", false, "do not try other ports and TLS modes")
	f.BoolVar(&p.strict, "strict", false, "exit 1 on a warning, too")
	return cmd
}

func (p *probeRun) run(ctx context.Context, args []string) error {
	if err := p.check(args); err != nil {
		return err
	}
	r := talk.Run(ctx, p.opt)
	if err := r.Localize(p.lang); err != nil {
		return err
	}
	if p.json {
		if err := report.JSON(p.stdout, r, true); err != nil {
			return err
		}
	} else {
		p.printer().Probe(r)
	}
	switch {
	case r.Summary.Fail > 0, p.strict && r.Summary.Warn > 0:
		return exit(exitFailed)
	case r.Summary.Warn == 0 && r.Summary.Skip > 0:
		return exit(exitUnknown)
	}
	return nil
}

// check reads arguments and flags into the options.
func (p *probeRun) check(args []string) (err error) {
	o := &p.opt
	if o.Protocol = args[0]; !slices.Contains(talk.Protocols, o.Protocol) {
		return usagef("probe %q: must be smtp, submission, pop3 or imap", args[0])
	}
	if o.Host, o.Port, err = hostPort(args[1]); err != nil {
		return err
	}
	if !slices.Contains([]string{talk.Auto, talk.None, talk.StartTLS, talk.Implicit}, o.TLS) {
		return usagef("--tls %q: must be auto, none, starttls or implicit", o.TLS)
	}
	stages := talk.StagesOf(o.Protocol)
	if o.StopAfter != "" && !slices.Contains(stages, o.StopAfter) {
		return usagef("--stop-after %q: must be one of %s", o.StopAfter, strings.Join(stages, ", "))
	}
	sends := o.Protocol == talk.SMTP || o.Protocol == talk.Submission
	switch {
	case o.Timeout < 10*time.Millisecond:
		return usagef("--timeout %s: must be at least 10ms", o.Timeout)
	case !sends && (o.From != "" || o.To != "" || o.Send):
		return usagef("--from, --to and --send are for smtp and submission")
	case sends && o.Retr != 0:
		return usagef("--retr is for pop3 and imap")
	case o.Send && o.To == "":
		return usagef("--send needs a recipient: --to ADDRESS")
	case o.Throughput && !o.Send && o.Retr == 0:
		return usagef("--throughput needs a message: --send, or --retr N")
	case o.Retr < 0:
		return usagef("--retr %d: messages are counted from 1", o.Retr)
	case o.Retr > 0 && o.User == "":
		return usagef("--retr needs a login: --user NAME --password-stdin")
	case p.passwordStdin != (o.User != ""):
		return usagef("--user and --password-stdin belong together")
	case strings.ContainsAny(o.User+o.From+o.To, "\r\n\x00"):
		return usagef("--user, --from and --to must not contain line ends")
	}
	if p.passwordStdin {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return usagef("--password-stdin: %w", err)
		}
		if o.Password = strings.TrimRight(line, "\r\n"); o.Password == "" {
			return usagef("--password-stdin: standard input holds no password")
		}
	}
	if p.resolver != "" {
		if o.Resolver, err = dns.ServerAddr(p.resolver); err != nil {
			return usagef("--resolver %q: %v", p.resolver, err)
		}
	}
	o.RootCAs, err = rootsFlag(p.caFile)
	return err
}

// hostPort reads HOST, HOST:PORT, an address or [address]:PORT. The port is 0
// when none is given.
func hostPort(s string) (host string, port int, err error) {
	if a, aerr := netip.ParseAddr(strings.Trim(s, "[]")); aerr == nil {
		return a.String(), 0, nil
	}
	host, number, err := net.SplitHostPort(s)
	if err != nil {
		host, number = s, ""
	}
	_, ipErr := netip.ParseAddr(host)
	if host == "" || ipErr != nil && strings.ContainsAny(host, " /@:") {
		return "", 0, usagef("%q: want HOST or HOST:PORT, with IPv6 addresses in brackets", s)
	}
	if number == "" {
		return host, 0, nil
	}
	if port, err = strconv.Atoi(number); err != nil || port < 1 || port > 65535 {
		return "", 0, usagef("%q: the port must be a number from 1 to 65535", s)
	}
	return host, port, nil
}
