package checkmx

import (
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/dial"
)

// slowGreeting is how long a host may take to greet without a word from us.
const slowGreeting = 5 * time.Second

// States of an address as a place to deliver to.
const (
	stateGood    = ""        // takes mail, as far as was asked
	stateUnknown = "unknown" // could not be asked from here
	stateRefused = "smtp.refused"
	stateTimeout = "smtp.timeout"
	stateBanner  = "smtp.no_banner"
	stateRejects = "smtp.rejects"
	stateDomain  = "smtp.domain_rejected"
)

// state says whether mail can be handed over at an address.
func (a *Addr) state(domain string) string {
	s := a.SMTP
	switch {
	case s == nil:
		return stateUnknown
	case s.Connect == dial.Refused:
		return stateRefused
	case s.Connect == dial.Timeout:
		return stateTimeout
	case s.Connect == dial.Unreachable && s.Mapped:
		return stateTimeout
	case s.Connect == dial.Reset || s.Connect == dial.Closed:
		return stateBanner
	case s.Connect != "ok":
		return stateUnknown // no route, no right: says nothing about the host
	case s.Greeting.Outcome == dial.Permanent:
		return stateRejects
	case s.Greeting.Outcome != "ok" && s.Greeting.Outcome != dial.Temporary:
		return stateBanner
	case s.refusesDomain(domain):
		return stateDomain
	}
	return stateGood
}

// deliverable tells that at least one of the host's addresses takes mail, or
// that it could not be asked.
func (h *Host) deliverable(domain string) bool {
	return slices.ContainsFunc(h.public(), func(a *Addr) bool {
		s := a.state(domain)
		return s == stateGood || s == stateUnknown
	})
}

// works tells that some other address of the host was seen to take mail.
func (h *Host) works(not *Addr, domain string) bool {
	return slices.ContainsFunc(h.public(), func(a *Addr) bool { return a != not && a.SMTP != nil && a.state(domain) == stateGood })
}

func judgeSMTP(j *judge) {
	for _, h := range j.Hosts {
		if h.Form != "" {
			continue
		}
		for _, a := range h.public() {
			if a.SMTP != nil {
				j.ran = true
				j.judgeAddr(h, a)
			}
		}
	}
}

func (j *judge) judgeAddr(h *Host, a *Addr) {
	s := a.SMTP
	ev := diag.Evidence{"address": a.IP.String(), "port": j.opt.SMTPPort}
	switch state := a.state(j.Domain); state {
	case stateUnknown:
		if a.IP.Is6() {
			return // this machine has no IPv6
		}
		ev["outcome"], ev["errno"] = s.Connect, s.Errno
		j.add("smtp.unknown", h.Name, ev)
		return
	case stateRefused, stateTimeout, stateBanner, stateRejects:
		ev["outcome"] = s.Connect
		if s.Greeting != nil {
			ev["outcome"] = s.Greeting.Outcome
			if s.Greeting.Reply.Code != 0 {
				ev["reply"], ev["stage"] = s.Greeting.Reply.String(), "greeting"
			}
		} else if s.Errno != "" {
			ev["errno"] = s.Errno
		}
		if a.IP.Is6() && h.works(a, j.Domain) {
			f := j.add("smtp.ipv6_unreachable", a.IP.String(), ev)
			f.Evidence["host"] = h.Name
			return
		}
		f := j.add(state, h.Name, ev)
		if j.spare(h) || h.works(a, j.Domain) {
			*f = f.As(diag.Warn)
		}
		return
	case stateDomain:
		ev["reply"] = s.Postmaster.Reply.String()
		f := j.add(state, h.Name, ev)
		if j.spare(h) {
			*f = f.As(diag.Warn)
		}
	}
	if s.Greeting.Outcome == dial.Temporary {
		ev["reply"], ev["stage"] = s.Greeting.Reply.String(), "greeting"
		j.add("smtp.busy", h.Name, ev)
		return
	}
	if s.Took > slowGreeting {
		ev := diag.Evidence{"address": a.IP.String(), "seconds": int(s.Took.Seconds())}
		j.add("smtp.slow_banner", h.Name, ev)
	}
	j.judgeTalk(h, a)
}

