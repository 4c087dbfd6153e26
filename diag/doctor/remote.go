package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
)

// Login is how to log in at the server of Options.Host.
type Login struct{ User, Password string }

// hostChecks look at a server elsewhere, whatever its maker, as it is seen from
// here. Relaying is tried only when it is asked for by name: others take it for
// an attack.
var hostChecks = []Check{
	{Name: "name", Limit: 30 * time.Second, Run: hostFound},
	hostCheck(talk.SMTP), hostCheck(talk.Submission), hostCheck(talk.POP3), hostCheck(talk.IMAP),
	{Name: "relay", Limit: 2 * time.Minute, After: []string{"name"}, Because: noHost, Asked: func(Options) bool { return false }, Run: hostRelay},
}

// noHost are the findings after which there is nobody to talk to.
var noHost = []string{"probe.name", "host.unreachable"}

// HostChecks lists the checks of a server elsewhere.
func HostChecks() []Check { return hostChecks }

func hostCheck(protocol string) Check {
	return Check{Name: protocol, Limit: 2 * time.Minute, After: []string{"name"}, Because: noHost,
		Run: func(ctx context.Context, c *Case) []diag.Finding { return c.hostTalk(ctx, protocol) }}
}

// usualPorts are where each protocol is offered, the one to prefer first.
var usualPorts = map[string][]int{
	talk.SMTP: {25}, talk.Submission: {587, 465}, talk.POP3: {995, 110}, talk.IMAP: {993, 143},
}

// remoteHost is what is seen of the server before anybody talks to it.
type remoteHost struct {
	once  sync.Once
	addrs []netip.Addr
	how   map[int]string // outcome by port; empty: it answers
}

// open are the ports of a protocol that answer.
func (e *remoteHost) open(protocol string) []int {
	return slices.DeleteFunc(slices.Clone(usualPorts[protocol]), func(p int) bool { return e.how[p] != "" })
}

// host looks the server up and knocks at its mail ports, once.
func (c *Case) host(ctx context.Context) *remoteHost {
	e := &c.remote
	e.once.Do(func() {
		e.addrs, e.how = c.hostAddrs(ctx), map[int]string{}
		if len(e.addrs) == 0 {
			return
		}
		var all []int
		for _, protocol := range talk.Protocols {
			all = append(all, usualPorts[protocol]...)
		}
		how := make([]string, len(all))
		parallel(len(all), func(i int) { how[i] = c.knock(ctx, e.addrs, all[i]) })
		for i, p := range all {
			e.how[p] = how[i]
		}
	})
	return e
}

// hostAddrs are its first address of each family.
func (c *Case) hostAddrs(ctx context.Context) []netip.Addr {
	if a, err := netip.ParseAddr(c.Host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	var all []netip.Addr
	if len(c.Resolvers) > 0 {
		client := &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}
		defer client.Close()
		for _, t := range []dns.Type{dns.A, dns.AAAA} {
			for _, r := range client.Lookup(ctx, c.Host, t).Records {
				all = append(all, r.Addr)
			}
		}
	} else {
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		all, _ = net.DefaultResolver.LookupNetIP(ctx, "ip", c.Host) // none is probe.name
	}
	var out []netip.Addr
	for _, four := range []bool{true, false} {
		if i := slices.IndexFunc(all, func(a netip.Addr) bool { return a.Unmap().Is4() == four }); i >= 0 {
			out = append(out, all[i].Unmap())
		}
	}
	return out
}

// knock connects and hangs up.
func (c *Case) knock(ctx context.Context, addrs []netip.Addr, number int) (how string) {
	for _, a := range addrs {
		one, cancel := context.WithTimeout(ctx, c.Timeout)
		conn, err := c.Dialer().DialContext(one, "tcp", hostPort(a, uint16(number)))
		cancel()
		if err == nil {
			_ = conn.Close()
			return ""
		}
		if how == "" || how == dial.Unreachable { // no way by one family says little
			how = dial.Outcome(err)
		}
	}
	return how
}

// hostFound says where the server is and what it offers.
func hostFound(ctx context.Context, c *Case) []diag.Finding {
	e := c.host(ctx)
	if len(e.addrs) == 0 {
		return c.hostProbe(ctx, talk.SMTP, 0, "name").Findings
	}
	var open, tries []string
	same := ""
	for _, protocol := range talk.Protocols {
		for _, p := range usualPorts[protocol] {
			how := e.how[p]
			if how == "" {
				open = append(open, fmt.Sprintf("%s %d", protocol, p))
				continue
			}
			tries = append(tries, fmt.Sprintf("%s %d %s", protocol, p, how))
			if same == "" || same == how {
				same = how
			} else {
				same = "mixed"
			}
		}
	}
	ev := diag.Evidence{"host": c.Host, "addresses": texts(e.addrs)}
	if len(open) == 0 {
		ev["outcome"], ev["tries"] = same, tries
		return []diag.Finding{diag.New("host.unreachable", c.Host, ev)}
	}
	ev["offers"] = open
	return []diag.Finding{diag.New("host.found", c.Host, ev), nothing}
}

