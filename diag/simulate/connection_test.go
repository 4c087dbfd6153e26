package simulate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/probes/dial"
	"mailsrv/probes/tlscert"
)

// A reset is a RST, not an end of file.
func TestResets(t *testing.T) {
	for id, before := range map[string]string{
		"smtp-reset-greeting": "",
		"smtp-reset-data":     "< 220\n> HELO x\n< 250\n> MAIL FROM:<>\n< 250\n> RCPT TO:<b@example.net>\n< 250\n> DATA\n< 354\n> Subject: x",
		"pop3-reset-auth":     "< +OK\n> USER taro",
		"pop3-reset-retr":     "< +OK\n> USER taro\n< +OK\n> PASS x\n< +OK\n> RETR 2\n< +OK\n< From:",
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			s := start(t, codes.SimulationOf(id), Options{})
			c, err := net.Dial("tcp", s.Addr)
			if err == nil {
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				cl := &client{t, c, bufio.NewReader(c)}
				defer c.Close()
				if before != "" {
					cl.talk(before)
				}
				var rest []byte
				rest, err = io.ReadAll(cl.r)
				if id == "pop3-reset-retr" && (len(rest) < 100 || strings.Contains(string(rest), "\r\n.\r\n")) {
					t.Errorf("%d octets of the message came", len(rest))
				}
			}
			if got := dial.Outcome(err); got != dial.Reset {
				t.Errorf("the connection ended with %v: %s", err, got)
			}
		})
	}
}

func TestTLSModes(t *testing.T) {
	measure := tlscert.MeasuringConfig("mail.example.com")
	handshake := func(t *testing.T, c net.Conn) *tls.Conn {
		t.Helper()
		tc := tls.Client(c, measure)
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		return tc
	}
	t.Run("from the start", func(t *testing.T) {
		for _, id := range []string{"tls-expired", "pop3s-on-plain-port"} {
			c := connect(t, start(t, codes.SimulationOf(id), Options{}))
			tc := handshake(t, c)
			(&client{t, tc, bufio.NewReader(tc)}).talk("< +OK\n> STLS\n< -ERR\n> USER taro\n< +OK\n> PASS x\n< +OK\n> QUIT\n< +OK")
		}
	})
	t.Run("by STLS", func(t *testing.T) {
		c := connect(t, start(t, codes.SimulationOf("tls-wrong-name"), Options{}))
		c.talk("< +OK\n> STLS\n< +OK")
		tc := handshake(t, c)
		if got := tlscert.Names(tc.ConnectionState().PeerCertificates[0]); !slices.Equal(got, []string{"other.example.net"}) {
			t.Errorf("the certificate is for %v", got)
		}
		(&client{t, tc, bufio.NewReader(tc)}).talk("> NOOP\n< -ERR\n> QUIT\n< +OK")
	})
	t.Run("hidden", func(t *testing.T) {
		c := connect(t, start(t, codes.SimulationOf("smtp-starttls-required"), Options{}))
		c.talk("< 220\n> HELO x\n< 250\n> MAIL FROM:<>\n< 530 5.7.0\n> STARTTLS\n< 220")
		tc := handshake(t, c)
		(&client{t, tc, bufio.NewReader(tc)}).talk("> HELO x\n< 250\n> MAIL FROM:<>\n< 250")
	})
	t.Run("1.0 only", func(t *testing.T) {
		s := start(t, codes.SimulationOf("tls-old-version"), Options{})
		tc := handshake(t, connect(t, s))
		if v := tc.ConnectionState().Version; v != tls.VersionTLS10 {
			t.Errorf("version %s", tls.VersionName(v))
		}
		modern := tls.Client(connect(t, s), &tls.Config{InsecureSkipVerify: true})
		if err := modern.Handshake(); dial.Outcome(err) != dial.Version {
			t.Errorf("a modern client gets %v", err)
		}
	})
	t.Run("broken", func(t *testing.T) {
		c := connect(t, start(t, codes.SimulationOf("smtp-starttls-broken"), Options{}))
		c.talk("< 220\n> STARTTLS\n< 220")
		var record tls.RecordHeaderError
		if err := tls.Client(c, measure).Handshake(); !errors.As(err, &record) {
			t.Errorf("the handshake ends with %v", err)
		}
	})
}

func TestPortsThatDoNotConnect(t *testing.T) {
	for id, want := range map[string]string{"connect-refused": dial.Refused, "connect-timeout": dial.Timeout} {
		t.Run(id, func(t *testing.T) {
			s := start(t, codes.SimulationOf(id), Options{})
			for range 2 {
				ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
				cancel()
				if err == nil {
					c.Close()
				}
				if got := dial.Outcome(err); got != want {
					t.Errorf("%s: %v: %s, want %s", s.Addr, err, got, want)
				}
			}
			if _, err := net.Listen("tcp", s.Addr); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("somebody else may have the port: %v", err)
			}
		})
	}
}
