// Package account knows who has a mailbox here and how they prove it.
//
// Each account is one readable TOML file, DATA_DIR/accounts/DOMAIN/USER.toml,
// written atomically by the user commands and read afresh by the server, so
// that changes hold at once. Passwords are kept as SCRAM-SHA-256 verifiers (RFC
// 5802): whoever reads a file cannot log in with what stands there.
//
// Callers know accounts by the Directory interface; Files is its plain-file
// implementation.
package account

import (
	"errors"
	"fmt"
	"time"
)

// Account is one address of this server: a mailbox with a password, or a role
// address whose mail goes to other addresses.
type Account struct {
	Name    string    `json:"name"` // local part in lower case
	Domain  string    `json:"domain"`
	Forward []string  `json:"forward,omitempty"` // role address: full local addresses; it has no mailbox and no password
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// Address is the mail address, "user@example.com".
func (a Account) Address() string { return a.Name + "@" + a.Domain }

// Directory is what the server asks about accounts. Local parts and domains
// are compared without regard to letter case.
type Directory interface {
	// Lookup returns the account of an address: ErrNotFound, or *DamagedError
	// when there is one that cannot be read.
	Lookup(name, domain string) (Account, error)

	// Resolve follows forwards to the accounts whose mailboxes take mail for
	// an address. Errors are those of Lookup, and *ForwardError.
	Resolve(name, domain string) ([]Account, error)

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
		return fmt.Sprintf("forwards go in a circle: %v", e.Loop)
	}
	return fmt.Sprintf("%s is forwarded to %s, which does not exist", e.From, e.Target)
}
