package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"mailsrv/server/account"
)

// scram is SCRAM-SHA-256 without channel binding.
type scram struct {
	result
	step        int
	header      string // gs2-header, such as "n,,"
	actingAs    string
	nonce       string
	authMessage string
	verifier    account.Verifier
	found       account.Account
}

func (s *scram) Next(message []byte) ([]byte, bool, error) {
	if message == nil {
		return nil, false, nil
	}
	s.step++
	switch s.step {
	case 1:
		challenge, err := s.first(string(message))
		return challenge, false, err
	case 2:
		challenge, err := s.final(string(message))
		return challenge, false, err
	}
	// The client has seen that the server knows the password too.
	if len(message) != 0 {
		return nil, false, ErrMalformed
	}
	s.account = s.found
	err := s.actAs(s.actingAs)
	return nil, err == nil, err
}

// first takes "n,,n=user,r=nonce" and returns "r=nonce,s=salt,i=iterations".
func (s *scram) first(message string) ([]byte, error) {
	parts := strings.SplitN(message, ",", 3)
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" {
		return nil, ErrMalformed
	}
	s.header = parts[0] + "," + parts[1] + ","
	if parts[1] != "" {
		name, ok := saslName(parts[1], "a=")
		if !ok {
			return nil, ErrMalformed
		}
		s.actingAs = name
	}
	bare := parts[2]
	fields := strings.Split(bare, ",")
	if len(fields) < 2 {
		return nil, ErrMalformed
	}
	name, ok := saslName(fields[0], "n=")
	nonce, isNonce := strings.CutPrefix(fields[1], "r=")
	if !ok || name == "" || !isNonce || nonce == "" || len(nonce) > 256 {
		return nil, ErrMalformed
	}
	s.name = name
	var err error
	if s.verifier, s.found, err = s.dir.Verifier(name); err != nil {
		return nil, err
	}
	s.nonce = nonce + rand.Text()
	first := fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.verifier.Salt), s.verifier.Iterations)
	s.authMessage = bare + "," + first
	return []byte(first), nil
}

// final takes "c=header,r=nonce,p=proof" and returns "v=signature".
func (s *scram) final(message string) ([]byte, error) {
	i := strings.LastIndex(message, ",p=")
	if i < 0 {
		return nil, ErrMalformed
	}
	withoutProof, proof64 := message[:i], message[i+3:]
	fields := strings.Split(withoutProof, ",")
	proof, err := base64.StdEncoding.DecodeString(proof64)
	if err != nil || len(proof) != sha256.Size || len(fields) < 2 ||
		fields[0] != "c="+base64.StdEncoding.EncodeToString([]byte(s.header)) || fields[1] != "r="+s.nonce {
		return nil, ErrMalformed
	}
	s.authMessage += "," + withoutProof
	clientKey := mac(s.verifier.StoredKey, s.authMessage)
	subtle.XORBytes(clientKey, clientKey, proof)
	stored := sha256.Sum256(clientKey)
	if subtle.ConstantTimeCompare(stored[:], s.verifier.StoredKey) != 1 || s.found.Name == "" {
		return nil, account.ErrCredentials
	}
	account.Outcome(s.dir, s.name, true)
	return []byte("v=" + base64.StdEncoding.EncodeToString(mac(s.verifier.ServerKey, s.authMessage))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// saslName takes "n=" and a name in which "=2C" is a comma and "=3D" an equals
// sign.
func saslName(field, prefix string) (string, bool) {
	s, ok := strings.CutPrefix(field, prefix)
	if !ok || strings.Contains(strings.NewReplacer("=2C", "", "=3D", "").Replace(s), "=") {
		return "", false
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), true
}
