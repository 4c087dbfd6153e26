package doctor

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/smtp"
	"mailsrv/probes/tlscert"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "certificates", Stage: Local, Limit: 30 * time.Second, After: []string{"ports"}, Run: needsConfig("certificates", certificates)})
}

// certificates judges the configured files. At most one fault is reported, the
// most basic; a key that others may read is another matter.
func certificates(ctx context.Context, c *Case) []diag.Finding {
	cert, key := c.Config.TLS.Cert, c.Config.TLS.Key
	if cert == "" || key == "" {
		if c.Config.OffersTLS() && c.Config.Open() {
			return []diag.Finding{diag.New("cert.self_signed", "", diag.Evidence{"own": true}).As(diag.Info)}
		}
		return []diag.Finding{nothing}
	}
	var out []diag.Finding
	if info, err := os.Stat(key); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
		out = append(out, diag.New("cert.key_readable", key, diag.Evidence{"file": key, "mode": info.Mode().Perm().String()}))
	}
	chain, fault := loadPair(cert, key)
	if fault == nil {
		fault = c.judgeChain(cert, c.Config.Hostname, chain)
	}
	if fault == nil && c.Running {
		fault = c.notReloaded(ctx, cert, chain[0])
	}
	if fault != nil {
		out = append([]diag.Finding{*fault}, out...)
	}
	return out
}

// loadPair reads the chain, leaf first, and holds the key against it. Without a
// key only the chain is read.
func loadPair(cert, key string) ([]*x509.Certificate, *diag.Finding) {
	fault := func(id, file, why string) *diag.Finding {
		f := diag.New(id, file, diag.Evidence{"file": file, "reason": why})
		return &f
	}
	data := map[string][]byte{}
	for _, file := range []string{cert, key} {
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fault("cert.file_missing", file, "missing")
		case err != nil:
			return nil, fault("cert.unreadable", file, reason(err))
		}
		if p, _ := pem.Decode(b); p == nil {
			return nil, fault("cert.unreadable", file, "not-pem")
		}
		data[file] = b
	}
	var chain []*x509.Certificate
	for rest := data[cert]; ; {
		var p *pem.Block
		if p, rest = pem.Decode(rest); p == nil {
			break
		}
		if p.Type != "CERTIFICATE" {
			continue
		}
		x, err := x509.ParseCertificate(p.Bytes)
		if err != nil {
			return nil, fault("cert.unreadable", cert, "not-a-certificate")
		}
		chain = append(chain, x)
	}
	if len(chain) == 0 {
		return nil, fault("cert.unreadable", cert, "not-a-certificate")
	}
	if key == "" {
		return chain, nil
	}
	if _, err := tls.X509KeyPair(data[cert], data[key]); err != nil {
		return nil, fault("cert.key_mismatch", cert, err.Error())
	}
	return chain, nil
}

// notReloaded holds what the running server shows against the file.
func (c *Case) notReloaded(ctx context.Context, file string, leaf *x509.Certificate) *diag.Finding {
	l, shown := c.shown(ctx)
	if shown == nil || shown.Equal(leaf) {
		return nil // the same, or the ports check says why nothing was shown
	}
	f := diag.New("cert.not_reloaded", file, diag.Evidence{
		"file": file, "listener": l.Service, "address": l.Addr, "pid": c.Server.PID,
		"shown_until": shown.NotAfter.UTC().Format(time.RFC3339), "file_until": leaf.NotAfter.UTC().Format(time.RFC3339),
	})
	return &f
}

// shown is the certificate that the running server shows at the first listener
// that speaks TLS.
func (c *Case) shown(ctx context.Context) (config.Listener, *x509.Certificate) {
	l, ok := c.listener(config.Submissions, config.POP3S, config.Submission, config.SMTP)
	if !ok || c.Has("port.not_listening", "server.not_answering", "port.wrong_service") != "" {
		return l, nil
	}
	s, err := smtp.Dial(ctx, reachable(l, c.Addresses), smtp.Options{Timeout: c.Timeout, ImplicitTLS: l.ImplicitTLS(), ServerName: c.Config.Hostname, Helo: "localhost"})
	if err != nil {
		return l, nil
	}
	defer s.Close()
	if s.TLS == nil {
		if _, err = s.Greeting(); err == nil {
			_, err = s.Ehlo()
		}
		if err == nil && s.Has("STARTTLS") {
			_, err = s.StartTLS()
		}
	}
	if err != nil || s.TLS == nil || len(s.TLS.Chain) == 0 {
		return l, nil
	}
	return l, s.TLS.Chain[0]
}

const soon = 14 * 24 * time.Hour

// judgeChain gives the most basic fault of a chain. Without a host name the
// names in it are not judged.
func (c *Case) judgeChain(file, hostname string, chain []*x509.Certificate) *diag.Finding {
	leaf := chain[0]
	facts := tlscert.Inspect(chain, hostname, c.RootCAs, c.Now)
	ev := diag.Evidence{
		"file": file, "subject_name": facts.Subject, "issuer": facts.Issuer, "names": facts.Names, "hostname": hostname,
		"not_before": leaf.NotBefore.UTC().Format(time.RFC3339), "not_after": leaf.NotAfter.UTC().Format(time.RFC3339),
	}
	one := func(id string) *diag.Finding {
		f := diag.New(id, file, ev)
		return &f
	}
	switch {
	case facts.Fault == tlscert.Expired:
		return one("cert.expired")
	case facts.Fault == tlscert.NotYetValid:
		return one("cert.not_yet_valid")
	case facts.Fault == tlscert.WrongName:
		return one("cert.name_mismatch")
	case leaf.NotAfter.Sub(c.Now) < soon:
		ev["days"] = int(leaf.NotAfter.Sub(c.Now).Hours() / 24)
		return one("cert.expires_soon")
	case facts.Fault == tlscert.Untrusted && len(chain) == 1 && len(leaf.IssuingCertificateURL) > 0:
		return one("cert.chain_incomplete")
	case facts.Fault == tlscert.Untrusted:
		return one("cert.untrusted")
	case weak(leaf):
		return one("cert.weak_key")
	case facts.Fault == tlscert.SelfSigned:
		return one("cert.self_signed")
	}
	return nil
}

func weak(x *x509.Certificate) bool {
	if k, ok := x.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return true
	}
	return x.SignatureAlgorithm == x509.SHA1WithRSA || x.SignatureAlgorithm == x509.ECDSAWithSHA1
}
