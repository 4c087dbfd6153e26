package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/relaytest"
	"mailsrv/probes/dns/dnstest"
	"mailsrv/probes/mta"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
	"mailsrv/server"
	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/policy"
	"mailsrv/server/store"
)

// nothingConfigured is a machine without mailsrv.
const nothingConfigured = "nothing"

// world is a machine with a healthy mailsrv, into which a drill puts one fault.
type world struct {
	t      *testing.T
	files  files
	top    string            // before the first table of the configuration
	listen map[string]string // service to address
	tables string            // the rest of the configuration
	file   string            // the whole of the configuration, instead of the above
	serve  bool              // the server runs
	bare   bool              // no accounts are made
	domain string            // the zone of internet; empty: healthyDomain
	ready  func()            // what happens last, with accounts made and the server running
	opt    Options
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, files: files{dir: t.TempDir()}}
	w.files.config = filepath.Join(w.files.dir, "mailsrv.toml")
	w.top = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n"
	w.listen = map[string]string{config.SMTP: "127.0.0.1:" + freePort(t), config.Submission: "127.0.0.1:" + freePort(t), config.POP3: "127.0.0.1:" + freePort(t)}
	w.opt = Options{Stage: Local, Spools: []string{filepath.Join(w.files.dir, "spool")}, Timeout: 3 * time.Second,
		addresses: &[]netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Foreign:   func(context.Context) []mta.Server { return nil }}
	must(t, os.Mkdir(filepath.Join(w.files.dir, "spool"), 0o700))
	return w
}

// build makes the world as it was ordered, and examines it.
func (w *world) build() *Report {
	t := w.t
	t.Helper()
	text := w.file
	if text == "" {
		text = w.top + "data_dir = \"data\"\n[listen]\n"
		for _, s := range []string{config.SMTP, config.Submission, config.POP3} {
			if a := w.listen[s]; a != "" {
				text += fmt.Sprintf("%s = %q\n", s, a)
			}
		}
		text += w.tables
	}
	if text != nothingConfigured {
		write(t, w.files.config, text)
	} else {
		w.files.config = ""
	}
	cfg, _ := config.Load(w.files.config)
	if w.file == "" && !w.bare && len(cfg.Domains) > 0 {
		accounts := account.Open(cfg.DataDir, cfg.Domains)
		for _, d := range cfg.Domains {
			if _, err := accounts.Add("postmaster", d, "correct horse battery"); err != nil {
				t.Fatal(err)
			}
			must(t, accounts.SetForward("abuse", d, []string{"postmaster@" + d}))
		}
		must(t, os.Chmod(cfg.DataDir, 0o700))
	}
	if w.serve {
		w.start(cfg)
	}
	if w.ready != nil {
		w.ready()
	}
	w.opt.ConfigFile, w.opt.Policy, w.opt.TempAccount = w.files.config, offline(cfg), temporary(cfg)
	return examine(t, w.opt)
}

