package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailsrv/diag"
	"mailsrv/diag/checkmx"
)

// mailsrv never complains about what mailsrv recommended: the records of dns
// records, put into a zone with the servers that they speak of, give nothing
// above info.
func TestRecommendedRecordsAreClean(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "dkim.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	const v4, v6 = "192.0.2.1", "2001:db8::1"
	for _, tt := range []struct {
		name   string
		args   []string
		sts    bool
		noinfo []string
		others string
	}{
		{name: "one address", args: []string{"example.test", "--hostname", "mx1.example.test", "--address", v4}},
		{name: "everything", sts: true, args: []string{"example.test", "--hostname", "mx1.example.test", "--address", v4, "--address", v6, "--policy", "reject",
			"--dkim-selector", "s1", "--dkim-key", keyFile, "--mta-sts", "enforce", "--rua", "dmarc@other.test"},
			noinfo: []string{"dkim.none_found", "mtasts.missing", "client.srv_missing", "tlsrpt.missing"}, others: "other.test. MX 10 mx1.example.test."},
		{name: "testing", sts: true, args: []string{"example.test", "--hostname", "mx1.example.test", "--address", v4, "--mta-sts", "testing"}},
		{name: "the domain is the host", args: []string{"example.test", "--hostname", "example.test", "--address", v4}},
		{name: "a host elsewhere", args: []string{"example.test", "--hostname", "mx.isp.test", "--address", v4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(slices.Concat([]string{"dns", "records", "--json", "--config", ""}, tt.args), nil, &stdout, &stderr); code != exitDone {
				t.Fatalf("exit %d: %s", code, stderr.String())
			}
			var r checkmx.Recommended
			if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			s := newScenario(tt.name, exampleBase(t))
			s.noinfo = tt.noinfo
			s.lines = strings.Split(`test. NS a.nic.test.
a.nic.test. A 203.0.113.53
example.test. SOA ns1.example.test. h.example.test. 7 3600 600 864000 300
example.test. NS ns1.example.test.
example.test. NS ns2.example.test.
ns1.example.test. A 192.0.2.53
ns2.example.test. A 198.51.100.53
`+tt.others, "\n")
			for _, p := range r.Publish {
				if p.Why == "" {
					t.Errorf("%s: why?", p.Line())
				}
				s.lines = append(s.lines, p.Line())
			}
			host := tt.args[2]
			s.hosts = map[string]*mailHost{v4: {name: host, names: []string{host}}}
			if tt.sts {
				s.read(".sts")
				s.sts.policy, s.sts.addr = r.Files[0].Content, v4
			}
			args := slices.Concat([]string{"check-mx", "example.test", "--json"}, s.start(t, nil))
			stdout.Reset()
			run(args, nil, &stdout, &stderr)
			var got checkmx.Report
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			for _, p := range s.judge(&got) {
				t.Error(p)
			}
			for _, f := range got.Findings {
				if f.Status == diag.Skip {
					t.Errorf("skipped: %s", f.ID)
				}
			}
		})
	}
}
