package doctor

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/explain"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/dial"
	"mailsrv/probes/mta"
	"mailsrv/probes/port"
	"mailsrv/probes/smtp"
)

func init() {
	register(Check{Name: "foreign", Stage: Local, Limit: 60 * time.Second, Run: foreign})
}

// foreign looks at the mail servers of other makers: those that run, and where
// mailsrv has no configuration also those that are only installed. That they
// relay for loopback is their normal state.
func foreign(ctx context.Context, c *Case) []diag.Finding {
	all := slices.Clone(c.Foreign(ctx))
	if c.Config.File != "" {
		all = slices.DeleteFunc(all, func(s mta.Server) bool { return !s.Running })
	}
	if len(all) == 0 {
		return []diag.Finding{nothing}
	}
	each := make([][]diag.Finding, len(all))
	parallel(len(all), func(i int) { each[i] = c.foreignServer(ctx, all[i]) })
	return slices.Concat(each...)
}

func (c *Case) foreignServer(ctx context.Context, s mta.Server) []diag.Finding {
	out := c.foreignFindings(ctx, s)
	if s.Late {
		out = append(out, diag.New("check.timeout", "foreign", diag.Evidence{"server": s.Product, "limit_s": int(mta.Limit.Seconds())}))
	}
	return out
}

func (c *Case) foreignFindings(ctx context.Context, s mta.Server) []diag.Finding {
	ev := diag.Evidence{"server": s.Product, "version": s.Version, "config": s.ConfigDir, "program": s.Program}
	if !s.Running {
		out := []diag.Finding{diag.New("foreign.not_running", s.Name(), ev)}
		return append(out, broken(s)...)
	}
	var at []string
	for _, h := range s.Listen {
		at = append(at, h.Local.String())
	}
	ev["pid"], ev["listen"] = s.PID, at
	out := []diag.Finding{diag.New("foreign.found", s.Name(), ev)}
	if b := broken(s); b != nil {
		return append(out, b...)
	}
	out = append(out, c.foreignRelay(ctx, s)...)
	if s.ClearAuth != "" && c.openPort(s, 110, 143) {
		out = append(out, diag.New("auth.cleartext", s.Name(), diag.Evidence{"server": s.Product, "setting": s.ClearAuth, "listeners": c.openAt(s, 110, 143)}))
	}
	out = append(out, c.foreignCerts(s)...)
	out = append(out, c.foreignQueue(s)...)
	for i := range out {
		if ev := out[i].Evidence; ev != nil {
			ev["server"] = s.Product
		}
	}
	return out
}

func broken(s mta.Server) []diag.Finding {
	if s.Complaint == "" {
		return nil
	}
	words := strings.Split(printableLines(s.Complaint), "\n")
	return []diag.Finding{diag.New("foreign.config_broken", s.Name(), diag.Evidence{"server": s.Product, "config": s.ConfigDir, "words": words, "running": s.Running})}
}

func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return strings.Join(lines, "\n")
}

// openAt are the addresses at which other machines reach one of these ports.
func (c *Case) openAt(s mta.Server, ports ...uint16) []string {
	var out []string
	for _, h := range s.Listen {
		if !h.Local.Addr().IsLoopback() && slices.Contains(ports, h.Local.Port()) {
			out = append(out, h.Local.String())
		}
	}
	return out
}

func (c *Case) openPort(s mta.Server, ports ...uint16) bool { return len(c.openAt(s, ports...)) > 0 }

