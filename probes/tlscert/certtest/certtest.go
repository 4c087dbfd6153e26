// Package certtest makes certificates for tests: a root of its own, and leaves
// with any fault.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CA signs leaves.
type CA struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a root that is valid for ten years around now.
func NewCA() *CA { return NewNamedCA("Test Root") }

// NewNamedCA makes a root with a common name of its own.
func NewNamedCA(name string) *CA {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &CA{Cert: sign(t, t, key.Public(), key), key: key}
}

// PEM is the root for --ca-file.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
}

// Pool holds the root alone.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

// Leaf says what a certificate is like. The zero value is a good one without a
// name.
type Leaf struct {
	Names      []string // DNS names and addresses
	From, To   time.Duration
	SelfSigned bool
	RSABits    int // 0: ECDSA P-256
}

// Issue makes a leaf, valid from an hour ago for 90 days unless From and To (both
// relative to now) say otherwise.
func (ca *CA) Issue(l Leaf) tls.Certificate {
	if l.From == 0 {
		l.From = -time.Hour
	}
	if l.To == 0 {
		l.To = 90 * 24 * time.Hour
	}
	t := &x509.Certificate{
		SerialNumber: serial(), NotBefore: time.Now().Add(l.From), NotAfter: time.Now().Add(l.To),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for i, n := range l.Names {
		if i == 0 {
			t.Subject.CommonName = n
		}
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	var key crypto.Signer
	if l.RSABits > 0 {
		key = must(rsa.GenerateKey(rand.Reader, l.RSABits))
	} else {
		key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	var cert *x509.Certificate
	if l.SelfSigned {
		cert = sign(t, t, key.Public(), key)
	} else {
		cert = sign(t, ca.Cert, key.Public(), ca.key)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	der := must(x509.CreateCertificate(rand.Reader, t, parent, pub, key))
	return must(x509.ParseCertificate(der))
}

func serial() *big.Int { return must(rand.Int(rand.Reader, big.NewInt(1<<62))) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("certtest: %v", err))
	}
	return v
}
