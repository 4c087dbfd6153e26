package tlscert_test

import (
	"crypto/x509"
	"testing"
	"time"

	"mailsrv/probes/tlscert"
	"mailsrv/probes/tlscert/certtest"
)

func TestInspect(t *testing.T) {
	ca, other := certtest.NewCA(), certtest.NewCA()
	const day = 24 * time.Hour
	names := []string{"mx.example.test", "192.0.2.1"}
	for _, tt := range []struct {
		what  string
		leaf  certtest.Leaf
		name  string
		roots *x509.CertPool
		fault string
	}{
		{"good", certtest.Leaf{Names: names}, "mx.example.test.", ca.Pool(), tlscert.None},
		{"good by address", certtest.Leaf{Names: names}, "192.0.2.1", ca.Pool(), tlscert.None},
		{"no name asked", certtest.Leaf{Names: names}, "", ca.Pool(), tlscert.None},
		{"wildcard", certtest.Leaf{Names: []string{"*.example.test"}}, "mx.example.test", ca.Pool(), tlscert.None},
		{"expired", certtest.Leaf{Names: names, From: -9 * day, To: -day}, "other.test", ca.Pool(), tlscert.Expired},
		{"future", certtest.Leaf{Names: names, From: day}, "mx.example.test", ca.Pool(), tlscert.NotYetValid},
		{"name", certtest.Leaf{Names: names, SelfSigned: true}, "other.test", ca.Pool(), tlscert.WrongName},
		{"address", certtest.Leaf{Names: names}, "192.0.2.2", ca.Pool(), tlscert.WrongName},
		{"self-signed", certtest.Leaf{Names: names, SelfSigned: true}, "mx.example.test", ca.Pool(), tlscert.SelfSigned},
		{"untrusted", certtest.Leaf{Names: names}, "mx.example.test", other.Pool(), tlscert.Untrusted},
	} {
		f := tlscert.Inspect([]*x509.Certificate{ca.Issue(tt.leaf).Leaf}, tt.name, tt.roots, time.Now())
		if f.Fault != tt.fault || f.Verified != (tt.fault == "") || (f.Err == "") != (tt.fault == "") {
			t.Errorf("%s: fault %q (%s), verified %v; want %q", tt.what, f.Fault, f.Err, f.Verified, tt.fault)
		}
	}
	if f := tlscert.Inspect(nil, "x", nil, time.Now()); f.Fault != tlscert.NoCert || f.Verified {
		t.Errorf("no certificate: %+v", f)
	}
	f := tlscert.Inspect([]*x509.Certificate{ca.Issue(certtest.Leaf{Names: names, RSABits: 1024}).Leaf}, "", ca.Pool(), time.Now())
	if f.Key != "RSA" || f.KeyBits != 1024 {
		t.Errorf("key: %s %d", f.Key, f.KeyBits)
	}
}
