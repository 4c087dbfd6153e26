package main

import (
	"bytes"
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

// trigger does something once, when what is written to it contains a text.
type trigger struct {
	bytes.Buffer
	on   string
	then func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.then != nil && strings.Contains(w.String(), w.on) {
		w.then()
		w.then = nil
	}
	return n, err
}

// --watch shows who has which answer, and ends when all have the new one.
func TestWatchCommand(t *testing.T) {
	const (
		head = "example.test. NS ns1.example.test.\nns1.example.test. A 192.0.2.51\n"
		old  = head + "example.test. MX 10 old.example.test.\n"
		new_ = head + "example.test. MX 10 new.example.test.\nexample.test. SOA ns1.example.test. h.example.test. 2 3600 600 86400 300\n"
	)
	own, resolver := dnstest.New(t, "!authoritative example.test.\n"+new_), dnstest.New(t, old)
	file := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(file, []byte("192.0.2.51:53 "+own.Addr), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &trigger{on: "not everywhere yet", then: func() {
		if err := resolver.Set(new_); err != nil {
			t.Error(err)
		}
	}}
	var stderr bytes.Buffer
	code := run([]string{"check-mx", "--lang", "en", "example.test", "--watch", "--every", "100ms", "--resolver", resolver.Addr, "--dial-map", file}, nil, out, &stderr)
	text := out.String()
	if code != exitDone || stderr.Len() > 0 || !strings.HasSuffix(strings.TrimSpace(text), "(TTL 3600)") || strings.Count(text, "all servers agree") != 1 {
		t.Errorf("exit %d, %q:\n%s", code, stderr.String(), text)
	}
	for _, want := range []string{"10 new.example.test.\n      ns1.example.test 192.0.2.51  (TTL 3600)", "10 old.example.test.\n      " + resolver.Addr, "ns1.example.test 192.0.2.51, " + resolver.Addr} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
