package account

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"mailsrv/server/safeio"
)

// Files is the Directory of a data directory. It may be used by several
// goroutines, and by several processes on one data directory.
type Files struct {
	dir     string
	domains []string
	now     func() time.Time

	work chan struct{} // bounds how many password checks compute at once

	mu       sync.Mutex
	verified map[string]seen // by address: the last password that was right
	cacheKey []byte
}

type seen struct{ storedKey, password []byte }

// Open returns the accounts below dataDir for the local domains; the first of
// them is where a login without a domain is looked for first. Nothing is read
// or created yet.
func Open(dataDir string, domains []string) *Files {
	d := &Files{
		dir:      filepath.Join(dataDir, "accounts"),
		now:      time.Now,
		work:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: map[string]seen{},
		cacheKey: make([]byte, 32),
	}
	for _, domain := range domains {
		d.domains = append(d.domains, strings.ToLower(domain))
	}
	rand.Read(d.cacheKey)
	return d
}

// File is where the account of an address is or would be kept.
func (d *Files) File(name, domain string) string {
	return filepath.Join(d.dir, safeio.FileName(strings.ToLower(domain)), safeio.FileName(strings.ToLower(name))+".toml")
}

func (d *Files) read(name, domain string) (entry, error) {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	if CheckName(name) != nil || !slices.Contains(d.domains, domain) {
		return entry{}, ErrNotFound
	}
	e, err := readEntry(d.File(name, domain), name, domain)
	if err == nil && d.expired(e.Account) {
		return entry{}, ErrNotFound
	}
	return e, err
}

func (d *Files) expired(a Account) bool { return !a.Expires.IsZero() && !d.now().Before(a.Expires) }

// Lookup implements Directory.
func (d *Files) Lookup(name, domain string) (Account, error) {
	e, err := d.read(name, domain)
	return e.Account, err
}

// maxForwards bounds how long a chain of forwards may be.
const maxForwards = 10

// Resolve implements Directory.
func (d *Files) Resolve(name, domain string) ([]Account, error) {
	var out []Account
	var firstErr error
	var follow func(name, domain string, path []string)
	follow = func(name, domain string, path []string) {
		address := strings.ToLower(name + "@" + domain)
		path = append(path, address)
		if i := slices.Index(path, address); i < len(path)-1 || len(path) > maxForwards {
			firstErr = first(firstErr, &ForwardError{From: path[0], Target: address, Loop: slices.Clone(path[max(i, 0):])})
			return
		}
		a, err := d.Lookup(name, domain)
		switch {
		case errors.Is(err, ErrNotFound) && len(path) > 1:
			firstErr = first(firstErr, &ForwardError{From: path[len(path)-2], Target: address})
		case err != nil:
			firstErr = first(firstErr, err)
		case len(a.Forward) == 0:
			if !slices.ContainsFunc(out, func(b Account) bool { return a.Address() == b.Address() }) {
				out = append(out, a)
			}
		default:
			for _, target := range a.Forward {
				name, domain, _ := SplitAddress(target)
				follow(name, domain, path)
			}
		}
	}
	follow(name, domain, nil)
	if len(out) > 0 {
		return out, nil // a dead target does not keep the mail from the others
	}
	return nil, firstErr
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// SplitAddress cuts an address at its last @.
func SplitAddress(address string) (name, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, "", false
	}
	return address[:i], address[i+1:], true
}

// find returns the entry that a login name means: the address itself, or the
// name in the first domain that has it.
func (d *Files) find(login string) (entry, error) {
	if name, domain, ok := SplitAddress(login); ok {
		return d.read(name, domain)
	}
	for _, domain := range d.domains {
		if e, err := d.read(login, domain); !errors.Is(err, ErrNotFound) {
			return e, err
		}
	}
	return entry{}, ErrNotFound
}

// List returns all accounts, those that have expired too, by domain and name;
// damaged holds the files that cannot be read. Without any account there is no
// error.
func (d *Files) List() (accounts []Account, damaged []*DamagedError, err error) {
	err = d.walk(func(file, name, domain string) {
		e, err := readEntry(file, name, domain)
		var broken *DamagedError
		switch {
		case errors.As(err, &broken):
			damaged = append(damaged, broken)
		case err == nil: // else removed just now
			accounts = append(accounts, e.Account)
		}
	})
	return accounts, damaged, err
}

// Expired returns the temporary accounts whose time is over.
func (d *Files) Expired() (expired []Account, err error) {
	err = d.walk(func(file, name, domain string) {
		if !strings.HasPrefix(name, temporary) {
			return
		}
		if e, err := readEntry(file, name, domain); err == nil && d.expired(e.Account) {
			expired = append(expired, e.Account)
		}
	})
	return expired, err
}

