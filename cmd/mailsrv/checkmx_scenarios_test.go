package main

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailsrv/diag"
	"mailsrv/diag/checkmx"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/https/httpstest"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
)

// scenario is one domain of testdata/checkmx: a base zone with changes, and what
// check-mx must say of it. A line of a scenario is a zone line for all servers,
// a "!" line of dnstest for the resolver, or
//
//	.base FILE DOMAIN HOST HOST   before the first scenario: instead of base.zone
//	.drop NAME | NAME/TYPE ...    leave these out of the base
//	.resolver|ns1|ns2|parent LINE a line for that server alone; -NAME leaves out
//	.zone NAME                    ns1 and ns2 also have this zone
//	.auth ns1|ns2 ZONE ...        what that server has instead; nothing: it answers like a resolver
//	.domain, .flags               of the command line
//	.map ADDR:PORT TARGET         a line of the dial map; $ns1, $ns2 are targets
//	.host ADDR [cert=FAULT,...] [names=NAME,...]   a mail host
//	.smtp ADDR PREFIX => REPLY    a line of that host's script
//	.sts                          MTA-STS, enforced; .policy LINE, .sts-status, .sts-type, .sts-cert, .sts-names
//	.want ID[=SUBJECT] ...        all failures and warnings; .maybe ID: also allowed
//	.level ID STATUS              of every finding with that id
//	.info, .noinfo ID ...         among the notes, or not
//	.record ID LINE               what a fix of that finding publishes
type scenario struct {
	name, domain       string
	base               *scenarioBase
	auth               map[string][]string // by server
	flags, drop, zones []string
	lines              []string
	own                map[string][]string // by server
	mapped             []string
	hosts              map[string]*mailHost // by address
	sts                *stsHost
	want, maybe        []string
	info, noinfo       []string
	levels, records    [][2]string
	remedy             *edit // of a finding, made in all zones
}

type mailHost struct {
	name        string // in the greeting
	names, cert []string
	script      string
}

type stsHost struct {
	policy, names, cert string
	addr                string
	status              int
	contentType         string
}

// scenarioBase is the healthy domain that the scenarios of a file change.
type scenarioBase struct {
	lines  []string
	domain string
	hosts  [2]string // at 192.0.2.1 and 198.51.100.2
}

func readBase(t *testing.T, file, domain, host1, host2 string) *scenarioBase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "checkmx", file))
	if err != nil {
		t.Fatal(err)
	}
	return &scenarioBase{lines: strings.Split(string(b), "\n"), domain: domain, hosts: [2]string{host1, host2}}
}

func exampleBase(t *testing.T) *scenarioBase {
	t.Helper()
	return readBase(t, "base.zone", "example.test", "mx1.example.test", "mx2.example.test")
}

func newScenario(name string, b *scenarioBase) *scenario {
	return &scenario{name: name, domain: b.domain, base: b, own: map[string][]string{}, auth: map[string][]string{}, hosts: map[string]*mailHost{
		"192.0.2.1": {name: b.hosts[0], names: []string{b.hosts[0]}}, "198.51.100.2": {name: b.hosts[1], names: []string{b.hosts[1]}},
	}}
}

func readScenarios(t *testing.T, file string) []*scenario {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "checkmx", file))
	if err != nil {
		t.Fatal(err)
	}
	base := exampleBase(t)
	var all []*scenario
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "== "); ok {
			all = append(all, newScenario(name, base))
		} else if f := strings.Fields(line); len(f) == 5 && f[0] == ".base" {
			base = readBase(t, f[1], f[2], f[3], f[4])
		} else if line != "" && !all[len(all)-1].read(line) {
			t.Fatalf("%s:%d: %q", file, n, line)
		}
	}
	return all
}

