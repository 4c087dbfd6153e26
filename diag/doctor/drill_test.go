package doctor

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
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
	"mailsrv/probes/host"
	"mailsrv/probes/mta"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
	"mailsrv/server"
	"mailsrv/server/account"
	"mailsrv/server/address"
	"mailsrv/server/config"
	"mailsrv/server/policy"
	"mailsrv/server/queue"
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
	return func(t relaytest.Try) relaytest.Verdict {
		from, _, err := address.ParsePath("<" + t.From + ">")
		to, rest, rerr := address.ParsePath("<" + t.To + ">")
		if err != nil || rerr != nil || rest != "" {
			return relaytest.Verdict{Result: relaytest.Refused}
		}
		d := rules.Decide(policy.Request{Client: relaytest.Stranger, Listener: config.SMTP, HELO: relaytest.StrangerDomain, Sender: from, Recipient: to})
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
	base := healthyDomain()
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

// drill is one fault, and the id that must be named first.
type drill struct {
	area, name string
	want       string
	put        func(w *world)
}

func TestFaultDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a server for each fault")
	}
	first, alone, played := 0, 0, 0
	areas := map[string]int{}
	for _, d := range drills {
		t.Run(d.area+"/"+strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t)
			d.put(w)
			r := w.build()
			played++
			areas[d.area]++
			got := bad(r)
			switch {
			case len(got) == 0 || got[0] != d.want:
				t.Errorf("named %v, want %s first", got, d.want)
			case len(got) > 1:
				first++
				t.Errorf("%s is followed by what only follows from it: %v", d.want, got[1:])
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
		})
	}
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

