// Package config reads mailsrv.toml: defaults, where the file lies, what each
// setting accepts, and every mistake with its line.
//
// Load never stops at the first mistake: it returns all of them, and the
// configuration as far as it could be read, so that serve can refuse with one
// message and doctor can report each mistake and still look at the rest.
//
// A setting is one entry of the table in settings.go. Settings of a later
// version stand there too and are refused by name instead of being ignored.
package config

import (
	"net/netip"
	"path/filepath"
	"time"

	"mailsrv/server/address"
)

// Names of the services that can listen.
const (
	SMTP        = "smtp"        // RFC 5321: mail from other servers
	Submission  = "submission"  // RFC 6409: mail from users, STARTTLS
	Submissions = "submissions" // RFC 8314: the same inside TLS
	POP3        = "pop3"        // RFC 1939
	POP3S       = "pop3s"       // the same inside TLS
	Web         = "web"         // HTTP: /metrics and /healthz
)

// Config is a configuration with all defaults filled in.
type Config struct {
	File     string   // where it was read from; empty for the built-in defaults
	Hostname string   // the name in greetings, HELO and Received
	DataDir  string   // absolute or relative to the working directory
	Domains  []string // local domains in lower case, "[192.0.2.1]" for an address literal; the first is the main one
	Added    []string `json:",omitempty"` // those of Domains that come from mailsrv domain add
	Lang     string   // of what this server writes to users: "en", "ja", or empty: that of the system
	User     string   // who the server becomes once its ports are open; empty: nobody else (Unix)
	Listen   []Listener
	Web      []Listener // the same for HTTP, which takes no mail
	TLS      TLS
	DNS      DNS
	Relay    Relay
	Retry    Retry
	Auth     Auth
	Limits   Limits
	Mailbox  Mailbox
	Checks   Checks
	Rules    []Rule
	DNSBLs   []DNSBL
	Log      Log
	Doctor   Doctor
}

// TLS names the certificate. Without one the server makes itself a self-signed
// certificate when TLS is wanted.
type TLS struct {
	Cert, Key string // PEM files
}

// DNS lists the resolvers to ask; none means the system's.
type DNS struct {
	Servers []netip.AddrPort
}

// Relay says whether mail goes out to other hosts, for whom and which way.
type Relay struct {
	Allow     bool           // false: receive only
	Networks  []netip.Prefix // may send without a login
	SmartHost string         // "host:port" that takes all mail; empty: each domain's own mail hosts (MX)
	Auth      RelayAuth

	PopBeforeSMTP time.Duration     // how long a POP login opens relaying for its address; 0: never
	BackupMX      []address.Pattern // domains taken from anybody and passed on to their own mail hosts
	Clients       []RelayClient
	Routes        []Route
}

// RelayAuth is how this server logs in at the smart host; without a username it
// does not.
type RelayAuth struct {
	Username     string
	Password     string `json:"-"`
	PasswordFile string // holds the password in its first line
}

// Route is a [[relay.route]]: another way out for the mail of certain senders.
// The first that matches counts.
type Route struct {
	Senders   []address.Pattern
	SmartHost string // as Relay.SmartHost, which it has where the file says nothing else
	Auth      RelayAuth
	Line      int `json:"-"`

	direct bool // the file says smart_host = ""
}

// Retry says when what could not be delivered is tried again.
type Retry struct {
	Schedule    []time.Duration // waits between tries; the last repeats
	WarnAfter   time.Duration   // until the sender is told of the delay; 0: never
	GiveUpAfter time.Duration   // until the message goes back to its sender
}

// Auth says how users log in.
type Auth struct {
	Mechanisms []string // SASL names in the order they are announced
	RequireTLS bool     // on addresses other than loopback
	SendAs     []SendAs
}

// Limits bound what clients may take.
type Limits struct {
	MessageSize      int64 // octets
	Connections      int   // in total
	ConnectionsPerIP int
	Recipients       int // of one message
	AuthFailures     int // of one connection
	IdleTimeout      time.Duration
}

// Mailbox says what holds for each mailbox.
type Mailbox struct {
	Quota       int64         // octets, unless the account has its own; 0: no limit
	KeepDeleted time.Duration // how long deleted mail can be brought back; 0: not at all
}

// Log says how much is logged and where.
type Log struct {
	Level string // debug, info, warn, error
	File  string // standard error when empty
}

// Doctor holds what concerns doctor alone.
type Doctor struct {
	Ignore []Ignore
}

// Ignore silences a finding. Until is the last day it does, zero for ever.
type Ignore struct {
	ID, Subject, Reason string
	Until               time.Time
}

// TryOut is where a server without a configuration file listens: loopback and
// unprivileged ports. It is a variable for tests of the whole program, which
// cannot rely on these ports being free.
var TryOut = []Listener{
	{Service: SMTP, Addr: "127.0.0.1:2525"},
	{Service: Submission, Addr: "127.0.0.1:5587"},
	{Service: POP3, Addr: "127.0.0.1:1110"},
	{Service: Web, Addr: "127.0.0.1:8025"},
}

// Default is the configuration without a file: a server for trying out.
func Default() *Config {
	c := base()
	c.Hostname = "localhost"
	c.DataDir = "mailsrv-data"
	c.Domains = []string{"localhost"}
	c.Relay.Allow = false // nobody could answer to an address @localhost
	for _, l := range TryOut {
		if l.Service == Web {
			c.Web = append(c.Web, l)
		} else {
			c.Listen = append(c.Listen, l)
		}
	}
	return c
}

// base is what a file starts from: limits and habits, but no listener, domain
// or name.
func base() *Config {
	return &Config{
		Relay: Relay{Allow: true},
		Retry: Retry{Schedule: []time.Duration{10 * time.Minute}, WarnAfter: 4 * time.Hour, GiveUpAfter: 5 * 24 * time.Hour},
		Auth:  Auth{Mechanisms: []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}, RequireTLS: true},
		Limits: Limits{
			MessageSize:      25_000_000,
			Connections:      1000,
			ConnectionsPerIP: 50,
			Recipients:       1000,
			AuthFailures:     5,
			IdleTimeout:      5 * time.Minute,
		},
		Mailbox: Mailbox{KeepDeleted: 14 * 24 * time.Hour},
		Checks:  Checks{HELOSyntax: LogOnly, HELOFQDN: Off, HELOOwn: LogOnly, SenderFQDN: LogOnly, SenderDNS: Off, SenderOwn: Off, MessageID: Off},
		Log:     Log{Level: "info"},
	}
}

// OffersTLS tells whether the server offers TLS: always with a configuration
// file, never for the loopback server without one, whose self-signed
// certificate would only make clients complain.
func (c *Config) OffersTLS() bool { return c.File != "" }

// Open tells whether any listener can be reached from other machines.
func (c *Config) Open() bool {
	for _, l := range c.Listen {
		if !l.Loopback() {
			return true
		}
	}
	return false
}

// beside makes path, if relative, relative to the configuration file.
func (c *Config) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), path)
}
