package privilege

import "errors"

// Begin refuses a name: on Windows the account of the service decides.
func Begin(name, _ string) (*User, error) {
	if name == "" {
		return nil, nil
	}
	return nil, errors.New("on Windows the server runs as the account that its service is set to: leave the key user out")
}

func (u *User) asRoot(f func() error) error { return f() }

// Drop does nothing here.
func (u *User) Drop() error { return nil }

// Root has no counterpart here.
func Root() bool { return false }

// BecomeOwner does nothing: files inherit their rights from the folder.
func BecomeOwner(string) error { return nil }
