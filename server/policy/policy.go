// Package policy decides who may send what to whom, and explains each decision
// by the rules it went through. It only decides: it reads accounts, and
// neither keeps nor sends anything. The server asks it for every sender and
// recipient; relay-test asks it the same offline.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
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
}

// Trace is one rule that was asked.
type Trace struct {
	Rule    string `json:"rule"`
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// Reply is the SMTP reply as one line.
func (d Decision) Reply() string {
	return strconv.Itoa(d.Code) + " " + d.Enhanced + " " + d.Text
}

// Policy holds what the rules look at.
type Policy struct {
	Networks []netip.Prefix
	Relay    bool // false: receive only
	Accounts account.Directory
}

// New takes from a configuration what the rules look at.
func New(c *config.Config, accounts account.Directory) *Policy {
	return &Policy{Networks: c.Relay.Networks, Relay: c.Relay.Allow, Accounts: accounts}
}

// rule looks at a request and says why it matches or not. A rule that decides
// returns a decision.
type rule struct {
	name string
	ask  func(p *Policy, r *Request) (matched bool, why string, d *Decision)
}

var senderRules = []rule{
	{"submission.login", submissionLogin},
	{"sender.domain", senderDomain},
	{"sender.own", senderOwn},
}

var recipientRules = []rule{
	{"recipient.local", recipientLocal},
	{"user.authenticated", userAuthenticated},
	{"network.trusted", networkTrusted},
	{"relay.denied", relayDenied},
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
func (p *Policy) Recipient(r Request) Decision { return p.run(recipientRules, &r) }

// run asks rules in order until one decides. Where none does, nothing speaks
// against it.
func (p *Policy) run(rules []rule, r *Request) Decision {
	var traces []Trace
	for _, rule := range rules {
		matched, why, d := rule.ask(p, r)
		traces = append(traces, Trace{rule.name, matched, why})
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
	return &Decision{Verdict: Reject, Code: code, Enhanced: enhanced, Text: text}
}

// submissionLogin: RFC 6409 4.3.
func submissionLogin(_ *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.Listener != config.Submission && r.Listener != config.Submissions:
		return false, "listener " + r.Listener + " takes mail from other servers too", nil
	case r.User != "":
		return false, "logged in as " + r.User, nil
	}
	return true, "listener " + r.Listener + " is for users who log in", reject(530, "5.7.0", "Authentication required")
}

// senderDomain completes or refuses a sender without a domain.
func senderDomain(p *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.Sender.IsNull():
		return false, "the null sender of bounces", nil
	case r.Sender.Domain != "":
		return false, "the sender has a domain", nil
	case r.User != "":
		r.Sender.Domain = p.mainDomain()
		return true, "completed to " + r.Sender.String(), nil
	}
	return true, "a sender from outside needs a domain", reject(553, "5.1.7", "Sender address needs a domain: <user@example.com>")
}

// senderOwn keeps users from sending in the name of others.
func senderOwn(p *Policy, r *Request) (bool, string, *Decision) {
	switch {
	case r.User == "":
		return false, "not logged in", nil
	case r.Sender.IsNull():
		return true, "anybody may send a bounce or a receipt", nil
	}
	if p.local(r.Sender.Domain) != "" {
		own := strings.ToLower(r.Sender.Local) + "@" + p.local(r.Sender.Domain)
		route, err := p.Accounts.Resolve(r.Sender.Local, p.local(r.Sender.Domain))
		if err != nil && own != r.User && !errors.Is(err, account.ErrNotFound) {
			return false, err.Error(), accountFault(err)
		}
		if own == r.User || slices.Contains(route.Through, r.User) {
			return true, r.Sender.String() + " is an address of " + r.User, nil
		}
	}
	return false, r.Sender.String() + " is no address of " + r.User,
		reject(553, "5.7.1", "<"+r.Sender.String()+"> is not an address of "+r.User+", who is logged in")
}

func recipientLocal(p *Policy, r *Request) (bool, string, *Decision) {
	if r.Recipient.Domain == "" && (r.User != "" || strings.EqualFold(r.Recipient.Local, "postmaster")) { // RFC 5321 4.5.1
		r.Recipient.Domain = p.mainDomain()
	}
	to := r.Recipient
	domain := p.local(to.Domain)
	switch {
	case to.Domain == "":
		return false, "no domain", reject(550, "5.1.3", "Recipient address needs a domain: <"+to.String()+"@example.com>")
	case domain == "":
		return false, to.Domain + " is not one of the local domains: " + strings.Join(p.Accounts.Domains(), ", "), nil
	}
	route, err := p.Accounts.Resolve(to.Local, domain)
	switch {
	case errors.Is(err, account.ErrNotFound):
		// "victim%elsewhere@here" and "elsewhere!victim@here" end here too:
		// no account can have such a name, and nothing reads them further.
		why := to.Local + "@" + domain + " has no account"
		if strings.ContainsAny(to.Local, "%!@") {
			why += "; addresses that ask to be passed on are never followed"
		}
		return true, why, reject(550, "5.1.1", "<"+to.String()+">: no such user here")
	case err != nil:
		return true, err.Error(), accountFault(err)
	}
	if !p.Relay && len(route.Remote) > 0 {
		// Receive only is receive only, for forwards too.
		if len(route.Boxes) == 0 {
			dead := &account.ForwardError{From: route.Remote[0].Via, Target: route.Remote[0].To}
			return true, dead.From + " is forwarded to " + dead.Target + ", but relay.allow is false", accountFault(dead)
		}
		route.Remote = nil
	}
	d := accept("2.1.5", "Recipient ok")
	d.Boxes, d.Forwards = route.Boxes, route.Remote
	return true, where(route), d
}

// where says in words where mail goes.
func where(route account.Route) string {
	var boxes, remote, parts []string
	for _, a := range route.Boxes {
		boxes = append(boxes, a.Address())
	}
	for _, r := range route.Remote {
		remote = append(remote, r.To)
	}
	if len(boxes) > 0 {
		parts = append(parts, "goes to the mailbox of "+strings.Join(boxes, " and "))
	}
	if len(remote) > 0 {
		parts = append(parts, "is sent on to "+strings.Join(remote, " and "))
	}
	return strings.Join(parts, ", and ")
}

// accountFault is the reply when accounts cannot be read or are set up wrongly:
// the mail may come again when that is repaired.
func accountFault(err error) *Decision {
	d := &Decision{Verdict: Defer, Code: 451, Enhanced: "4.3.0", Text: "Account data cannot be read; try again later"}
	var f *account.ForwardError
	if errors.As(err, &f) {
		d.Enhanced, d.Text = "4.3.5", "Mail for this address is forwarded to nowhere; the administrator must repair it"
	}
	return d
}

func userAuthenticated(p *Policy, r *Request) (bool, string, *Decision) {
	if r.User == "" {
		return false, "not logged in", nil
	}
	return true, "logged in as " + r.User, p.elsewhere()
}

func networkTrusted(p *Policy, r *Request) (bool, string, *Decision) {
	for _, n := range p.Networks {
		if n.Contains(r.Client.Unmap()) {
			return true, fmt.Sprintf("%s is in %s of relay.networks", r.Client.Unmap(), n), p.elsewhere()
		}
	}
	return false, fmt.Sprintf("%s is not in relay.networks", r.Client.Unmap()), nil
}

// elsewhere answers those who may relay.
func (p *Policy) elsewhere() *Decision {
	if !p.Relay {
		d := reject(550, "5.7.1", "This server only receives mail (relay.allow is false)")
		d.Rule = "relay.off"
		return d
	}
	d := accept("2.1.5", "Recipient ok")
	d.Out = true
	return d
}

func relayDenied(_ *Policy, r *Request) (bool, string, *Decision) {
	return true, "neither the recipient is local nor may the client relay",
		reject(550, "5.7.1", "User not local. Authentication required for relay")
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