// judgeTalk is for what came after the greeting.
func (j *judge) judgeTalk(h *Host, a *Addr) {
	s := a.SMTP
	quote := func(st *Step, stage string) diag.Evidence {
		return diag.Evidence{"address": a.IP.String(), "reply": st.Reply.String(), "stage": stage, "outcome": st.Outcome}
	}
	switch {
	case s.Ehlo == nil:
		return
	case s.Ehlo.Outcome == dial.Temporary:
		j.add("smtp.busy", h.Name, quote(s.Ehlo, "ehlo"))
		return
	case s.Hello == "" && s.Ehlo.Outcome == dial.Permanent && s.Ehlo.Reply.Code >= 550:
		f := j.add("smtp.rejects", h.Name, quote(s.Ehlo, "ehlo"))
		*f = f.As(diag.Warn) // perhaps only us
		return
	case s.Hello != "EHLO":
		j.add("smtp.no_ehlo", h.Name, quote(s.Ehlo, "ehlo"))
	case !s.Offers:
		j.add("smtp.no_starttls", h.Name, diag.Evidence{"address": a.IP.String()})
	case s.TLS == nil:
		j.add("smtp.starttls_broken", h.Name, quote(s.StartTLS, "starttls"))
	}
	if s.Domain != j.Domain {
		return // the dialogue was about another domain of this run
	}
	if s.Null != nil && s.Null.Outcome == dial.Permanent {
		j.add("smtp.null_sender_rejected", h.Name, quote(s.Null, "mail"))
	}
	if s.Relay != nil && s.Relay.Outcome == "ok" {
		ev := quote(s.Relay, "rcpt")
		ev["from"], ev["to"] = strangerFrom, strangerTo
		j.add("smtp.open_relay", h.Name, ev)
	}
	if a.state(j.Domain) != stateDomain {
		j.judgeRecipients(h, s, quote)
	}
}

func (j *judge) judgeRecipients(h *Host, s *SMTP, quote func(*Step, string) diag.Evidence) {
	if s.Postmaster == nil {
		return
	}
	switch s.Postmaster.Outcome {
	case dial.Temporary:
		id := "smtp.greylisted"
		if code := s.Postmaster.Reply.Code; code != 450 && code != 451 && !mentions(s.Postmaster, "grey", "gray") {
			id = "smtp.busy"
		}
		j.add(id, h.Name, quote(s.Postmaster, "rcpt"))
		return
	case dial.Permanent:
		if mentions(s.Postmaster, blockedWords...) {
			f := j.add("smtp.rejects", h.Name, quote(s.Postmaster, "rcpt"))
			*f = f.As(diag.Warn) // it is about us, not about the recipient
			return
		}
		ev := quote(s.Postmaster, "rcpt")
		ev["recipient"] = "postmaster@" + j.Domain
		j.add("smtp.postmaster_rejected", h.Name, ev)
	}
	if s.Abuse != nil && s.Abuse.Outcome == dial.Permanent {
		ev := quote(s.Abuse, "rcpt")
		ev["recipient"] = "abuse@" + j.Domain
		j.add("smtp.abuse_rejected", h.Name, ev)
	}
}

// blockedWords stand in replies that refuse the client, whatever the recipient.
var blockedWords = []string{"blocked using", "block list", "blocklist", "blacklist", "client host", "your ip", "spamhaus", "dnsbl", "rbl", "reputation", "reverse dns", "ptr record", "reverse hostname", "sender address rejected", "sender rejected", "helo command rejected"}

// relayWords stand in replies that refuse a domain as not the host's own.
var relayWords = []string{
	"relay", "rcpthosts", "not a local", "not local", "no such domain", "unknown domain", "domain not found", "domain unknown", "domain not hosted", "domain does not exist",
	"not hosted", "not a hosted", "not our domain", "not one of our", "do not handle", "don't handle", "not handle mail for", "not accept mail for", "unrouteable domain", "not authorized domain",
	"invalid domain", "domain isn't", "domain is not", "not responsible for", "unauthorized destination", "not configured",
}

// refusesDomain tells that the host does not take itself for responsible for
// the domain: it refuses its recipients as relaying.
func (s *SMTP) refusesDomain(domain string) bool {
	p := s.Postmaster
	if p == nil || s.Domain != domain || mentions(p, blockedWords...) {
		return false
	}
	if p.Outcome == dial.Temporary {
		return mentions(p, "relay") // Postfix defers what it takes for relaying
	}
	if p.Outcome != dial.Permanent {
		return false
	}
	if p.Reply.Enhanced == "5.1.2" || mentions(p, relayWords...) {
		return true
	}
	// 5.7.1 alone, given word for word to the stranger's domain as well.
	return p.Reply.Enhanced == "5.7.1" && s.Relay != nil && s.Relay.Outcome == dial.Permanent && sameWords(p, s.Relay)
}

func mentions(s *Step, words ...string) bool {
	text := strings.ToLower(s.Reply.Text())
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// sameWords compares two replies without the addresses they quote.
func sameWords(a, b *Step) bool {
	strip := func(s *Step) string {
		var out []string
		for _, w := range strings.Fields(strings.ToLower(s.Reply.Text())) {
			if !strings.Contains(w, "@") {
				out = append(out, w)
			}
		}
		return strings.Join(out, " ")
	}
	return a.Reply.Code == b.Reply.Code && strip(a) == strip(b)
}
