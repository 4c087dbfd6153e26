//go:build linux

package checkmx_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// Limits of a bulk run.
const (
	bulkRSS  = 200 << 20 // octets
	bulkDead = 500       // each so many-th domain does not answer
)

// made answers for d0.test, d1.test, ... without keeping any of them.
func made(w mdns.ResponseWriter, m *mdns.Msg) {
	q := m.Question[0]
	name := strings.ToLower(q.Name)
	labels := strings.Split(strings.TrimSuffix(name, ".test."), ".")
	i, err := strconv.Atoi(strings.TrimPrefix(labels[len(labels)-1], "d"))
	host := strings.Join(labels[:len(labels)-1], ".")
	r := new(mdns.Msg)
	r.SetReply(m)
	r.RecursionAvailable = true
	d := fmt.Sprintf("d%d.test.", i)
	put := func(data string) {
		rr, err := mdns.NewRR(name + " 3600 IN " + mdns.TypeToString[q.Qtype] + " " + data)
		if err != nil {
			panic(err)
		}
		r.Answer = append(r.Answer, rr)
	}
	switch {
	case err != nil:
		r.Rcode = mdns.RcodeNameError
	case i%bulkDead == bulkDead-1:
		return
	case host == "" && q.Qtype == mdns.TypeMX:
		put("10 mx." + d)
	case host == "" && q.Qtype == mdns.TypeTXT:
		put(`"v=spf1 mx -all"`)
	case host == "mx" && q.Qtype == mdns.TypeA:
		put(fmt.Sprintf("100.%d.%d.%d", i>>16&63, i>>8&255, i&255))
	case host == "_dmarc" && q.Qtype == mdns.TypeTXT:
		put(`"v=DMARC1; p=reject; rua=mailto:a@` + d + `"`)
	case host != "" && host != "mx":
		r.Rcode = mdns.RcodeNameError
	}
	_ = w.WriteMsg(r)
}

// A long list goes through in bounded memory, in the order of the list, and
// dead domains hold nobody up. BULK_DOMAINS sets its length, ONLY narrows it down.
func TestBulk(t *testing.T) {
	n := 1000
	if s := os.Getenv("BULK_DOMAINS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &mdns.Server{PacketConn: pc, Handler: mdns.HandlerFunc(made)}
	go func() { _ = srv.ActivateAndServe() }()
	t.Cleanup(func() { _ = srv.Shutdown() })

	dir := t.TempDir()
	bin, list, out := filepath.Join(dir, "mailsrv"), filepath.Join(dir, "list"), filepath.Join(dir, "out")
	if b, err := exec.Command("go", "build", "-o", bin, "mailsrv/cmd/mailsrv").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	var names bytes.Buffer
	for i := range n {
		fmt.Fprintf(&names, "d%d.test\n", i)
	}
	if err := os.WriteFile(list, names.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(ctx context.Context, args ...string) *exec.Cmd {
		all := append([]string{"check-mx", "--file", list, "--output", out, "--no-smtp", "--no-dnsbl", "--jobs", "8", "--timeout", "3s", "--json", "--resolver", pc.LocalAddr().String()}, args...)
		if families := only(); families != nil {
			all = append(all, "--only", strings.Join(families, ","))
		}
		cmd := exec.CommandContext(ctx, bin, all...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	// A run that is killed half way goes on where it was.
	ctx, cancel := context.WithCancel(context.Background())
	first := start(ctx)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for lines(t, out) < n/10 {
		time.Sleep(20 * time.Millisecond) // another process writes
	}
	cancel()
	_ = first.Wait()
	done := lines(t, out)
	began := time.Now()
	second := start(context.Background(), "--resume")
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = second.Wait(); close(ended) }()
	var rss int64
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(50 * time.Millisecond):
			rss = max(rss, peak(second.Process.Pid))
		}
	}
	took := time.Since(began)
	t.Logf("%d domains, then %d in %s: %.0f/s, at most %d MB", done, n-done, took.Round(time.Millisecond), float64(n-done)/took.Seconds(), rss>>20)
	if rss == 0 || rss > bulkRSS {
		t.Errorf("%d MB of memory", rss>>20)
	}
	check(t, out, n)
}

// peak is the most memory that a process has had, in octets. Its ru_maxrss would
// not do: that begins with what its parent had.
func peak(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	f := strings.Fields(after)
	if len(f) == 0 {
		return 0 // it has just ended
	}
	kb, _ := strconv.ParseInt(f[0], 10, 64)
	return kb << 10
}

func lines(t *testing.T, file string) int {
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// check reads what came out: every domain once, in order, with what is wrong.
func check(t *testing.T, file string, n int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	i, late := 0, 0
	for ; sc.Scan(); i++ {
		var r struct {
			Domain   string
			Findings []struct{ ID, Status string }
		}
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if want := fmt.Sprintf("d%d.test", i); r.Domain != want {
			t.Fatalf("line %d is of %s, want %s", i+1, r.Domain, want)
		}
		failed := ""
		for _, x := range r.Findings {
			if x.Status == "fail" {
				failed += x.ID
			}
		}
		switch dead := i%bulkDead == bulkDead-1; {
		case !dead && (failed == "dns.timeout" || failed == "mx.lookup_failed"):
			late++ // the name server of this test shares the machine with other tests
		case dead && failed != "dns.timeout", !dead && failed != "":
			t.Errorf("%s: %q", r.Domain, failed)
		}
	}
	if late > 0 {
		t.Logf("%d domains timed out: this machine is busy", late)
	}
	if late > n/20 {
		t.Errorf("%d of %d domains timed out", late, n)
	}
	if i != n || sc.Err() != nil {
		t.Errorf("%d lines, want %d, %v", i, n, sc.Err())
	}
}
