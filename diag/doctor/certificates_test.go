package doctor

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
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/server/store"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, key, pool}
}

type wanted struct {
	name        string
	from, until time.Duration // from now
	self        bool
	weak        bool
	issuerURL   bool
}

// issue writes cert.pem and key.pem into dir.
func (a authority) issue(t *testing.T, dir string, w wanted) {
	t.Helper()
	var key crypto.Signer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if w.weak {
		t.Setenv("GODEBUG", "rsa1024min=0")
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	}
	must(t, err)
	x := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: w.name}, DNSNames: []string{w.name},
		NotBefore: time.Now().Add(w.from), NotAfter: time.Now().Add(w.until)}
	if w.issuerURL {
		x.IssuingCertificateURL = []string{"http://ca.example.com/issuer.der"}
	}
	parent, signer := a.cert, a.key
	if w.self {
		parent, signer = x, key
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, key.Public(), signer)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func TestCertificates(t *testing.T) {
	ca := newAuthority(t)
	const name, day = "mail.example.com", 24 * time.Hour
	good := wanted{name: name, from: -day, until: 90 * day}
	with := func(change func(w *wanted)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			w := good
			change(&w)
			ca.issue(t, dir, w)
		}
	}
	for _, tt := range []struct {
		name  string
		make  func(t *testing.T, dir string)
		trust bool
		want  []string
	}{
		{"good", with(func(*wanted) {}), true, []string{}},
		{"nothing there", func(*testing.T, string) {}, true, []string{"cert.file_missing"}},
		{"not PEM", func(t *testing.T, dir string) {
			ca.issue(t, dir, good)
			write(t, filepath.Join(dir, "cert.pem"), "hello")
		}, true, []string{"cert.unreadable"}},
		{"key of another", func(t *testing.T, dir string) {
			ca.issue(t, dir, good)
			key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
			must(t, err)
			ca.issue(t, dir, good)
			write(t, filepath.Join(dir, "key.pem"), string(key))
		}, true, []string{"cert.key_mismatch"}},
		{"expired", with(func(w *wanted) { w.until = -time.Hour }), true, []string{"cert.expired"}},
		{"not yet valid", with(func(w *wanted) { w.from = day }), true, []string{"cert.not_yet_valid"}},
		{"another name", with(func(w *wanted) { w.name = "other.example.com" }), true, []string{"cert.name_mismatch"}},
		{"ends soon", with(func(w *wanted) { w.until = 5 * day }), true, []string{"cert.expires_soon"}},
		{"unknown root", with(func(*wanted) {}), false, []string{"cert.untrusted"}},
		{"chain incomplete", with(func(w *wanted) { w.issuerURL = true }), false, []string{"cert.chain_incomplete"}},
		{"signed by itself", with(func(w *wanted) { w.self = true }), true, []string{"cert.self_signed"}},
		{"weak", with(func(w *wanted) { w.weak = true }), true, []string{"cert.weak_key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := configured(t, plain(t)+"[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
			tt.make(t, f.dir)
			opt := Options{ConfigFile: f.config, Only: []string{"certificates"}, RootCAs: x509.NewCertPool()}
			if tt.trust {
				opt.RootCAs = ca.pool
			}
			r := examine(t, opt)
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
			if len(tt.want) == 0 && !has(r.Findings, "certificates.ok") {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}

func TestKeyReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are not modes there")
	}
	ca := newAuthority(t)
	f := configured(t, plain(t)+"[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
	ca.issue(t, f.dir, wanted{name: "mail.example.com", from: -time.Hour, until: time.Hour})
	must(t, os.Chmod(filepath.Join(f.dir, "key.pem"), 0o644))
	r := examine(t, Options{ConfigFile: f.config, Only: []string{"certificates"}, RootCAs: ca.pool})
	if d := cmp.Diff([]string{"cert.expires_soon", "cert.key_readable"}, bad(r)); d != "" {
		t.Error(d)
	}
}

// The running server holds the certificate from before the renewal.
func TestNotReloaded(t *testing.T) {
	ca := newAuthority(t)
	fresh := wanted{name: "mail.example.com", from: -time.Hour, until: 90 * 24 * time.Hour}
	pair := func(dir string) tls.Certificate {
		p, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		must(t, err)
		return p
	}
	for _, implicit := range []bool{false, true} {
		before := t.TempDir()
		ca.issue(t, before, fresh)
		h := smtptest.New(t, smtptest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{pair(before)}}, Implicit: implicit})
		service := map[bool]string{false: "smtp", true: "submissions"}[implicit]
		f := configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\n"+service+" = \""+h.Addr+"\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
		running(t, f.data(), store.RunAddr{Service: service, Addr: h.Addr})
		opt := Options{ConfigFile: f.config, Only: []string{"certificates"}, RootCAs: ca.pool}
		for _, name := range []string{"cert.pem", "key.pem"} {
			data, err := os.ReadFile(filepath.Join(before, name))
			must(t, err)
			write(t, filepath.Join(f.dir, name), string(data))
		}
		if r := examine(t, opt); len(bad(r)) != 0 || !has(r.Findings, "certificates.ok") {
			t.Errorf("%+v", r.Findings)
		}
		ca.issue(t, f.dir, fresh)
		r := examine(t, opt)
		if d := cmp.Diff([]string{"cert.not_reloaded"}, bad(r)); d != "" {
			t.Error(service, d)
		}
		h.Close() // what is not shown cannot be judged
		if r := examine(t, opt); len(bad(r)) != 0 {
			t.Errorf("%+v", r.Findings)
		}
	}
}

// The certificate that mailsrv makes for itself is a note where others see it,
// and nothing where nobody does.
func TestOwnCertificate(t *testing.T) {
	head := "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = "
	r := examine(t, Options{ConfigFile: configured(t, head+"\":2525\"\n").config, Only: []string{"certificates"}})
	if f := find(t, r.Findings, "cert.self_signed"); f.Status != diag.Info {
		t.Errorf("%+v", f)
	}
	r = examine(t, Options{ConfigFile: configured(t, head+"\"127.0.0.1:2525\"\n").config, Only: []string{"certificates"}})
	if len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
}

func TestCrash(t *testing.T) {
	f := configured(t, plain(t))
	opt := Options{ConfigFile: f.config, Only: []string{"crash"}}
	if r := examine(t, opt); !has(r.Findings, "crash.ok") {
		t.Errorf("%+v", r.Findings)
	}
	old(t, 20*24*time.Hour, filepath.Join(f.data(), "crash", "crash-1.txt"), "panic: long ago\n")
	if r := examine(t, opt); !has(r.Findings, "crash.ok") {
		t.Errorf("%+v", r.Findings)
	}
	old(t, time.Hour, filepath.Join(f.data(), "crash", "crash-3.txt"), "panic: index out of range\x1b[31m\n\ngoroutine 1\n")
	old(t, 48*time.Hour, filepath.Join(f.data(), "crash", "crash-2.txt"), "panic: before\n")
	r := examine(t, opt)
	x := find(t, r.Findings, "crash.recent")
	if !strings.HasSuffix(x.Subject, "crash-3.txt") || x.Evidence["panic"] != "panic: index out of range�[31m" || x.Evidence["count"] != 2 {
		t.Errorf("%+v", x)
	}
}
