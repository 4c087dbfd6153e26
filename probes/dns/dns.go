// Package dns asks name servers questions and tells exactly how each ended: an
// answer, no data, no such name, or one of the ways in which it could not be
// found out. A failure to ask is never an empty answer.
//
// A Client asks recursive resolvers (Lookup) or any one server (Query). It
// speaks UDP with EDNS, sends a second time when nothing comes, and goes over
// to TCP when an answer is cut. Cache makes a run ask each question once.
package dns

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mailsrv/probes/dial"
)

// Outcome is how a question ended.
type Outcome string

// The outcomes. Only the first three say something about the name.
const (
	Answered       Outcome = "answer"
	NoData         Outcome = "nodata"           // the name exists, that type does not
	NXDomain       Outcome = "nxdomain"         // no such name
	ServFail       Outcome = "servfail"         // the server failed
	Refused        Outcome = "refused"          // the server does not serve us (RCODE REFUSED)
	Timeout        Outcome = "timeout"          // no answer within the limit
	TruncatedNoTCP Outcome = "truncated-no-tcp" // cut over UDP, and TCP does not work
	Unreachable    Outcome = "unreachable"      // the question could not be sent (ICMP refused, no route)
	Malformed      Outcome = "malformed"        // the answer is no DNS message, or another RCODE
)

// Found tells whether the outcome says something about the name: that it, or
// the type, exists or not.
func (o Outcome) Found() bool { return o == Answered || o == NoData || o == NXDomain }

// Answer is how one question ended and what came back.
type Answer struct {
	Name    string // as asked
	Type    Type
	Server  string // who answered, or was asked last
	Outcome Outcome
	Records []Record // of the type asked for, at the end of any CNAMEs
	Chain   []string // the names that CNAMEs lead through, the last one is where Records stand; empty without CNAME
	CNAMEs  []Record // those CNAMEs

	Authority  []Record // as sent
	Additional []Record // as sent

	AA  bool  // the server is authoritative
	AD  bool  // the resolver says that it validated the answer
	RA  bool  // the server offers recursion
	TCP bool  // the answer came over TCP, because UDP was cut
	EDE []int // extended error codes, RFC 8914

	Rcode string // of the answer: "NOERROR", "SERVFAIL"
	Err   error  // what failed on the network, if anything
	RTT   time.Duration
}

// Canonical is the name at the end of the CNAME chain.
func (a *Answer) Canonical() string {
	if n := len(a.Chain); n > 0 {
		return a.Chain[n-1]
	}
	return a.Name
}

// Question is what to ask one server.
type Question struct {
	Name    string
	Type    Type
	Recurse bool // ask the server to find out for us
	NoCheck bool // checking disabled: the answer even where DNSSEC fails
	DNSSEC  bool // want signatures (DO)
	NoTCP   bool // do not go over to TCP
	Plain   bool // without EDNS: 512 octets over UDP
	TCP     bool // over TCP from the start
}

// DefaultTimeout is the limit of one question to one server.
const DefaultTimeout = 5 * time.Second

// Client asks. The zero value with Servers works; it is safe for concurrent
// use.
type Client struct {
	Servers []string      // addr:port of recursive resolvers, for Lookup
	Dialer  dial.Dialer   // nil: dial.System
	Timeout time.Duration // of one question to one server; 0: DefaultTimeout

	best atomic.Int32 // index of the resolver that answered last

	mu   sync.Mutex
	idle []*socket
}

// Lookuper answers a question by whatever resolver it has.
type Lookuper interface {
	Lookup(ctx context.Context, name string, t Type) *Answer
}

// Lookup asks the resolvers one after the other until one can say something
// about the name; the one that could is asked first next time. When none can,
// the answer is the first one that came, so that a SERVFAIL is not hidden by
// the silence of another.
func (c *Client) Lookup(ctx context.Context, name string, t Type) *Answer {
	return c.LookupQuestion(ctx, Question{Name: name, Type: t, Recurse: true})
}

// LookupQuestion is Lookup with all that can be said in a question.
func (c *Client) LookupQuestion(ctx context.Context, q Question) *Answer {
	if len(c.Servers) == 0 {
		return &Answer{Name: Name(q.Name), Type: q.Type, Outcome: Unreachable, Err: errors.New("no resolver is known")}
	}
	start := int(c.best.Load())
	var worst *Answer
	for i := range c.Servers {
		n := (start + i) % len(c.Servers)
		a := c.Query(ctx, c.Servers[n], q)
		if a.Outcome.Found() {
			if i > 0 {
				c.best.Store(int32(n))
			}
			return a
		}
		if worst == nil || rank(a.Outcome) > rank(worst.Outcome) {
			worst = a
		}
		if ctx.Err() != nil {
			break
		}
	}
	return worst
}

// rank says how much an outcome tells: an answer that came outranks silence.
func rank(o Outcome) int {
	switch o {
	case ServFail, TruncatedNoTCP, Malformed:
		return 3
	case Refused:
		return 2
	case Timeout:
		return 1
	}
	return 0
}

// ServerAddr reads a resolver's address, with or without a port.
func ServerAddr(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, "53"
		if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
			host = s[1 : len(s)-1]
		}
	}
	n, perr := strconv.ParseUint(port, 10, 16)
	if net.ParseIP(trimZone(host)) == nil || perr != nil || n == 0 {
		return "", errors.New("want ADDR or ADDR:PORT, with IPv6 addresses in brackets when a port follows")
	}
	return net.JoinHostPort(host, port), nil
}

func trimZone(host string) string {
	for i := range host {
		if host[i] == '%' {
			return host[:i]
		}
	}
	return host
}
