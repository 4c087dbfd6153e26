package doctor

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailsrv/probes/host"
	"mailsrv/probes/mta"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/store"
)

func init() { drills = append(append(drills, secondDrills...), mailDrills...) }

// opened lets others reach the services.
func (w *world) opened() {
	for s := range w.listen {
		w.listen[s] = ":" + freePort(w.t)
	}
}

// spool puts an old file into the spool.
func (w *world) spool(name, content string) {
	old(w.t, time.Hour, filepath.Join(w.opt.Spools[0], name), content)
}

// maildir is that of the postmaster, made.
func (w *world) maildir() string {
	dir := filepath.Join(store.Dir(w.files.data(), store.Box{Name: "postmaster", Domain: "example.com"}), "Maildir")
	for _, part := range maildirParts {
		must(w.t, os.MkdirAll(filepath.Join(dir, part), 0o700))
	}
	return dir
}

const goodName = "mail.example.com"

var good = wanted{name: goodName, from: -day, until: 90 * day}

// secondDrills are each id in ways that the first ones do not have; they were
// written from doctor-findings.md alone.
var secondDrills = []drill{
	// environment
	{"disk", "nothing left at all", "env.disk_full", func(w *world) { w.opt.volume = func(v *host.Volume) { v.Free = 0 } }},
	{"disk", "less than one message of the usual size", "env.disk_full", func(w *world) {
		w.serve = true
		w.opt.volume = func(v *host.Volume) { v.Free = 24e6 }
	}},
	{"disk", "room for nine messages", "env.disk_low", func(w *world) {
		w.tables = "[limits]\nmessage_size = \"50MB\"\n"
		w.opt.volume = func(v *host.Volume) { v.Free = 450e6 }
	}},
	{"disk", "few inodes", "env.inodes_low", func(w *world) {
		w.serve = true
		w.opt.volume = func(v *host.Volume) { v.Inodes, v.FreeInodes = 1e6, 999 }
	}},
	{"disk", "data directory is a circle of links", "env.data_dir_unwritable", func(w *world) {
		linux(w.t)
		w.bare = true
		w.ready = func() { must(w.t, os.Symlink("data", w.files.data())) }
	}},
	{"disk", "data directory below a device", "env.data_dir_unwritable", func(w *world) {
		linux(w.t)
		w.bare = true
		w.file = w.top + "data_dir = \"/dev/null/mail\"\n[listen]\nsmtp = \"" + w.listen[config.SMTP] + "\"\n"
	}},
	{"disk", "others may read the data directory", "env.data_dir_open", func(w *world) {
		linux(w.t)
		w.serve = true
		w.ready = func() { must(w.t, os.Chmod(w.files.data(), 0o755)) }
	}},
	{"disk", "data in a synchronised folder", "env.data_dir_location", func(w *world) {
		w.file = w.top + "data_dir = \"Dropbox/mail\"\n[listen]\nsmtp = \"" + w.listen[config.SMTP] + "\"\n"
		w.ready = func() { w.accountsAt(filepath.Join(w.files.dir, "Dropbox", "mail")) }
	}},
	{"disk", "data in a company's synchronised folder", "env.data_dir_location", func(w *world) {
		w.file = w.top + "data_dir = \"OneDrive - Firma/mail\"\n[listen]\nsmtp = \"" + w.listen[config.SMTP] + "\"\n"
		w.ready = func() { w.accountsAt(filepath.Join(w.files.dir, "OneDrive - Firma", "mail")) }
	}},
	{"disk", "clock before the program was built", "env.clock_wrong", func(w *world) { w.opt.Built = time.Now().Add(40 * day) }},
	{"disk", "clock of 1970", "env.clock_wrong", func(w *world) {
		w.opt.Built = time.Now()
		w.opt.Now = time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	}},
	{"disk", "only loopback is left", "env.no_address", func(w *world) {
		w.opt.Stage = LAN
		w.opened()
		w.opt.addresses = &[]netip.Addr{}
	}},

	// configuration
	{"configuration", "a string that does not end", "config.syntax", func(w *world) { w.file = "hostname = \"mail.example.com\ndomains = [\"example.com\"]\n" }},
	{"configuration", "saved as UTF-16", "config.syntax", func(w *world) { w.file = "\xff\xfeh\x00o\x00s\x00t\x00=\x00" }},
	{"configuration", "a table twice", "config.syntax", func(w *world) { w.tables = "[limits]\nconnections = 100\n[limits]\nrecipients = 200\n" }},
	{"configuration", "the file is gone", "config.not_found", func(w *world) {
		w.ready = func() { must(w.t, os.Remove(w.files.config)) }
	}},
	{"configuration", "a folder in place of the file", "config.unreadable", func(w *world) {
		w.ready = func() {
			must(w.t, os.Remove(w.files.config))
			must(w.t, os.Mkdir(w.files.config, 0o700))
		}
	}},
	{"configuration", "unknown table", "config.unknown_key", func(w *world) { w.tables = "[limit]\nconnections = 100\n" }},
	{"configuration", "unknown service", "config.unknown_key", func(w *world) { w.tables = "pop = \"127.0.0.1:1110\"\n" }},
	{"configuration", "yes for a truth value", "config.bad_value", func(w *world) { w.tables = "[relay]\nallow = \"yes\"\n" }},
	{"configuration", "a number for a time", "config.bad_value", func(w *world) { w.tables = "[mailbox]\nkeep_deleted = 14\n" }},
	{"configuration", "a unit nobody knows", "config.bad_value", func(w *world) { w.tables = "[limits]\nidle_timeout = \"5 minuten\"\n" }},
	{"configuration", "a range of addresses", "config.bad_address", func(w *world) { w.tables = "[relay]\nnetworks = [\"192.168.1.10-192.168.1.20\"]\n" }},
	{"configuration", "resolver by name", "config.bad_address", func(w *world) { w.tables = "[dns]\nservers = [\"router.example.com\"]\n" }},
	{"configuration", "port out of range", "config.bad_address", func(w *world) { w.listen[config.POP3] = "127.0.0.1:99999" }},
	{"configuration", "no host name, open to others", "config.no_hostname", func(w *world) {
		w.opened()
		w.top = "domains = [\"example.com\"]\n"
	}},
	{"configuration", "empty host name, open to others", "config.no_hostname", func(w *world) {
		w.opened()
		w.top = "hostname = \"\"\ndomains = [\"example.com\"]\n"
	}},
	{"configuration", "an empty list of domains", "config.no_domain", func(w *world) { w.top = "hostname = \"mail.example.com\"\ndomains = []\n" }},
	{"configuration", "every service empty", "config.no_listener", func(w *world) {
		w.file = w.top + "data_dir = \"data\"\n[listen]\nsmtp = \"\"\npop3 = \"\"\n"
		w.ready = func() { w.accountsAt(w.files.data()) }
	}},
	{"configuration", "port 0", "config.port_zero", func(w *world) { w.listen[config.SMTP] = "127.0.0.1:0" }},
	{"configuration", "port 0 for all addresses", "config.port_zero", func(w *world) { w.listen[config.POP3] = ":0" }},
	{"configuration", "one port, once for all addresses", "config.listen_duplicate", func(w *world) {
		port := freePort(w.t)
		w.listen[config.SMTP], w.listen[config.Submission] = ":"+port, "127.0.0.1:"+port
	}},
	{"configuration", "smart host is the own name", "config.smart_host_self", func(w *world) {
		_, port, _ := net.SplitHostPort(w.listen[config.SMTP])
		w.tables = "[relay]\nsmart_host = \"mail.example.com:" + port + "\"\n"
	}},
	{"configuration", "smart host is localhost", "config.smart_host_self", func(w *world) {
		_, port, _ := net.SplitHostPort(w.listen[config.SMTP])
		w.tables = "[relay]\nsmart_host = \"localhost:" + port + "\"\n"
	}},
	{"configuration", "messages of 100 kB", "config.message_size_low", func(w *world) {
		w.serve = true
		w.tables = "[limits]\nmessage_size = \"100KB\"\n"
	}},
	{"configuration", "messages of 2 GB", "config.message_size_high", func(w *world) {
		w.tables = "[limits]\nmessage_size = \"2GB\"\n"
		w.opt.volume = func(v *host.Volume) { v.Free, v.Size = 1e12, 2e12 }
	}},
	{"configuration", "messages larger than the disk", "config.message_size_high", func(w *world) {
		w.tables = "[limits]\nmessage_size = \"900MB\"\n"
		w.opt.volume = func(v *host.Volume) { v.Free, v.Size = 300e6, 500e6 }
	}},
	{"configuration", "gives up before the first try again", "config.retry_nonsense", func(w *world) {
		w.tables = "[retry]\nschedule = [\"2h\"]\ngive_up_after = \"1h\"\nwarn_after = \"30m\"\n"
	}},
	{"configuration", "gives up before it warns", "config.retry_nonsense", func(w *world) { w.tables = "[retry]\ngive_up_after = \"2h\"\n" }},
	{"configuration", "fifty recipients", "config.limit_low", func(w *world) { w.tables = "[limits]\nrecipients = 50\n" }},
	{"configuration", "idle for seconds", "config.limit_low", func(w *world) {
		w.serve = true
		w.tables = "[limits]\nidle_timeout = \"20s\"\n"
	}},
	{"configuration", "five connections", "config.limit_low", func(w *world) { w.tables = "[limits]\nconnections = 5\nconnections_per_ip = 5\n" }},
	{"configuration", "others may read the password", "config.secret_readable", func(w *world) {
		linux(w.t)
		w.smartHost("EHLO => 250-x\\n250 AUTH PLAIN\nAUTH => 235 2.7.0 ok\n", nil, true)
		w.ready = func() { must(w.t, os.Chmod(w.files.config, 0o644)) }
	}},
	{"configuration", "others may read the password's own file", "config.secret_readable", func(w *world) {
		linux(w.t)
		h := smtptest.New(w.t, smtptest.Config{Script: "EHLO => 250-x\\n250 AUTH PLAIN\nAUTH => 235 2.7.0 ok\n"})
		write(w.t, filepath.Join(w.files.dir, "secret"), "s3cret-word\n")
		must(w.t, os.Chmod(filepath.Join(w.files.dir, "secret"), 0o644))
		w.tables = fmt.Sprintf("[relay]\nsmart_host = %q\nauth = { username = \"taro\", password_file = \"secret\" }\n", h.Addr)
	}},
	{"configuration", "another limit since the start", "config.changed_since_start", func(w *world) {
		w.serve = true
		w.ready = func() {
			data, err := os.ReadFile(w.files.config)
			must(w.t, err)
			write(w.t, w.files.config, string(data)+"[limits]\nrecipients = 500\n")
			later := time.Now().Add(time.Minute)
			must(w.t, os.Chtimes(w.files.config, later, later))
		}
	}},

	// ports
	{"ports", "Postfix has the port", "port.in_use", func(w *world) {
		w.listen[config.SMTP], _ = other(w.t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=220 mail.example.com ESMTP Postfix (Debian/GNU)")
	}},
	{"ports", "held on all addresses, wanted on one", "port.in_use", func(w *world) {
		addr, _ := other(w.t, "DOCTOR_TEST_PORT=:0", "DOCTOR_TEST_GREETING=+OK Dovecot ready.")
		_, port, _ := net.SplitHostPort(addr)
		w.listen[config.POP3] = "127.0.0.1:" + port
	}},
	{"ports", "held on one address, wanted on all", "port.in_use", func(w *world) {
		addr, _ := other(w.t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=220 ready")
		_, port, _ := net.SplitHostPort(addr)
		w.listen[config.SMTP] = ":" + port
	}},
	{"ports", "another mail shield", "port.av_proxy", func(w *world) {
		w.listen[config.SMTP], _ = other(w.t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=220 AVG ESMTP Proxy Server Beta")
	}},
	{"ports", "an IPv6 address of nobody here", "port.address_not_local", func(w *world) { w.listen[config.SMTP] = "[2001:db8::77]:2525" }},
	{"ports", "POP3 of the running server hangs", "server.not_answering", func(w *world) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(w.t, err)
		w.t.Cleanup(func() { l.Close() })
		w.opt.Timeout = 300 * time.Millisecond
		w.listen = map[string]string{config.POP3: l.Addr().String(), config.SMTP: smtptest.New(w.t, smtptest.Config{Script: "RCPT => 550 5.7.1 no\n"}).Addr}
		w.ready = func() {
			running(w.t, w.files.data(), store.RunAddr{Service: "smtp", Addr: w.listen["smtp"]}, store.RunAddr{Service: "pop3", Addr: l.Addr().String()})
		}
	}},
	{"ports", "a web server on the POP3 port", "port.wrong_service", func(w *world) {
		web := httptest.NewServer(http.NotFoundHandler())
		w.t.Cleanup(web.Close)
		at := web.Listener.Addr().String()
		w.opt.Timeout = time.Second
		w.listen = map[string]string{config.SMTP: smtptest.New(w.t, smtptest.Config{Script: "RCPT => 550 5.7.1 no\n"}).Addr, config.POP3: at}
		w.ready = func() {
			running(w.t, w.files.data(), store.RunAddr{Service: "smtp", Addr: w.listen["smtp"]}, store.RunAddr{Service: "pop3", Addr: at})
		}
	}},
	{"ports", "others cannot reach SMTP", "port.loopback_only", func(w *world) {
		w.serve = true
		w.opt.Stage = LAN
		w.listen = map[string]string{config.SMTP: w.listen[config.SMTP]}
	}},

	// host name
	{"DNS", "NetBIOS name", "hostname.not_fqdn", func(w *world) {
		w.serve = true
		w.top = "hostname = \"MAILSRV01\"\ndomains = [\"example.com\"]\n"
	}},
	{"DNS", "underscore in the host name", "hostname.bad_characters", func(w *world) { w.top = "hostname = \"mail_1.example.com\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "blank in the host name", "hostname.bad_characters", func(w *world) { w.top = "hostname = \"mail example.com\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "host name is an address", "hostname.is_address", func(w *world) { w.top = "hostname = \"192.0.2.1\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "host name is an IPv6 address", "hostname.is_address", func(w *world) { w.top = "hostname = \"2001:db8::1\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "host name of the office network", "hostname.private_suffix", func(w *world) { w.top = "hostname = \"mail.corp.local\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "host name of a home network", "hostname.private_suffix", func(w *world) { w.top = "hostname = \"nas.home.arpa\"\ndomains = [\"example.com\"]\n" }},
	{"DNS", "localhost, open to others", "hostname.localhost", func(w *world) {
		w.opened()
		w.top = "hostname = \"localhost\"\ndomains = [\"example.com\"]\n"
	}},
	{"DNS", "host name is in no DNS", "hostname.not_resolving", func(w *world) {
		w.serve = true
		w.internet("")
		w.top = "hostname = \"mail9.example.test\"\ndomains = [\"example.test\"]\n"
	}},
	{"DNS", "host name leads to another machine", "hostname.elsewhere", func(w *world) {
		w.serve = true
		w.internet(healthyDomain() + "www.example.test. A 203.0.113.80\n")
		w.top = "hostname = \"www.example.test\"\ndomains = [\"example.test\"]\n"
	}},

	// resolver
	{"DNS", "resolver knows no MX and no TXT", "resolver.no_type", func(w *world) {
		w.serve = true
		w.opt.Timeout = time.Second
		w.internet(healthyDomain() + "!refuse .example.test. MX\n!refuse .example.test. TXT\n")
	}},
	{"DNS", "resolver is slow", "resolver.slow", func(w *world) {
		w.serve = true
		w.internet("")
		w.opt.Only = []string{"resolver"}
		w.opt.Resolvers = []netip.AddrPort{serverOf(w.t, "!delay 1200ms .\n"+healthyDomain())}
	}},
	{"DNS", "one of two resolvers refuses", "resolver.one_dead", func(w *world) {
		w.serve = true
		w.internet("")
		w.opt.Resolvers = append(w.opt.Resolvers, serverOf(w.t, "!refuse ."))
	}},
	{"DNS", "one of two resolvers is not there", "resolver.one_dead", func(w *world) {
		w.serve = true
		w.internet("")
		w.opt.Resolvers = append(w.opt.Resolvers, netip.MustParseAddrPort(freeAddr(w.t)))
	}},
	{"DNS", "resolver invents only below com", "resolver.rewrites_nxdomain", func(w *world) {
		w.serve = true
		w.internet(healthyDomain() + "*.com. A 203.0.113.1\n")
	}},

	// domains
	{"DNS", "an address among the domains", "domain.bare_address", func(w *world) {
		w.top = "hostname = \"mail.example.com\"\ndomains = [\"example.com\", \"192.0.2.1\"]\n"
	}},
	{"DNS", "another machine's address among the domains", "domain.literal_foreign", func(w *world) {
		w.serve = true
		w.top = "hostname = \"mail.example.com\"\ndomains = [\"example.com\", \"[198.51.100.200]\"]\n"
	}},
	{"DNS", "the forgotten dot", "mx.missing_dot", func(w *world) {
		w.serve = true
		w.domain = strings.Replace(healthyDomain(), "MX 20 mx2.example.test.", "MX 20 mx2.example.test.example.test.", 1)
		w.internet("")
	}},
	{"DNS", "two SPF records", "spf.multiple", func(w *world) {
		w.serve = true
		w.domain = healthyDomain() + "example.test. TXT \"v=spf1 a -all\"\n"
		w.internet("")
	}},

	// reach
	{"DNS", "provider refuses port 25", "reach.out25_blocked", func(w *world) {
		w.serve = true
		w.internet("", "203.0.113.10:25 refuse", "203.0.113.10:443 refuse")
	}},
	{"DNS", "no way out at all", "reach.no_network", func(w *world) {
		w.serve = true
		w.opt.Timeout = time.Second
		w.internet("", "203.0.113.10:25 drop", "203.0.113.10:587 drop", "198.51.100.2:25 drop")
	}},
	{"DNS", "one of two targets answers", "reach.out25_partly", func(w *world) {
		w.serve = true
		w.internet("", "203.0.113.11:25 drop", "203.0.113.11:587 refuse")
		w.opt.ReachTargets = append(w.opt.ReachTargets, "203.0.113.11")
	}},
	{"DNS", "nothing listens for SMTP", "reach.in25_not_listening", func(w *world) { w.internet("") }},
	{"DNS", "the router does not forward", "reach.in25_not_forwarded", func(w *world) {
		w.serve = true
		port := freePort(w.t)
		w.internetAt(port, "", "192.0.2.1:25 drop", "[2001:db8::1]:25 drop", "192.168.1.5:"+port+" 127.0.0.1:"+port, "192.0.2.1:587 127.0.0.1:"+port)
		ours := []netip.Addr{netip.MustParseAddr("192.168.1.5")}
		w.opt.addresses, w.opt.Expect = &ours, []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	}},
	{"DNS", "the router's address is shared", "reach.cgnat", func(w *world) {
		w.serve = true
		port := freePort(w.t)
		w.internetAt(port, "", "192.168.1.5:"+port+" 127.0.0.1:"+port)
		ours := []netip.Addr{netip.MustParseAddr("192.168.1.5")}
		w.opt.addresses = &ours
		w.opt.Expect = append(w.opt.Expect, netip.MustParseAddr("100.64.7.7"))
	}},

	// relay
	{"relay", "two halves of the internet may relay", "relay.open", func(w *world) {
		w.serve = true
		w.tables = "[relay]\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n"
	}},
	{"relay", "all of IPv6 may relay", "relay.open", func(w *world) { w.tables = "[relay]\nnetworks = [\"::/0\"]\n" }},
	{"relay", "a provider's network may relay", "relay.network_wide", func(w *world) { w.tables = "[relay]\nnetworks = [\"203.0.0.0/9\"]\n" }},
	{"relay", "private network without a router", "relay.private_from_outside", func(w *world) {
		w.serve = true
		w.opened()
		w.tables = "[relay]\nnetworks = [\"192.168.0.0/16\"]\n"
	}},
	{"relay", "smart host is unknown", "relay.smart_host_unreachable", func(w *world) {
		w.opt.Resolvers = []netip.AddrPort{serverOf(w.t, healthyDomain())}
		w.tables = "[relay]\nsmart_host = \"smtp.gone.test:587\"\n"
	}},
	{"relay", "smart host says nothing", "relay.smart_host_unreachable", func(w *world) {
		w.opt.Timeout = 500 * time.Millisecond
		w.smartHost("greeting => silent\n", nil, false)
	}},
	{"relay", "smart host wants an application's password", "relay.smart_host_auth", func(w *world) {
		w.smartHost("EHLO => 250-x\\n250 AUTH LOGIN PLAIN\nAUTH => 534 5.7.9 Application-specific password required\n", nil, true)
	}},
	{"relay", "smart host wants a login at RCPT", "relay.smart_host_needs_auth", func(w *world) {
		w.smartHost("EHLO => 250-x\\n250 AUTH LOGIN\nRCPT => 550 5.7.1 Authentication required\n", nil, false)
	}},
	{"relay", "smart host rejects the sender", "relay.smart_host_refuses", func(w *world) { w.smartHost("MAIL => 550 5.7.1 Sender domain not allowed here\n", nil, false) }},
	{"relay", "smart host with a certificate out of date", "relay.smart_host_tls", func(w *world) {
		ca := certtest.NewCA()
		w.opt.RootCAs = ca.Pool()
		w.smartHost("", &tls.Config{Certificates: []tls.Certificate{ca.Issue(certtest.Leaf{Names: []string{"127.0.0.1"}, From: -90 * day, To: -day})}}, false)
	}},

	// AUTH
	{"AUTH", "submission in clear", "auth.cleartext", func(w *world) {
		w.serve = true
		w.listen[config.Submission] = ":" + freePort(w.t)
		w.tables = "[auth]\nrequire_tls = false\n"
	}},
	{"AUTH", "IPv6 loopback is exempt", "auth.test_exemption", func(w *world) { w.tables = "[relay]\nnetworks = [\"::1\"]\n" }},
	{"AUTH", "the own address is exempt", "auth.test_exemption", func(w *world) {
		w.serve = true
		w.tables = "[relay]\nnetworks = [\"192.0.2.1\"]\n"
	}},
	{"AUTH", "APOP", "auth.mechanism_unsupported", func(w *world) { w.tables = "[auth]\nmechanisms = [\"APOP\", \"PLAIN\"]\n" }},
	{"AUTH", "DIGEST-MD5", "auth.mechanism_unsupported", func(w *world) { w.tables = "[auth]\nmechanisms = [\"LOGIN\", \"DIGEST-MD5\"]\n" }},

	// accounts
	{"accounts", "the last one was removed", "account.none", func(w *world) {
		w.ready = func() {
			w.account("", func(a *account.Files) {
				must(w.t, a.Remove("abuse", "example.com"))
				must(w.t, a.Remove("postmaster", "example.com"))
			})
		}
	}},
	{"accounts", "no abuse", "account.no_abuse", func(w *world) {
		w.ready = func() {
			w.account("", func(a *account.Files) { must(w.t, a.Remove("abuse", "example.com")) })
		}
	}},
	{"accounts", "a second domain without postmaster", "account.no_postmaster", func(w *world) {
		w.top = "hostname = \"mail.example.com\"\ndomains = [\"example.com\", \"example.org\"]\n"
		w.ready = func() {
			w.account("", func(a *account.Files) { must(w.t, a.Remove("postmaster", "example.org")) })
		}
	}},
	{"accounts", "forward to somebody who left", "account.forward_dead", func(w *world) {
		w.ready = func() {
			w.account("hanako", func(a *account.Files) {
				must(w.t, a.SetForward("sales", "example.com", []string{"hanako@example.com"}))
				must(w.t, os.Remove(a.File("hanako", "example.com")))
			})
		}
	}},
	{"accounts", "password is the domain", "account.password_guessable", func(w *world) {
		w.serve = true
		w.ready = func() { withPassword(w.t, w.files, "taro", "example.com") }
	}},
	{"accounts", "empty password", "account.password_guessable", func(w *world) { w.ready = func() { withPassword(w.t, w.files, "taro", "") } }},
	{"accounts", "account file of zeros", "account.store_damaged", func(w *world) {
		w.ready = func() {
			w.account("taro", func(a *account.Files) {
				write(w.t, a.File("taro", "example.com"), strings.Repeat("\x00", 200))
			})
		}
	}},
}

// accountsAt makes what a domain needs in a data directory elsewhere.
func (w *world) accountsAt(dir string) {
	a := account.Open(dir, []string{"example.com"})
	_, err := a.Add("postmaster", "example.com", "correct horse battery")
	must(w.t, err)
	must(w.t, a.SetForward("abuse", "example.com", []string{"postmaster@example.com"}))
	must(w.t, os.Chmod(dir, 0o700))
}

// Notes: what doctor must mention, and not make a fault of.
func TestDrillNotes(t *testing.T) {
	for _, d := range []drill{
		{"relay", "private network is trusted", "relay.network_trusted", func(w *world) { w.serve = true; w.tables = "[relay]\nnetworks = [\"10.20.0.0/16\"]\n" }},
		{"relay", "receive only", "relay.off", func(w *world) { w.serve = true; w.tables = "[relay]\nallow = false\n" }},
		{"AUTH", "POP before SMTP", "auth.pop_before_smtp", func(w *world) { w.serve = true; w.tables = "[relay]\npop_before_smtp = \"10m\"\n" }},
		{"AUTH", "no submission port", "auth.no_submission", func(w *world) { delete(w.listen, config.Submission) }},
		{"queue", "held by hand", "queue.held", func(w *world) {
			w.ready = func() {
				e := to("a@b.example", 0, "", "")
				e.Held = true
				queued(w.t, w.files, 1, 9*time.Hour, e)
			}
		}},
		{"accounts", "mail without an account", "account.orphan_mailbox", func(w *world) {
			w.ready = func() {
				dir := filepath.Join(store.Dir(w.files.data(), store.Box{Name: "gone", Domain: "example.com"}), "Maildir")
				for _, part := range maildirParts {
					must(w.t, os.MkdirAll(filepath.Join(dir, part), 0o700))
				}
				write(w.t, filepath.Join(dir, "new", "1.M1P1.host,S=3,W=3"), "x\r\n")
			}
		}},
		{"disk", "files left in tmp", "mailbox.tmp_leftover", func(w *world) {
			w.ready = func() { old(w.t, 40*time.Hour, filepath.Join(w.maildir(), "tmp", "1.M1P1.host"), "x") }
		}},
		{"hostname", "localhost on loopback", "hostname.localhost", func(w *world) { w.top = "hostname = \"localhost\"\ndomains = [\"localhost\"]\n" }},
		{"foreign", "Postfix is installed, not running", "foreign.not_running", func(w *world) {
			w.alone(func(s *mta.Server) { s.Running, s.PID, s.Listen = false, 0, nil })
		}},
	} {
		t.Run(d.area+"/"+strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			w := newWorld(t)
			d.put(w)
			r := w.build()
			if len(bad(r)) != 0 || !has(r.Findings, d.want) {
				t.Errorf("%v, want the note %s alone", idsOf(r.Findings, "info", "warn", "fail"), d.want)
			}
		})
	}
}