// start runs a real server until the test ends.
func (w *world) start(cfg *config.Config) {
	t := w.t
	t.Helper()
	s, err := server.New(cfg, "test", codes.English, slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for { // it announces itself, then serves
		if run, running, err := store.ReadRun(cfg.DataDir); err == nil && running && !run.Started.IsZero() {
			return
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
}

// offline asks the rules as the command does.
func offline(cfg *config.Config) func(relaytest.Try) relaytest.Verdict {
	rules := policy.New(cfg, account.Open(cfg.DataDir, cfg.Domains))
	client := relaytest.Outside(cfg.Relay.Networks)
	return func(t relaytest.Try) relaytest.Verdict {
		from, _, err := address.ParsePath("<" + t.From + ">")
		to, rest, rerr := address.ParsePath("<" + t.To + ">")
		if err != nil || rerr != nil || rest != "" {
			return relaytest.Verdict{Result: relaytest.Refused}
		}
		d := rules.Decide(policy.Request{Client: client, Listener: config.SMTP, HELO: relaytest.StrangerDomain, Sender: from, Recipient: to})
		if d.Verdict == policy.Accept {
			return relaytest.Verdict{Result: relaytest.Accepted, Reply: d.Reply(), Rule: d.Rule}
		}
		return relaytest.Verdict{Result: relaytest.Refused, Reply: d.Reply(), Rule: d.Rule}
	}
}

// temporary makes the account of the loop check as the command does.
func temporary(cfg *config.Config) func(time.Duration) (TempAccount, error) {
	return func(ttl time.Duration) (TempAccount, error) {
		accounts := account.Open(cfg.DataDir, cfg.Domains)
		a, password, err := accounts.AddTemporary(ttl)
		if err != nil {
			return TempAccount{}, err
		}
		return TempAccount{Address: a.Address(), Password: password, Remove: func() error {
			if err := accounts.Remove(a.Name, a.Domain); err != nil {
				return err
			}
			return store.RemoveBox(cfg.DataDir, store.Box{Name: a.Name, Domain: a.Domain})
		}}, nil
	}
}

// certificate has a certificate issued and configured.
func (w *world) certificate(leaf wanted) (dir string) {
	ca := newAuthority(w.t)
	dir = filepath.Join(w.files.dir, "tls")
	ca.issue(w.t, dir, leaf)
	w.tables += fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	w.opt.RootCAs = ca.pool
	return dir
}

// smartHost configures one that follows a script.
func (w *world) smartHost(script string, cfg *tls.Config, login bool) {
	h := smtptest.New(w.t, smtptest.Config{Script: script, TLS: cfg})
	w.tables += fmt.Sprintf("[relay]\nsmart_host = %q\n", h.Addr)
	if login {
		w.tables += "auth = { username = \"taro\", password = \"s3cret-word\" }\n"
	}
}

// filled lets each mailbox have 1000 octets, and puts a message of n into one.
func (w *world) filled(n int) {
	w.tables = "[mailbox]\nquota = \"1000B\"\n"
	w.ready = func() { fill(w.t, w.files, "postmaster", n) }
}

func (w *world) account(name string, change func(*account.Files)) {
	cfg, _ := config.Load(w.files.config)
	accounts := account.Open(cfg.DataDir, cfg.Domains)
	if name != "" {
		_, err := accounts.Add(name, "example.com", "correct horse battery")
		must(w.t, err)
	}
	change(accounts)
}

// internet joins the world to one in which everything is in order: the domain
// example.test with all records, a resolver, a way out.
func (w *world) internet(zone string, lines ...string) { w.internetAt(freePort(w.t), zone, lines...) }

// internetAt is internet with the SMTP port given.
func (w *world) internetAt(port, zone string, lines ...string) {
	t := w.t
	w.opt.Stage = Internet
	w.top = "hostname = \"mx1.example.test\"\ndomains = [\"example.test\"]\n"
	w.listen = map[string]string{config.SMTP: ":" + port, config.Submission: ":" + freePort(t), config.POP3: ":" + freePort(t)}
	base := cmp.Or(w.domain, healthyDomain())
	ns := dnstest.New(t, base+"\n!authoritative example.test.\n").Addr
	parent := dnstest.New(t, base+"\n!authoritative test.\n").Addr
	ca := certtest.NewCA()
	mx := func(name string) string {
		cert := &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Leaf{Names: []string{name}})}}
		return smtptest.New(t, smtptest.Config{TLS: cert, Script: "greeting => 220 " + name + " ESMTP\nEHLO => 250-" + name + "\\n250-STARTTLS\\n250 PIPELINING\n" +
			"RCPT TO: => 550 5.7.1 relaying denied\nRCPT TO:<postmaster@ => 250 ok\nRCPT TO:<abuse@ => 250 ok\n"}).Addr
	}
	mx1 := mx("mx1.example.test")
	all := append([]string{}, lines...)
	for _, l := range []string{
		"192.0.2.53:53 " + ns, "198.51.100.53:53 " + ns, "203.0.113.53:53 " + parent, "192.0.2.1:25 " + mx1, "[2001:db8::1]:25 " + mx1,
		"198.51.100.2:25 " + mx("mx2.example.test"), "192.0.2.1:" + port + " 127.0.0.1:" + port, "203.0.113.10:25 " + mx1, "203.0.113.10:587 " + mx1,
	} {
		addr, _, _ := strings.Cut(l, " ")
		listed := false
		for _, given := range lines {
			listed = listed || strings.HasPrefix(given, addr+" ")
		}
		if !listed {
			all = append(all, l)
		}
	}
	if zone == "" {
		zone = base
	}
	w.opt.Resolvers = []netip.AddrPort{serverOf(t, zone)}
	w.opt.DialMap, w.opt.RootCAs = lab(t, all...), ca.Pool()
	w.opt.ReachTargets = []string{"203.0.113.10"}
	w.opt.Expect = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.2")}
	ours := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	w.opt.addresses = &ours
	w.opt.Timeout = 3 * time.Second
}

