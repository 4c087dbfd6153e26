package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

func init() {
	scriptCommands["dnsserver"] = dnsServer
	scriptCommands["smtpserver"] = smtpServer
	scriptCommands["cafile"] = caFile
	scriptCommands["expand"] = expand
}

// testCA signs the certificates of all servers in scripts.
var testCA = sync.OnceValue(certtest.NewCA)

// dnsServer runs a scripted name server until the script ends: "dnsserver DNS
// zone.txt" sets DNS to its address. See probes/dns/dnstest for the text.
func dnsServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dnsserver VAR FILE")
	}
	srv, err := dnstest.Start(ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Addr)
}

// smtpServer runs a scripted mail host with a good certificate for NAME until
// the script ends: "smtpserver MX1 NAME host.txt" sets MX1 to its address. See
// probes/smtp/smtptest for the text.
func smtpServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: smtpserver VAR NAME FILE")
	}
	cert := testCA().Issue(certtest.Leaf{Names: []string{args[1]}})
	host, err := smtptest.Start(smtptest.Config{Script: ts.ReadFile(args[2]), TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	ts.Check(err)
	ts.Defer(host.Close)
	ts.Setenv(args[0], host.Addr)
}

// caFile writes the root of the servers' certificates: "cafile ca.pem".
func caFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cafile FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), testCA().PEM(), 0o600))
}

// expand replaces $VAR in a file: "expand map.txt".
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// A half line that a broken run left goes; whole ones stay.
func TestOpenOutput(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		before string
		resume bool
		done   int
		after  string
	}{
		{"", true, 0, "new"},
		{"a\nb\nhal", true, 2, "a\nb\nnew"},
		{"hal", true, 0, "new"},
		{"a\n", false, 0, "new"},
		{strings.Repeat("x", 100_000) + "\nhal", true, 1, strings.Repeat("x", 100_000) + "\nnew"},
	} {
		if err := os.WriteFile(name, []byte(tt.before), 0o600); err != nil {
			t.Fatal(err)
		}
		f, done, err := openOutput(name, tt.resume)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("new"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil || done != tt.done || string(b) != tt.after {
			t.Errorf("%.20q: %d done, then %.40q, %v", tt.before, done, b, err)
		}
	}
	if got := slices.Collect(skip(slices.Values([]string{"a", "b", "c"}), 2)); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%q", got)
	}
}
