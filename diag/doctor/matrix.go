package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/smtp"
	"mailsrv/server/config"
)

func init() {
	register(Check{
		Name: "matrix", Stage: Local, Limit: 3 * time.Minute, After: []string{"ports", "resolver", "accounts"}, Because: deadResolver,
		Asked: func(o Options) bool { return len(o.SendMatrix) > 0 }, Run: needsData("matrix", matrix),
	})
}

// Kinds of recipients. Which of them fail tells where the fault lies.
const (
	localBox  = "local"  // a mailbox here, by submission
	ownDomain = "own"    // postmaster of the own domain, by its MX
	remote    = "remote" // somebody elsewhere
)

// delivery is one try, as far as the reply to RCPT; nothing is sent.
type delivery struct {
	kind, to, via string
	addr          string
	stage         string // where it failed
	outcome       string // how; empty: accepted
	reply         string
	unknown       bool // nothing follows from it
}

func (d delivery) failed() bool { return d.outcome != "" && !d.unknown }

func (d delivery) String() string {
	how := "ok"
	if d.outcome != "" {
		how = strings.TrimSpace(strings.Join([]string{d.stage, d.outcome, d.reply}, " "))
	}
	via := d.via
	if d.addr != "" {
		via = strings.TrimSpace(via + " " + d.addr)
	}
	return fmt.Sprintf("%s (%s): %s", d.to, via, how)
}

// matrix tries the recipients of the old help text one by one: all fail, only
// those elsewhere, only the own ones, a single one.
func matrix(ctx context.Context, c *Case) []diag.Finding {
	domain := ""
	if i := slices.IndexFunc(c.Config.Domains, needsDNS); i >= 0 {
		domain = c.Config.Domains[i]
	}
	p := &poster{c: c, client: &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}}
	defer p.client.Close()
	if domain != "" {
		p.from = "postmaster@" + domain
	}
	jobs := []func() (delivery, bool){func() (delivery, bool) { return p.submit(ctx) }}
	if domain != "" {
		jobs = append(jobs, func() (delivery, bool) { return p.byMX(ctx, ownDomain, "postmaster@"+domain), true })
	}
	for _, to := range c.SendMatrix {
		jobs = append(jobs, func() (delivery, bool) {
			if c.Config.Relay.SmartHost != "" {
				return p.bySmartHost(ctx, to), true
			}
			return p.byMX(ctx, remote, to), true
		})
	}
	all := make([]delivery, len(jobs))
	made := make([]bool, len(jobs))
	parallel(len(jobs), func(i int) { all[i], made[i] = jobs[i]() })
	var tried []delivery
	for i, d := range all {
		if made[i] {
			tried = append(tried, d)
		}
	}
	return judgeMatrix(tried)
}

// judgeMatrix says where the fault lies by who fails.
func judgeMatrix(all []delivery) []diag.Finding {
	var lines []string
	of := map[string][]delivery{}
	failed := map[string][]delivery{}
	unknown := 0
	for _, d := range all {
		lines = append(lines, d.String())
		of[d.kind] = append(of[d.kind], d)
		switch {
		case d.unknown:
			unknown++
		case d.failed():
			failed[d.kind] = append(failed[d.kind], d)
		}
	}
	ev := diag.Evidence{"tries": lines}
	here := len(failed[localBox]) + len(failed[ownDomain])
	total, there := len(all)-unknown, len(failed[remote])
	allRemote := there > 0 && there == len(of[remote])
	// One refused by its server's own words says nothing about the way there.
	if allRemote && there == 1 && failed[remote][0].reply != "" {
		allRemote = false
	}
	switch {
	case total == 0:
		return []diag.Finding{diag.New("matrix.untested", "", ev)}
	case total > 1 && here+there == total:
		return []diag.Finding{diag.New("matrix.all_fail", "", ev)}
	case allRemote:
		return []diag.Finding{diag.New("matrix.remote_fail", "", ev)}
	case here > 0 && there == 0:
		d := slices.Concat(failed[ownDomain], failed[localBox])[0]
		return []diag.Finding{diag.New("matrix.own_fail", d.to, ev).With("kind", d.kind)}
	case there == 0:
		return []diag.Finding{diag.New("matrix.ok", "", ev)}
	}
	var out []diag.Finding
	for _, d := range slices.Concat(failed[ownDomain], failed[localBox], failed[remote]) {
		out = append(out, diag.New("matrix.one_fails", d.to, diag.Evidence{"tries": []string{d.String()}, "stage": d.stage, "outcome": d.outcome, "reply": d.reply}).
			With("q_reply", shellWord(d.reply)).With("said", strings.TrimSpace(d.stage+" "+d.outcome+" "+d.reply)))
	}
	return out
}

// poster makes the tries.
type poster struct {
	c      *Case
	client *dns.Client
	from   string
}

// submit tries the mailbox of a temporary account by submission, logged in;
// made is false where there is no running server to try.
func (p *poster) submit(ctx context.Context) (d delivery, made bool) {
	c := p.c
	l, ok := c.listener(config.Submission, config.Submissions)
	if !ok || !c.Running || c.TempAccount == nil {
		return d, false
	}
	acct, err := c.TempAccount(accountLife)
	if err != nil {
		return d, false
	}
	d = delivery{kind: localBox, to: acct.Address, via: l.Service, addr: l.Addr}
	p.talk(ctx, &d, reachable(l, c.Addresses), acct.Address, smtp.Options{Helo: "localhost", ServerName: c.Config.Hostname, ImplicitTLS: l.ImplicitTLS()},
		func(s *smtp.Conn) error { _, err := s.Auth("", acct.Address, acct.Password); return err })
	if err := acct.Remove(); err != nil && d.outcome == "" {
		d.stage, d.outcome, d.unknown = stageAccount, "failed", true
	}
	return d, true
}

