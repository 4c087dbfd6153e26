// Package verify asks the servers that a pasted error names whether its likely
// causes hold now: it confirms or rejects each cause of a diagnosis of package
// explain, or says why that cannot be found out from here.
//
//	v := verify.New(verify.Options{})
//	plan := v.Plan(&result)    // nothing is contacted yet
//	show(result.Contacts)      // what will be
//	plan.Run(ctx)              // verdicts and findings go into result
//
// No password is ever asked for or sent, and no message: a recipient is asked
// for with RCPT and then forgotten. Each server is asked once in the life of a
// Verifier, however many inputs name it, and no more than a few dozen of them.
package verify

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/diag/checkmx"
	"mailsrv/diag/doctor/talk"
	"mailsrv/diag/explain"
	"mailsrv/probes/dial"
	"mailsrv/probes/dns"
	"mailsrv/probes/port"
)

// Limits of one Verifier: enough for a support case, too little for a scan.
const (
	maxConversations = 24
	maxDomains       = 12
	maxForOne        = 4 // conversations for one input
)

// Options say how to ask. The zero value works.
type Options struct {
	Resolver  string   // addr:port, asked instead of the system's way of finding names
	Resolvers []string // addr:port, each asked by itself where DNS is in doubt
	Map       *dial.Map
	RootCAs   *x509.CertPool
	Timeout   time.Duration // of each step; 0: 10 s
	Server    Server        // used where the text names no server
	Now       time.Time
}

// Server is what the one who asks knows besides the text.
type Server struct {
	Protocol string // may be empty
	Host     string
	Port     int // 0: the protocol's
}

// Verifier asks, and remembers the answers.
type Verifier struct {
	opt     Options
	talks   map[string]*talk.Report
	domains map[string]*checkmx.Report
	answers map[string]*dns.Answer
	sockets func(ctx context.Context) ([]port.Holder, error)
}

// New makes a Verifier.
func New(opt Options) *Verifier {
	if opt.Timeout <= 0 {
		opt.Timeout = 10 * time.Second
	}
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	return &Verifier{opt: opt, talks: map[string]*talk.Report{}, domains: map[string]*checkmx.Report{}, answers: map[string]*dns.Answer{}, sockets: port.Listeners}
}

// converse holds a conversation, or recalls it. It is nil when there were enough
// of them.
func (v *Verifier) converse(ctx context.Context, a *ask) *talk.Report {
	key := a.key()
	if r := v.talks[key]; r != nil {
		return r
	}
	if len(v.talks) >= maxConversations {
		return nil
	}
	opt := talk.Options{
		Protocol: a.protocol, Host: a.host, Port: a.port, TLS: a.tls, From: a.from, To: a.to, AskUser: a.user,
		RootCAs: v.opt.RootCAs, Resolver: v.opt.Resolver, Timeout: v.opt.Timeout, Now: v.opt.Now,
	}
	if v.opt.Map != nil {
		opt.Dialer = v.opt.Map
	}
	ctx, cancel := context.WithTimeout(ctx, conversationSteps*v.opt.Timeout)
	defer cancel()
	r := talk.Run(ctx, opt)
	_ = r.Localize(codes.English) // makes the diagnosis; texts come last, in Localize
	v.talks[key] = r
	return r
}

// conversationSteps bounds a whole conversation in time limits of one step.
const conversationSteps = 8

// domain looks at a domain's DNS, or recalls it; the mail hosts themselves are
// not contacted. It is nil when there were enough of them.
func (v *Verifier) domain(ctx context.Context, d domainAsk) *checkmx.Report {
	key := d.key()
	if r := v.domains[key]; r != nil {
		return r
	}
	if len(v.domains) >= maxDomains {
		return nil
	}
	c := checkmx.New(checkmx.Options{Resolvers: v.resolvers(), Map: v.opt.Map, Timeout: v.opt.Timeout, NoSMTP: true, Only: d.families, Now: v.opt.Now})
	defer c.Close()
	r := c.Check(ctx, d.name)
	v.domains[key] = r
	return r
}

func (v *Verifier) resolvers() []string {
	if len(v.opt.Resolvers) == 0 && v.opt.Resolver != "" {
		return []string{v.opt.Resolver}
	}
	return v.opt.Resolvers
}

// lookup asks one resolver, or recalls what it said.
func (v *Verifier) lookup(ctx context.Context, resolver, name string, t dns.Type) *dns.Answer {
	key := resolver + " " + name + " " + string(t)
	if a := v.answers[key]; a != nil {
		return a
	}
	c := &dns.Client{Servers: []string{resolver}, Timeout: v.opt.Timeout}
	defer c.Close()
	a := c.Lookup(ctx, name, t)
	v.answers[key] = a
	return a
}

// isHost tells a name or address that can be contacted; a name in a local
// network may have one label.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && len(s) < 254 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.-_") == "" && !strings.Contains(s, "..") && s[0] != '.'
}

// isDomain tells a name that DNS can be asked about.
func isDomain(s string) bool {
	_, err := checkmx.DomainName(s)
	return err == nil && strings.Contains(s, ".")
}

// ours tells an address of this machine.
func ours(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if a.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range own {
		if n, ok := o.(*net.IPNet); ok && n.IP.Equal(net.IP(a.AsSlice())) {
			return true
		}
	}
	return false
}

// mine tells that the text is what a mail program on this network showed about
// its server, rather than a report of another server's conversation.
func (p *Plan) mine() bool {
	switch p.r.Input.Kind {
	case explain.KindDialog, explain.KindText, explain.KindCode:
		return p.v.opt.Server.Host != "" || p.r.Context != nil && isHost(p.r.Context.Server)
	}
	return false
}
