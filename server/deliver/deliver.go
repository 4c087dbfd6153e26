// Package deliver is the client's side of SMTP (RFC 5321): it finds the hosts
// that take mail for a domain, talks to them, and says per recipient how that
// ended. It decides nothing about the future: what is tried again, and when,
// is package queue's business.
//
//	client := deliver.New(deliver.Config{Hostname: "mail.example.com"})
//	courier := client.Courier(client.Destination(sender, recipient))
//	results := courier.Deliver(ctx, message) // one per recipient
//	courier.Close()
//
// A courier keeps its connection for the next message to the same destination.
//
// Which hosts: the smart host, if there is one; else the MX hosts in order of
// preference, those of equal preference in random order; else, without MX
// records, the domain's own address (RFC 5321 5.1). A host that cannot be
// reached, or that says 4xx, sends a recipient on to the next host; 5xx is
// final. IPv4 addresses are tried before IPv6 ones: a small server's IPv6
// address rarely has the reverse DNS that big providers refuse mail without,
// and that refusal would be final. Where IPv4 does not answer within seconds
// IPv6 is tried beside it.
//
// TLS with MX hosts is opportunistic: it is used when offered, without a
// check of the certificate, and when the handshake fails the message goes over
// a new connection without it. A smart host's certificate must be valid, and
// credentials go only over TLS, except on loopback.
//
// Text with octets above 127 goes as it is also to a host that does not
// announce 8BITMIME, as with most servers: such a host hardly exists any more,
// and a conversion would break signatures.
//
// No message is knowingly sent twice. When the connection breaks after the
// final dot and before the reply, nobody can know whether the host has the
// message (RFC 1047). RFC 5321 4.5.3.2.6 lets us wait ten minutes for that
// reply; after that the recipients are deferred and marked Uncertain, and no
// other host is tried in this round, which gives a slow host the time to drop
// or deliver its copy.
package deliver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config says how to deliver. Only Hostname is needed.
type Config struct {
	Hostname string // for EHLO, and to know this server's own name in an MX record

	// SmartHost returns the host that takes all mail of a sender, nil for
	// delivery by MX. It must return the same pointer for the same host.
	SmartHost func(sender string) *SmartHost

	// Own tells whether a connection to that address would reach this server.
	// See OwnAddrs. Nil: never.
	Own func(netip.AddrPort) bool

	Resolver Resolver    // the system's when nil
	Dial     DialFunc    // net.Dialer when nil
	TLS      *tls.Config // roots for the certificates of smart hosts; the system's when nil
	Port     uint16      // of MX hosts; 25 when 0
	PerHost  int         // connections to one address of an MX host, whatever the domain; 10 when 0
	Timeouts Timeouts    // zero values mean those of RFC 5321
}

// DialFunc opens a TCP connection to an address.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// SmartHost is a host that passes on all mail.
type SmartHost struct {
	Host     string // name or address
	Port     uint16 // 465 means TLS from the first octet
	Username string // empty: no AUTH
	Password string
}

// Timeouts are the longest waits of RFC 5321 4.5.3.2.
type Timeouts struct {
	Lookup   time.Duration // one DNS question
	Slot     time.Duration // for one of Config.PerHost connections to be free
	Connect  time.Duration // TCP, and TLS handshakes
	Family   time.Duration // the head start of a host's first address family over the other
	Greeting time.Duration // 4.5.3.2.1
	Command  time.Duration // EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET: 4.5.3.2.2, 4.5.3.2.3
	Data     time.Duration // the reply to DATA: 4.5.3.2.4
	Block    time.Duration // one write of message text: 4.5.3.2.5
	End      time.Duration // the reply to the final dot: 4.5.3.2.6
	Quit     time.Duration // nothing depends on this one
}

func (t Timeouts) orDefault() Timeouts {
	for _, d := range []struct {
		at    *time.Duration
		usual time.Duration
	}{
		{&t.Lookup, 30 * time.Second},
		{&t.Slot, time.Minute},
		{&t.Connect, 30 * time.Second},
		{&t.Family, 4 * time.Second},
		{&t.Greeting, 5 * time.Minute},
		{&t.Command, 5 * time.Minute},
		{&t.Data, 2 * time.Minute},
		{&t.Block, 3 * time.Minute},
		{&t.End, 10 * time.Minute},
		{&t.Quit, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.usual
		}
	}
	return t
}

// Client delivers as one Config says. It may be used by many goroutines.
type Client struct {
	Config
	slots slots
}

// New fills in what c leaves out.
func New(c Config) *Client {
	if c.Resolver == nil {
		c.Resolver = NewResolver(nil)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	if c.Port == 0 {
		c.Port = 25
	}
	if c.PerHost == 0 {
		c.PerHost = 10
	}
	c.Timeouts = c.Timeouts.orDefault()
	return &Client{Config: c}
}

// Destination is where mail goes that can share a connection. It can be
// compared and be a map key.
type Destination struct {
	Domain string // lower case, ASCII; "[192.0.2.1]"; empty with a smart host, or when there is none
	Smart  *SmartHost
}

// String names the destination for people.
func (d Destination) String() string {
	if d.Smart != nil {
		return "smart host " + d.Smart.addr()
	}
	return d.Domain
}

// Destination says where mail of sender to recipient goes.
func (c *Client) Destination(sender, recipient string) Destination {
	if c.SmartHost != nil {
		if s := c.SmartHost(sender); s != nil {
			return Destination{Smart: s}
		}
	}
	at := strings.LastIndexByte(recipient, '@')
	if at < 0 {
		return Destination{}
	}
	return Destination{Domain: asciiDomain(recipient[at+1:])}
}

// Message is what is to be delivered.
type Message struct {
	Sender     string // empty: the null sender
	Recipients []Recipient
	Size       int64  // octets
	EightBit   bool   // the body has octets above 127
	UTF8       bool   // the header needs SMTPUTF8 (RFC 6531)
	Ret        string // RFC 3461 RET: "FULL", "HDRS" or empty
	EnvID      string // RFC 3461 ENVID in xtext, or empty

	// Open opens the text: lines end with CRLF, dots are not doubled.
	Open func() (io.ReadSeekCloser, error)
}

// Recipient of a message.
type Recipient struct {
	Address string
	Notify  string // RFC 3461 NOTIFY: "NEVER", "SUCCESS,DELAY", ... or empty
	ORCPT   string // RFC 3461 ORCPT, "rfc822;" and xtext, or empty
}

// Outcome is how delivery to a recipient ended.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered" // the host has taken it over
	Deferred  Outcome = "deferred"  // may work later
	Failed    Outcome = "failed"    // will not work
)

// Result is how delivery to one recipient ended, and who said so.
type Result struct {
	Outcome  Outcome
	Code     int    // SMTP reply code; 0 when there was no reply
	Enhanced string // RFC 3463; the host's, or ours where there was no reply
	Text     string // the reply on one line with its codes, or what happened instead
	Command  string // what was answered: CONN, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA (also for the text)
	Cause    string // word of the list of causes, where the fault is not in a reply
	Host     string // name of the host
	Addr     netip.AddrPort
	TLS      string // "TLS 1.3"; empty without
	TLSFault string // why TLS was offered and not used
	DSN      bool   // the host itself reports on what becomes of the message (RFC 3461)

	// Down: no host got as far as MAIL. The destination as a whole is out of
	// reach, for other messages too.
	Down bool

	// Uncertain: the connection broke after the final dot. The host may have
	// the message.
	Uncertain bool
}
