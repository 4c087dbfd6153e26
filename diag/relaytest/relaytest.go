// Package relaytest finds out whether a mail server passes on mail from
// strangers to strangers, and in which disguise.
//
// It has three parts. Battery makes the tries, Client asks a server for each of
// them, or a function asks the rules of a configuration, and Judge reads the
// answers. doctor uses the parts on this machine's server; Run puts them
// together for one that is named.
//
// Nothing is sent: a try ends with the answer to RCPT. Only with
// Options.Deliver, which names a mailbox of one's own, do the accepted tries
// carry a message.
package relaytest

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/probes/dial"
	"mailsrv/probes/smtp"
)

// Options say whom to ask. Host is required.
type Options struct {
	Host    string
	Port    int           // 0: 25
	Domain  string        // a local domain of the server; empty: guessed from its name
	Helo    string        // our name; empty: this machine's
	From    string        // sender of the tries; empty: nobody's address
	To      string        // recipient of the tries; empty: nobody's address
	Deliver string        // a mailbox of one's own: send a message to it by each try that is accepted
	Timeout time.Duration // of one step; 0: 10 s
	Dialer  dial.Dialer   // nil: the system's
}

// Report is the document of relay-test.
type Report struct {
	Target   Target         `json:"target"`
	Tests    []Test         `json:"tests"`
	Findings []diag.Finding `json:"findings"`
	Summary  diag.Summary   `json:"summary"`
}

// Target is the server that was asked.
type Target struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Address  string `json:"address,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Guessed  bool   `json:"domain_guessed,omitempty"`
	Greeting string `json:"greeting,omitempty"`
}

// Test is one try and what came of it.
type Test struct {
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
	Reply  string `json:"reply"`
	Result string `json:"result"`
	Sent   bool   `json:"sent,omitempty"` // the server took a message, too
}

// Localize fills in the texts of the findings.
func (r *Report) Localize(lang codes.Lang) error { return diag.Localize(r.Findings, lang) }

// ImplicitPort is where TLS comes first (RFC 8314).
const ImplicitPort = 465

// Run asks a server and judges its answers.
func Run(ctx context.Context, opt Options) *Report {
	if opt.Port == 0 {
		opt.Port = 25
	}
	if opt.Timeout <= 0 {
		opt.Timeout = smtp.DefaultTimeout
	}
	r := &Report{Target: Target{Host: opt.Host, Port: opt.Port, Domain: opt.Domain}, Tests: []Test{}}
	addr := net.JoinHostPort(opt.Host, strconv.Itoa(opt.Port))
	names := Names{Domain: opt.Domain, From: opt.From, To: opt.To}
	if opt.Deliver != "" {
		names.To = opt.Deliver
	}
	c, err := Dial(ctx, addr, smtp.Options{
		Dialer: opt.Dialer, Helo: opt.Helo, Timeout: opt.Timeout, Greeting: max(opt.Timeout, slowGreeting), ImplicitTLS: opt.Port == ImplicitPort,
	})
	if err == nil {
		defer c.Close()
		c.Deliver = opt.Deliver
		r.Target.Greeting = c.Greeting
		if server, perr := netip.ParseAddrPort(c.Addr); perr == nil {
			names.Server = server.Addr().Unmap().WithZone("")
			r.Target.Address = names.Server.String()
		}
	}
	if names.Domain == "" {
		names.Domain = guessDomain(opt.Host, r.Target.Greeting)
		r.Target.Domain, r.Target.Guessed = names.Domain, true
	}
	a := Answers{Tries: Battery(names), Err: err}
	if _, domain := cut(names.To); names.To != "" && strings.EqualFold(domain, names.Domain) {
		a.OwnDomain = domain
	} else if err == nil {
		a = c.Ask(names)
	}
	for i, t := range a.Tries {
		test := Test{Name: t.Name, From: t.From, To: t.To, Result: Skip}
		if i < len(a.Verdicts) {
			v := a.Verdicts[i]
			test.Reply, test.Result, test.Sent = v.Reply, v.Result, v.Sent
		}
		r.Tests = append(r.Tests, test)
	}
	r.Findings = Judge(addr, a)
	diag.Sort(r.Findings)
	r.Summary = diag.Summarize(r.Findings)
	return r
}

// slowGreeting: servers make strangers wait on purpose (RFC 5321 4.5.3.2.1
// allows five minutes; few use more than half of one).
const slowGreeting = 30 * time.Second

// guessDomain guesses a domain for which a server receives mail from its name:
// mail.example.com mostly serves example.com.
func guessDomain(host, greeting string) string {
	name := host
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		if f := strings.Fields(greeting); len(f) > 1 && strings.Contains(f[1], ".") {
			name = f[1]
		}
	}
	name = strings.ToLower(strings.Trim(name, "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return "localhost"
	}
	if labels := strings.Split(name, "."); len(labels) > 2 {
		return strings.Join(labels[1:], ".")
	}
	return name
}
