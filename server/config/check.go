package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// missing finds what no single setting shows: what is not there, and two
// services on one address.
func (l *loader) missing() Problems {
	c := l.c
	var ps Problems
	said := func(key string) bool {
		for _, p := range l.problems {
			// A misspelt key is the cause, the missing one its consequence.
			if p.Key == key || p.Suggestion == key {
				return true
			}
		}
		return false
	}
	all := slices.Concat(c.Listen, c.Web)
	for i, a := range all {
		for _, b := range all[:i] {
			if a.overlaps(b) {
				ps = append(ps, Problem{Kind: ListenDuplicate, Line: a.Line, Key: "listen." + a.Service, Value: quoted(a.Addr),
					Message: fmt.Sprintf("line %d gives the same address and port to %s (%s)", b.Line, b.Service, b.Addr)})
				break
			}
		}
	}
	if c.Hostname == "" && !said("hostname") {
		if c.Open() {
			ps = append(ps, Problem{Kind: NoHostname, Key: "hostname", Message: `is missing: other servers want the full name of this one in the greeting, such as hostname = "mail.example.com"`})
		} else {
			c.Hostname = "localhost"
		}
	}
	if len(c.Domains) == 0 && !said("domains") {
		ps = append(ps, Problem{Kind: NoDomain, Key: "domains", Message: `is missing: the server would receive mail for nobody, such as domains = ["example.com"]`})
	}
	if len(c.Listen) == 0 && !l.listenProblem() {
		ps = append(ps, Problem{Kind: NoListener, Key: "listen", Message: `nothing is on: in a file only what [listen] names is, such as smtp = ":25"`})
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		ps = append(ps, Problem{Kind: BadValue, Key: "tls", Message: "cert and key belong together: one of them is missing"})
	}
	ps = append(ps, l.openRelay()...)
	ps = append(ps, l.ruleProblems()...)
	ps = append(ps, l.routes()...)
	return append(ps, l.outgoing()...)
}

// HoldsStrangers tells that a network is wider than any single owner's: who
// trusts it has an open relay.
func HoldsStrangers(n netip.Prefix) bool {
	if n.Addr().Is6() {
		return n.Bits() < 16
	}
	return n.Bits() < 8
}

// openRelay finds rules that would open relaying to strangers. relay.networks is
// not refused: the server's log and doctor say what it does.
func (l *loader) openRelay() (ps Problems) {
	for _, c := range l.c.Relay.Clients {
		for _, n := range c.Networks {
			if HoldsStrangers(n) {
				ps = append(ps, Problem{Kind: BadValue, Line: c.Line, Key: "relay.client", Value: quoted(n.String()),
					Message: "makes an open relay: so wide a network holds strangers; at least /8 (IPv6: /16), and best only your own"})
			}
		}
	}
	return ps
}

// outgoing finds settings of outgoing mail that do not go together.
func (l *loader) outgoing() (ps Problems) {
	wrong := func(key, message string) {
		v := l.places[key]
		ps = append(ps, Problem{Kind: BadValue, Line: v.line, Column: v.col, Key: key, Message: message})
	}
	a, r := l.c.Relay.Auth, l.c.Retry
	_, hostGiven := l.places["relay.smart_host"]
	switch {
	case a.Username != "" && l.c.Relay.SmartHost == "" && !hostGiven:
		wrong("relay.auth.username", "logs in nowhere: relay.smart_host is missing")
	case a.Password != "" && a.PasswordFile != "":
		wrong("relay.auth.password_file", "and relay.auth.password both give the password: leave one of them out")
	case a.Username != "" && a.Password == "" && a.PasswordFile == "":
		wrong("relay.auth.username", "needs relay.auth.password or relay.auth.password_file beside it")
	case a.Username == "" && a.Password != "":
		wrong("relay.auth.password", "needs relay.auth.username beside it")
	case a.Username == "" && a.PasswordFile != "":
		wrong("relay.auth.password_file", "needs relay.auth.username beside it")
	}
	if _, given := l.places["retry.warn_after"]; given && r.WarnAfter >= r.GiveUpAfter {
		wrong("retry.warn_after", fmt.Sprintf("never comes: after %s (retry.give_up_after) the message goes back; shorten it, or \"0s\" for no warning", FormatDuration(r.GiveUpAfter)))
	}
	return ps
}

func (l *loader) listenProblem() bool {
	for _, p := range l.problems {
		if !p.Later && (p.Suggestion == "[listen]" || strings.HasPrefix(p.Key, "listen.") || strings.HasPrefix(p.Suggestion, "listen.")) {
			return true
		}
	}
	return false
}
