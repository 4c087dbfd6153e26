package simulate

import (
	"crypto/tls"
	"fmt"
	"time"

	"mailsrv/probes/tlscert/certtest"
)

const day = 24 * time.Hour

// tlsConfig makes a certificate of that kind. Roots are made on the fly, so
// that nobody trusts them, and nobody can misuse them.
func tlsConfig(kind, version string) (*tls.Config, error) {
	leaf := certtest.Leaf{Names: []string{"mail.example.com", "localhost", "127.0.0.1", "::1"}}
	root := "Simulated Root"
	switch kind {
	case "", "good":
	case "expired":
		leaf.From, leaf.To = -91*day, -day
	case "wrong-name":
		leaf.Names = []string{"other.example.net"}
	case "self-signed":
		leaf.SelfSigned = true
	case "mail-shield":
		root = "Avast Web/Mail Shield Root"
	default:
		return nil, fmt.Errorf("certificate %q is of no known kind", kind)
	}
	c := &tls.Config{Certificates: []tls.Certificate{certtest.NewNamedCA(root).Issue(leaf)}}
	switch version {
	case "":
		c.MinVersion = tls.VersionTLS12
	case "1.0":
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	default:
		return nil, fmt.Errorf("TLS version %q is not known", version)
	}
	return c, nil
}
