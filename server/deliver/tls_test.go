package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"testing"

	"mailsrv/server/deliver/sinktest"
)

var withTLS = []string{"PIPELINING", "STARTTLS", "AUTH PLAIN LOGIN"}

func TestOpportunisticTLS(t *testing.T) {
	cert, _ := sinktest.Cert(t, "another.example.net") // a wrong name is better than no encryption
	w := newWorld(t, oneHost())
	s := w.host(sinktest.Config{Extensions: withTLS, TLS: cert}, "192.0.2.1")
	got := send(t, w.client(), hello, "a@example.jp")
	want(t, got, "delivered 2.0.0 mx.example.jp")
	if got[0].TLS != "TLS 1.3" || got[0].TLSFault != "" {
		t.Errorf("%+v", got[0])
	}
	dialogue(t, s, "1 EHLO mail.example.com", "1 STARTTLS", "1 EHLO mail.example.com", "1 MAIL FROM:<taro@example.com>",
		"1 RCPT TO:<a@example.jp>", "1 DATA", "1 QUIT")
}

// However TLS fails, mail still gets through to a host that need not have it.
func TestTLSFails(t *testing.T) {
	cert, _ := sinktest.Cert(t, "mx.example.jp")
	old := cert.Clone()
	old.CipherSuites, old.MaxVersion = []uint16{0x1234}, tls.VersionTLS12
	picky := cert.Clone()
	picky.ClientAuth = tls.RequireAnyClientCert
	for name, cfg := range map[string]sinktest.Config{
		"refused": {TLS: cert, Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "STARTTLS" {
				return "454 4.7.0 TLS not available"
			}
			return ""
		}},
		"closed": {TLS: cert, Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "STARTTLS" {
				return sinktest.Close
			}
			return ""
		}},
		"no common cipher":      {TLS: old},
		"wants our certificate": {TLS: picky},
		"no TLS behind it": {TLS: cert, Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "STARTTLS" {
				return "CLOSE 220 Go ahead"
			}
			return ""
		}},
		"text in the clear behind it": {TLS: cert, Script: func(ss *sinktest.Session, verb, _ string) string {
			if verb == "STARTTLS" {
				return "220 Go ahead\r\n250 injected"
			}
			return ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, oneHost())
			cfg.Extensions = withTLS
			s := w.host(cfg, "192.0.2.1")
			got := send(t, w.client(), hello, "a@example.jp")
			want(t, got, "delivered 2.0.0 mx.example.jp")
			if got[0].TLS != "" || got[0].TLSFault == "" {
				t.Errorf("%+v", got[0])
			}
			if len(s.Messages()) != 1 {
				t.Errorf("%d messages", len(s.Messages()))
			}
		})
	}
}

// smart makes a client whose smart host is at an address that is not loopback.
func (w *world) smart(port uint16, name, password string, roots *x509.CertPool) *Client {
	w.dns = fakeDNS{"smtp.example.net. A": {"192.0.2.1"}}
	sh := &SmartHost{Host: "smtp.example.net", Port: port, Username: name, Password: password}
	return w.client(func(c *Config) {
		c.SmartHost = func(string) *SmartHost { return sh }
		c.TLS = &tls.Config{RootCAs: roots}
	})
}

func TestSmartHost(t *testing.T) {
	cert, roots := sinktest.Cert(t, "smtp.example.net")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00taro\x00secret"))
	for _, tt := range []struct {
		name     string
		cfg      sinktest.Config
		port     uint16
		user     string
		want     string
		dialogue []string
	}{
		{"submission", sinktest.Config{TLS: cert, Extensions: withTLS}, 587, "taro", "delivered 2.0.0 smtp.example.net",
			[]string{"1 EHLO mail.example.com", "1 STARTTLS", "1 EHLO mail.example.com", "1 AUTH PLAIN " + plain, "1 MAIL FROM:<taro@example.com>", "1 RCPT TO:<a@example.jp>", "1 DATA", "1 QUIT"}},
		{"implicit TLS", sinktest.Config{TLS: cert, ImplicitTLS: true, Extensions: []string{"PIPELINING", "AUTH LOGIN"}}, 465, "taro", "delivered 2.0.0 smtp.example.net",
			[]string{"1 EHLO mail.example.com", "1 AUTH LOGIN", "1 MAIL FROM:<taro@example.com>", "1 RCPT TO:<a@example.jp>", "1 DATA", "1 QUIT"}},
		{"old AUTH= form", sinktest.Config{TLS: cert, Extensions: []string{"STARTTLS", "AUTH=LOGIN PLAIN"}}, 587, "taro", "delivered 2.0.0 smtp.example.net", nil},
		{"no login", sinktest.Config{Extensions: []string{"PIPELINING"}}, 25, "", "delivered 2.0.0 smtp.example.net",
			[]string{"1 EHLO mail.example.com", "1 MAIL FROM:<taro@example.com>", "1 RCPT TO:<a@example.jp>", "1 DATA", "1 QUIT"}},
		{"no TLS, no credentials", sinktest.Config{Extensions: []string{"AUTH PLAIN"}}, 587, "taro", "deferred 4.7.0 smtp.example.net tls-mismatch down",
			[]string{"1 EHLO mail.example.com"}},
		{"TLS refused, no credentials", sinktest.Config{TLS: cert, Extensions: withTLS, Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "STARTTLS" {
				return "454 4.7.0 Not now"
			}
			return ""
		}}, 587, "taro", "deferred 4.7.0 smtp.example.net down", []string{"1 EHLO mail.example.com", "1 STARTTLS"}},
		{"no AUTH", sinktest.Config{TLS: cert, Extensions: []string{"STARTTLS"}}, 587, "taro", "deferred 4.7.0 smtp.example.net auth-method down", nil},
		{"no mechanism of ours", sinktest.Config{TLS: cert, Extensions: []string{"STARTTLS", "AUTH GSSAPI"}}, 587, "taro", "deferred 4.7.0 smtp.example.net auth-method down", nil},
		{"wrong password", sinktest.Config{TLS: cert, Extensions: withTLS, Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "AUTH" {
				return "535 5.7.8 Wrong"
			}
			return ""
		}}, 587, "taro", "deferred 5.7.8 smtp.example.net auth-failed down", nil},
		{"it wants a login", sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "MAIL" {
				return "530 5.7.0 Authentication required"
			}
			return ""
		}}, 25, "", "deferred 5.7.0 smtp.example.net auth-required", nil},
		{"it refuses us", sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "CONN" {
				return "554 5.7.1 Go away"
			}
			return ""
		}}, 25, "", "deferred 5.7.1 smtp.example.net down", nil},
		{"it refuses the recipient", sinktest.Config{Script: func(_ *sinktest.Session, verb, _ string) string {
			if verb == "RCPT" {
				return "550 5.1.1 Unknown"
			}
			return ""
		}}, 25, "", "failed 5.1.1 smtp.example.net", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.host(tt.cfg, "192.0.2.1")
			want(t, send(t, w.smart(tt.port, tt.user, "secret", roots), hello, "a@example.jp"), tt.want)
			if tt.dialogue != nil {
				dialogue(t, s, tt.dialogue...)
			}
			for _, line := range s.Dialogue() {
				if strings.Contains(line, "AUTH") && s.Dialogue()[1] != "1 STARTTLS" && tt.port != 465 {
					t.Error("credentials in the clear")
				}
			}
		})
	}
}

