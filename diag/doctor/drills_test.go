package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailsrv/probes/host"
	"mailsrv/probes/mta"
	"mailsrv/probes/smtp/smtptest"
	"mailsrv/probes/tlscert/certtest"
	"mailsrv/server/account"
	"mailsrv/server/config"
	"mailsrv/server/queue"
	"mailsrv/server/store"
)

// drills are the faults of TestFaultDrill, by area.
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
