// Package policy decides who may send what to whom, and explains each decision
// by the rules it went through. It only decides: it reads accounts and asks the
// DNS, and neither keeps nor sends anything. The server asks it for every
// sender, recipient and header; relay-test asks it the same offline.
//
// Whether a recipient is taken at all comes first (relay.go): one of ours; then
// whoever has logged in, sits in a trusted network, or has fetched mail a moment
// ago; then the domains and clients that the configuration names; else it is
// refused. What would be taken then goes through the administrator's rules
// (rules.go), and mail from strangers through the checks (checks.go) and the
// lists of junk senders (dnsbl.go).
package policy

import (
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/deliver"
)

// Verdict is how a decision comes out.
type Verdict string

// The verdicts. Defer means that the sender should try again later.
const (
	Accept Verdict = "accept"
	Reject Verdict = "reject"
	Defer  Verdict = "defer"
)

// Request is what is to be decided.
type Request struct {
	Client    netip.Addr
	Listener  string // service name of config: "smtp", "submission", ...
	HELO      string
	Sender    address.Address
	Recipient address.Address
	User      string // address of the account that has logged in; empty for a stranger
	Size      int64  // octets that the client has announced; 0 when it has not
}

// Decision is the answer and how it came about.
type Decision struct {
	Verdict  Verdict
	Code     int    // of the SMTP reply
	Enhanced string // RFC 3463
	Text     string
	Rule     string // the rule that decided
	Rules    []Trace

	Sender    address.Address   // completed where it had no domain
	Recipient address.Address   // likewise
	Boxes     []account.Account // whose mailboxes take the message
	Forwards  []account.Remote  // copies that go to other hosts, because a local address is forwarded there
	Out       bool              // accepted, to be sent to another host
	Unknown   bool              // refused, because the recipient is of a local domain and nobody's
	Marks     []Trace           // what the message is to be marked with
	Allowed   bool              // a rule spares it the rules and checks that follow
}

// Trace is one rule that was asked.
type Trace struct {
	Rule    string        `json:"rule"`
	Matched bool          `json:"matched"`
	Why     string        `json:"why"`
	Action  config.Action `json:"action,omitempty"` // of a matched rule or check
}

// Reply is the SMTP reply as one line.
func (d Decision) Reply() string {
	return strconv.Itoa(d.Code) + " " + d.Enhanced + " " + d.Text
}

// Why is the trace of the rule that decided.
func (d Decision) Why() string {
	if i := slices.IndexFunc(d.Rules, func(t Trace) bool { return t.Rule == d.Rule }); i >= 0 {
		return d.Rules[i].Why
	}
	if n := len(d.Rules); n > 0 {
		return d.Rules[n-1].Why
	}
	return ""
}

// Rooms tells how much mailboxes can still take; *quota.Meter is one.
type Rooms interface {
	Room(account.Account) (octets int64, limited bool, err error)
	Limit(account.Account) int64
}

// Policy holds what the rules look at.
type Policy struct {
	Hostname string
	Networks []netip.Prefix
	Relay    bool // false: receive only
	BackupMX []address.Pattern
	Clients  []config.RelayClient
	SendAs   []config.SendAs
	Rules    []config.Rule
	Checks   config.Checks
	Accounts account.Directory
	Passes   *Passes // POP before SMTP; nil: off
	Rooms    Rooms   // nil: mailboxes have no limit
	Log      *slog.Logger

	dns   *dnsCache
	lists []*list
}

// New takes from a configuration what the rules look at.
func New(c *config.Config, accounts account.Directory) *Policy {
	p := &Policy{
		Hostname: c.Hostname, Networks: c.Relay.Networks, Relay: c.Relay.Allow, BackupMX: c.Relay.BackupMX,
		Clients: c.Relay.Clients, SendAs: c.Auth.SendAs, Rules: c.Rules, Checks: c.Checks,
		Accounts: accounts, Log: slog.New(slog.DiscardHandler),
		dns: newDNSCache(deliver.NewResolver(c.DNS.Servers)),
	}
	if c.Relay.PopBeforeSMTP > 0 {
		p.Passes = OpenPasses(c.DataDir, c.Relay.PopBeforeSMTP)
	}
	for _, d := range c.DNSBLs {
		p.lists = append(p.lists, &list{DNSBL: d})
	}
	return p
}

// rule looks at a request and says why it matches or not. A rule that decides
// returns a decision.
type rule struct {
	name string
	ask  func(p *Policy, r *Request) (matched bool, why string, d *Decision)
}