// healthyDomain is a zone with which nobody finds fault.
var healthyDomain = sync.OnceValue(func() string {
	data, err := os.ReadFile("../../cmd/mailsrv/testdata/checkmx/base.zone")
	if err != nil {
		panic(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	text := base64.StdEncoding.EncodeToString(der)
	zone := strings.ReplaceAll(string(data), "$K2048", text[:180]+`" "`+text[180:])
	return zone + "\n. NS a.root.example.\n. DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n"
})

// drill is one fault, and the id that must be named first; or several that have
// nothing to do with each other.
type drill struct {
	area, name string
	want       string
	put        func(w *world)
}

// changesProcess: the working folder or the environment, which all drills share.
func (d drill) changesProcess() bool { return d.area == "foreign" || d.area == "process" }

func TestFaultDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a server for each fault")
	}
	var mu sync.Mutex
	first, alone, played := 0, 0, 0
	areas := map[string]int{}
	play := func(t *testing.T, d drill) {
		w := newWorld(t)
		d.put(w)
		r := w.build()
		mu.Lock()
		defer mu.Unlock()
		played++
		areas[d.area]++
		got, want := bad(r), strings.Fields(d.want)
		switch {
		case len(got) == 0 || got[0] != want[0]:
			t.Errorf("named %v, want %s first", got, d.want)
		case !slices.Equal(slices.Compact(slices.Clone(got)), want):
			first++
			t.Errorf("want %s alone: %v", d.want, got)
		default:
			first++
			alone++
		}
		if t.Failed() {
			for _, f := range r.Findings {
				if f.Status == diag.Fail || f.Status == diag.Warn {
					t.Logf("%s %s %s %+v", f.Status, f.ID, f.Subject, f.Evidence)
				}
			}
		}
	}
	name := func(d drill) string { return d.area + "/" + strings.ReplaceAll(d.name, " ", "_") }
	for _, d := range drills {
		if d.changesProcess() {
			t.Run(name(d), func(t *testing.T) { play(t, d) })
		}
	}
	t.Run("side by side", func(t *testing.T) {
		for _, d := range drills {
			if !d.changesProcess() {
				t.Run(name(d), func(t *testing.T) {
					t.Parallel()
					play(t, d)
				})
			}
		}
	})
	t.Logf("fault drill: %d faults, %d named first, %d of them alone; by area %v", played, first, alone, areas)
	fmt.Printf("fault drill: %d faults, %d named first, %d of them alone; by area %v\n", played, first, alone, areas)
	if full := len(drills); full < 40 {
		t.Errorf("only %d faults", full)
	}
}

// The world without a fault, running, stopped and joined to the internet: no
// fail and no warn.
func TestDrillWithoutFault(t *testing.T) {
	for name, put := range map[string]func(w *world){
		"running":  func(w *world) { w.serve = true },
		"stopped":  func(*world) {},
		"internet": func(w *world) { w.serve = true; w.internet("") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			put(w)
			if r := w.build(); len(bad(r)) != 0 {
				t.Errorf("%v %+v", bad(r), r.Findings)
			}
		})
	}
}

// linux leaves a drill out where its fault cannot be made.
func linux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this fault is made on Linux only")
	}
}