func (s *scenario) read(line string) bool {
	if line[0] != '.' {
		s.lines = append(s.lines, line)
		return true
	}
	word, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	fields := strings.Fields(rest)
	switch word {
	case ".drop":
		s.drop = append(s.drop, fields...)
	case ".resolver", ".ns1", ".ns2", ".parent":
		s.own[word[1:]] = append(s.own[word[1:]], rest)
	case ".zone":
		s.zones = append(s.zones, rest)
	case ".auth":
		s.auth[first] = fields[1:]
	case ".domain":
		s.domain = rest
	case ".flags":
		s.flags = fields
	case ".map":
		s.mapped = append(s.mapped, rest)
	case ".host":
		h := &mailHost{}
		if old := s.hosts[first]; old != nil {
			*h = *old
		}
		s.hosts[first] = h
		for _, f := range strings.Fields(second) {
			if v, ok := strings.CutPrefix(f, "cert="); ok {
				h.cert = strings.Split(v, ",")
			} else if v, ok := strings.CutPrefix(f, "names="); ok {
				h.names = strings.Split(v, ",")
			} else {
				return false
			}
		}
	case ".smtp":
		s.hosts[first].script += second + "\n"
	case ".sts":
		s.sts = &stsHost{addr: "192.0.2.80", names: "mta-sts." + s.base.domain, status: http.StatusOK, contentType: "text/plain"}
	case ".policy":
		s.sts.policy += rest + "\n"
	case ".sts-status":
		s.sts.status, _ = strconv.Atoi(rest)
	case ".sts-type":
		s.sts.contentType = rest
	case ".sts-cert":
		s.sts.cert = rest
	case ".sts-names":
		s.sts.names = rest
	case ".want":
		s.want = fields
	case ".maybe":
		s.maybe = fields
	case ".info":
		s.info = fields
	case ".noinfo":
		s.noinfo = fields
	case ".level":
		s.levels = append(s.levels, [2]string{first, second})
	case ".record":
		s.records = append(s.records, [2]string{first, s.expandKeys(second)})
	default:
		return false
	}
	return true
}

// expandKeys puts keys and hashes in the place of $NAME.
func (s *scenario) expandKeys(line string) string {
	return os.Expand(line, func(name string) string {
		switch name {
		case "TLSA1":
			return spkiHash(hostCert(s.base.hosts[0], ""))
		case "TLSA2":
			return spkiHash(hostCert(s.base.hosts[1], ""))
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "Z")); err == nil {
			return strings.Repeat("0", n)
		}
		bits, err := strconv.Atoi(strings.TrimPrefix(name, "K"))
		if err != nil {
			panic("unknown $" + name)
		}
		key := rsaKey(bits)
		if len(key) > 180 {
			key = key[:180] + `" "` + key[180:]
		}
		return key
	})
}

// rsaKey is a public key of that size, good enough to look at.
func rsaKey(bits int) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.Add(n, big.NewInt(12345))
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func spkiHash(c tls.Certificate) string {
	h := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
	return fmt.Sprintf("%x", h[:])
}

var (
	hostCerts sync.Map
	otherCA   = sync.OnceValue(certtest.NewCA)
)

// hostCert issues a certificate with faults, once.
func hostCert(names, faults string) tls.Certificate {
	issue := sync.OnceValue(func() tls.Certificate {
		l := certtest.Leaf{Names: strings.Split(names, ",")}
		ca := testCA()
		for f := range strings.SplitSeq(faults, ",") {
			switch f {
			case "expired":
				l.From, l.To = -100*24*time.Hour, -24*time.Hour
			case "future":
				l.From = 24 * time.Hour
			case "soon":
				l.To = 5 * 24 * time.Hour
			case "self":
				l.SelfSigned = true
			case "weak":
				l.RSABits = 1024
			case "untrusted":
				ca = otherCA()
			}
		}
		return ca.Issue(l)
	})
	f, _ := hostCerts.LoadOrStore(names+" "+faults, issue)
	return f.(func() tls.Certificate)()
}

