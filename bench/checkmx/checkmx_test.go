// Package checkmx_test compares a bulk run of check-mx with a bare loop of the
// same look-ups: what is left is the price of judging. Run it with
//
//	go test ./bench/checkmx -bench . -benchtime 3s
//
// Each operation is one domain. "look-ups/domain" is how many questions the
// resolver got; the bare loop asks exactly those.
package checkmx_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"mailsrv/codes"
	"mailsrv/diag/checkmx"
	"mailsrv/diag/report"
	"mailsrv/probes/dns/dnstest"
)

const (
	domains = 2000
	jobs    = 16
)

func zone() string {
	var b strings.Builder
	for i := range domains {
		d := fmt.Sprintf("d%d.test.", i)
		fmt.Fprintf(&b, "%s MX 10 mx.%[1]s\nmx.%[1]s A 100.0.%d.%d\n%[1]s TXT \"v=spf1 mx -all\"\n_dmarc.%[1]s TXT \"v=DMARC1; p=reject; rua=mailto:a@%[1]s\"\n%d.%d.0.100.in-addr.arpa. PTR mx.%[1]s\n", d, i>>8, i&255, i&255, i>>8)
	}
	return b.String()
}

func run(b *testing.B, one func(domain string)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range jobs {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				one(fmt.Sprintf("d%d.test", i%domains))
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "domains/s")
}

// options are those of a bulk run; each b.N domains use a new Checker, so that
// no answer is kept from an earlier round.
func options(addr string) checkmx.Options {
	return checkmx.Options{Resolvers: []string{addr}, Timeout: 5 * time.Second, NoSMTP: true, Only: only()}
}

func BenchmarkCheckMX(b *testing.B) {
	srv := dnstest.New(b, zone())
	var c atomic.Pointer[checkmx.Checker]
	c.Store(checkmx.New(options(srv.Addr)))
	var done atomic.Int64
	run(b, func(domain string) {
		if done.Add(1)%domains == 0 {
			c.Store(checkmx.New(options(srv.Addr)))
		}
		r := c.Load().Check(context.Background(), domain)
		if r.Summary.Fail > 0 {
			b.Errorf("%s: %+v", domain, r.Summary)
		}
		if err := r.Localize(codes.English); err != nil {
			b.Error(err)
		}
		if err := report.JSON(io.Discard, r, false); err != nil {
			b.Error(err)
		}
	})
	b.ReportMetric(float64(len(srv.Queries()))/float64(b.N), "look-ups/domain")
}

func BenchmarkBareLoop(b *testing.B) {
	srv := dnstest.New(b, zone())
	checkmx.New(options(srv.Addr)).Check(context.Background(), "d7.test")
	asked := srv.Queries()
	client := &mdns.Client{}
	run(b, func(domain string) {
		var i int
		_, _ = fmt.Sscanf(domain, "d%d.test", &i)
		for _, q := range asked {
			f := strings.Fields(q)
			name := strings.ReplaceAll(f[0], "d7.test.", domain+".")
			name = strings.ReplaceAll(name, "7.0.0.100.", fmt.Sprintf("%d.%d.0.100.", i&255, i>>8))
			m := new(mdns.Msg)
			m.SetQuestion(name, mdns.StringToType[f[1]])
			m.SetEdns0(1232, false)
			if _, _, err := client.Exchange(m, srv.Addr); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(len(asked)), "look-ups/domain")
}

// only narrows both runs to some families: ONLY=mx,ptr,spf,dmarc.
func only() []string {
	if s := os.Getenv("ONLY"); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}
