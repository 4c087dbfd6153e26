// Package sasl holds the server's side of the login exchanges that SMTP (RFC
// 4954) and POP3 (RFC 5034) share: PLAIN (RFC 4616), LOGIN, and SCRAM-SHA-256
// (RFC 5802, 7677). It sees decoded messages; base64 and replies are the
// protocols' own.
package sasl

import (
	"bytes"
	"errors"

	"mailsrv/server/account"
)

// ErrMalformed is a message that does not follow the mechanism. A wrong user
// name or password is account.ErrCredentials.
var ErrMalformed = errors.New("malformed login message")

// Exchange is one login under way.
type Exchange interface {
	// Next takes the client's message and returns the server's next one, until
	// done. The first message is nil when the client sent no initial response.
	Next(message []byte) (challenge []byte, done bool, err error)

	// Result returns the name that the client gave, also after a failure, and
	// the account once Next is done.
	Result() (login string, a account.Account)
}

// New begins an exchange, nil for a mechanism that is not known.
func New(mechanism string, dir account.Directory) Exchange {
	switch mechanism {
	case "PLAIN":
		return &plain{result{dir: dir}}
	case "LOGIN":
		return &login{result: result{dir: dir}}
	case "SCRAM-SHA-256":
		return &scram{result: result{dir: dir}}
	}
	return nil
}

type result struct {
	dir     account.Directory
	name    string
	account account.Account
}

func (r *result) Result() (string, account.Account) { return r.name, r.account }

func (r *result) check(password string) error {
	var err error
	r.account, err = r.dir.Authenticate(r.name, password)
	return err
}

type plain struct{ result }

func (p *plain) Next(message []byte) ([]byte, bool, error) {
	if message == nil {
		return nil, false, nil
	}
	parts := bytes.Split(message, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return nil, false, ErrMalformed
	}
	p.name = string(parts[1])
	if err := p.check(string(parts[2])); err != nil {
		return nil, false, err
	}
	err := p.actAs(string(parts[0]))
	return nil, err == nil, err
}

// actAs refuses to log in as one account and act as another.
func (r *result) actAs(name string) error {
	if name == "" || name == r.name || name == r.account.Address() || name == r.account.Name {
		return nil
	}
	r.account = account.Account{}
	return account.ErrCredentials
}

type login struct {
	result
	asked bool
}

func (l *login) Next(message []byte) ([]byte, bool, error) {
	switch {
	case message == nil:
		return []byte("Username:"), false, nil
	case !l.asked:
		if len(message) == 0 {
			return nil, false, ErrMalformed
		}
		l.name, l.asked = string(message), true
		return []byte("Password:"), false, nil
	}
	err := l.check(string(message))
	return nil, err == nil, err
}