// walk visits the account files by domain and name.
func (d *Files) walk(visit func(file, name, domain string)) error {
	domains, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, dir := range domains {
		domain, ok := safeio.ParseFileName(dir.Name())
		if !ok || !dir.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(d.dir, dir.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			stem, isAccount := strings.CutSuffix(f.Name(), ".toml")
			if name, ok := safeio.ParseFileName(stem); isAccount && ok && name != "" {
				visit(filepath.Join(d.dir, dir.Name(), f.Name()), name, domain)
			}
		}
	}
	return nil
}

// temporary is how the names of temporary accounts begin.
const temporary = "loop-"

// Add makes an account with a mailbox: ErrExists when there is one.
func (d *Files) Add(name, domain, password string) (Account, error) {
	if err := CheckPassword(name, domain, password); err != nil {
		return Account{}, err
	}
	return d.create(entry{Account: Account{Name: name, Domain: domain}, verifier: NewVerifier(password)})
}

// AddTemporary makes an account in the main domain that ends by itself after
// ttl, with a name and password that nobody can guess: what doctor's loop test
// logs in with. Whoever makes one removes it and its mailbox when done; a
// running server does so when its time is over.
func (d *Files) AddTemporary(ttl time.Duration) (a Account, password string, err error) {
	b := make([]byte, 8)
	rand.Read(b)
	password = GeneratePassword()
	a, err = d.create(entry{
		Account:  Account{Name: temporary + hex.EncodeToString(b), Domain: d.domains[0], Expires: d.now().Add(ttl)},
		verifier: NewVerifier(password),
	})
	return a, password, err
}

func (d *Files) create(e entry) (Account, error) {
	e.Name, e.Domain, e.Created = strings.ToLower(e.Name), strings.ToLower(e.Domain), d.now()
	if err := d.check(e.Name, e.Domain); err != nil {
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

func (d *Files) check(name, domain string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if !slices.Contains(d.domains, domain) {
		return fmt.Errorf("%s is no local domain; these are: %s", domain, strings.Join(d.domains, ", "))
	}
	return nil
}

// SetPassword changes the password of an account that has a mailbox.
func (d *Files) SetPassword(name, domain, password string) error {
	e, err := d.read(name, domain)
	if err != nil {
		return err
	}
	if len(e.Forward) > 0 {
		return fmt.Errorf("%s is a role address without a mailbox: it has no password", e.Address())
	}
	if err := CheckPassword(e.Name, e.Domain, password); err != nil {
		return err
	}
	e.verifier = NewVerifier(password)
	return safeio.WriteFile(d.File(name, domain), encode(e), 0o600)
}

// SetForward makes address a role address that leads to targets, or changes
// where it leads. An account with a mailbox is not made into one: ErrExists.
func (d *Files) SetForward(name, domain string, targets []string) error {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	for i, target := range targets {
		targets[i] = strings.ToLower(target)
		tn, td, _ := SplitAddress(targets[i])
		switch _, err := d.Lookup(tn, td); {
		case targets[i] == name+"@"+domain:
			return fmt.Errorf("%s cannot lead to itself", target)
		case !slices.Contains(d.domains, td):
			return fmt.Errorf("%s is not on this server, and a forward leads to addresses of this server only; its domains: %s", target, strings.Join(d.domains, ", "))
		case errors.Is(err, ErrNotFound):
			return fmt.Errorf("%s: %w", target, err)
		case err != nil:
			return err
		}
	}
	if len(targets) == 0 {
		return errors.New("a forward needs an address to lead to")
	}
	e, err := d.read(name, domain)
	known := err == nil
	switch {
	case known && len(e.Forward) == 0:
		return ErrExists
	case !known && !errors.Is(err, ErrNotFound):
		return err
	}
	e.Name, e.Domain, e.Forward = name, domain, targets
	// Tried before it is written: a circle must not reach the disk.
	if err := d.circle(e.Account); err != nil {
		return err
	}
	if known {
		return safeio.WriteFile(d.File(name, domain), encode(e), 0o600)
	}
	_, err = d.create(e)
	return err
}

// circle tells whether a's forwards would lead back to it.
func (d *Files) circle(a Account) error {
	visited := map[string]bool{}
	var leads func(targets []string) bool
	leads = func(targets []string) bool {
		for _, target := range targets {
			if target == a.Address() {
				return true
			}
			if visited[target] {
				continue
			}
			visited[target] = true
			name, domain, _ := SplitAddress(target)
			if next, err := d.Lookup(name, domain); err == nil && leads(next.Forward) {
				return true
			}
		}
		return false
	}
	if leads(a.Forward) {
		return fmt.Errorf("%s would lead back to itself", a.Address())
	}
	return nil
}

// Remove takes an account away; its mailbox is not touched. The error is
// ErrNotFound when there is none.
func (d *Files) Remove(name, domain string) error {
	file := d.File(name, domain)
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return safeio.SyncDir(filepath.Dir(file))
}