// Decide judges sender and recipient: what relay-test asks.
func (p *Policy) Decide(r Request) Decision {
	s := p.Sender(r)
	if s.Verdict != Accept {
		return s
	}
	r.Sender = s.Sender
	d := p.Recipient(r)
	d.Rules = append(s.Rules, d.Rules...)
	return d
}

// Sender judges the address of MAIL FROM.
func (p *Policy) Sender(r Request) Decision {
	return p.run(senderRules, &r)
}

// Recipient judges an address of RCPT TO, for a sender that was accepted.
func (p *Policy) Recipient(r Request) Decision {
	d := p.run(recipientRules, &r)
	if d.Verdict != Accept {
		return d
	}
	p.ownRules(&d, &r)
	if d.Verdict == Accept && !d.Allowed && p.stranger(&r) && !p.required(&r) {
		p.check(&d, &r)
	}
	return d
}

// run asks rules in order until one decides. Where none does, nothing speaks
// against it.
func (p *Policy) run(rules []rule, r *Request) Decision {
	var traces []Trace
	for _, rule := range rules {
		matched, why, d := rule.ask(p, r)
		traces = append(traces, Trace{Rule: rule.name, Matched: matched, Why: why})
		if d != nil {
			if d.Rule == "" {
				d.Rule = rule.name
			}
			d.Rules, d.Sender, d.Recipient = traces, r.Sender, r.Recipient
			return *d
		}
	}
	d := accept("2.1.0", "Sender ok")
	d.Rules, d.Sender, d.Recipient = traces, r.Sender, r.Recipient
	return *d
}

func accept(enhanced, text string) *Decision {
	return &Decision{Verdict: Accept, Code: 250, Enhanced: enhanced, Text: text}
}

func reject(code int, enhanced, text string) *Decision {
	d := &Decision{Verdict: Reject, Code: code, Enhanced: enhanced, Text: text}
	if code/100 == 4 {
		d.Verdict = Defer
	}
	return d
}

// found notes what a rule or check that goes with an action has found, and
// refuses where the action says so.
func (d *Decision) found(rule, why string, action config.Action, refusal *Decision) {
	t := Trace{Rule: rule, Matched: true, Why: why, Action: action}
	d.Rules = append(d.Rules, t)
	switch action {
	case config.Mark:
		d.Marks = append(d.Marks, t)
	case config.Reject, config.Unknown:
		d.Verdict, d.Code, d.Enhanced, d.Text, d.Rule = refusal.Verdict, refusal.Code, refusal.Enhanced, refusal.Text, rule
		d.Boxes, d.Forwards, d.Out = nil, nil, false
	}
}

func (d *Decision) passed(rule, why string) {
	d.Rules = append(d.Rules, Trace{Rule: rule, Why: why})
}

// userDomain is where the client's own account lives.
func (r *Request) userDomain() string {
	_, domain, _ := account.SplitAddress(r.User)
	return domain
}

// stranger tells whether nothing speaks for the client.
func (p *Policy) stranger(r *Request) bool {
	if r.User != "" {
		return false
	}
	if _, ok := contains(p.Networks, r.Client); ok {
		return false
	}
	for _, c := range p.Clients {
		if _, ok := contains(c.Networks, r.Client); ok {
			return false
		}
	}
	if p.Passes != nil {
		if _, ok := p.Passes.Open(r.Client); ok {
			return false
		}
	}
	return true
}

// required tells the addresses that must be reachable for those who want to
// complain of being refused (RFC 5321 4.5.1, RFC 2142 2).
func (p *Policy) required(r *Request) bool {
	local := strings.ToLower(r.Recipient.Local)
	return (local == "postmaster" || local == "abuse") && p.local(r.Recipient.Domain) != ""
}

// contains returns the network that holds client.
func contains(networks []netip.Prefix, client netip.Addr) (netip.Prefix, bool) {
	for _, n := range networks {
		if n.Contains(client.Unmap().WithZone("")) {
			return n, true
		}
	}
	return netip.Prefix{}, false
}

// matching returns the first pattern that an address matches, or "".
func matching(patterns []address.Pattern, a address.Address) string {
	for _, p := range patterns {
		if p.Match(a) {
			return p.String()
		}
	}
	return ""
}

// local returns the local domain that domain names, or "".
func (p *Policy) local(domain string) string {
	name, err := config.ParseDomain(domain)
	if err != nil {
		return ""
	}
	for _, d := range p.Accounts.Domains() {
		if d == name {
			return d
		}
	}
	return ""
}

func (p *Policy) mainDomain() string {
	if local := p.Accounts.Domains(); len(local) > 0 {
		return local[0]
	}
	return ""
}
