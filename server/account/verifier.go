package account

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"

	"golang.org/x/text/unicode/norm"
)

// iterations of PBKDF2 in new verifiers: some 7 ms of one core. RFC 7677 asks
// for 4096 at least.
const iterations = 30_000

// Verifier is what is kept of a password (RFC 5802 3).
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// NewVerifier makes the verifier of a password.
func NewVerifier(password string) Verifier {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	return derive(password, salt, iterations)
}

func derive(password string, salt []byte, iterations int) Verifier {
	// Two keyboards may spell one character differently (RFC 8265 4.2.2).
	salted, err := pbkdf2.Key(sha256.New, norm.NFC.String(password), salt, iterations, sha256.Size)
	if err != nil {
		panic("account: pbkdf2: " + err.Error()) // only for a key length out of range
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	return Verifier{Salt: salt, Iterations: iterations, StoredKey: stored[:], ServerKey: mac(salted, "Server Key")}
}

// Check tells whether password is the one v was made of.
func (v Verifier) Check(password string) bool {
	got := derive(password, v.Salt, v.Iterations)
	return subtle.ConstantTimeCompare(got.StoredKey, v.StoredKey) == 1
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// GeneratePassword makes a password to be shown once: four groups that can be
// read out over a telephone, 76 bits.
func GeneratePassword() string {
	// Without what looks alike (l and 1, o and 0) and without vowels, which
	// would make words. 28 of them: a byte below 252 is unbiased.
	const letters = "23456789bcdfghjkmnpqrstvwxyz"
	out := make([]byte, 0, 19)
	for b := make([]byte, 1); len(out) < cap(out); {
		if len(out)%5 == 4 {
			out = append(out, '-')
			continue
		}
		if rand.Read(b); b[0] < 252 {
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return string(out)
}
