// Package keys gives the server its TLS certificate: the one of the
// configuration, or one that signs itself, made when it is first wanted and
// kept in DATA_DIR/keys. A self-signed one encrypts; that nobody vouches for it
// is what doctor and the first screen say.
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"mailsrv/server/safeio"
)

const (
	lifetime = 5 * 365 * 24 * time.Hour
	renewal  = 30 * 24 * time.Hour // before the end
)

// Load reads the certificate chain and key of the configuration.
func Load(cert, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", cert, key, err)
	}
	return config(pair), nil
}

// SelfSigned returns the certificate that the server makes itself for
// hostname. It is made anew when there is none yet, when the name has changed
// and before it ends.
func SelfSigned(dataDir, hostname string, now time.Time) (*tls.Config, error) {
	certFile, keyFile := SelfSignedFiles(dataDir)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil && pair.Leaf.VerifyHostname(hostname) == nil && now.Before(pair.Leaf.NotAfter.Add(-renewal)) {
		return config(pair), nil
	}
	certPEM, keyPEM, err := makeSelfSigned(hostname, now)
	if err != nil {
		return nil, err
	}
	if err := safeio.MkdirAll(filepath.Dir(keyFile), 0o700); err != nil {
		return nil, err
	}
	// The key first: a crash in between leaves a pair that does not fit, which
	// the next start replaces.
	if err := safeio.WriteFile(keyFile, keyPEM, 0o600); err != nil {
		return nil, err
	}
	if err := safeio.WriteFile(certFile, certPEM, os.FileMode(0o644)); err != nil {
		return nil, err
	}
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return nil, err
	}
	return config(pair), nil
}

// SelfSignedFiles is where SelfSigned keeps certificate and key.
func SelfSignedFiles(dataDir string) (cert, key string) {
	return filepath.Join(dataDir, "keys", "self-signed.crt"), filepath.Join(dataDir, "keys", "self-signed.key")
}

func config(pair tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func makeSelfSigned(hostname string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hostname, Organization: []string{"mailsrv, self-signed"}},
		DNSNames:              []string{hostname},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if hostname != "localhost" {
		t.DNSNames = append(t.DNSNames, "localhost")
	}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
