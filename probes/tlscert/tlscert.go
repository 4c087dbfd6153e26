// Package tlscert returns the facts of a certificate chain: whom it names, how
// long it lasts, and the first thing that keeps it from being verified.
package tlscert

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"
)

// Faults of a chain, in the order in which they are looked for. Only the first
// is reported.
const (
	None        = ""
	NoCert      = "none"          // the server showed no certificate
	Expired     = "expired"       // out of date
	NotYetValid = "not-yet-valid" // begins in the future
	WrongName   = "name"          // does not carry the name asked for
	SelfSigned  = "self-signed"   // the leaf is signed by itself and is no known root
	Untrusted   = "untrusted"     // leads to no known root
)

// Facts are what a connection's certificate says. The zero value is a
// connection without one.
type Facts struct {
	Subject   string    `json:"subject,omitempty"`
	Issuer    string    `json:"issuer,omitempty"`
	Names     []string  `json:"names,omitempty"` // DNS names and addresses it is for
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Key       string    `json:"key,omitempty"` // RSA, ECDSA, Ed25519
	KeyBits   int       `json:"key_bits,omitempty"`
	Verified  bool      `json:"verified"`
	Fault     string    `json:"fault,omitempty"` // one of the words above
	Err       string    `json:"error,omitempty"` // the verifier's words

	Chain []*x509.Certificate `json:"-"` // as shown, leaf first
}

// Inspect judges a chain as shown by a server, leaf first, for the given name
// (host or address; empty asks for no name) at the given time. Roots nil means
// the system's.
func Inspect(chain []*x509.Certificate, name string, roots *x509.CertPool, now time.Time) Facts {
	if len(chain) == 0 {
		return Facts{Fault: NoCert}
	}
	leaf := chain[0]
	f := Facts{
		Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Names: Names(leaf),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Chain: chain,
	}
	f.Key, f.KeyBits = key(leaf)
	opts := x509.VerifyOptions{Roots: roots, CurrentTime: now, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	switch {
	case now.After(leaf.NotAfter):
		f.Fault = Expired
	case now.Before(leaf.NotBefore):
		f.Fault = NotYetValid
	case name != "" && leaf.VerifyHostname(hostname(name)) != nil:
		f.Fault = WrongName
		if err == nil {
			err = leaf.VerifyHostname(hostname(name))
		}
	case err == nil:
		f.Verified = true
	case selfSigned(leaf):
		f.Fault = SelfSigned
	default:
		f.Fault = Untrusted
	}
	if err != nil {
		f.Err = err.Error()
	}
	return f
}

// hostname puts a name in the form VerifyHostname wants: no final dot, and an
// address in brackets so that it is not taken for a name.
func hostname(name string) string {
	name = strings.TrimSuffix(name, ".")
	if ip := net.ParseIP(name); ip != nil {
		return "[" + name + "]"
	}
	return name
}

// Names lists the DNS names and addresses a certificate is for.
func Names(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func key(c *x509.Certificate) (string, int) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA", k.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", k.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 256
	}
	return c.PublicKeyAlgorithm.String(), 0
}

// MeasuringConfig is a client configuration that accepts whatever the server
// shows, from TLS 1.0 and the oldest cipher suites on, so that the facts can be
// told afterwards. Never use it to send anything worth hiding.
func MeasuringConfig(serverName string) *tls.Config {
	var suites []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, s.ID)
	}
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: suites}
	if name := strings.TrimSuffix(serverName, "."); net.ParseIP(name) == nil {
		c.ServerName = name // addresses must not stand in SNI, RFC 6066 section 3
	}
	return c
}
