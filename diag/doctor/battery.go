package doctor

import (
	"context"
	"net/netip"
	"strings"

	"mailsrv/probes/dial"
	"mailsrv/probes/smtp"
)

// Where the tries of the battery pretend to come from and to go to: names that
// belong to nobody (RFC 2606).
const (
	strangerDomain = "example.org"
	victimDomain   = "example.net"
	strangerUser   = "doctor-relay-test"
)

// stranger is a client that nobody has a reason to trust (RFC 5737).
var stranger = netip.MustParseAddr("203.0.113.25")

// RelayTry is one way to have a server pass on mail for strangers.
type RelayTry struct {
	Name     string
	From, To string // as they stand between < and >
	Client   netip.Addr
	Listener string
	Helo     string
}

// RelayVerdict is what came of it.
type RelayVerdict struct {
	Result string // refused, accepted, unclear
	Reply  string
	Rule   string // of our own policy room; empty when a server was asked
}

// The results. They are part of the JSON documents.
const (
	Refused  = "refused"
	Accepted = "accepted"
	Unclear  = "unclear" // a temporary refusal, or no answer
)

// Battery is the classic open-relay tries and some more, against a server whose
// local domain and address are given. Only what is asked in RCPT matters; no
// message is ever sent.
func Battery(domain string, server netip.Addr) []RelayTry {
	const from, to = strangerUser + "@" + strangerDomain, strangerUser + "@" + victimDomain
	lit := literal(server.String())
	return []RelayTry{
		{Name: "plain", From: from, To: to},
		{Name: "null-sender", From: "", To: to},
		{Name: "local-sender", From: "postmaster@" + domain, To: to},
		{Name: "sender-literal", From: strangerUser + "@" + lit, To: to},
		{Name: "sender-no-domain", From: strangerUser, To: to},
		{Name: "same-sender-recipient", From: to, To: to},
		{Name: "percent-hack", From: from, To: strangerUser + "%" + victimDomain + "@" + domain},
		{Name: "percent-literal", From: from, To: strangerUser + "%" + victimDomain + "@" + lit},
		{Name: "bang-path", From: from, To: victimDomain + "!" + strangerUser + "@" + domain},
		{Name: "source-route", From: from, To: "@" + domain + ":" + to},
		{Name: "source-route-local", From: from, To: "@localhost:" + to},
		{Name: "quoted", From: from, To: `"` + to + `"`},
		{Name: "quoted-local", From: from, To: `"` + to + `"@` + domain},
		{Name: "double-at", From: from, To: to + "@" + domain},
		{Name: "literal-recipient", From: from, To: strangerUser + "@[198.51.100.25]"},
		{Name: "trailing-dot", From: from, To: to + "."},
		{Name: "postmaster-route", From: from, To: "@" + domain + ":postmaster@" + victimDomain},
		{Name: "mixed-case-domain", From: from, To: strangerUser + "@" + strings.ToUpper(victimDomain[:4]) + victimDomain[4:]},
		{Name: "subdomain", From: from, To: strangerUser + "@relay-test." + domain},
	}
}

// tricks are the tries that need a disguise; what accepts one of the others is
// open to everybody.
var tricks = map[string]bool{
	"percent-hack": true, "percent-literal": true, "bang-path": true, "source-route": true, "source-route-local": true,
	"quoted": true, "quoted-local": true, "double-at": true, "postmaster-route": true, "subdomain": true, "trailing-dot": true,
	"literal-recipient": true, "sender-literal": true, "sender-no-domain": true, "null-sender": true, "same-sender-recipient": true,
}

// maxConnections is how often the battery connects anew to a server that hangs
// up after refusals.
const maxConnections = 8

// tryRelay runs the battery against a server, one connection after another if
// the server hangs up in between. What could not be asked is unclear.
func tryRelay(ctx context.Context, addr string, tries []RelayTry, opt smtp.Options) ([]RelayVerdict, error) {
	out := make([]RelayVerdict, len(tries))
	for i := range out {
		out[i] = RelayVerdict{Result: Unclear}
	}
	var last error
	next := 0
	for range maxConnections {
		c, err := smtp.Dial(ctx, addr, opt)
		if err != nil {
			return out, err
		}
		last = greetRelay(c)
		for last == nil && next < len(tries) {
			out[next], last = tryOne(c, tries[next])
			if last == nil || out[next].Result != Unclear {
				next++
			}
		}
		if last == nil {
			_, _ = c.Quit() // all is said
			return out, nil
		}
		c.Close()
		if next >= len(tries) || ctx.Err() != nil {
			break
		}
	}
	return out, last
}

func greetRelay(c *smtp.Conn) error {
	if _, err := c.Greeting(); err != nil {
		return err
	}
	_, err := c.Ehlo()
	return err
}

// tryOne asks one recipient. The error says that the conversation is over.
func tryOne(c *smtp.Conn, t RelayTry) (RelayVerdict, error) {
	reply, err := c.Mail(t.From)
	if err == nil {
		reply, err = c.Rcpt(t.To)
	}
	v := RelayVerdict{Result: Accepted, Reply: reply.String()}
	switch dial.Outcome(err) {
	case "":
	case dial.Permanent:
		v.Result = Refused
	case dial.Temporary:
		v.Result = Unclear
	default:
		return RelayVerdict{Result: Unclear, Reply: reply.String()}, err
	}
	if reply.Code == 421 { // the server says goodbye
		return v, err
	}
	_, err = c.Rset()
	return v, err
}