// zone is what one of the servers answers from.
func (s *scenario) zone(server string, base []string) string {
	if base != nil && s.sts != nil {
		base = append(slices.Clone(base), "_mta-sts."+s.base.domain+`. TXT "v=STSv1; id=20261121;"`, "mta-sts."+s.base.domain+". A 192.0.2.80")
	}
	drop := slices.Clone(s.drop)
	var own []string
	for _, l := range s.own[server] {
		if d, ok := strings.CutPrefix(l, "-"); ok {
			drop = append(drop, d)
		} else {
			own = append(own, l)
		}
	}
	// What a server alone leaves out goes whether it is in the base or not.
	var out []string
	for _, l := range append(slices.Clone(base), s.lines...) {
		f := strings.Fields(l)
		switch {
		case len(f) < 2 || f[0] == ";":
		case l[0] == '!' && server != "resolver":
		case slices.Contains(base, l) && (slices.Contains(drop, f[0]) || slices.Contains(drop, f[0]+"/"+f[1])):
		default:
			out = append(out, s.expandKeys(l))
		}
	}
	switch server {
	case "ns1", "ns2":
		zones, ok := s.auth[server]
		if !ok {
			for _, l := range append(slices.Clone(base), s.lines...) {
				if f := strings.Fields(l); len(f) > 1 && f[1] == "SOA" {
					zones = append(zones, f[0])
				}
			}
			zones = append(zones, s.zones...)
		}
		for _, z := range zones {
			out = append(out, "!authoritative "+z)
		}
	case "parent":
		out = append(out, "!authoritative test.")
	}
	text := strings.Join(append(out, own...), "\n")
	if s.remedy != nil {
		text = s.remedy.zone(text)
	}
	return text
}