var drills = []drill{
	// ports
	{"ports", "held by another program", "port.in_use", func(w *world) {
		w.listen[config.POP3], _ = other(w.t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=+OK old server ready")
	}},
	{"ports", "held by a mail shield", "port.av_proxy", func(w *world) {
		w.listen[config.POP3], _ = other(w.t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=+OK Avast POP3 proxy ready")
	}},
	{"ports", "address of another machine", "port.address_not_local", func(w *world) { w.listen[config.POP3] = "198.51.100.77:1110" }},
	{"ports", "two services on one port", "config.listen_duplicate", func(w *world) { w.listen[config.POP3] = w.listen[config.SMTP] }},
	{"ports", "server does not listen where it should", "port.not_listening", func(w *world) {
		w.ready = func() { running(w.t, w.files.data(), store.RunAddr{Service: "smtp", Addr: w.listen["smtp"]}) }
		w.listen = map[string]string{config.POP3: w.listen[config.POP3], config.SMTP: smtptest.New(w.t, smtptest.Config{}).Addr}
	}},
	{"ports", "another protocol answers", "port.wrong_service", func(w *world) {
		pop := smtptest.New(w.t, smtptest.Config{}).Addr
		w.listen = map[string]string{config.SMTP: smtptest.New(w.t, smtptest.Config{}).Addr, config.POP3: pop}
		w.ready = func() {
			running(w.t, w.files.data(), store.RunAddr{Service: "smtp", Addr: w.listen["smtp"]}, store.RunAddr{Service: "pop3", Addr: pop})
		}
	}},
	{"ports", "server hangs", "server.not_answering", func(w *world) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepted by the system, greeted by nobody
		must(w.t, err)
		w.t.Cleanup(func() { l.Close() })
		w.opt.Timeout = 300 * time.Millisecond
		w.listen = map[string]string{config.SMTP: l.Addr().String()}
		w.ready = func() {
			running(w.t, w.files.data(), store.RunAddr{Service: "smtp", Addr: l.Addr().String()})
		}
	}},
	{"ports", "server restarts again and again", "server.restarting", func(w *world) {
		w.serve = true
		w.ready = func() {
			// The server writes down its starts; as if it had started five times.
			path := filepath.Join(w.files.data(), "server.json")
			data, err := os.ReadFile(path)
			must(w.t, err)
			var run store.Run
			must(w.t, json.Unmarshal(data, &run))
			run.Starts = slices.Repeat([]time.Time{time.Now().UTC()}, 5)
			data, err = json.Marshal(run)
			must(w.t, err)
			write(w.t, path, string(data))
		}
	}},

	// locks
	{"locks", "Qpopper died with the mail", "lock.qpopper_left", func(w *world) {
		linux(w.t)
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], ".taro.pop"), mail(1, 2))
	}},
	{"locks", "Qpopper died, mail has come since", "lock.qpopper_newer", func(w *world) {
		linux(w.t)
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], ".taro.pop"), mail(1, 2))
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), mail(3))
	}},
	{"locks", "Qpopper died while it copied", "lock.qpopper_partial", func(w *world) {
		linux(w.t)
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], ".taro.pop"), mail(1))
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), mail(1, 2))
	}},
	{"locks", "empty .user.pop", "lock.qpopper_empty", func(w *world) {
		linux(w.t)
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], ".taro.pop"), "")
	}},
	{"locks", "dotlock of a dead process", "lock.dotlock_stale", func(w *world) {
		linux(w.t)
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro.lock"), fmt.Sprint(deadPID(w.t)))
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), mail(1))
	}},
	{"locks", "a link in place of a lock", "lock.unsafe", func(w *world) {
		linux(w.t)
		must(w.t, os.Symlink("/nowhere", filepath.Join(w.opt.Spools[0], "taro.lock")))
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), mail(1))
	}},
	{"locks", "spool begins with a blank line", "mbox.leading_junk", func(w *world) {
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), "\n"+mail(1))
	}},
	{"locks", "NUL bytes in a spool", "mbox.nul_run", func(w *world) {
		old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], "taro"), mail(1)+strings.Repeat("\x00", 100)+mail(2))
	}},

	// DNS and the way out
	{"DNS", "no network", "env.no_address", func(w *world) {
		w.opt.Stage = Internet
		none := []netip.Addr{}
		w.opt.addresses = &none
		for s := range w.listen {
			w.listen[s] = ":" + freePort(w.t)
		}
		w.tables = "[dns]\nservers = [\"192.0.2.53\"]\n"
	}},
	{"DNS", "resolver says nothing", "resolver.silent", func(w *world) { w.serve = true; w.internet("!silent .") }},
	{"DNS", "resolver fails", "resolver.servfail", func(w *world) { w.serve = true; w.internet("!servfail .") }},
	{"DNS", "resolver refuses", "resolver.refused", func(w *world) { w.serve = true; w.internet("!refuse .") }},
	{"DNS", "resolver is not there", "resolver.unreachable", func(w *world) {
		w.serve = true
		w.internet("")
		w.opt.Resolvers = []netip.AddrPort{netip.MustParseAddrPort(freeAddr(w.t))}
	}},
	{"DNS", "resolver invents addresses", "resolver.rewrites_nxdomain", func(w *world) {
		w.serve = true
		w.internet(healthyDomain() + "*.com. A 192.0.2.80\n*.invalid. A 192.0.2.80\n")
	}},
	{"DNS", "no DNS over TCP", "resolver.no_tcp", func(w *world) { w.serve = true; w.internet(healthyDomain() + "!cut . DNSKEY\n") }},
	{"DNS", "domain is gone", "domain.nxdomain", func(w *world) {
		w.serve = true
		w.internet("")
		w.top = "hostname = \"mx1.example.test\"\ndomains = [\"gone.test\"]\n"
	}},
	{"DNS", "MX leads elsewhere", "mx.address_mismatch", func(w *world) {
		w.serve = true
		w.internet("")
		w.opt.Expect = []netip.Addr{netip.MustParseAddr("198.51.100.200")}
	}},
	{"DNS", "dynamic DNS was not updated", "domain.dynamic_stale", func(w *world) {
		w.serve = true
		w.internet(healthyDomain()+`
home.ddns.net. MX 10 home.ddns.net.
home.ddns.net. A 198.51.100.99
home.ddns.net. TXT "v=spf1 a:mx1.example.test -all"
_dmarc.home.ddns.net. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@home.ddns.net"
`, "198.51.100.99:25 refuse")
		w.top = "hostname = \"home.ddns.net\"\ndomains = [\"home.ddns.net\"]\n"
	}},
	{"DNS", "provider blocks port 25", "reach.out25_blocked", func(w *world) { w.serve = true; w.internet("", "203.0.113.10:25 drop") }},
	{"DNS", "own firewall", "reach.local_firewall", func(w *world) {
		w.serve = true
		port := freePort(w.t)
		w.internetAt(port, "", "192.0.2.1:"+port+" drop")
	}},
	{"DNS", "host name is one label", "hostname.not_fqdn", func(w *world) { w.top = "hostname = \"server1\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "full-width host name", "hostname.bad_characters", func(w *world) { w.top = "hostname = \"ｍａｉｌ.example.com\"\ndomains = [\"example.com\"]\n" }},

	// relay
	{"relay", "everybody may relay", "relay.open", func(w *world) { w.tables = "[relay]\nnetworks = [\"0.0.0.0/0\"]\n" }},
	{"relay", "public network may relay", "relay.network_wide", func(w *world) { w.serve = true; w.tables = "[relay]\nnetworks = [\"198.51.0.0/16\"]\n" }},
	{"relay", "loopback exempt from the test", "auth.test_exemption", func(w *world) { w.serve = true; w.tables = "[relay]\nnetworks = [\"127.0.0.1\"]\n" }},
	{"relay", "smart host is down", "relay.smart_host_unreachable", func(w *world) {
		w.tables = "[relay]\nsmart_host = \"" + freeAddr(w.t) + "\"\n"
		w.ready = func() { queued(w.t, w.files, 1, 6*time.Hour, to("a@stuck.example", 9, "connect-refused", "")) }
	}},
	{"relay", "smart host refuses the password", "relay.smart_host_auth", func(w *world) {
		w.smartHost("EHLO => 250-x\\n250 AUTH PLAIN\nAUTH => 535 5.7.8 Error: authentication failed\n", nil, true)
	}},
	{"relay", "smart host wants a login", "relay.smart_host_needs_auth", func(w *world) {
		w.smartHost("EHLO => 250-x\\n250 AUTH PLAIN\nMAIL => 530 5.7.0 Authentication required\n", nil, false)
	}},
	{"relay", "smart host refuses to relay", "relay.smart_host_refuses", func(w *world) { w.smartHost("RCPT => 554 5.7.1 Relay access denied\n", nil, false) }},
	{"relay", "smart host with a foreign certificate", "relay.smart_host_tls", func(w *world) {
		w.smartHost("", &tls.Config{Certificates: []tls.Certificate{certtest.NewCA().Issue(certtest.Leaf{Names: []string{"127.0.0.1"}})}}, false)
	}},
	{"relay", "smart host is this server", "config.smart_host_self", func(w *world) {
		w.serve = true
		w.tables = "[relay]\nsmart_host = \"" + w.listen[config.Submission] + "\"\n"
	}},

	// AUTH
	{"AUTH", "passwords in clear", "auth.cleartext", func(w *world) {
		w.listen[config.POP3] = ":" + freePort(w.t)
		w.tables = "[auth]\nrequire_tls = false\n"
	}},
	{"AUTH", "no mechanism", "auth.no_mechanism", func(w *world) { w.tables = "[auth]\nmechanisms = []\n" }},
	{"AUTH", "CRAM-MD5", "auth.mechanism_unsupported", func(w *world) { w.tables = "[auth]\nmechanisms = [\"PLAIN\", \"CRAM-MD5\"]\n" }},
	{"AUTH", "POP before SMTP without POP3", "auth.pop_before_smtp_no_effect", func(w *world) {
		delete(w.listen, config.POP3)
		w.tables = "[relay]\npop_before_smtp = \"10m\"\n"
	}},
	{"AUTH", "POP before SMTP for seconds", "auth.pop_before_smtp_no_effect", func(w *world) {
		w.serve = true
		w.tables = "[relay]\npop_before_smtp = \"30s\"\n"
	}},

	// TLS
	{"TLS", "certificate file is missing", "cert.file_missing", func(w *world) { w.tables = "[tls]\ncert = \"no.pem\"\nkey = \"no.key\"\n" }},
	{"TLS", "key of another certificate", "cert.key_mismatch", func(w *world) {
		dir := w.certificate(wanted{name: "mail.example.com", from: -time.Hour, until: 90 * day})
		another := filepath.Join(w.files.dir, "another")
		newAuthority(w.t).issue(w.t, another, wanted{name: "mail.example.com", from: -time.Hour, until: 90 * day})
		must(w.t, os.Rename(filepath.Join(another, "key.pem"), filepath.Join(dir, "key.pem")))
	}},
	{"TLS", "certificate has expired", "cert.expired", func(w *world) {
		w.certificate(wanted{name: "mail.example.com", from: -90 * day, until: -day})
		w.serve = true
	}},
	{"TLS", "certificate of another name", "cert.name_mismatch", func(w *world) {
		w.certificate(wanted{name: "www.example.com", from: -day, until: 90 * day})
		w.serve = true
	}},
	{"TLS", "certificate renewed, server not told", "cert.not_reloaded", func(w *world) {
		dir := w.certificate(wanted{name: "mail.example.com", from: -day, until: 20 * day})
		roots := w.opt.RootCAs
		w.serve = true
		w.ready = func() {
			ca := newAuthority(w.t)
			ca.issue(w.t, dir, wanted{name: "mail.example.com", from: -day, until: 90 * day})
			roots.AddCert(ca.cert)
		}
	}},

	// disk and data
	{"disk", "no room for one message", "env.disk_full", func(w *world) {
		w.tables = "[limits]\nmessage_size = \"900MB\"\n"
		w.opt.volume = func(v *host.Volume) { v.Free = 800e6 }
	}},
	{"disk", "room for a few messages only", "env.disk_low", func(w *world) { w.opt.volume = func(v *host.Volume) { v.Free = 100e6 } }},
	{"disk", "no inodes left", "env.inodes_low", func(w *world) { w.opt.volume = func(v *host.Volume) { v.Inodes, v.FreeInodes = 1e6, 20 } }},
	{"disk", "data directory is a file", "env.data_dir_unwritable", func(w *world) {
		w.bare = true
		w.file = "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\ndata_dir = \"afile/data\"\n[listen]\nsmtp = \"" + w.listen[config.SMTP] + "\"\n"
		write(w.t, filepath.Join(w.files.dir, "afile"), "no folder")
	}},
	{"disk", "others may write the data directory", "env.data_dir_open", func(w *world) {
		linux(w.t)
		w.ready = func() { must(w.t, os.Chmod(w.files.data(), 0o777)) }
	}},
	{"disk", "mailbox without its folders", "mailbox.not_a_maildir", func(w *world) {
		w.ready = func() {
			write(w.t, filepath.Join(store.Dir(w.files.data(), store.Box{Name: "postmaster", Domain: "example.com"}), "Maildir", "new"), "a file")
		}
	}},
	{"disk", "journal could not be replayed", "mailbox.journal_damaged", func(w *world) {
		w.ready = func() {
			write(w.t, filepath.Join(store.JournalDir(w.files.data()), store.DamagedDir, "segment-2-20261121T080910"), "12345678")
		}
	}},
	{"disk", "server has crashed", "crash.recent", func(w *world) {
		w.serve = true
		w.ready = func() {
			write(w.t, filepath.Join(w.files.data(), "crash", "crash-20261101T000000Z.txt"), "panic: oops\n")
		}
	}},

	// queue
	{"queue", "mail does not go out", "queue.stuck", func(w *world) {
		w.ready = func() {
			queued(w.t, w.files, 1, 9*time.Hour, to("a@stuck.example", 20, "server-temporary", "451 4.3.0 try again"))
		}
	}},
	{"queue", "mail is late", "queue.deferred", func(w *world) {
		w.ready = func() { queued(w.t, w.files, 1, time.Hour, to("a@late.example", 3, "connect-timeout", "")) }
	}},
	{"queue", "damaged envelope", "queue.damaged", func(w *world) {
		w.ready = func() { write(w.t, filepath.Join(queue.Dir(w.files.data()), "TEST000001.toml"), "not = [an envelope") }
	}},

	// configuration
	{"configuration", "does not parse", "config.syntax", func(w *world) { w.file = "hostname = \"mail.example.com\"\ndomains = [example.com]\n" }},
	{"configuration", "unknown key", "config.unknown_key", func(w *world) { w.tables = "[limits]\nmesage_size = \"25MB\"\n" }},
	{"configuration", "senseless value", "config.bad_value", func(w *world) { w.tables = "[limits]\nmessage_size = \"a lot\"\n" }},
	{"configuration", "network with a star", "config.bad_address", func(w *world) { w.tables = "[relay]\nnetworks = [\"192.168.1.*\"]\n" }},
	{"configuration", "no domain", "config.no_domain", func(w *world) { w.top = "hostname = \"mail.example.com\"\n" }},
	{"configuration", "nothing is on", "config.no_listener", func(w *world) { w.listen = nil }},
	{"configuration", "tiny messages", "config.message_size_low", func(w *world) { w.tables = "[limits]\nmessage_size = \"500KB\"\n" }},
	{"configuration", "changed since the start", "config.changed_since_start", func(w *world) {
		w.serve = true
		w.ready = func() {
			write(w.t, w.files.config, w.top+"data_dir = \"data\"\n[listen]\nsmtp = \""+w.listen[config.SMTP]+"\"\npop3 = \""+freeAddr(w.t)+"\"\n")
			later := time.Now().Add(time.Hour)
			must(w.t, os.Chtimes(w.files.config, later, later))
		}
	}},

	// accounts
	{"accounts", "no postmaster", "account.no_postmaster", func(w *world) {
		w.ready = func() {
			w.account("taro", func(a *account.Files) {
				must(w.t, a.SetForward("abuse", "example.com", []string{"taro@example.com"}))
				must(w.t, a.Remove("postmaster", "example.com"))
			})
		}
	}},
	{"accounts", "forwards in a circle", "account.forward_loop", func(w *world) {
		w.ready = func() {
			w.account("", func(a *account.Files) {
				must(w.t, a.SetForward("one", "example.com", []string{"postmaster@example.com"}))
				must(w.t, a.SetForward("two", "example.com", []string{"one@example.com"}))
				// No command makes a circle; a hand in the file does.
				file := a.File("one", "example.com")
				data, err := os.ReadFile(file)
				must(w.t, err)
				write(w.t, file, strings.ReplaceAll(string(data), "postmaster@", "two@"))
			})
		}
	}},
	{"accounts", "guessable password", "account.password_guessable", func(w *world) {
		w.ready = func() { withPassword(w.t, w.files, "taro", "taro") }
	}},
	{"accounts", "mailbox is full", "account.quota_full", func(w *world) { w.filled(1000) }},
	{"accounts", "mailbox is nearly full", "account.quota_near", func(w *world) { w.filled(900) }},
	{"accounts", "damaged account", "account.store_damaged", func(w *world) {
		w.ready = func() {
			w.account("taro", func(a *account.Files) { write(w.t, a.File("taro", "example.com"), "{") })
		}
	}},

	// servers of other makers
	{"foreign", "Postfix for everybody", "relay.open", func(w *world) {
		w.alone(func(s *mta.Server) { s.Networks = prefixes("0.0.0.0/0") })
	}},
	{"foreign", "broken main.cf", "foreign.config_broken", func(w *world) {
		w.alone(func(s *mta.Server) { s.Complaint = "postconf: fatal: /etc/postfix/main.cf, line 48: missing '='" })
	}},
	{"foreign", "mail waits in Postfix", "queue.stuck", func(w *world) {
		w.alone(func(s *mta.Server) {
			s.Queue = []mta.Waiting{{ID: "A", Recipient: "a@b.example", Since: time.Now().Add(-9 * time.Hour), Tried: true, Reason: "connect to mx.b.example[192.0.2.1]:25: Connection timed out"}}
		})
	}},
	{"foreign", "Dovecot in clear", "auth.cleartext", func(w *world) {
		w.alone(func(s *mta.Server) {
			*s = mta.Server{Product: mta.Dovecot, Running: true, PID: 203, ClearAuth: "disable_plaintext_auth = no"}
			s.Listen = append(s.Listen, at("0.0.0.0:143", "dovecot"))
		})
	}},
}

// alone is a machine with Postfix only, as Debian installs it.
func (w *world) alone(change func(*mta.Server)) {
	w.t.Chdir(w.files.dir)
	s := debianPostfix()
	change(&s)
	w.file = nothingConfigured
	w.opt.Skip = []string{"ports"} // the usual ones may be taken on the machine of the test
	w.opt.Foreign = func(context.Context) []mta.Server { return []mta.Server{s} }
}
