package doctor

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/smtp"
	"mailsrv/server/config"
)

// smartHost talks to each smart host as the server would, up to the reply to
// RCPT, and says what keeps mail from going out by it.
func (c *Case) smartHost(ctx context.Context) (out []diag.Finding) {
	if !c.Config.Relay.Allow {
		return nil // nothing goes out
	}
	for _, w := range c.Config.Relay.Ways() {
		out = append(out, c.oneSmartHost(ctx, w)...)
	}
	return out
}

func (c *Case) oneSmartHost(ctx context.Context, w config.Way) []diag.Finding {
	name := w.SmartHost
	host, number, err := net.SplitHostPort(name)
	if err != nil {
		return nil
	}
	if w.Key != "relay" && w.Auth.Username != "" {
		name = w.Auth.Username + " at " + name // the host may be there with another login
	}
	n, _ := strconv.Atoi(number)
	if host == c.Config.Hostname && c.itself(host, netip.Addr{}, n) {
		return []diag.Finding{diag.New("config.smart_host_self", name, diag.Evidence{"host": name, "address": host}).With("port", number)}
	}
	addr, outcome := c.smartHostAddr(ctx, host)
	if outcome == dial.Cancelled {
		return nil // not on this machine: stage internet
	}
	ev := diag.Evidence{"host": w.SmartHost}
	one := func(id string) []diag.Finding {
		reply, _ := ev["reply"].(string)
		return []diag.Finding{diag.New(id, name, ev).With("q_reply", shellWord(reply)).With("port", number)}
	}
	if outcome != "" {
		ev["stage"], ev["outcome"] = smtp.StageName, outcome
		return one("relay.smart_host_unreachable")
	}
	ev["address"] = addr.String()
	if c.itself(host, addr, n) {
		return one("config.smart_host_self")
	}
	f := c.trySmartHost(ctx, w.Auth, host, addr, n)
	for key, value := range map[string]string{"stage": f.stage, "outcome": f.outcome, "reply": f.reply} {
		if value != "" {
			ev[key] = value
		}
	}
	if id := f.judge(); id != "" {
		return one(id)
	}
	return nil
}

// smartHostAddr is its first address. Outcome is dial.Cancelled where it is not
// to be contacted at this stage.
func (c *Case) smartHostAddr(ctx context.Context, host string) (netip.Addr, string) {
	a, err := netip.ParseAddr(host)
	far := c.Stage < Internet && len(c.Resolvers) == 0 && !slices.Contains(c.Only, "relay")
	switch {
	case err == nil && far && !a.IsLoopback() && !c.Own(a):
		return a, dial.Cancelled
	case err == nil:
		return a.Unmap(), ""
	case host == "localhost":
		return loopback(netip.IPv4Unspecified()), ""
	case far:
		return a, dial.Cancelled
	}
	client := &dns.Client{Servers: c.resolvers(), Timeout: c.Timeout}
	defer client.Close()
	for _, t := range []dns.Type{dns.A, dns.AAAA} {
		answer := client.Lookup(ctx, host, t)
		switch {
		case !answer.Outcome.Found():
			return a, dial.ServFail
		case len(answer.Records) > 0:
			return answer.Records[0].Addr, ""
		}
	}
	return a, dial.NXDomain
}

// itself tells whether the smart host is this server.
func (c *Case) itself(host string, addr netip.Addr, number int) bool {
	if !c.Own(addr) && !slices.Contains(c.public(), addr) && host != c.Config.Hostname {
		return false
	}
	return slices.ContainsFunc(c.Config.Listen, func(l config.Listener) bool {
		return l.Port() == number && slices.Contains([]string{config.SMTP, config.Submission, config.Submissions}, l.Service)
	})
}

// smartFacts are how the conversation went.
type smartFacts struct {
	stage, outcome string // outcome is empty when the recipient was accepted
	reply          string
	auth           bool // it offers a login
	login          bool // we have credentials
	cert           bool // its certificate is at fault
	err            error
}

func (c *Case) trySmartHost(ctx context.Context, a config.RelayAuth, host string, addr netip.Addr, number int) (f smartFacts) {
	f.login = a.Username != ""
	name := host
	s, err := smtp.Dial(ctx, hostPort(addr, uint16(number)), smtp.Options{
		Dialer: c.Dialer(), Timeout: c.Timeout, Helo: c.Config.Hostname, ServerName: name, RootCAs: c.RootCAs, ImplicitTLS: number == 465, Now: c.Now,
	})
	fail := func(err error) smartFacts {
		f.err, f.outcome = err, dial.Outcome(err)
		if e := smtp.As(err); e != nil {
			f.stage, f.reply = e.Stage, e.Reply.String()
		}
		return f
	}
	if err != nil {
		return fail(err)
	}
	defer s.Close()
	if _, err = s.Greeting(); err == nil {
		_, err = s.Ehlo()
	}
	if err == nil && s.TLS == nil && s.Has("STARTTLS") {
		if _, err = s.StartTLS(); err == nil {
			_, err = s.Ehlo()
		}
	}
	if err != nil {
		return fail(err)
	}
	if s.TLS != nil && s.TLS.Fault != "" {
		f.stage, f.outcome, f.cert, f.reply = smtp.StageTLS, s.TLS.Fault, true, ""
		return f
	}
	f.auth = len(s.Mechanisms()) > 0
	if f.login {
		if s.TLS == nil && !addr.IsLoopback() {
			f.stage, f.outcome = smtp.StageTLS, dial.PlainExpected
			return f
		}
		password, err := a.Secret()
		if err != nil {
			f.stage, f.outcome, f.reply = smtp.StageAuth, "password-file", err.Error()
			return f
		}
		if _, err = s.Auth("", a.Username, password); err != nil {
			return fail(err)
		}
	}
	from := ""
	if i := slices.IndexFunc(c.Config.Domains, needsDNS); i >= 0 {
		from = "postmaster@" + c.Config.Domains[i]
	}
	if _, err = s.Mail(from); err == nil && from != "" {
		_, err = s.Rcpt(from)
	}
	if err != nil {
		return fail(err)
	}
	_, _ = s.Rset()
	_, _ = s.Quit() // all is said
	return f
}

// judge is the id of what is wrong, empty when nothing is.
func (f smartFacts) judge() string {
	cause := ""
	for _, m := range codes.MatchText(f.reply) {
		cause = m.Entry.Cause
		break
	}
	talked := f.stage == smtp.StageMail || f.stage == smtp.StageRcpt
	switch {
	case f.outcome == "":
		return ""
	case f.cert, f.stage == smtp.StageTLS, f.stage == smtp.StageStartTLS, f.outcome == dial.TLSExpected, cause == "tls-required":
		return "relay.smart_host_tls"
	case f.outcome == dial.Temporary:
		return "relay.smart_host_untested"
	case f.stage == smtp.StageAuth:
		return "relay.smart_host_auth"
	case talked && !f.login && (cause == "auth-required" || f.auth && len(f.reply) > 3 && f.reply[:3] == "530"):
		return "relay.smart_host_needs_auth"
	case talked && f.outcome == dial.Permanent && cause != "user-unknown":
		return "relay.smart_host_refuses"
	case talked && f.outcome == dial.Permanent:
		return "" // it takes our mail, only not for postmaster
	}
	return "relay.smart_host_unreachable"
}
