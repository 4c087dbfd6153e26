package record

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// DKIM is a parsed DKIM key record, RFC 6376 section 3.6.1.
type DKIM struct {
	Type    string // "rsa", "ed25519", or another that verifiers may not know
	Bits    int    // of an RSA key
	Revoked bool   // p= is empty
	Testing bool   // t=y
}

// IsDKIM tells that a text carries the DKIM version tag, which is optional in a
// key record: without it a text counts only where nothing else can stand.
func IsDKIM(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.Trim(name, " \t") == "v" && strings.Trim(value, " \t") == "DKIM1"
}

// ParseDKIM reads a key record. The error is a *SyntaxError.
func ParseDKIM(text string) (*DKIM, error) {
	tags, err := parseTags(text)
	if err != nil {
		return nil, err
	}
	for i, t := range tags {
		if t.Name == "v" && (i != 0 || t.Value != "DKIM1") {
			return nil, &SyntaxError{"v=" + t.Value, BadVersion}
		}
	}
	p, ok := tag(tags, "p")
	if !ok {
		return nil, &SyntaxError{"p", Missing}
	}
	d := &DKIM{Type: "rsa"}
	if k, ok := tag(tags, "k"); ok {
		d.Type = strings.ToLower(k)
	}
	if t, ok := tag(tags, "t"); ok {
		flags := strings.Split(strings.ReplaceAll(t, " ", ""), ":")
		d.Testing = slices.Contains(flags, "y")
	}
	p = strings.NewReplacer(" ", "", "\t", "").Replace(p)
	if d.Revoked = p == ""; d.Revoked {
		return d, nil
	}
	key, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return nil, &SyntaxError{"p=" + short(p), BadBase64}
	}
	switch d.Type {
	case "rsa":
		if d.Bits = rsaBits(key); d.Bits == 0 {
			return nil, &SyntaxError{"p=" + short(p), BadBase64}
		}
	case "ed25519": // RFC 8463: the bare key
		if len(key) != ed25519.PublicKeySize {
			return nil, &SyntaxError{"p=" + short(p), BadBase64}
		}
	}
	return d, nil
}

// DKIMFor is the record that publishes a key. RSA keys below 2048 bits are not
// for new records, RFC 8301 section 3.2.
func DKIMFor(key crypto.PublicKey) (string, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k), nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 {
			return "", fmt.Errorf("an RSA key of %d bits: DKIM needs at least 2048", n)
		}
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			return "", err
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	}
	return "", fmt.Errorf("a key of type %T: DKIM knows RSA and Ed25519", key)
}

func rsaBits(der []byte) int {
	if k, err := x509.ParsePKIXPublicKey(der); err == nil {
		if r, ok := k.(*rsa.PublicKey); ok {
			return r.N.BitLen()
		}
		return 0
	}
	if r, err := x509.ParsePKCS1PublicKey(der); err == nil { // what RFC 6376 says; few do it
		return r.N.BitLen()
	}
	return 0
}

func short(s string) string {
	if len(s) > 24 {
		return s[:24] + "..."
	}
	return s
}