// Credentials are not shown to a host that cannot prove its name.
func TestSmartHostCertificate(t *testing.T) {
	cert, _ := sinktest.Cert(t, "smtp.example.net")
	other, otherRoots := sinktest.Cert(t, "elsewhere.example.net")
	for name, tt := range map[string]struct {
		port  uint16
		cert  *tls.Config
		roots *x509.CertPool
	}{
		"unknown authority":       {587, cert, otherRoots},
		"other name":              {587, other, otherRoots},
		"other name, port 465":    {465, other, otherRoots},
		"unknown authority, 465":  {465, cert, otherRoots},
		"unknown authority, 2525": {2525, cert, otherRoots},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.host(sinktest.Config{TLS: tt.cert, Extensions: withTLS, ImplicitTLS: tt.port == 465}, "192.0.2.1")
			got := send(t, w.smart(tt.port, "taro", "secret", tt.roots), hello, "a@example.jp")
			want(t, got, "deferred 4.7.5 smtp.example.net tls-cert down")
			if slices.ContainsFunc(s.Dialogue(), func(l string) bool { return strings.Contains(l, "AUTH") }) {
				t.Errorf("dialogue %q", s.Dialogue())
			}
		})
	}
}

// On loopback nobody listens in: a tunnel or a test host may do without TLS
// and certificates.
func TestSmartHostOnLoopback(t *testing.T) {
	cert, _ := sinktest.Cert(t, "elsewhere.example.net")
	for name, extensions := range map[string][]string{"plain": {"AUTH PLAIN"}, "TLS": withTLS} {
		t.Run(name, func(t *testing.T) {
			s := sinktest.New(t, sinktest.Config{TLS: cert, Extensions: extensions})
			sh := &SmartHost{Host: "127.0.0.1", Port: s.Port(), Username: "taro", Password: "secret"}
			c := New(Config{Hostname: "mail.example.com", SmartHost: func(string) *SmartHost { return sh }})
			got := send(t, c, hello, "a@example.jp")
			want(t, got, "delivered 2.0.0 127.0.0.1")
			if (got[0].TLS != "") != (name == "TLS") {
				t.Errorf("%+v", got[0])
			}
		})
	}
}

// Mistakes with the smart host return no mail.
func TestSmartHostUnknownOrSelf(t *testing.T) {
	w := newWorld(t, fakeDNS{"self.example. A": {"192.0.2.99"}})
	for host, expect := range map[string]string{
		"typo.example": "deferred 5.4.4 typo.example dns-failure down",
		"self.example": "deferred 4.4.6 self.example mail-loop down",
	} {
		sh := &SmartHost{Host: host, Port: 25}
		c := w.client(func(c *Config) {
			c.SmartHost = func(string) *SmartHost { return sh }
			c.Own = OwnAddrs(addrPorts("192.0.2.99:25"))
		})
		want(t, send(t, c, hello, "a@example.jp"), expect)
	}
}

func TestSmartHostPerSender(t *testing.T) {
	a, b := &SmartHost{Host: "a", Port: 25}, &SmartHost{Host: "b", Port: 25}
	c := New(Config{Hostname: "mail.example.com", SmartHost: func(sender string) *SmartHost {
		return map[string]*SmartHost{"a@example.com": a, "b@example.com": b}[sender]
	}})
	for sender, want := range map[string]Destination{"a@example.com": {Smart: a}, "b@example.com": {Smart: b}, "c@example.com": {Domain: "example.jp"}} {
		if got := c.Destination(sender, "x@Example.jp"); got != want {
			t.Errorf("%s: %v", sender, got)
		}
	}
}

func TestSmartHostDialsItsPort(t *testing.T) {
	w := newWorld(t, nil)
	var dialled []string
	c := w.smart(587, "", "", nil)
	c.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, refusedError
	}
	got := send(t, c, hello, "a@example.jp")
	want(t, got, "deferred 4.4.1 smtp.example.net connect-refused down")
	if !slices.Equal(dialled, []string{"192.0.2.1:587"}) {
		t.Errorf("dialled %q", dialled)
	}
}
