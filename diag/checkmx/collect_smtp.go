package checkmx

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/smtp"
)

// SMTP is one conversation with a mail host: no DATA, one connection an
// address. A step that was not reached is nil.
type SMTP struct {
	Connect    string // "ok", or how it failed: see dial.Outcome
	Errno      string
	Greeting   *Step
	Took       time.Duration // until the greeting
	Ehlo       *Step         // EHLO, or HELO where EHLO was refused
	Hello      string        // the one that was accepted
	Offers     bool          // STARTTLS
	StartTLS   *Step
	TLS        *smtp.TLS
	Mechanisms []string // AUTH offered before TLS

	Domain     string // whose addresses were asked for
	Null       *Step  // MAIL FROM:<>
	Postmaster *Step
	Abuse      *Step
	Relay      *Step // a foreign recipient from a foreign sender
	Self       bool  // we asked from the host itself, which may relay
	Mapped     bool  // a dial map decided where the connection went

	HelloName *Host // the addresses of the name it greets with

	Transcript []smtp.Line
}

// Step is how one step ended.
type Step struct {
	Outcome string // "ok", "temporary", "permanent", or a fault of the connection
	Reply   smtp.Reply
}

func step(r smtp.Reply, err error) *Step { return &Step{Outcome: smtp.OutcomeOf(err), Reply: r} }

// alive tells whether the connection can still be used after a step.
func (s *Step) alive() bool {
	return s.Outcome == "ok" || s.Outcome == dial.Temporary && s.Reply.Code != 421 || s.Outcome == dial.Permanent
}

// collectAddrs asks everything about the addresses of the mail hosts: their
// reverse names, and how they greet.
func (c *Checker) collectAddrs(ctx context.Context, f *Facts) {
	var wg sync.WaitGroup
	seen := map[*Addr]bool{}
	for _, h := range f.Hosts {
		if h.Form != "" {
			continue
		}
		for _, a := range h.public() {
			if seen[a] {
				continue
			}
			seen[a] = true
			if c.want("ptr") {
				wg.Go(func() { c.collectPTR(ctx, a) })
			}
			if !c.opt.NoSMTP && c.want("smtp", "tls", "helo", "mtasts", "dane") {
				wg.Go(func() { c.collectSMTP(ctx, f.Domain, h.Name, a) })
			}
		}
	}
	wg.Wait()
}

// collectPTR looks up the names of an address, and where they lead.
func (c *Checker) collectPTR(ctx context.Context, a *Addr) {
	a.PTR = c.lookup.Lookup(ctx, dns.ReverseName(a.IP), dns.PTR)
	a.Forward = make([]*dns.Answer, min(len(a.PTR.Records), maxPTR))
	var wg sync.WaitGroup
	for i := range a.Forward {
		wg.Go(func() { a.Forward[i] = c.lookup.Lookup(ctx, a.PTR.Records[i].Host, dns.Type(addressType(a.IP))) })
	}
	wg.Wait()
}

// maxPTR is how many names of one address are followed.
const maxPTR = 10

func (c *Checker) collectSMTP(ctx context.Context, domain, host string, a *Addr) {
	addr := netip.AddrPortFrom(a.IP, uint16(c.opt.SMTPPort))
	a.SMTP = c.probes.do(ctx, addr, func() *SMTP {
		s := c.probe(ctx, domain, host, addr)
		if name := greetingName(s); name != "" && nameFault(name) == "" && strings.Contains(name, ".") && c.want("helo") {
			s.HelloName = &Host{Name: name}
			c.resolve(ctx, s.HelloName)
		}
		return s
	})
}

// patience is how long a greeting is waited for at least, so that a slow one is
// told from none.
const patience = 8 * time.Second

// Addresses for the relay try: names reserved by RFC 2606.
const (
	strangerFrom  = "relay-test@example.net"
	strangerTo    = "relay-test@example.org"
	strangerOther = "relay-test@example.com" // where example.org itself is checked
)

