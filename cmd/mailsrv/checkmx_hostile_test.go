package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mailsrv/diag/checkmx"
	"mailsrv/probes/https/httpstest"
)

// noise is n random octets as a TXT string of a zone file.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for i := range n {
		if i%200 == 0 && i > 0 {
			b.WriteString(`" "`)
		}
		fmt.Fprintf(&b, `\%03d`, rnd.IntN(256))
	}
	return b.String()
}

// many repeats a line with a number in it.
func many(n int, format string) (out []string) {
	for i := range n {
		out = append(out, strings.ReplaceAll(strings.ReplaceAll(format, "#+1", fmt.Sprint(i+1)), "#", fmt.Sprint(i)))
	}
	return out
}

// A policy host that sends without end, slowly, or sends callers in circles.
var badPolicyHosts = map[string]http.HandlerFunc{
	"a policy without end": func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("mx: a.example.test\n"), 1000)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	},
	"a dripping policy": func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
				_, _ = w.Write([]byte("v"))
				w.(http.Flusher).Flush()
			}
		}
	},
	"a circle": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) },
	"headers without end": func(w http.ResponseWriter, r *http.Request) {
		for i := range 5000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
		}
	},
}

// Whatever a domain has in its DNS and its servers do, the check ends within
// six time-outs, in little memory, with a report.
func TestHostileDomains(t *testing.T) {
	base := exampleBase(t)
	const timeout = time.Second
	var tests []*scenario
	with := func(name string, lines ...string) *scenario {
		s := newScenario(name, base)
		s.lines = lines
		tests = append(tests, s)
		return s
	}
	const spf, mx = "example.test./TXT", "example.test./MX"
	with("64 KB of text", many(60, `example.test. TXT "#`+strings.Repeat(`" "`+strings.Repeat("x", 200), 5)+`"`)...)
	with("a record of 60 KB", `example.test. TXT "v=spf1 `+strings.Repeat(`ip4:192.0.2.1 " "`, 3500)+`-all"`).drop = []string{spf}
	with("DMARC soup", `_dmarc.example.test. TXT "v=DMARC1; `+strings.Repeat(`p=none;;=;p;rua=mailto:!!@,,%,mailto:a@b!9999999999999999999z;" "`, 400)+`"`).drop = []string{"_dmarc.example.test."}
	with("300 MX", slices.Concat(many(300, "example.test. MX # h#.example.test."), many(300, "h#.example.test. A 192.0.2.1"))...).drop = []string{mx}
	with("300 MX without hosts", many(300, "example.test. MX # h#.example.test.")...).drop = []string{mx}
	with("300 addresses", slices.Concat([]string{"example.test. MX 1 big.example.test."}, many(250, "big.example.test. A 203.0.113.#"))...).drop = []string{mx}
	with("200 PTR", many(200, "1.2.0.192.in-addr.arpa. PTR p#.example.test.")...)
	with("a long chain", slices.Concat(many(40, "c#.example.test. CNAME c#+1.example.test."), []string{"c40.example.test. A 192.0.2.1", "example.test. MX 10 c0.example.test.", "_dmarc.example.test. CNAME c0.example.test."})...).drop = []string{mx, "_dmarc.example.test."}
	with("a loop of aliases", "example.test. MX 5 l1.example.test.", "l1.example.test. CNAME l2.example.test.", "l2.example.test. CNAME l1.example.test.", "_dmarc.example.test. CNAME _dmarc.example.test.", "_mta-sts.example.test. CNAME l1.example.test.").drop = []string{"_dmarc.example.test."}
	bomb := []string{`example.test. TXT "v=spf1 include:b0.test -all"`}
	for i := range 30 {
		bomb = append(bomb, fmt.Sprintf(`b%d.test. TXT "v=spf1%s -all"`, i, strings.Repeat(fmt.Sprintf(" include:b%d.test include:b%d.test", i+1, (i*7+3)%30), 4)))
	}
	with("an SPF bomb", bomb...).drop = []string{spf}
	with("a wide SPF", `example.test. TXT "v=spf1`+strings.Join(many(800, ` a:w#.test" "`), "")+` -all"`).drop = []string{spf}
	with("odd names", `example.test. MX 10 \000\255.\046dot.example.test.`, `example.test. MX 10 sp\032ace.example.test.`, `\000\255.\046dot.example.test. A 192.0.2.1`, `_imap._tcp.example.test. SRV 0 0 143 \010\013x.test.`, `1.2.0.192.in-addr.arpa. PTR \027[31m.example.test.`)
	with("random octets", `example.test. TXT "v=spf1 `+noise(2000)+`"`, `_dmarc.example.test. TXT "v=DMARC1; `+noise(2000)+`"`, `s1._domainkey.example.test. TXT "v=DKIM1; p=`+noise(2000)+`"`,
		`_smtp._tls.example.test. TXT "v=TLSRPTv1; `+noise(900)+`"`, `_mta-sts.example.test. TXT "v=STSv1; `+noise(900)+`"`, `default._bimi.example.test. TXT "v=BIMI1; `+noise(900)+`"`).drop = []string{spf, "_dmarc.example.test.", "_smtp._tls.example.test."}
	with("many TLSA", append(many(200, "_25._tcp.mx1.example.test. TLSA # # # 00"), "!signed example.test.")...)
	with("slow everywhere", "!delay 500ms .")
	for _, deed := range []string{"greeting => drip", "greeting => flood", "EHLO => flood", "EHLO => drip", "STARTTLS => silent", "MAIL => drip", "RCPT => flood", "EHLO => " + strings.TrimSuffix(strings.Repeat(`250-XXXXXXXXXXXXXXXXXXXXXXXX\n`, 5000), `\n`), "greeting => 220 " + strings.Repeat("x", 100_000)} {
		s := with(deed[:min(len(deed), 24)])
		for _, h := range s.hosts {
			h.script = deed
		}
	}
	for name := range badPolicyHosts {
		s := with(name)
		s.read(".sts")
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, s := range tests {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			args := s.start(t, base.lines)
			if h := badPolicyHosts[s.name]; h != nil {
				addr := httpstest.New(t, hostCert(s.sts.names, ""), h)
				replaceMapped(t, args, "192.0.2.80:443", addr)
			}
			var stdout, stderr bytes.Buffer
			began := time.Now()
			code := run(slices.Concat([]string{"check-mx", s.domain, "--json", "--timeout", timeout.String()}, args), nil, &stdout, &stderr)
			took := time.Since(began)
			var r checkmx.Report
			if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
				t.Fatalf("exit %d, %s: %.500s%s", code, err, stdout.String(), stderr.String())
			}
			if took > 6*timeout+2*time.Second { // the rest of the tests runs beside it
				t.Errorf("took %s", took)
			}
			for _, f := range r.Findings {
				if f.ID == "domain.check_crashed" {
					t.Errorf("%v", f.Evidence)
				}
			}
			if len(r.Findings) < 3 {
				t.Errorf("%d findings", len(r.Findings))
			}
			if stdout.Len() > 2<<20 {
				t.Errorf("a report of %d octets", stdout.Len())
			}
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if grown := int64(now.HeapInuse) - int64(before.HeapInuse); grown > 150<<20 {
				t.Errorf("%d MB in use", grown>>20)
			}
			t.Logf("%s, %d findings, %d octets", took.Round(time.Millisecond), len(r.Findings), stdout.Len())
		})
	}
}

// replaceMapped leads an address of the dial map elsewhere.
func replaceMapped(t *testing.T, args []string, from, to string) {
	t.Helper()
	file := args[slices.Index(args, "--dial-map")+1]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, "\n"+from+" "+to...), 0o600); err != nil {
		t.Fatal(err)
	}
}
