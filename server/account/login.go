package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailsrv/server/safeio"
)

// nobody is the verifier that unknown logins are measured against, so that
// they take as long as known ones.
var nobody = Verifier{Salt: make([]byte, 16), Iterations: iterations, StoredKey: make([]byte, sha256.Size)}

// Authenticate implements Directory. A password that was right before costs
// no computation as long as the account's verifier is the same: mail clients
// that look every minute cost nothing.
func (d *Files) Authenticate(login, password string) (Account, error) {
	e, err := d.find(login)
	v := e.verifier
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && v.Iterations == 0:
		v, err = nobody, ErrCredentials
	case err != nil:
		return Account{}, err
	}
	digest := mac(d.cacheKey, password)
	d.mu.Lock()
	last := d.verified[e.Address()]
	d.mu.Unlock()
	if err == nil && hmac.Equal(last.password, digest) && hmac.Equal(last.storedKey, v.StoredKey) {
		return e.Account, nil
	}
	d.work <- struct{}{}
	ok := v.Check(password)
	<-d.work
	if err != nil || !ok {
		return Account{}, ErrCredentials
	}
	d.mu.Lock()
	d.verified[e.Address()] = seen{v.StoredKey, digest}
	d.mu.Unlock()
	return e.Account, nil
}

// Verifier implements Directory.
func (d *Files) Verifier(login string) (Verifier, Account, error) {
	e, err := d.find(login)
	if err == nil && e.verifier.Iterations > 0 {
		return e.verifier, e.Account, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Verifier{}, Account{}, err
	}
	secret, err := d.secret()
	if err != nil {
		return Verifier{}, Account{}, err
	}
	// A known login has one salt with and without its domain. So has an unknown
	// one: it seems to live in one of the domains, always the same.
	login = strings.ToLower(login)
	if local := d.Domains(); !strings.Contains(login, "@") && len(local) > 0 {
		home := mac(secret, "domain "+login)[0]
		login += "@" + local[int(home)%len(local)]
	}
	return Verifier{
		Salt:       mac(secret, "salt "+login)[:16],
		Iterations: iterations,
		StoredKey:  mac(secret, "stored key "+login),
		ServerKey:  mac(secret, "server key "+login),
	}, Account{}, nil
}

// secret is what the salts of unknown logins are made of. It is kept, because
// a salt that changes with a restart would give them away.
func (d *Files) secret() ([]byte, error) {
	file := filepath.Join(d.dir, "secret")
	secret, err := os.ReadFile(file)
	if err == nil && len(secret) == sha256.Size {
		return secret, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	secret = make([]byte, sha256.Size)
	rand.Read(secret)
	if err := safeio.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	return secret, safeio.WriteFile(file, secret, 0o600)
}
