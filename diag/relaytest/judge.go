package relaytest

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"mailsrv/diag"
	"mailsrv/probes/smtp"
)

// Judge reads the answers. A plain try that is accepted makes the disguised
// ones uninteresting; what could not be found out is never called closed.
func Judge(subject string, a Answers) []diag.Finding {
	s := sortOut(a)
	one := func(id string, names []string) []diag.Finding {
		first := s.accepted[names[0]]
		ev := diag.Evidence{"tests": names, "reply": first.Reply}
		if first.Rule != "" {
			ev["rule"] = first.Rule
		}
		if a.Client.IsValid() && a.Client != Stranger {
			ev["client"] = a.Client.String()
		}
		return []diag.Finding{diag.New(id, subject, ev).With("near", near(a.Client))}
	}
	untested := func(why, reply string) []diag.Finding {
		ev := diag.Evidence{"why": why}
		if reply != "" {
			ev["reply"] = reply
		}
		if a.Client.IsValid() {
			ev["client"] = a.Client.String()
		}
		if a.Err != nil {
			ev["reason"] = a.Err.Error()
		}
		words := strings.Fields(subject)
		return []diag.Finding{diag.New("relay.untested", subject, ev).With("address", words[len(words)-1])}
	}
	switch {
	case a.OwnDomain != "":
		return untested("own-domain", a.OwnDomain)
	case len(s.plain) > 0 && saysTrusted(s.accepted[s.plain[0]].Reply, a.Client):
		return untested("trusted", s.accepted[s.plain[0]].Reply)
	case len(s.plain) > 0:
		return one("relay.open", s.plain)
	case len(s.disguised) > 0:
		return one("relay.open_trick", s.disguised)
	case s.sender:
		return one("relay.sender_trusted", []string{senderTry})
	case len(a.Verdicts) == 0:
		return untested("no-connection", "")
	case s.first.Result == Unclear && s.first.Reply == "":
		return untested("no-answer", "")
	case s.first.Result == Unclear:
		return untested("temporary", s.first.Reply)
	case senderRefused(s.first):
		return untested("sender", s.first.Reply)
	}
	ev := diag.Evidence{"tests": len(a.Tries)}
	if len(s.unclear) > 0 {
		ev["unclear"] = s.unclear
	}
	if len(s.skipped) > 0 {
		ev["skipped"] = s.skipped
	}
	return []diag.Finding{diag.New("relay.ok", subject, ev)}
}

// sorted are the tries by what came of them.
type sorted struct {
	first                              Verdict // of the plain try
	accepted                           map[string]Verdict
	plain, disguised, unclear, skipped []string
	sender                             bool
}

func sortOut(a Answers) sorted {
	s := sorted{accepted: map[string]Verdict{}}
	for i, v := range a.Verdicts {
		name := a.Tries[i].Name
		if i == 0 {
			s.first = v
		}
		switch v.Result {
		case Unclear:
			s.unclear = append(s.unclear, name)
			continue
		case Skip:
			s.skipped = append(s.skipped, name)
			continue
		case Refused:
			continue
		}
		s.accepted[name] = v
		switch {
		case name == senderTry:
			s.sender = true
		case plainTries[name]:
			s.plain = append(s.plain, name)
		default:
			s.disguised = append(s.disguised, name)
		}
	}
	return s
}

// trustWords are how servers say that a client may relay because of its address.
var trustWords = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(trusted (client|host|network|address)|mynetworks|local (client|network)|relay(ing)? (is )?(allowed|permitted|granted))\b`)
})

// saysTrusted tells whether the server says that it relays for our address.
// Every server says 250 to those it trusts; only one that gives that reason
// says nothing about strangers.
func saysTrusted(reply string, client netip.Addr) bool {
	return near(client) && (trustWords().MatchString(reply) || client.IsValid() && slices.Contains(strings.FieldsFunc(reply, notAddress), client.String()))
}

func notAddress(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF.:", r) }

// near tells an address that servers often trust: loopback, a private network.
func near(client netip.Addr) bool {
	return client.IsLoopback() || client.IsPrivate() || client.IsLinkLocalUnicast()
}

// senderRefused tells that the sender was refused for what its domain lacks
// (RFC 3463, RFC 7372, RFC 7505): whether a better one could relay is not known.
func senderRefused(v Verdict) bool {
	if v.Stage != smtp.StageMail {
		return false
	}
	_, rest, _ := strings.Cut(v.Reply, " ")
	status, _, _ := strings.Cut(rest, " ")
	return slices.Contains([]string{"5.1.7", "5.1.8", "5.7.23", "5.7.27"}, status)
}