// foreignRelay judges whom the server trusts, and tries to relay as somebody
// whom it does not.
func (c *Case) foreignRelay(ctx context.Context, s mta.Server) []diag.Finding {
	if s.Product == mta.Dovecot {
		return nil
	}
	var out []diag.Finding
	var private []string
	evidence := func(n string) diag.Evidence { return diag.Evidence{"server": s.Product, "network": n} }
	for _, n := range s.Networks {
		switch {
		case n.Addr().IsLoopback():
		case coversInternet(n):
			out = append(out, diag.New("relay.open", s.Name()+" "+n.String(), evidence(n.String())).With("setting", s.Setting))
		case !isPrivate(n) && !n.IsSingleIP() && !c.ownSubnet(n):
			out = append(out, diag.New("relay.network_wide", s.Name()+" "+n.String(), evidence(n.String())).With("setting", s.Setting))
		default:
			private = append(private, n.String())
		}
	}
	if s.Open != "" {
		out = append(out, diag.New("relay.open", s.Name(), diag.Evidence{"server": s.Product, "restrictions": s.Open}))
	}
	if s.Anyone != "" {
		out = append(out, diag.New("relay.open", s.Name()+" "+s.Anyone, evidence(s.Anyone)).With("setting", s.Setting))
	}
	if len(private) > 0 {
		out = append(out, diag.New("relay.network_trusted", s.Name(), diag.Evidence{"server": s.Product, "networks": private}))
	}
	if slices.ContainsFunc(out, func(f diag.Finding) bool { return f.ID == "relay.open" }) {
		return out
	}
	return append(out, c.foreignTalk(ctx, s)...)
}

// ownSubnet tells whether a network is the one this machine stands in: trusting
// it is what mynetworks_style = subnet does.
func (c *Case) ownSubnet(n netip.Prefix) bool {
	return n.Bits() >= 24 && slices.ContainsFunc(c.Addresses, n.Contains)
}

// foreignTalk talks to the server at an address that is not loopback, where it
// treats this machine as a stranger.
func (c *Case) foreignTalk(ctx context.Context, s mta.Server) []diag.Finding {
	at, ok := c.strangerAddr(s)
	if !ok {
		return nil // it serves only those it trusts, as far as can be seen from here
	}
	client, err := relaytest.Dial(ctx, at.String(), smtp.Options{Dialer: c.Dialer(), Timeout: c.Timeout, Greeting: 3 * c.Timeout, Helo: "doctor." + relaytest.StrangerDomain})
	subject := s.Name() + " " + at.String()
	if err != nil {
		switch dial.Outcome(err) {
		case dial.Silent, dial.Drip, dial.Timeout:
			return []diag.Finding{diag.New("server.not_answering", subject, diag.Evidence{"server": s.Product, "listener": s.Product, "address": at.String(), "pid": s.PID, "outcome": dial.Outcome(err)})}
		}
		return nil // turned away is not relayed for
	}
	defer client.Close()
	var out []diag.Finding
	if client.Cleartext {
		out = append(out, diag.New("auth.cleartext", subject, diag.Evidence{"server": s.Product, "listeners": []string{at.String()}}))
	}
	domain := s.Hostname
	if domain == "" {
		domain = "localhost"
	}
	for _, f := range relaytest.Judge(subject, client.Ask(relaytest.Names{Domain: domain, Server: at.Addr()})) {
		if f.Status == diag.Fail {
			out = append(out, f.With("near", false))
		}
	}
	return out
}

// strangerAddr is an address of this machine on which the server takes mail and
// which it does not trust.
func (c *Case) strangerAddr(s mta.Server) (netip.AddrPort, bool) {
	const implicit = 465
	listen := slices.Clone(s.Listen)
	slices.SortStableFunc(listen, func(a, b port.Holder) int { return usual(a) - usual(b) })
	for _, h := range listen {
		if h.Local.Port() == implicit {
			continue
		}
		for _, a := range c.Addresses {
			serves := h.Local.Addr() == a || h.Local.Addr().IsUnspecified() && h.Local.Addr().Is4() == a.Is4()
			trusted := slices.ContainsFunc(s.Networks, func(n netip.Prefix) bool { return n.Contains(a) })
			if serves && !trusted && !a.IsLinkLocalUnicast() {
				return netip.AddrPortFrom(a, h.Local.Port()), true
			}
		}
	}
	return netip.AddrPort{}, false
}

