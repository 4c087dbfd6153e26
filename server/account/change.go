package account

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailsrv/server/address"
	"mailsrv/server/domains"
	"mailsrv/server/safeio"
)

// change runs do while no other process changes accounts: what do has read is
// still so when it writes.
func (d *Files) change(do func() error) error {
	if err := safeio.MkdirAll(d.dataDir, 0o700); err != nil {
		return err
	}
	unlock, err := safeio.Lock(d.dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	return do()
}

// update changes the account of an address: ErrNotFound when there is none.
func (d *Files) update(name, domain string, edit func(*entry) error) error {
	if _, err := d.read(name, domain); err != nil {
		return err
	}
	return d.change(func() error {
		e, err := d.read(name, domain)
		if err == nil {
			err = edit(&e)
		}
		if err != nil {
			return err
		}
		return safeio.WriteFile(d.File(name, domain), encode(e), 0o600)
	})
}

// temporary is how the names of temporary accounts begin.
const temporary = "loop-"

// Add makes an account with a mailbox: ErrExists when there is one.
func (d *Files) Add(name, domain, password string) (a Account, err error) {
	if err := CheckPassword(name, domain, password); err != nil {
		return Account{}, err
	}
	e := entry{Account: Account{Name: name, Domain: domain, Mailbox: true}, verifier: NewVerifier(password)}
	if err := d.check(strings.ToLower(name), strings.ToLower(domain), true); err != nil {
		return Account{}, err
	}
	err = d.change(func() error {
		a, err = d.create(e)
		return err
	})
	return a, err
}

// AddTemporary makes an account in the main domain that ends by itself after
// ttl, with a name and password that nobody can guess: what doctor's loop test
// logs in with. Whoever makes one removes it and its mailbox when done; a
// running server does so when its time is over.
func (d *Files) AddTemporary(ttl time.Duration) (a Account, password string, err error) {
	b := make([]byte, 8)
	rand.Read(b)
	password = GeneratePassword()
	e := entry{
		Account:  Account{Name: temporary + hex.EncodeToString(b), Domain: d.Domains()[0], Mailbox: true, Expires: d.now().Add(ttl)},
		verifier: NewVerifier(password),
	}
	err = d.change(func() error {
		a, err = d.create(e)
		return err
	})
	return a, password, err
}

// create writes a new account, inside change.
func (d *Files) create(e entry) (Account, error) {
	e.Name, e.Domain, e.Created = strings.ToLower(e.Name), strings.ToLower(e.Domain), d.now()
	if err := d.check(e.Name, e.Domain, e.Mailbox); err != nil {
		return Account{}, err
	}
	file := d.File(e.Name, e.Domain)
	if err := safeio.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return Account{}, err
	}
	err := safeio.WriteNew(file, encode(e), 0o600)
	if errors.Is(err, fs.ErrExist) {
		err = ErrExists
	}
	return e.Account, err
}

