package relaytest

import (
	"net/netip"
	"slices"
	"strings"
)

// Where the tries pretend to come from and to go to when nothing else is asked
// for: names that belong to nobody (RFC 2606).
const (
	StrangerDomain = "example.org"
	user           = "relay-test"
	stranger       = user + "@" + StrangerDomain
	victim         = user + "@example.net"
)

// Stranger is a client that no server has a reason to trust (RFC 5737).
var Stranger = netip.MustParseAddr("203.0.113.25")

// Outside is a client that none of the networks holds, where there is one: what
// is refused to it is refused to strangers.
func Outside(networks []netip.Prefix) netip.Addr {
	for _, s := range []string{"198.51.100.25", "192.0.2.25", "2001:db8::25"} {
		held := func(a netip.Addr) bool {
			return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
		}
		if a := netip.MustParseAddr(s); held(Stranger) && !held(a) {
			return a
		}
	}
	return Stranger
}

// Try is one way to have a server pass on mail for strangers.
type Try struct {
	Name     string
	From, To string // as they stand between < and >
}

// Names are what the tries are made of.
type Names struct {
	Domain string     // a local domain of the server
	Server netip.Addr // its address
	From   string     // a sender who is nobody there; empty: one that does not exist
	To     string     // a recipient elsewhere; empty: one that does not exist
}

func (n Names) orDefault() Names {
	if n.From == "" {
		n.From = stranger
	}
	if n.To == "" {
		n.To = victim
	}
	return n
}

// Battery is the classic open-relay tries and some more. Only the answer to
// RCPT matters.
func Battery(n Names) []Try {
	n = n.orDefault()
	from, to := n.From, n.To
	local, domain := cut(to)
	lit := "[" + n.Server.String() + "]"
	if n.Server.Is6() {
		lit = "[IPv6:" + n.Server.String() + "]"
	}
	return []Try{
		{"plain", from, to},
		{"null-sender", "", to},
		{"local-sender", "postmaster@" + n.Domain, to},
		{"sender-literal", user + "@" + lit, to},
		{"sender-no-domain", user, to},
		{"same-sender-recipient", to, to},
		{"percent-hack", from, local + "%" + domain + "@" + n.Domain},
		{"percent-literal", from, local + "%" + domain + "@" + lit},
		{"bang-path", from, domain + "!" + local + "@" + n.Domain},
		{"source-route", from, "@" + n.Domain + ":" + to},
		{"source-route-local", from, "@localhost:" + to},
		{"quoted", from, `"` + to + `"`},
		{"quoted-local", from, `"` + to + `"@` + n.Domain},
		{"double-at", from, to + "@" + n.Domain},
		{"literal-recipient", from, user + "@[198.51.100.25]"},
		{"trailing-dot", from, to + "."},
		{"postmaster-route", from, "@" + n.Domain + ":postmaster@" + domain},
		{"mixed-case-domain", from, local + "@" + mixed(domain)},
		{"subdomain", from, user + "@relay-test." + n.Domain},
	}
}

// control asks for a mailbox that cannot exist at the server: one that takes it
// takes every local part, and says nothing with the tries of inside.
func control(n Names) Try {
	return Try{Name: "control", From: n.orDefault().From, To: "no-such-user-relay-test@" + n.Domain}
}

// plainTries need no disguise: what accepts one of them is open to everybody.
var plainTries = map[string]bool{"plain": true, "mixed-case-domain": true}

// senderTry shows whether the sender's address alone opens the door.
const senderTry = "local-sender"

// inside are the tries whose recipient is an address of the server itself, if
// it takes them literally.
var inside = map[string]bool{
	"percent-hack": true, "percent-literal": true, "bang-path": true, "quoted": true, "quoted-local": true, "double-at": true, "subdomain": true,
}

// elsewhere are the tries that do not lead to the recipient asked for.
var elsewhere = map[string]bool{"literal-recipient": true, "postmaster-route": true, "subdomain": true, "control": true}

func cut(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, ""
	}
	return address[:i], address[i+1:]
}

// mixed writes the first letters of a domain large.
func mixed(domain string) string {
	n := min(4, len(domain))
	return strings.ToUpper(domain[:n]) + domain[n:]
}
