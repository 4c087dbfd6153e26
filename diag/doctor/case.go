package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/host"
	"mailsrv/probes/port"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

// Case is the evidence that all checks share.
type Case struct {
	Options
	Config    *config.Config
	Problems  config.Problems
	Server    store.Run // what the server, or the last one, said about itself
	Running   bool
	RunErr    error
	Hidden    bool         // a server of another user runs on a data directory that is closed to this one
	Addresses []netip.Addr // of this machine, without loopback
	Accounts  *account.Files

	remote remoteHost // the server of Options.Host
	site   *site      // what another maker's mail server here is for; nil: mailsrv's configuration says

	selected []Check
	untried  int // accounts whose passwords were not tried for want of time

	mu    sync.Mutex
	found []diag.Finding // of the checks that have ended
}

func newCase(opt Options, selected []Check) *Case {
	if opt.Host != "" {
		opt.ConfigFile = "" // it is about this machine
	}
	c := &Case{Options: opt, selected: selected}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	c.Config, c.Problems = config.Load(opt.ConfigFile)
	if c.Readable() {
		c.Server, c.Running, c.RunErr = store.ReadRun(c.Config.DataDir)
	}
	c.Hidden = errors.Is(c.RunErr, fs.ErrPermission) && c.heldByOwner()
	c.Addresses, _ = host.Addresses() // none known counts as none; env.no_address says so
	if opt.addresses != nil {
		c.Addresses = *opt.addresses
	}
	if len(c.Config.Domains) > 0 {
		c.Accounts = account.Open(c.Config.DataDir, c.Config.Domains)
	}
	return c
}

// runs tells whether a check is among those that run.
func (c *Case) runs(name string) bool {
	return slices.ContainsFunc(c.selected, func(x Check) bool { return x.Name == name })
}

// unreadableConfig are the problems after which nothing of the file is known.
var unreadableConfig = []config.Kind{config.Syntax, config.NotFound, config.Unreadable}

// Readable tells whether the configuration could be read at all.
func (c *Case) Readable() bool { return c.because() == "" }

// because is the id of the finding that keeps the configuration from being
// known, or empty.
func (c *Case) because() string {
	for _, p := range c.Problems {
		if slices.Contains(unreadableConfig, p.Kind) {
			return "config." + string(p.Kind)
		}
	}
	return ""
}

// needsConfig wraps a check that has nothing to look at without a configuration.
func needsConfig(name string, run func(context.Context, *Case) []diag.Finding) func(context.Context, *Case) []diag.Finding {
	return func(ctx context.Context, c *Case) []diag.Finding {
		if id := c.because(); id != "" {
			return skipped(name, id)
		}
		return run(ctx, c)
	}
}

// needsData wraps a check that has to look into the data directory.
func needsData(name string, run func(context.Context, *Case) []diag.Finding) func(context.Context, *Case) []diag.Finding {
	return needsConfig(name, func(ctx context.Context, c *Case) []diag.Finding {
		if c.Hidden {
			return skipped(name, "env.admin_missing")
		}
		return run(ctx, c)
	})
}

// heldByOwner tells whether the owner of the data directory listens where the
// server should: then it is the server that runs, as another user than we are.
func (c *Case) heldByOwner() bool {
	info, err := os.Stat(c.Config.DataDir)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	all, err := port.Listeners(ctx)
	owner := ownerOf(info)
	return err == nil && owner != "" && slices.ContainsFunc(c.Config.Listen, func(l config.Listener) bool {
		return slices.ContainsFunc(port.Holding(all, l.Addr), func(h port.Holder) bool { return h.User == owner })
	})
}

func (c *Case) add(found []diag.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = append(c.found, found...)
}

// Has returns the first of the ids that an ended check has found as a fail or
// warn, or an empty string.
func (c *Case) Has(ids ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.found {
		if (f.Status == diag.Fail || f.Status == diag.Warn) && slices.Contains(ids, f.ID) {
			return f.ID
		}
	}
	return ""
}

func (c *Case) ignores() []Ignore {
	out := slices.Clone(c.Ignore)
	for _, i := range c.Config.Doctor.Ignore {
		out = append(out, Ignore(i))
	}
	return out
}

// okEvidence is what an ok finding shows.
func (c *Case) okEvidence(check string) diag.Evidence {
	switch check {
	case "accounts":
		if c.untried > 0 {
			return diag.Evidence{"untried": c.untried}
		}
	case "config":
		return diag.Evidence{"file": c.Config.File}
	case "ports":
		var at []string
		for _, l := range c.Config.Listen {
			at = append(at, l.Service+" "+l.Addr)
		}
		return diag.Evidence{"listen": at, "running": c.Running}
	}
	return nil
}

// LocalOnly tells whether no domain of this server needs DNS.
func (c *Case) LocalOnly() bool {
	return c.site == nil && !slices.ContainsFunc(c.domains(), needsDNS)
}

// needsDNS tells whether a local domain is a name in the DNS.
func needsDNS(domain string) bool {
	return domain != "localhost" && domain != "" && domain[0] != '['
}

// Own tells whether an address is one of this machine's.
func (c *Case) Own(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || slices.Contains(c.Addresses, a)
}

// Dialer opens connections: to this machine as they are, to others through the
// dial map if there is one.
func (c *Case) Dialer() dial.Dialer {
	if c.DialMap == nil {
		return dial.System
	}
	return ownOrMapped{c}
}

type ownOrMapped struct{ c *Case }

func (d ownOrMapped) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err == nil && d.c.Own(ap.Addr()) && !d.c.DialMap.Lists(ap.Addr()) {
		return dial.System.DialContext(ctx, network, addr)
	}
	return d.c.DialMap.DialContext(ctx, network, addr)
}

// reachable is an address at which this machine can reach its own listener,
// over loopback where possible.
func reachable(l config.Listener, own []netip.Addr) string {
	ip := l.IP()
	switch {
	case !ip.IsValid(), ip == netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip == netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(ip, uint16(l.Port())).String()
}

// listener returns the first listener of one of the services, in their order.
func (c *Case) listener(services ...string) (config.Listener, bool) {
	for _, s := range services {
		for _, l := range c.Config.Listen {
			if l.Service == s {
				return l, true
			}
		}
	}
	return config.Listener{}, false
}