// hostProbe has one conversation. Port 0 is the protocol's usual one.
func (c *Case) hostProbe(ctx context.Context, protocol string, number int, stop string) *talk.Report {
	opt := talk.Options{Protocol: protocol, Host: c.Host, Port: number, Timeout: c.Timeout, RootCAs: c.RootCAs, Dialer: c.Dialer(), StopAfter: stop, Now: c.Now}
	if len(c.Resolvers) > 0 {
		opt.Resolver = c.Resolvers[0].String()
	}
	if protocol != talk.SMTP { // other servers deliver there, users do not log in
		opt.User, opt.Password = c.Login.User, c.Login.Password
	}
	return talk.Run(ctx, opt)
}

// hostTalk talks at each port that answers.
func (c *Case) hostTalk(ctx context.Context, protocol string) []diag.Finding {
	e := c.host(ctx)
	if len(e.addrs) == 0 && c.runs("name") {
		return skipped(protocol, "probe.name")
	}
	ports := e.open(protocol)
	if len(ports) == 0 && !slices.Contains(c.Only, protocol) {
		return c.notOffered(protocol, e)
	}
	if len(ports) == 0 {
		ports = usualPorts[protocol][:1]
	}
	each := make([][]diag.Finding, len(ports))
	parallel(len(ports), func(i int) {
		r := c.hostProbe(ctx, protocol, ports[i], "")
		each[i] = r.Findings
		if left := c.leftOf(r); left != nil {
			each[i] = append(each[i], *left)
		}
	})
	return slices.Concat(each...)
}

// notOffered judges a protocol at which nobody answers while others do.
func (c *Case) notOffered(protocol string, e *remoteHost) []diag.Finding {
	var tries, numbers []string
	refused := true
	for _, p := range usualPorts[protocol] {
		tries = append(tries, fmt.Sprintf("%d %s", p, e.how[p]))
		numbers = append(numbers, strconv.Itoa(p))
		refused = refused && e.how[p] == dial.Refused
	}
	id := "host.unseen"
	if refused {
		id = "host.not_offered"
	}
	return []diag.Finding{diag.New(id, protocol+" "+c.Host, diag.Evidence{"host": c.Host, "protocol": protocol, "ports": numbers, "tries": tries}), nothing}
}

// leftOf warns of a certificate that ends soon.
func (c *Case) leftOf(r *talk.Report) *diag.Finding {
	if r.TLS == nil || r.TLS.Fault != "" || r.TLS.NotAfter.Sub(c.Now) >= soon {
		return nil
	}
	at := net.JoinHostPort(c.Host, strconv.Itoa(r.Target.Port))
	f := diag.New("cert.expires_soon", at, diag.Evidence{"file": at, "not_after": r.TLS.NotAfter.UTC().Format(time.RFC3339), "days": int(r.TLS.NotAfter.Sub(c.Now).Hours() / 24)})
	return &f
}

// hostRelay tries to relay as a stranger.
func hostRelay(ctx context.Context, c *Case) []diag.Finding {
	host := c.Host
	switch e := c.host(ctx); {
	case len(e.addrs) == 0 && c.runs("name"):
		return skipped("relay", "probe.name")
	case len(e.addrs) > 0 && len(c.Resolvers) > 0:
		host = e.addrs[0].String()
	}
	return relaytest.Run(ctx, relaytest.Options{Host: host, Timeout: c.Timeout, Dialer: c.Dialer()}).Findings
}

// onlyFirst leaves of findings that say the same of several ports of one server
// the first: one cause, one finding.
func onlyFirst(fs []diag.Finding) []diag.Finding {
	seen := map[string]bool{}
	return slices.DeleteFunc(fs, func(f diag.Finding) bool {
		if f.Status != diag.Fail && f.Status != diag.Warn {
			return false
		}
		key := fmt.Sprint(f.ID, f.Evidence["outcome"], f.Evidence["fault"], f.Evidence["names"], f.Evidence["not_after"])
		was := seen[key]
		seen[key] = true
		return was
	})
}