// probe has one conversation with a mail host.
func (c *Checker) probe(ctx context.Context, domain, host string, addr netip.AddrPort) *SMTP {
	s := &SMTP{Domain: domain, Mapped: c.opt.Map != nil}
	greeting := max(2*c.opt.Timeout, patience)
	if end, ok := ctx.Deadline(); ok {
		greeting = max(c.opt.Timeout, min(greeting, time.Until(end)-c.opt.Timeout/2))
	}
	opt := smtp.Options{
		Dialer: c.dialer, Helo: c.opt.Helo, Timeout: c.opt.Timeout, Greeting: greeting,
		RootCAs: c.opt.RootCAs, ServerName: host, Now: c.opt.Now,
	}
	conn, err := smtp.Dial(ctx, addr.String(), opt)
	if dial.Outcome(err) == dial.Timeout && c.opt.Map == nil && ctx.Err() == nil {
		conn, err = smtp.Dial(ctx, addr.String(), opt) // one lost packet must not turn it red
	}
	s.Connect, s.Errno = smtp.OutcomeOf(err), dial.Errno(err)
	if err != nil {
		return s
	}
	defer func() {
		s.Transcript = conn.Transcript
		_ = conn.Close()
	}()
	s.Self = c.opt.Map == nil && sameHost(conn.Local, conn.Addr)
	s.Greeting = step(conn.Greeting())
	s.Took = conn.Elapsed()
	if s.Greeting.Outcome != "ok" {
		if s.Greeting.alive() {
			_, _ = conn.Quit()
		}
		return s
	}
	s.talk(conn)
	return s
}

// talk goes through the steps as far as the host lets us.
func (s *SMTP) talk(conn *smtp.Conn) {
	s.Ehlo = step(conn.Ehlo())
	s.Hello, s.Offers, s.Mechanisms = conn.Hello, conn.Has("STARTTLS"), conn.Mechanisms()
	if s.Ehlo.Outcome != "ok" {
		if s.Ehlo.alive() {
			_, _ = conn.Quit()
		}
		return
	}
	if s.Offers {
		s.StartTLS = step(conn.StartTLS())
		s.TLS = conn.TLS
		if !s.StartTLS.alive() {
			return
		}
		if s.TLS != nil {
			if again := step(conn.Ehlo()); !again.alive() {
				return
			}
		}
	}
	defer func() { _, _ = conn.Quit() }()
	s.Null = step(conn.Mail(""))
	if !s.Null.alive() {
		return
	}
	if s.Null.Outcome == "ok" {
		if !s.ask(conn) {
			return
		}
		if reset := step(conn.Rset()); !reset.alive() {
			return
		}
	}
	if from := step(conn.Mail(strangerFrom)); from.Outcome != "ok" {
		return
	}
	if s.Null.Outcome != "ok" && !s.ask(conn) { // no bounces, but perhaps other mail
		return
	}
	if s.Self {
		return
	}
	to := strangerTo
	if below(s.Domain, "example.org") {
		to = strangerOther
	}
	s.Relay = step(conn.Rcpt(to))
}

// ask names the addresses that every domain must have.
func (s *SMTP) ask(conn *smtp.Conn) bool {
	if s.Postmaster = step(conn.Rcpt("postmaster@" + s.Domain)); !s.Postmaster.alive() {
		return false
	}
	s.Abuse = step(conn.Rcpt("abuse@" + s.Domain))
	return s.Abuse.alive()
}

func sameHost(a, b string) bool {
	ha, _, err1 := net.SplitHostPort(a)
	hb, _, err2 := net.SplitHostPort(b)
	return err1 == nil && err2 == nil && ha == hb
}

// greetingName is the name a host greets with: the first word of its greeting
// (RFC 5321 section 4.2), or that of its EHLO reply where the greeting has none.
func greetingName(s *SMTP) string {
	if s.Greeting == nil || s.Greeting.Outcome != "ok" {
		return ""
	}
	word := func(r smtp.Reply) string {
		f := strings.Fields(r.Text())
		if len(f) == 0 {
			return ""
		}
		return strings.ToLower(strings.TrimSuffix(f[0], "."))
	}
	name := word(s.Greeting.Reply)
	if name == nameless || nameFault(name) == "" && !slices.Contains(courtesies, name) {
		return name // RFC 5321 section 4.2: the first word is the host
	}
	if named(name) || s.Ehlo == nil || s.Ehlo.Outcome != "ok" {
		return name
	}
	if other := word(s.Ehlo.Reply); named(other) {
		return other
	}
	return name
}

// nameless is how Sendmail greets when the machine has no name of its own.
const nameless = "(none)"

// courtesies are first words of greetings that leave the host's name out.
var courtesies = []string{"esmtp", "smtp", "service", "server", "ready", "welcome", "hello", "ok"}

// named tells a host name or an address from just a word.
func named(s string) bool {
	return strings.ContainsAny(s, ".:[") || s == "localhost"
}

// row says in a few words how far a conversation came.
func (s *SMTP) row() string {
	switch {
	case s == nil:
		return ""
	case s.Connect != "ok":
		return s.Connect
	case s.Greeting.Outcome != "ok" && s.Greeting.Reply.Code != 0:
		return strconv.Itoa(s.Greeting.Reply.Code)
	case s.Greeting.Outcome != "ok":
		return s.Greeting.Outcome
	case s.TLS != nil:
		return s.TLS.Version
	case s.Offers:
		return "STARTTLS " + s.StartTLS.Outcome
	}
	return "no TLS"
}
