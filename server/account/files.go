package account

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"mailsrv/server/domains"
	"mailsrv/server/safeio"
)

// Files is the Directory of a data directory. It may be used by several
// goroutines, and by several processes on one data directory.
type Files struct {
	dataDir string
	dir     string
	fixed   []string      // the configuration's domains
	added   *domains.Live // those of mailsrv domain add
	cache   cache
	now     func() time.Time

	work chan struct{} // bounds how many password checks compute at once

	mu       sync.Mutex
	verified map[string]seen // by address: the last password that was right
	cacheKey []byte
}

type seen struct{ storedKey, password []byte }

// Open returns the accounts below dataDir for the local domains; the first of
// them is where a login without a domain is looked for first. Domains that
// "mailsrv domain" adds or removes later count at once. No account is read yet,
// and nothing is created.
func Open(dataDir string, local []string) *Files {
	d := &Files{
		dataDir:  dataDir,
		dir:      filepath.Join(dataDir, "accounts"),
		added:    domains.Watch(dataDir),
		now:      time.Now,
		work:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: map[string]seen{},
		cacheKey: make([]byte, 32),
	}
	for _, domain := range local {
		// What was added may be removed again: it is looked up each time.
		if domain = strings.ToLower(domain); !slices.Contains(d.added.List(), domain) {
			d.fixed = append(d.fixed, domain)
		}
	}
	rand.Read(d.cacheKey)
	return d
}

// Domains implements Directory.
func (d *Files) Domains() []string {
	added := d.added.List()
	if len(added) == 0 {
		return d.fixed
	}
	out := slices.Clone(d.fixed)
	for _, domain := range added {
		if !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	return out
}

func (d *Files) local(domain string) bool { return slices.Contains(d.Domains(), domain) }

// File is where the account of an address is or would be kept.
func (d *Files) File(name, domain string) string {
	return filepath.Join(d.dir, safeio.FileName(strings.ToLower(domain)), safeio.FileName(strings.ToLower(name))+".toml")
}

func (d *Files) read(name, domain string) (entry, error) {
	name, domain = strings.ToLower(name), strings.ToLower(domain)
	if name != CatchAll && CheckName(name) != nil || !d.local(domain) {
		return entry{}, ErrNotFound
	}
	e, err := d.cache.read(d.File(name, domain), name, domain)
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
	for _, domain := range d.Domains() {
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
