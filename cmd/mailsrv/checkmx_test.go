package main

import (
	"crypto/tls"
	"os"
	"sync"

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
