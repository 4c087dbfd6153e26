// Package account knows who has a mailbox here and how they prove it.
//
// Each account is one readable TOML file, DATA_DIR/accounts/DOMAIN/USER.toml,
// written atomically by the user commands and looked at by the server each
// time, so that changes hold at once. Passwords are kept as SCRAM-SHA-256
// verifiers (RFC 5802): whoever reads a file cannot log in with what stands
// there.
//
// Callers know accounts by the Directory interface; Files is its plain-file
// implementation.
package account

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Account is one address of this server: a mailbox with a password, or an
// address whose mail goes to other ones (an alias, a role address). A mailbox
// may be forwarded too.
type Account struct {
	Name    string    `json:"name"` // local part in lower case; CatchAll for every other address of the domain
	Domain  string    `json:"domain"`
	Mailbox bool      `json:"mailbox"`           // it has a mailbox and a password
	Forward []string  `json:"forward,omitempty"` // full addresses, here or elsewhere
	Keep    bool      `json:"keep,omitempty"`    // of a mailbox that is forwarded: a copy stays
	Quota   int64     `json:"quota,omitempty"`   // octets; 0: what the configuration says, Unlimited: none
	Lang    string    `json:"lang,omitempty"`    // of what this server writes to it: "en", "ja", or empty: the configuration's
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// CatchAll is the name of the address that takes what a domain has no account
// for.
const CatchAll = "*"

// Unlimited is the Quota of a mailbox that may grow for ever.
const Unlimited = -1

// Address is the mail address, "user@example.com".
func (a Account) Address() string { return a.Name + "@" + a.Domain }

// Limit is how large a's mailbox may become in octets, 0 without limit; usual is
// the configuration's quota.
func (a Account) Limit(usual int64) int64 {
	switch a.Quota {
	case Unlimited:
		return 0
	case 0:
		return usual
	}
	return a.Quota
}

// takes tells whether mail for a stays in a's mailbox.
func (a Account) takes() bool { return a.Mailbox && (len(a.Forward) == 0 || a.Keep) }

// Route is where mail for an address goes.
type Route struct {
	Boxes   []Account // whose mailboxes take it
	Remote  []Remote  // copies that go to other hosts
	Through []string  // every local address on the way, the first included
}

// Remote is a copy that is sent on to another host.
type Remote struct {
	To  string
	Via string // the local address whose forward leads there
}

// Directory is what the server asks about accounts. Local parts and domains
// are compared without regard to letter case.
type Directory interface {
	// Lookup returns the account of an address: ErrNotFound, or *DamagedError
	// when there is one that cannot be read.
	Lookup(name, domain string) (Account, error)

	// Resolve follows forwards to where mail for an address goes. Errors are
	// those of Lookup, and *ForwardError when it would go nowhere.
	Resolve(name, domain string) (Route, error)

	// Domains are the local domains, the main one first: in lower case, as
	// config.ParseDomain writes them.
	Domains() []string

	// Authenticate checks a password. login is "user" or "user@domain". The
	// error is ErrCredentials for every login that is not right, after the
	// same work, and another one when it could not be found out.
	Authenticate(login, password string) (Account, error)

	// Verifier returns what a SCRAM exchange for login needs. For an unknown
	// login it is one that looks real and that no password fits; the account
	// is then zero.
	Verifier(login string) (Verifier, Account, error)
}

// Errors of a Directory.
var (
	ErrNotFound    = errors.New("no such account")
	ErrCredentials = errors.New("user name or password is wrong")
	ErrExists      = errors.New("there is an account of that name already")
)

// DamagedError is an account file that cannot be read.
type DamagedError struct {
	File   string
	Line   int // 0 when it is not a matter of one line
	Reason string
}

func (e *DamagedError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: account file is damaged: %s", e.File, e.Line, e.Reason)
	}
	return fmt.Sprintf("%s: account file is damaged: %s", e.File, e.Reason)
}

// ForwardError is a forward that leads nowhere: to an address that does not
// exist, or back to where it began.
type ForwardError struct {
	From   string
	Target string // dead target, or where the circle closes
	Loop   []string
}

func (e *ForwardError) Error() string {
	if e.Loop != nil {
		return "forwards go in a circle: " + strings.Join(e.Loop, " -> ")
	}
	return fmt.Sprintf("%s is forwarded to %s, which does not exist", e.From, e.Target)
}
