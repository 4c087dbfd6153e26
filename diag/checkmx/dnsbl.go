package checkmx

import (
	"net/netip"
	"slices"

	"mailsrv/diag"
	"mailsrv/probes/dns"
)

// deadLists are block lists of the past. Some answer nothing any more, some
// everything: asking them does harm.
var deadLists = []string{
	"ahbl.org", "blitzed.org", "cbl.abuseat.org", "dnsbl.manitu.net", "dorkslayers.com", "dsbl.org", "mail-abuse.com", "mail-abuse.org", "maps.vix.com",
	"njabl.org", "orbl.org", "orbs.org", "ordb.org", "osirusoft.com", "five-ten-sg.com", "sorbs.net", "spamcannibal.org", "monkeys.com", "wirehub.net",
}

// DeadList tells that a block list has been given up.
func DeadList(zone string) bool {
	zone = dns.Name(zone)
	return slices.ContainsFunc(deadLists, func(d string) bool { return below(zone, d) })
}

// What an answer of a block list means.
const (
	notListed  = ""
	listed     = "listed"
	policyList = "policy" // dial-up and residential ranges
	refusal    = "refusal"
)

var (
	answers  = netip.MustParsePrefix("127.0.0.0/8")
	refusals = netip.MustParsePrefix("127.255.255.0/24")
)

// meaning reads a list's answer. Only documented answers count; one that lists
// the control point lists everything, and says nothing.
func (l *Listing) meaning() string {
	out := notListed
	for _, r := range l.Answer.Records {
		if !answers.Contains(r.Addr) {
			continue
		}
		b := r.Addr.As4()
		switch {
		case refusals.Contains(r.Addr), r.Addr == netip.MustParseAddr("127.0.1.255"):
			return refusal
		case b[1] == 0 && b[2] == 0 && (b[3] == 10 || b[3] == 11) && !l.Domain:
			if out == notListed {
				out = policyList
			}
		case b[1] == 0 && b[2] == 0 && b[3] <= 1:
		default:
			out = listed
		}
	}
	if out != notListed && l.Control != nil && len(l.Control.Records) > 0 {
		return notListed
	}
	return out
}

func judgeDNSBL(j *judge) {
	for _, l := range j.Listings {
		if !l.Answer.Outcome.Found() {
			continue // a list that does not answer says nothing
		}
		j.ran = true
		ev := diag.Evidence{"list": l.Zone}
		for _, r := range l.Answer.Records {
			ev["answer"] = r.Value
		}
		if l.Reason != nil && len(l.Reason.Records) > 0 {
			ev["reason"] = l.Reason.Records[0].Text
		}
		switch m := l.meaning(); {
		case m == refusal:
			j.add("dnsbl.query_blocked", l.Zone, ev)
		case m == listed && l.Domain:
			j.listed(l, "dnsbl.domain_listed", ev)
		case m == listed:
			j.listed(l, "dnsbl.ip_listed", ev)
		case m == policyList:
			j.listed(l, "dnsbl.policy_listed", ev)
		}
	}
}

// listed gives one finding an address, however many lists have it.
func (j *judge) listed(l *Listing, id string, ev diag.Evidence) {
	ev["lists"] = []string{l.Zone}
	f := j.add(id, l.About, ev)
	if lists, ok := f.Evidence["lists"].([]string); ok && !slices.Contains(lists, l.Zone) {
		f.Evidence["lists"] = append(lists, l.Zone)
	}
}