// usual puts the port that strangers use first.
func usual(h port.Holder) int {
	if h.Local.Port() == 25 {
		return 0
	}
	return 1
}

// foreignCerts judges the certificates without their names: which name clients
// use is not known. The one that the distribution made at installation is a
// note.
func (c *Case) foreignCerts(s mta.Server) []diag.Finding {
	var out []diag.Finding
	for _, p := range s.Certs {
		key := p.Key
		if key == p.Cert || !readable(key) {
			key = "" // both in one file, or not for our eyes
		}
		chain, f := loadPair(p.Cert, key)
		if f == nil {
			f = c.judgeChain(p.Cert, "", chain)
		}
		if f == nil || f.ID == "cert.unreadable" && f.Evidence["reason"] == "permission" {
			continue
		}
		if f.ID == "cert.self_signed" || f.ID == "cert.untrusted" && chain[0].Issuer.String() == chain[0].Subject.String() {
			*f = diag.New("cert.self_signed", p.Cert, f.Evidence).As(diag.Info)
		}
		out = append(out, f.With("server", s.Product))
	}
	return out
}

// foreignLate is how long mail waits before it counts as stuck: what Postfix
// and Exim wait before they warn the sender.
const foreignLate = 4 * time.Hour

// foreignQueue groups what waits by the domain it goes to.
func (c *Case) foreignQueue(s mta.Server) []diag.Finding {
	if s.QueueErr != nil {
		return []diag.Finding{diag.New("env.admin_missing", s.Name(), diag.Evidence{"what": "queue", "path": s.Product, "reason": printable(s.QueueErr.Error())})}
	}
	type group struct {
		n      int
		oldest mta.Waiting
		reason string
	}
	groups := map[string]*group{}
	var order []string
	held := 0
	for _, w := range s.Queue {
		if w.Held {
			held++
			continue
		}
		_, domain, _ := cutLast(w.Recipient, "@")
		domain = strings.ToLower(domain)
		g := groups[domain]
		if g == nil {
			g = &group{oldest: w}
			groups[domain] = g
			order = append(order, domain)
		}
		g.n++
		if w.Since.Before(g.oldest.Since) {
			g.oldest = w
		}
		g.reason = cmp.Or(w.Reason, g.reason)
	}
	var out []diag.Finding
	for _, domain := range order {
		g := groups[domain]
		age := c.Now.Sub(g.oldest.Since)
		id := "queue.stuck"
		switch {
		case age >= foreignLate:
		case age >= 30*time.Minute && g.oldest.Tried:
			id = "queue.deferred"
		default:
			continue
		}
		out = append(out, waitingAt(s, id, domain, g.n, g.oldest.Since, g.reason, age))
	}
	if held > 0 {
		out = append(out, diag.New("queue.held", s.Name(), diag.Evidence{"server": s.Product, "messages": held, "paused": false}).With("any", true))
	}
	return out
}

func waitingAt(s mta.Server, id, domain string, count int, since time.Time, reason string, age time.Duration) diag.Finding {
	cause := "unknown"
	if reason != "" {
		if r := explain.Explain([]byte(reason), codes.English); len(r.Diagnosis) > 0 && r.Diagnosis[0].Cause != "none" {
			cause = r.Diagnosis[0].Cause
		}
	}
	ev := diag.Evidence{"server": s.Product, "messages": count, "since": since.UTC().Format(time.RFC3339), "cause": cause, "running": true}
	if reason != "" {
		ev["reply"] = printable(reason)
	}
	n, unit := ageOf(age)
	f := diag.New(id, domain, ev).With("age_n", n).With("age_unit", unit).With("q_reply", shellWord(printable(reason)))
	en, ja := "", ""
	if t := codes.CauseOf(cause); t != nil && cause != "unknown" {
		en, ja = t.En.Title, t.Ja.Title
	}
	return f.With("cause_en", en).With("cause_ja", ja)
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	_ = f.Close() // only read
	return true
}
