package account

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// record is an account file.
type record struct {
	Created  time.Time      `toml:"created"`
	Expires  *time.Time     `toml:"expires,omitempty"`
	Forward  []string       `toml:"forward,omitempty"`
	Keep     bool           `toml:"keep,omitempty"`
	Quota    int64          `toml:"quota,omitempty"` // octets, -1: unlimited
	Lang     string         `toml:"lang,omitempty"`
	Password *passwordTable `toml:"password,omitempty"`
}

type passwordTable struct {
	Scheme     string `toml:"scheme"`
	Iterations int    `toml:"iterations"`
	Salt       string `toml:"salt"`
	StoredKey  string `toml:"stored_key"`
	ServerKey  string `toml:"server_key"`
}

const scheme = "SCRAM-SHA-256"

// entry is a record in memory.
type entry struct {
	Account
	verifier Verifier // without Iterations for an address without a mailbox
}

func encode(e entry) []byte {
	r := record{Created: e.Created.UTC().Truncate(time.Second), Forward: e.Forward, Keep: e.Keep, Quota: e.Quota, Lang: e.Lang}
	if !e.Expires.IsZero() {
		t := e.Expires.UTC()
		r.Expires = &t
	}
	if e.verifier.Iterations > 0 {
		b64 := base64.StdEncoding.EncodeToString
		r.Password = &passwordTable{Scheme: scheme, Iterations: e.verifier.Iterations, Salt: b64(e.verifier.Salt), StoredKey: b64(e.verifier.StoredKey), ServerKey: b64(e.verifier.ServerKey)}
	}
	data, err := toml.Marshal(r)
	if err != nil {
		panic("account: " + err.Error()) // a struct of plain types always encodes
	}
	return append([]byte("# Account "+e.Address()+". Change it with: mailsrv user\n"), data...)
}

func readEntry(file, name, domain string) (entry, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, ErrNotFound
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return entry{}, &DamagedError{File: file, Reason: "cannot be read: " + err.Error()}
	}
	e, err := decode(data)
	if err != nil {
		d := &DamagedError{File: file, Reason: err.Error()}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			d.Line, _ = de.Position()
			d.Reason = strings.TrimPrefix(d.Reason, "toml: ")
		}
		return entry{}, d
	}
	e.Name, e.Domain = name, domain
	return e, nil
}

func decode(data []byte) (entry, error) {
	var r record
	if err := toml.Unmarshal(data, &r); err != nil {
		return entry{}, err
	}
	e := entry{Account: Account{Mailbox: r.Password != nil, Created: r.Created, Forward: r.Forward, Keep: r.Keep, Quota: r.Quota, Lang: r.Lang}}
	if r.Expires != nil {
		e.Expires = *r.Expires
	}
	switch p := r.Password; {
	case p == nil && len(r.Forward) == 0:
		return entry{}, errors.New("neither a password nor a forward")
	case r.Keep && (p == nil || len(r.Forward) == 0):
		return entry{}, errors.New("keep without a mailbox and a forward")
	case r.Quota < Unlimited || r.Quota != 0 && p == nil:
		return entry{}, fmt.Errorf("quota = %d: octets, -1 for no limit, and only with a mailbox", r.Quota)
	case r.Lang != "" && r.Lang != "en" && r.Lang != "ja":
		return entry{}, fmt.Errorf("lang = %q: must be \"en\" or \"ja\"", r.Lang)
	case p != nil:
		if p.Scheme != scheme {
			return entry{}, fmt.Errorf("password scheme %q is not %s", p.Scheme, scheme)
		}
		if p.Iterations < 1 || p.Iterations > 10_000_000 {
			return entry{}, fmt.Errorf("%d iterations", p.Iterations)
		}
		e.verifier.Iterations = p.Iterations
		for _, f := range []struct {
			name, text string
			to         *[]byte
			least      int
		}{
			{"salt", p.Salt, &e.verifier.Salt, 8},
			{"stored_key", p.StoredKey, &e.verifier.StoredKey, 32},
			{"server_key", p.ServerKey, &e.verifier.ServerKey, 32},
		} {
			b, err := base64.StdEncoding.DecodeString(f.text)
			if err != nil || len(b) < f.least {
				return entry{}, fmt.Errorf("password.%s is no base64 of %d octets", f.name, f.least)
			}
			*f.to = b
		}
	}
	return e, nil
}
