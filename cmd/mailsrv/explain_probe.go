package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
	"mailsrv/diag/report"
	"mailsrv/diag/verify"
	"mailsrv/probes/dns"
)

// secondResolver is asked about a name in doubt where this machine has only one
// resolver of its own.
const secondResolver = "9.9.9.9:53"

// probeFlags are those of explain --probe.
type probeFlags struct {
	on                      bool
	server, dialMap, caFile string
	resolver                []string
	timeout                 time.Duration
}

func (f *probeFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.on, "probe", false, "check the causes live against the server that the message names; what is contacted is said first")
	fs.StringVar(&f.server, "server", "", "with --probe: the server of a message that names none, `[PROTOCOL:]HOST[:PORT]`")
	fs.StringArrayVar(&f.resolver, "resolver", nil, "with --probe: ask this resolver, `ADDR[:PORT]` (repeatable: names in doubt are asked for at each; default: the system's)")
	fs.StringVar(&f.dialMap, "dial-map", "", "with --probe: `FILE` with lines \"ADDR:PORT TARGET\": where connections really go (tests and labs)")
	fs.StringVar(&f.caFile, "ca-file", "", "with --probe: PEM `FILE` with more trust roots")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "with --probe: limit of each step")
}

// verifier is nil without --probe.
func (f *probeFlags) verifier(cmd *cobra.Command) (*verify.Verifier, error) {
	if !f.on {
		for _, name := range []string{"server", "resolver", "dial-map", "ca-file", "timeout"} {
			if cmd.Flags().Changed(name) {
				return nil, usagef("explain: --%s goes with --probe", name)
			}
		}
		return nil, nil
	}
	opt := verify.Options{Timeout: f.timeout}
	if f.timeout < 10*time.Millisecond {
		return nil, usagef("--timeout %s: must be at least 10ms", f.timeout)
	}
	for _, s := range f.resolver {
		addr, err := dns.ServerAddr(s)
		if err != nil {
			return nil, usagef("--resolver %q: %v", s, err)
		}
		opt.Resolvers = append(opt.Resolvers, addr)
	}
	switch {
	case len(opt.Resolvers) > 0:
		opt.Resolver = opt.Resolvers[0]
	default:
		opt.Resolvers, _ = dns.SystemServers() // none: names are asked for the system's way only
		if len(opt.Resolvers) == 1 {
			opt.Resolvers = append(opt.Resolvers, secondResolver)
		}
	}
	var err error
	if opt.Server, err = serverFlag(f.server); err != nil {
		return nil, err
	}
	if opt.Map, err = dialMapFlag(f.dialMap); err != nil {
		return nil, err
	}
	if opt.RootCAs, err = rootsFlag(f.caFile); err != nil {
		return nil, err
	}
	return verify.New(opt), nil
}

// serverFlag reads [PROTOCOL:]HOST[:PORT].
func serverFlag(s string) (out verify.Server, err error) {
	if s == "" {
		return out, nil
	}
	if protocol, rest, ok := strings.Cut(s, ":"); ok && slices.Contains(talk.Protocols, strings.ToLower(protocol)) {
		out.Protocol, s = strings.ToLower(protocol), rest
	}
	out.Host, out.Port, err = hostPort(s)
	if err != nil {
		err = usagef("--server: %v", err)
	}
	return out, err
}

// probe checks the causes of a result, having said what it contacts.
func (a *app) probe(ctx context.Context, v *verify.Verifier, r *explain.Result) error {
	if r.Input.Kind == "" || r.Input.Kind == explain.KindEmpty || r.Input.Kind == explain.KindBinary {
		return nil
	}
	plan := v.Plan(r)
	if len(r.Contacts) > 0 && !a.quiet {
		p := a.printer()
		if a.json {
			p = &report.Printer{W: a.stderr, Lang: a.lang}
		}
		p.Contacts(r.Contacts)
		if !a.json {
			p.Blank()
		}
	}
	if plan.Run(ctx); ctx.Err() != nil { // given up: what was heard is no verdict
		return exit(exitUnknown)
	}
	return verify.Localize(r, a.lang)
}

// probed is the exit code after a check: a failure was found, something could
// not be found out, or neither.
func probed(r *explain.Result) int {
	if r.Summary == nil {
		return exitDone
	}
	unknown := r.Summary.Skip > 0
	for _, d := range r.Diagnosis {
		if d.Verdict == explain.Confirmed {
			return exitFailed
		}
		unknown = unknown || d.Verdict == explain.Undetermined
	}
	switch {
	case r.Summary.Fail > 0:
		return exitFailed
	case unknown:
		return exitUnknown
	}
	return exitDone
}
