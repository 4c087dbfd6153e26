package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"

	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mailsrv/codes"
	"mailsrv/diag/explain"
	"mailsrv/diag/simulate"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/pop3/pop3test"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

// lab is a mail.example.com whose port leads to a server on loopback.
type lab struct {
	resolver, dialMap string
	port              int
}

func newLab(t *testing.T, port int, target string) lab {
	t.Helper()
	srv := dnstest.New(t, `
		mail.example.com. A 192.0.2.1
		example.net. MX 10 mail.example.com.
		example.org. MX 10 mail.example.com.
		example.org. TXT "v=spf1 mx -all"
		_dmarc.example.org. TXT "v=DMARC1; p=reject; rua=mailto:postmaster@example.org"
		`)
	file := filepath.Join(t.TempDir(), "map.txt")
	if err := os.WriteFile(file, fmt.Appendf(nil, "192.0.2.1:%d %s\n", port, target), 0o600); err != nil {
		t.Fatal(err)
	}
	return lab{srv.Addr, file, port}
}

// probe runs explain --probe on a text.
func (l lab) probe(t *testing.T, text string, more ...string) (r explain.Result, code int) {
	t.Helper()
	args := append([]string{"explain", "--probe", "--json", "--lang", "en", "--resolver", l.resolver, "--dial-map", l.dialMap, "--timeout", "3s"}, more...)
	var out, said bytes.Buffer
	code = run(append(args, "--", text), strings.NewReader(""), &out, &said)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%q: exit %d, %s%s: %v", args, code, out.String(), said.String(), err)
	}
	if len(r.Contacts) > 0 && !strings.HasPrefix(said.String(), "Checking now. This contacts:\n") {
		t.Errorf("what is contacted is not said on standard error: %q", said.String())
	}
	return r, code
}

// verdictOf is what came of a cause.
func verdictOf(r explain.Result, cause string) string {
	for _, d := range r.Diagnosis {
		if d.Cause == cause {
			return d.Verdict
		}
	}
	return "not named"
}

