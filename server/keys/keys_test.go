package keys

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func leaf(c *tls.Config) []byte { return c.Certificates[0].Certificate[0] }

func TestSelfSignedIsKeptAndRenewed(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	get := func(host string, at time.Time) []byte {
		t.Helper()
		c, err := SelfSigned(dir, host, at)
		if err != nil {
			t.Fatal(err)
		}
		cert := c.Certificates[0].Leaf
		for _, name := range []string{host, "localhost", "127.0.0.1", "::1"} {
			if err := cert.VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return leaf(c)
	}
	first := get("mail.example.com", now)
	if !bytes.Equal(first, get("mail.example.com", now.Add(24*time.Hour))) {
		t.Error("a new certificate on the next day")
	}
	other := get("mx.example.com", now)
	if bytes.Equal(first, other) {
		t.Error("the old certificate for another name")
	}
	if bytes.Equal(other, get("mx.example.com", now.Add(lifetime-renewal+time.Hour))) {
		t.Error("the old certificate near its end")
	}
	_, key := SelfSignedFiles(dir)
	if info, err := os.Stat(key); err != nil || os.PathSeparator == '/' && info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	// A pair that does not fit, as a crash between two writes leaves it.
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	get("mx.example.com", now)
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := SelfSigned(dir, "mail.example.com", time.Now()); err != nil {
		t.Fatal(err)
	}
	cert, key := SelfSignedFiles(dir)
	if _, err := Load(cert, key); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(dir, "missing.pem")
	if _, err := Load(missing, key); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
}