func (d *Files) check(name, domain string, mailbox bool) error {
	if name == CatchAll && mailbox {
		return fmt.Errorf("a catch-all has no mailbox of its own: forward it to an account")
	}
	if name != CatchAll {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if !d.local(domain) {
		return fmt.Errorf("%s is no local domain; these are: %s", domain, strings.Join(d.Domains(), ", "))
	}
	return nil
}

// ErrNoMailbox is for what only an account with a mailbox can have.
var ErrNoMailbox = errors.New("this address has no mailbox, so it has no password and no quota: its mail goes to other addresses")

// SetPassword changes the password of an account that has a mailbox.
func (d *Files) SetPassword(name, domain, password string) error {
	e, err := d.read(name, domain)
	if err != nil {
		return err
	}
	if !e.Mailbox {
		return ErrNoMailbox
	}
	if err := CheckPassword(e.Name, e.Domain, password); err != nil {
		return err
	}
	v := NewVerifier(password)
	return d.update(name, domain, func(e *entry) error {
		if !e.Mailbox {
			return ErrNoMailbox
		}
		e.verifier = v
		return nil
	})
}

// SetQuota bounds how large a mailbox may become, in octets; 0 is what the
// configuration says, Unlimited no bound.
func (d *Files) SetQuota(name, domain string, quota int64) error {
	return d.update(name, domain, func(e *entry) error {
		if !e.Mailbox {
			return ErrNoMailbox
		}
		e.Quota = max(quota, Unlimited)
		return nil
	})
}

// SetLang says in which language this server writes to an address, "en" or
// "ja"; empty is what the configuration says.
func (d *Files) SetLang(name, domain, lang string) error {
	return d.update(name, domain, func(e *entry) error {
		e.Lang = lang
		return nil
	})
}

// SetForward makes an address one that leads to targets, or changes where it
// leads. An account with a mailbox is not made into one: ErrExists.
func (d *Files) SetForward(name, domain string, targets []string) error {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	if len(targets) == 0 {
		return errors.New("a forward needs an address to lead to")
	}
	if err := d.check(name, domain, false); err != nil {
		return err
	}
	return d.change(func() error {
		e, err := d.read(name, domain)
		known := err == nil
		switch {
		case known && e.Mailbox:
			return ErrExists
		case !known && !errors.Is(err, ErrNotFound):
			return err
		}
		e.Name, e.Domain = name, domain
		if e.Forward, err = d.targets(e.Account, targets); err != nil {
			return err
		}
		if known {
			return safeio.WriteFile(d.File(name, domain), encode(e), 0o600)
		}
		_, err = d.create(e)
		return err
	})
}

// ForwardMailbox sends mail for an account with a mailbox on to targets, with
// keep also into the mailbox. Without targets all of it stays in the mailbox
// again.
func (d *Files) ForwardMailbox(name, domain string, targets []string, keep bool) error {
	return d.update(name, domain, func(e *entry) (err error) {
		if !e.Mailbox {
			return ErrNoMailbox
		}
		e.Forward, err = d.targets(e.Account, targets)
		e.Keep = keep && len(targets) > 0
		return err
	})
}

// targets checks where a is to lead before it is written: a circle must not
// reach the disk.
func (d *Files) targets(a Account, targets []string) ([]string, error) {
	var out []string
	for _, target := range targets {
		parsed, err := address.Parse(target)
		if err == nil && parsed.Domain == "" {
			err = address.ErrSyntax
		}
		if err != nil {
			return nil, fmt.Errorf("%s %w", target, err)
		}
		parsed.Domain = strings.ToLower(parsed.Domain)
		if d.local(parsed.Domain) {
			parsed.Local = strings.ToLower(parsed.Local)
			_, err := d.Lookup(parsed.Local, parsed.Domain)
			if errors.Is(err, ErrNotFound) && catchable(parsed.Local) {
				_, err = d.Lookup(CatchAll, parsed.Domain)
			}
			switch {
			case parsed.String() == a.Address():
				return nil, fmt.Errorf("%s cannot lead to itself", target)
			case errors.Is(err, ErrNotFound):
				return nil, fmt.Errorf("%s: %w", target, err)
			case err != nil:
				return nil, err
			}
		}
		if s := parsed.String(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	a.Forward = out
	if circle := d.circle(a); circle != nil {
		return nil, fmt.Errorf("%s would lead back to itself: %s", a.Address(), strings.Join(circle, " -> "))
	}
	return out, nil
}

// Remove takes an account away; its mailbox is not touched. The error is
// ErrNotFound when there is none.
func (d *Files) Remove(name, domain string) error {
	file := d.File(name, domain)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return d.change(func() error {
		err := os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		return safeio.SyncDir(filepath.Dir(file))
	})
}

// AddDomain adds a local domain to those of the configuration: ErrExists when
// it is one already.
func (d *Files) AddDomain(domain string) error {
	return d.change(func() error {
		if d.local(domain) {
			return ErrExists
		}
		list, err := domains.Read(d.dataDir)
		if err != nil {
			return err
		}
		return domains.Write(d.dataDir, append(list, domain))
	})
}

// RemoveDomain takes away a domain that AddDomain added: ErrNotFound when it is
// none of those. The accounts in it are not touched.
func (d *Files) RemoveDomain(domain string) error {
	return d.change(func() error {
		list, err := domains.Read(d.dataDir)
		if err != nil {
			return err
		}
		i := slices.Index(list, domain)
		if i < 0 {
			return ErrNotFound
		}
		return domains.Write(d.dataDir, slices.Delete(list, i, i+1))
	})
}