// pasted is the message that a mail program shows of a failure: what mailsrv
// probe heard in the server's place.
func pasted(t *testing.T, sim *codes.Simulation, addr string, port int) string {
	t.Helper()
	args := append(strings.Fields(strings.ReplaceAll(sim.Try, "ADDR", addr)), "--json", "--no-alternatives")
	if !slices.Contains(args, "--timeout") {
		args = append(args, "--timeout", "2s")
	}
	var out bytes.Buffer
	run(args, strings.NewReader("secret\n"), &out, &out)
	var doc struct {
		Findings []struct {
			ID       string
			Evidence struct{ Stage, Outcome, Reply, Fault string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%s: %v: %s", sim.ID, err, out.String())
	}
	f := doc.Findings[0]
	protocol := strings.ToUpper(sim.Protocol)
	ssl := "No"
	if strings.Contains(sim.Try, "implicit") || sim.TLS == "either" || f.Evidence.Stage == "starttls" {
		ssl = "Yes"
	}
	reply := f.Evidence.Reply
	if strings.HasPrefix(reply, "+") || strings.HasPrefix(reply, "354") { // the last one before it broke off
		reply = ""
	}
	if sim.Cause == "auth-method" { // mailsrv does not even try
		reply = "504 5.7.4 Unrecognized authentication type"
	}
	about := fmt.Sprintf("Account: 'taro', Server: 'mail.example.com', Protocol: %s, ", protocol)
	end := fmt.Sprintf("Port: %d, Secure(SSL): %s, ", port, ssl)
	switch {
	case f.ID == "probe.cert" && sim.Cause == "tls-cert":
		return "The server you are connected to is using a security certificate that cannot be verified. " + about + end + "Error Number: 0x800CCC1A"
	case sim.Cause == "tls-version":
		return "Unable to establish an SSL connection with the server: no protocols available (unsupported protocol). " + about + end + "Error Number: 0x800CCC1A"
	case sim.Cause == "antivirus-proxy" && reply == "":
		return "Your server has unexpectedly terminated the connection. The antivirus mail scanner may be the cause. " + about + end + "Error Number: 0x800CCC0F"
	case reply != "":
		code := "0x800CCC90"
		if sim.Protocol == "smtp" {
			code = "0x800CCC79"
		}
		return "There was a problem with the server. The rejected e-mail address was 'b@example.net'. Sender: a@example.org, " + about +
			"Server Response: '" + reply + "', " + end + "Error Number: " + code
	case f.Evidence.Outcome == "refused":
		return "The connection to the server has failed. " + about + end + "Socket Error: 10061, Error Number: 0x800CCC0E"
	case f.Evidence.Outcome == "timeout":
		return "The connection to the server has failed. " + about + end + "Socket Error: 10060, Error Number: 0x800CCC0E"
	case f.Evidence.Outcome == "reset":
		return "Your server has unexpectedly terminated the connection. " + about + end + "Socket Error: 10054, Error Number: 0x800CCC0F"
	case sim.Cause == "tls-mismatch":
		return "Your server has unexpectedly terminated the connection. " + about + end + "Error Number: 0x800CCC1A, TLS handshake failed: first record does not look like a TLS handshake"
	}
	return "A time-out occurred while communicating with the server. " + about + end + "Error Number: 0x800CCC19"
}

// Failures that show only behind a login or with a message on its way: no
// password is asked for and no message sent, so they stay undetermined, with the
// command that tells.
var behindLogin = []string{
	"pop3-lock-busy", "pop3-in-use-text", "pop3-auth-failed", "pop3-auth-plain-words", "pop3-app-password", "pop3-disabled", "pop3-spool-permission",
	"pop3-from-lines", "pop3-message-gone", "pop3-disk-full", "pop3-reset-retr", "pop3-stall-retr",
	"smtp-auth-failed", "smtp-app-password", "smtp-reset-data", "smtp-spam", "imap-auth-failed", "imap-unavailable",
}

// Every failure that can be played and pasted is confirmed by explain --probe;
// and a healthy server in its place is never taken for the broken one.
func TestSimulationsAreVerified(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some time-outs")
	}
	t.Parallel()
	ca := certtest.NewCA()
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, sim := range codes.Simulations() {
		if sim.Cause == "" || sim.Protocol == "dns" {
			continue // no dialog shows it
		}
		port := map[string]int{"pop3": 110, "smtp": 25, "imap": 143}[sim.Protocol]
		switch {
		case strings.Contains(sim.Try, "implicit"), sim.TLS == "either":
			port = 995
		}
		srv, err := simulate.Start(sim, simulate.Options{})
		if errors.Is(err, simulate.ErrCannotPlay) {
			t.Log(err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		healthy := healthyServer(t, sim, ca)
		sick, well := newLab(t, port, srv.Addr), newLab(t, port, healthy)
		wg.Go(func() {
			text := pasted(t, sim, srv.Addr, port)
			want, wantCode, afterwards := explain.Confirmed, exitFailed, explain.Rejected
			switch {
			case slices.Contains(behindLogin, sim.ID):
				want, wantCode, afterwards = explain.Undetermined, exitUnknown, explain.Undetermined
			case sim.Cause == "connection-reset", sim.Cause == "server-timeout", sim.ID == "smtp-too-large", sim.ID == "pop3-login-delay":
				afterwards = explain.Undetermined // it may still come later
			}
			r, code := sick.probe(t, text)
			if got := verdictOf(r, sim.Cause); got != want || code != wantCode || want == explain.Confirmed && r.Diagnosis[0].Verdict != want {
				t.Errorf("%s: %s is %q, want %q; exit %d\n%s\n%s", sim.ID, sim.Cause, got, want, code, text, brief(r))
			}
			r, code = well.probe(t, text, "--ca-file", roots)
			if got := verdictOf(r, sim.Cause); got != afterwards || code == exitFailed {
				t.Errorf("%s: healthy: %s is %q, want %q; exit %d\n%s\n%s", sim.ID, sim.Cause, got, afterwards, code, text, brief(r))
			}
		})
	}
	wg.Wait()
}

// healthyServer is one of the same protocol, and with TLS where the failure has
// it.
func healthyServer(t *testing.T, sim *codes.Simulation, ca *certtest.CA) string {
	t.Helper()
	if strings.Contains(sim.Try, "implicit") || sim.TLS == "either" {
		cert := ca.Issue(certtest.Leaf{Names: []string{"mail.example.com"}})
		return pop3test.PlayTLS(t, "tls\n> +OK ready\n< CAPA\n> +OK\n> USER\n> .\n< USER taro\n> +OK\n< QUIT\n> +OK bye", &tls.Config{Certificates: []tls.Certificate{cert}}).Addr
	}
	if sim.TLS != "" && sim.Protocol == "smtp" {
		cert := ca.Issue(certtest.Leaf{Names: []string{"mail.example.com"}})
		return smtptest.New(t, smtptest.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}).Addr
	}
	srv, err := simulate.Start(&codes.Simulation{ID: "healthy", Protocol: sim.Protocol}, simulate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv.Addr
}

func brief(r explain.Result) string {
	var b strings.Builder
	for _, d := range r.Diagnosis {
		fmt.Fprintf(&b, "  %s %.2f %s %v\n", d.Cause, d.Confidence, d.Verdict, d.Checked)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s %s: %s: %v\n", f.Status, f.ID, f.Title, f.Evidence)
	}
	return b.String()
}