// start starts the servers and writes the dial map; it returns the flags that
// lead check-mx there.
func (s *scenario) start(t *testing.T, base []string) []string {
	t.Helper()
	m := []string{}
	targets := map[string]string{}
	for server, addr := range map[string]string{"ns1": "192.0.2.53", "ns2": "198.51.100.53", "parent": "203.0.113.53"} {
		targets[server] = dnstest.New(t, s.zone(server, base)).Addr
		m = append(m, addr+":53 "+targets[server])
	}
	for addr, h := range s.hosts {
		cfg := &tls.Config{Certificates: []tls.Certificate{hostCert(strings.Join(h.names, ","), strings.Join(h.cert, ","))}}
		if slices.Contains(h.cert, "old") {
			cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}
		script := "greeting => 220 " + cmp.Or(h.name, h.names[0]) + " ESMTP\nEHLO => 250-" + cmp.Or(h.name, h.names[0]) + "\\n250-STARTTLS\\n250 PIPELINING\n" +
			"RCPT TO: => 550 5.7.1 relaying denied\nRCPT TO:<postmaster@ => 250 ok\nRCPT TO:<abuse@ => 250 ok\n" + h.script
		if strings.Contains(h.script, "RCPT TO: => 250") {
			script = strings.ReplaceAll(script, "RCPT TO: => 550 5.7.1 relaying denied\n", "")
		}
		host := smtptest.New(t, smtptest.Config{TLS: cfg, Script: script})
		ip := netip.MustParseAddr(strings.Trim(addr, "[]"))
		m = append(m, netip.AddrPortFrom(ip, 25).String()+" "+host.Addr)
		if addr == "192.0.2.1" {
			m = append(m, "[2001:db8::1]:25 "+host.Addr)
		}
	}
	if s.sts != nil {
		policy := cmp.Or(s.sts.policy, "version: STSv1\r\nmode: enforce\r\nmx: "+s.base.hosts[0]+"\r\nmx: "+s.base.hosts[1]+"\r\nmax_age: 604800\r\n")
		m = append(m, s.sts.addr+":443 "+httpstest.New(t, hostCert(s.sts.names, s.sts.cert), func(w http.ResponseWriter, r *http.Request) {
			if s.sts.status == http.StatusMovedPermanently {
				http.Redirect(w, r, "https://www.example.test/", s.sts.status)
				return
			}
			w.Header().Set("Content-Type", s.sts.contentType)
			w.WriteHeader(s.sts.status)
			_, _ = w.Write([]byte(policy))
		}))
	}
	for _, l := range s.mapped {
		m = append(m, os.Expand(l, func(name string) string { return targets[name] }))
	}
	dir := t.TempDir()
	mapFile, caFile := filepath.Join(dir, "map"), filepath.Join(dir, "ca.pem")
	for name, b := range map[string][]byte{mapFile: []byte(strings.Join(m, "\n")), caFile: testCA().PEM()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	resolver := dnstest.New(t, s.zone("resolver", base))
	return []string{"--resolver", resolver.Addr, "--dial-map", mapFile, "--ca-file", caFile}
}

// judge compares a report with what is wanted.
func (s *scenario) judge(r *checkmx.Report) (problems []string) {
	want := slices.Clone(s.want)
	infos := map[string]bool{}
	records := map[string][]string{}
	for _, f := range r.Findings {
		for _, x := range f.Fixes {
			records[f.ID] = append(records[f.ID], x.Record)
		}
		for _, l := range s.levels {
			if l[0] == f.ID && l[1] != string(f.Status) {
				problems = append(problems, fmt.Sprintf("%s %s is %s, want %s", f.ID, f.Subject, f.Status, l[1]))
			}
		}
		if f.Title == "" || strings.Contains(f.Title+f.Detail, "<no value>") {
			problems = append(problems, fmt.Sprintf("%s: title %q, detail %q", f.ID, f.Title, f.Detail))
		}
		switch f.Status {
		case diag.Info:
			infos[f.ID] = true
		case diag.OK, diag.Skip:
		default:
			i := max(slices.Index(want, f.ID), slices.Index(want, f.ID+"="+f.Subject))
			if i >= 0 {
				want = slices.Delete(want, i, i+1)
			} else if !slices.Contains(s.maybe, f.ID) {
				problems = append(problems, fmt.Sprintf("WRONG %s %s %s", f.Status, f.ID, f.Subject))
			}
		}
	}
	for _, id := range want {
		problems = append(problems, "MISSED "+id)
	}
	for _, id := range s.info {
		if !infos[id] {
			problems = append(problems, "NOTE missed "+id)
		}
	}
	for _, id := range s.noinfo {
		if infos[id] {
			problems = append(problems, "NOTE wrong "+id)
		}
	}
	for _, rec := range s.records {
		if !slices.Contains(records[rec[0]], rec[1]) {
			problems = append(problems, fmt.Sprintf("RECORD of %s: %q, want %q", rec[0], records[rec[0]], rec[1]))
		}
	}
	return problems
}

var scenarioFiles = []string{"faulty.txt", "healthy.txt", "second.txt", "third.txt", "hosted.txt"}

// A large set of faulty and healthy domains, written from the design alone:
// every fault is found, none made up, and whoever publishes what a remedy says is
// rid of it.
func TestScenarios(t *testing.T) {
	for _, file := range scenarioFiles {
		for _, s := range readScenarios(t, file) {
			t.Run(strings.TrimSuffix(file, ".txt")+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				args := slices.Concat([]string{"check-mx", s.domain, "--json", "--lang", cmp.Or(os.Getenv("MAILSRV_LANG"), "ja")}, s.start(t, s.base.lines), s.flags)
				var stdout, stderr bytes.Buffer
				code := run(args, nil, &stdout, &stderr)
				var r checkmx.Report
				if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
					t.Fatalf("exit %d, %s: %s%s", code, err, stdout.String(), stderr.String())
				}
				for _, p := range s.judge(&r) {
					t.Error(p)
				}
				if !slices.Contains(s.flags, "--timeout") { // those take their time
					s.remedies(t, &r)
				}
				if failed := r.Summary.Fail > 0; failed != (code == exitFailed) {
					t.Errorf("exit code %d with %d failures", code, r.Summary.Fail)
				}
			})
		}
	}
}
