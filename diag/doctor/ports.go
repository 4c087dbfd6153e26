package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/pop3"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

func init() {
	register(Check{Name: "ports", Stage: Local, Limit: 30 * time.Second, Run: needsData("ports", ports)})
}

func ports(ctx context.Context, c *Case) []diag.Finding {
	if len(c.Config.Listen) == 0 {
		return []diag.Finding{nothing} // config.no_listener
	}
	var out []diag.Finding
	if c.Running {
		out = c.runningPorts(ctx)
	} else {
		out = c.freePorts(ctx)
		out = append(out, diag.New("server.not_running", "", diag.Evidence{"data_dir": c.Config.DataDir, "default": c.Config.File == ""}))
	}
	return append(out, c.whoCanReach()...)
}

func loopback(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// freePorts tries whether the server could listen.
func (c *Case) freePorts(ctx context.Context) []diag.Finding {
	var out []diag.Finding
	all, err := port.Listeners(ctx)
	if err != nil {
		all = []port.Holder{} // known to be unknown
	}
	hidden := false
	for _, l := range slices.Concat(c.Config.Listen, c.Config.Web) {
		err := port.TryBind(ctx, l.Network(), l.Addr)
		if err == nil && len(sameFamily(all, l)) == 0 {
			continue
		}
		e := GatherListen(ctx, l.Service, l.Network(), l.Addr, err, all)
		out = append(out, JudgeListen(e))
		hidden = hidden || len(e.Holders) > 0 && e.Holders[0].Process.PID == 0
	}
	if hidden {
		out = append(out, diag.New("env.admin_missing", "ports", diag.Evidence{"what": "holder"}))
	}
	return out
}

// sameFamily are the holders that get the connections although binding
// succeeds: systems other than Linux let a server take one address while
// another has them all.
func sameFamily(all []port.Holder, l config.Listener) []port.Holder {
	return slices.DeleteFunc(port.Holding(all, l.Addr), func(h port.Holder) bool {
		return !l.IP().IsValid() || l.IP().Is4() != h.Local.Addr().Is4()
	})
}

// runningPorts tries whether the running server answers where it should.
func (c *Case) runningPorts(ctx context.Context) []diag.Finding {
	var out []diag.Finding
	if n := restarts(c.Server.Starts, c.Now); n > 3 {
		out = append(out, diag.New("server.restarting", "", diag.Evidence{"starts": n, "minutes": 10, "pid": c.Server.PID}))
	}
	silent := false
	for _, l := range c.Config.Listen {
		subject := l.Service + " " + l.Addr
		ev := diag.Evidence{"listener": l.Service, "address": l.Addr, "pid": c.Server.PID}
		// One that has just begun has not said yet where it listens.
		if c.RunErr == nil && !c.Server.Started.IsZero() && !c.announced(l) {
			out = append(out, diag.New("port.not_listening", subject, ev))
			continue
		}
		greeting, how := c.greet(ctx, l)
		if how != "" {
			ev["outcome"] = how
		}
		if greeting != "" {
			ev["greeting"] = greeting
		}
		switch how {
		case "", dial.Temporary, dial.Permanent, dial.InUse:
		case dial.Silent, dial.Drip, dial.Timeout:
			if said := c.poke(ctx, l); said != "" { // it only waits to be spoken to
				ev["greeting"] = said
				out = append(out, diag.New("port.wrong_service", subject, ev))
				continue
			}
			if !silent { // one cause: the server hangs
				out = append(out, diag.New("server.not_answering", subject, ev))
			}
			silent = true
		case dial.Garbage, dial.TLSExpected, dial.PlainExpected:
			out = append(out, diag.New("port.wrong_service", subject, ev))
		default:
			out = append(out, diag.New("port.not_listening", subject, ev))
		}
	}
	return out
}

func restarts(starts []time.Time, now time.Time) int {
	n := 0
	for _, t := range starts {
		if now.Sub(t) < 10*time.Minute {
			n++
		}
	}
	return n
}

// announced tells whether the running server says that it listens there.
func (c *Case) announced(l config.Listener) bool {
	return slices.ContainsFunc(c.Server.Listen, func(a store.RunAddr) bool {
		if a.Service != l.Service {
			return false
		}
		ap, err := netip.ParseAddrPort(a.Addr)
		if err != nil || int(ap.Port()) != l.Port() {
			return false
		}
		at := ap.Addr().Unmap()
		return !l.IP().IsValid() || at == l.IP() || at.IsUnspecified()
	})
}

// greet reads the greeting of a listener; how is empty when all is well.
func (c *Case) greet(ctx context.Context, l config.Listener) (greeting, how string) {
	addr := reachable(l, c.Addresses)
	if l.Service == config.POP3 || l.Service == config.POP3S {
		p, err := pop3.Dial(ctx, addr, pop3.Options{Timeout: c.Timeout, ImplicitTLS: l.ImplicitTLS(), ServerName: c.Config.Hostname})
		if err != nil {
			return "", pop3.As(err).How
		}
		defer p.Close()
		reply, err := p.Greeting()
		if err != nil {
			return reply.Raw, pop3.As(err).How
		}
		_, _ = p.Quit() // a courtesy
		return reply.Raw, ""
	}
	s, err := smtp.Dial(ctx, addr, smtp.Options{Timeout: c.Timeout, ImplicitTLS: l.ImplicitTLS(), ServerName: c.Config.Hostname, Helo: "localhost"})
	if err != nil {
		return "", smtp.As(err).How
	}
	defer s.Close()
	if _, err := s.Greeting(); err != nil {
		return lastLine(s.Transcript), smtp.As(err).How
	}
	_, _ = s.Quit() // a courtesy
	return lastLine(s.Transcript), ""
}

// poke speaks first to a port that does not greet, as no mail service wants to be
// spoken to, and returns what answers: a web server does. Empty when nothing does
// that could be told from a mail server that hangs.
func (c *Case) poke(ctx context.Context, l config.Listener) string {
	ctx, cancel := context.WithTimeout(ctx, min(c.Timeout, time.Second))
	defer cancel()
	conn, err := dial.System.DialContext(ctx, "tcp", reachable(l, c.Addresses))
	if err != nil {
		return ""
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write([]byte("QUIT\r\n\r\n")); err != nil {
		return ""
	}
	reply := make([]byte, 100)
	n, _ := conn.Read(reply)
	line, _, _ := strings.Cut(string(reply[:n]), "\n")
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "HTTP/") || strings.HasPrefix(line, "<") {
		return line
	}
	return ""
}

func lastLine(lines []smtp.Line) string {
	for _, l := range slices.Backward(lines) {
		if l.From == "S" {
			return l.Text
		}
	}
	return ""
}

// whoCanReach says what other machines can reach, and what they should.
func (c *Case) whoCanReach() []diag.Finding {
	var out []diag.Finding
	byService := map[string][]config.Listener{}
	var services []string
	for _, l := range c.Config.Listen {
		if byService[l.Service] == nil {
			services = append(services, l.Service)
		}
		byService[l.Service] = append(byService[l.Service], l)
	}
	var closed, outside []string
	for _, s := range services {
		ls := byService[s]
		if !slices.ContainsFunc(ls, func(l config.Listener) bool { return !l.Loopback() }) {
			closed = append(closed, s)
			continue
		}
		if only := onlyFamily(ls); only != "" && c.hasBothFamilies() {
			out = append(out, diag.New("port.one_family", s, diag.Evidence{"listener": s, "family": only, "address": ls[0].Addr}))
		}
		for _, l := range ls {
			if p := strconv.Itoa(l.Port()); !l.Loopback() && neededOutside(s) && !slices.Contains(outside, p) {
				outside = append(outside, p)
			}
		}
	}
	out = append(out, c.loopbackOnly(closed)...)
	if c.Stage >= Internet && len(outside) > 0 {
		out = append(out, diag.New("port.needed_outside", "", diag.Evidence{"ports": outside, "plain_pop3": byService[config.POP3] != nil && !slices.Contains(closed, config.POP3)}))
	}
	return out
}

// sameUse are services of which others need only one.
var sameUse = [][]string{{config.Submission, config.Submissions}, {config.POP3, config.POP3S}}

// loopbackOnly judges the services that only this machine can reach. From stage
// lan on that is a failure, unless others can do the same at another port, or
// this is the server for trying out.
func (c *Case) loopbackOnly(closed []string) []diag.Finding {
	tryingOut := c.Config.File == "" || c.LocalOnly()
	var missed, fine []string
	for _, s := range closed {
		open := slices.ContainsFunc(sameUse, func(group []string) bool {
			return slices.Contains(group, s) && slices.ContainsFunc(c.Config.Listen, func(l config.Listener) bool {
				return slices.Contains(group, l.Service) && !l.Loopback()
			})
		})
		if c.Stage >= LAN && !tryingOut && !open {
			missed = append(missed, s)
		} else {
			fine = append(fine, s)
		}
	}
	var out []diag.Finding
	for status, services := range map[diag.Status][]string{diag.Fail: missed, diag.Info: fine} {
		if len(services) > 0 {
			out = append(out, diag.New("port.loopback_only", strings.Join(services, ", "), diag.Evidence{"listeners": services}).As(status))
		}
	}
	return out
}

// neededOutside: POP3 in clear never has to be reached from outside.
func neededOutside(service string) bool { return service != config.POP3 }

// onlyFamily is "IPv4" or "IPv6" when a service listens on no other, without
// counting loopback.
func onlyFamily(ls []config.Listener) string {
	four, six := false, false
	for _, l := range ls {
		switch ip := l.IP(); {
		case l.Loopback():
		case !ip.IsValid():
			four, six = true, true
		case ip.Is4():
			four = true
		default:
			six = true
		}
	}
	switch {
	case four && !six:
		return "IPv4"
	case six && !four:
		return "IPv6"
	}
	return ""
}

func (c *Case) hasBothFamilies() bool {
	four, six := false, false
	for _, a := range c.Addresses {
		switch {
		case a.Is4():
			four = true
		case !a.IsLinkLocalUnicast():
			six = true
		}
	}
	return four && six
}