// talk goes as far as the reply to RCPT.
func (p *poster) talk(ctx context.Context, d *delivery, addr, from string, opt smtp.Options, login func(*smtp.Conn) error) {
	opt.Dialer, opt.Timeout, opt.RootCAs = p.c.Dialer(), p.c.Timeout, p.c.RootCAs
	if opt.Helo == "" {
		opt.Helo = p.c.Config.Hostname
	}
	s, err := smtp.Dial(ctx, addr, opt)
	if err == nil {
		defer s.Close()
		_, err = s.Greeting()
	}
	if err == nil {
		_, err = s.Ehlo()
	}
	if err == nil && login != nil {
		if s.TLS == nil && s.Has("STARTTLS") {
			if _, err = s.StartTLS(); err == nil {
				_, err = s.Ehlo()
			}
		}
		if err == nil {
			err = login(s)
		}
	}
	if err == nil {
		_, err = s.Mail(from)
	}
	if err == nil {
		_, err = s.Rcpt(d.to)
	}
	if err == nil {
		_, _ = s.Rset()
		_, _ = s.Quit() // all is said
		return
	}
	d.outcome, d.stage, d.reply = dial.Outcome(err), "", ""
	if e := smtp.As(err); e != nil {
		d.stage, d.reply = e.Stage, e.Reply.String()
	}
	// "Come again later" is what greylisting says to everybody the first time.
	d.unknown = d.outcome == dial.Temporary
}

// byMX goes the way that other servers go.
func (p *poster) byMX(ctx context.Context, kind, to string) delivery {
	d := delivery{kind: kind, to: to, via: "MX"}
	_, domain, _ := cutLast(to, "@")
	hosts, outcome := p.hosts(ctx, domain)
	if outcome != "" {
		d.stage, d.outcome, d.unknown = smtp.StageName, outcome, outcome == dial.ServFail
		return d
	}
	for _, h := range hosts {
		d.via, d.addr, d.outcome = h.name, hostPort(h.addr, 25), ""
		at := d.addr
		if !p.c.DialMap.Lists(h.addr) && (p.c.Own(h.addr) || slices.Contains(p.c.public(), h.addr)) {
			// Many routers do not lead us to our own public address.
			if l, ok := p.c.listener(config.SMTP); ok {
				at = reachable(l, p.c.Addresses)
			}
		}
		p.talk(ctx, &d, at, p.from, smtp.Options{ServerName: h.name}, nil)
		if d.outcome == "" || d.reply != "" {
			break // an answer, which the next host would give, too
		}
	}
	return d
}

// bySmartHost goes the way that this server goes.
func (p *poster) bySmartHost(ctx context.Context, to string) delivery {
	d := delivery{kind: remote, to: to, via: p.c.Config.Relay.SmartHost}
	user := p.c.Config.Relay.Auth.Username
	password, err := p.c.Config.Relay.Auth.Secret()
	host, number, _ := cutLast(p.c.Config.Relay.SmartHost, ":")
	addr := p.address(ctx, strings.Trim(host, "[]"))
	if err != nil || !addr.IsValid() {
		d.stage, d.outcome = smtp.StageName, dial.NXDomain
		return d
	}
	d.addr = "[" + addr.String() + "]:" + number
	if addr.Is4() {
		d.addr = addr.String() + ":" + number
	}
	login := func(s *smtp.Conn) error { _, err := s.Auth("", user, password); return err }
	if user == "" {
		login = func(*smtp.Conn) error { return nil }
	}
	p.talk(ctx, &d, d.addr, p.from, smtp.Options{ServerName: strings.Trim(host, "[]"), ImplicitTLS: number == "465"}, login)
	return d
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

type mailHost struct {
	name string
	addr netip.Addr
}

// maxHosts is how many addresses of one domain are tried.
const maxHosts = 4

// hosts are the mail hosts of a domain in the order of preference; outcome says
// why there is none.
func (p *poster) hosts(ctx context.Context, domain string) (out []mailHost, outcome string) {
	if a := literalAddr(domain); a.IsValid() {
		return []mailHost{{domain, a}}, ""
	}
	mx := p.client.Lookup(ctx, domain, dns.MX)
	if !mx.Outcome.Found() {
		return nil, dial.ServFail
	}
	if mx.Outcome == dns.NXDomain {
		return nil, dial.NXDomain
	}
	names := []string{domain} // RFC 5321 5.1: without MX the domain itself
	if len(mx.Records) > 0 {
		names = nil
		slices.SortStableFunc(mx.Records, func(a, b dns.Record) int { return int(a.Preference) - int(b.Preference) })
		for _, r := range mx.Records {
			names = append(names, r.Host)
		}
	}
	for _, name := range names {
		if a := p.address(ctx, name); a.IsValid() && len(out) < maxHosts {
			out = append(out, mailHost{name, a})
		}
	}
	if len(out) == 0 {
		return nil, dial.NXDomain
	}
	return out, ""
}

// address is the first address of a host, IPv4 before IPv6.
func (p *poster) address(ctx context.Context, name string) netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap()
	}
	for _, t := range []dns.Type{dns.A, dns.AAAA} {
		if rs := p.client.Lookup(ctx, name, t).Records; len(rs) > 0 {
			return rs[0].Addr
		}
	}
	return netip.Addr{}
}
