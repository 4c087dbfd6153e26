package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailsrv/probes/mta"
	"mailsrv/probes/tlscert/certtest"
	"mailsrv/server/queue"
)

// mailDrills go on with secondDrills: what holds mail, and other makers' servers.
var mailDrills = []drill{
	// mailboxes
	{"disk", "mailbox without tmp", "mailbox.not_a_maildir", func(w *world) {
		w.ready = func() { must(w.t, os.Remove(filepath.Join(w.maildir(), "tmp"))) }
	}},
	{"disk", "a message was cut", "mailbox.size_mismatch", func(w *world) {
		w.ready = func() { write(w.t, filepath.Join(w.maildir(), "cur", "2.M1P1.host,S=900,W=920"), "From: x\r\n") }
	}},
	{"disk", "an empty message", "mailbox.size_mismatch", func(w *world) {
		w.serve = true
		w.ready = func() { write(w.t, filepath.Join(w.maildir(), "new", "3.M1P1.host"), "") }
	}},

	// locks and spools
	{"locks", "writing back broke off", "lock.qpopper_partial", func(w *world) {
		linux(w.t)
		w.spool(".taro.pop", mail(1, 2, 3))
		w.spool("taro", mail(1, 2))
	}},
	{"locks", "lock without a pid, long ago", "lock.dotlock_stale", func(w *world) {
		linux(w.t)
		w.spool("taro.lock", "")
		w.spool("taro", mail(1))
	}},
	{"locks", "a folder in place of a lock", "lock.unsafe", func(w *world) {
		linux(w.t)
		must(w.t, os.Mkdir(filepath.Join(w.opt.Spools[0], "taro.lock"), 0o700))
		w.spool("taro", mail(1))
	}},
	{"locks", "Dovecot's lock was left", "lock.dovecot_stale", func(w *world) {
		linux(w.t)
		w.spool("taro", mail(1))
		w.spool("dovecot-uidlist.lock", "")
	}},
	{"locks", "byte order mark", "mbox.leading_junk", func(w *world) { w.spool("taro", "\xef\xbb\xbf"+mail(1)) }},
	{"locks", "text before the first message", "mbox.leading_junk", func(w *world) { w.spool("taro", "Hello\n\n"+mail(1, 2)) }},
	{"locks", "zeros at the end", "mbox.nul_run", func(w *world) { w.spool("taro", mail(1, 2)+strings.Repeat("\x00", 4096)) }},
	{"locks", "first From line is escaped", "mbox.damaged_from", func(w *world) { w.spool("taro", ">"+mail(1)) }},
	{"locks", "a From line without a date", "mbox.damaged_from", func(w *world) {
		w.spool("taro", "From taro@example.com\nSubject: x\n\nHello\n\n"+mail(2))
	}},
	{"locks", "a length hides the next message", "mbox.content_length", func(w *world) {
		w.spool("taro", "From taro@example.com Mon Jan  1 00:00:01 2024\nSubject: one\nContent-Length: 200\n\nHello 1\n\n"+mail(2, 3))
	}},
	{"locks", "no blank line between", "mbox.no_blank_line", func(w *world) {
		w.spool("taro", strings.TrimSuffix(mail(1), "\n")+mail(2))
	}},
	{"locks", "line ends of another system", "mbox.crlf", func(w *world) { w.spool("taro", strings.ReplaceAll(mail(1, 2), "\n", "\r\n")) }},
	{"locks", "the last message is cut in its header", "mbox.truncated_tail", func(w *world) {
		w.spool("taro", mail(1)+"From taro@example.com Mon Jan  1 00:00:02 2024\nSubject: nu")
	}},

	// queue
	{"queue", "a destination refuses connections for a day", "queue.stuck", func(w *world) {
		w.serve = true
		w.ready = func() { queued(w.t, w.files, 1, 26*time.Hour, to("a@down.example", 40, "connect-refused", "")) }
	}},
	{"queue", "greylisted again and again", "queue.deferred", func(w *world) {
		w.ready = func() {
			queued(w.t, w.files, 1, 90*time.Minute, to("a@grey.example", 4, "greylisted", "450 4.2.0 greylisted"))
		}
	}},
	{"queue", "the text of a message is gone", "queue.damaged", func(w *world) {
		w.ready = func() {
			queued(w.t, w.files, 1, time.Minute, to("a@b.example", 0, "", ""))
			must(w.t, os.Remove(filepath.Join(queue.Dir(w.files.data()), "TEST000001.eml")))
		}
	}},
	{"queue", "smart host is down and an item is damaged", "relay.smart_host_unreachable queue.damaged", func(w *world) {
		w.tables = "[relay]\nsmart_host = \"" + freeAddr(w.t) + "\"\n"
		w.ready = func() {
			queued(w.t, w.files, 1, 6*time.Hour, to("a@stuck.example", 9, "connect-refused", ""))
			write(w.t, filepath.Join(queue.Dir(w.files.data()), "TEST000002.toml"), "\x00\x00\x00")
		}
	}},
	{"queue", "bounces only", "queue.bounce_storm", func(w *world) {
		w.ready = func() {
			for i := range 40 {
				e := to(fmt.Sprintf("a%d@b%d.example", i, i), 0, "", "")
				e.Sender = ""
				queued(w.t, w.files, i, time.Minute, e)
			}
		}
	}},

	// TLS
	{"TLS", "key file is missing", "cert.file_missing", func(w *world) {
		dir := w.certificate(good)
		must(w.t, os.Remove(filepath.Join(dir, "key.pem")))
	}},
	{"TLS", "key in place of the certificate", "cert.unreadable", func(w *world) {
		dir := w.certificate(good)
		key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
		must(w.t, err)
		write(w.t, filepath.Join(dir, "cert.pem"), string(key))
	}},
	{"TLS", "empty certificate file", "cert.unreadable", func(w *world) { write(w.t, filepath.Join(w.certificate(good), "cert.pem"), "") }},
	{"TLS", "expired an hour ago", "cert.expired", func(w *world) {
		w.certificate(wanted{name: "other.example.com", from: -90 * day, until: -time.Hour})
	}},
	{"TLS", "valid from next month", "cert.not_yet_valid", func(w *world) { w.certificate(wanted{name: goodName, from: 30 * day, until: 90 * day}) }},
	{"TLS", "valid from tomorrow, running", "cert.not_yet_valid", func(w *world) {
		w.serve = true
		w.certificate(wanted{name: goodName, from: day, until: 90 * day})
	}},
	{"TLS", "ends in a week", "cert.expires_soon", func(w *world) { w.certificate(wanted{name: goodName, from: -day, until: 7 * day}) }},
	{"TLS", "ends tomorrow, running", "cert.expires_soon", func(w *world) {
		w.serve = true
		w.certificate(wanted{name: goodName, from: -day, until: day})
	}},
	{"TLS", "intermediate is missing", "cert.chain_incomplete", func(w *world) {
		w.certificate(wanted{name: goodName, from: -day, until: 90 * day, issuerURL: true})
		w.opt.RootCAs = newAuthority(w.t).pool
	}},
	{"TLS", "root of nobody", "cert.untrusted", func(w *world) {
		w.serve = true
		w.certificate(good)
		w.opt.RootCAs = certtest.NewCA().Pool()
	}},
	{"process", "key of 1024 bits", "cert.weak_key", func(w *world) { w.certificate(wanted{name: goodName, from: -day, until: 90 * day, weak: true}) }},
	{"TLS", "signed by itself", "cert.self_signed", func(w *world) { w.certificate(wanted{name: goodName, from: -day, until: 90 * day, self: true}) }},
	{"TLS", "others may read the key", "cert.key_readable", func(w *world) {
		linux(w.t)
		dir := w.certificate(good)
		must(w.t, os.Chmod(filepath.Join(dir, "key.pem"), 0o644))
	}},

	// logs and crashes
	{"logs", "log in a folder that is a file", "log.unwritable", func(w *world) { w.tables = "[log]\nfile = \"mailsrv.toml/mail.log\"\n" }},
	{"logs", "log is a folder", "log.unwritable", func(w *world) {
		must(w.t, os.Mkdir(filepath.Join(w.files.dir, "mail.log"), 0o700))
		w.tables = "[log]\nfile = \"mail.log\"\n"
	}},
	{"logs", "a login is guessed", "log.auth_failures", func(w *world) {
		w.tables = "[log]\nfile = \"mail.log\"\n"
		w.ready = func() {
			logged(w.t, w.files, repeat(30, `10m level=WARN msg="login failed" session=A client=198.51.100.7 user=taro@example.com mechanism=PLAIN`)...)
		}
	}},
	{"disk", "a crash of today", "crash.recent", func(w *world) {
		w.ready = func() {
			name := "crash-" + time.Now().UTC().Format("20060102T150405Z") + ".txt"
			write(w.t, filepath.Join(w.files.data(), "crash", name), "panic: runtime error: index out of range [3] with length 3\n\ngoroutine 7 [running]:\n")
		}
	}},

	// servers of other makers
	{"foreign", "Exim for the world", "relay.open", func(w *world) {
		w.alone(func(s *mta.Server) {
			*s = mta.Server{Product: mta.Exim, Version: "4.96", Running: true, PID: 300, Hostname: "mail.example.com", Setting: "dc_relay_nets", Networks: prefixes("::/0"), Listen: s.Listen}
		})
	}},
	{"foreign", "Postfix trusts a provider", "relay.network_wide", func(w *world) {
		w.alone(func(s *mta.Server) { s.Networks = prefixes("127.0.0.0/8", "203.0.0.0/8") })
	}},
	{"foreign", "Exim does not start", "foreign.config_broken", func(w *world) {
		w.alone(func(s *mta.Server) {
			*s = mta.Server{Product: mta.Exim, Version: "4.96", Hostname: "mail.example.com", Complaint: "Exim configuration error in line 12 of /etc/exim4/exim4.conf: main option \"locl_domains\" unknown"}
		})
	}},
	{"foreign", "mail waits in Exim", "queue.stuck", func(w *world) {
		w.alone(func(s *mta.Server) {
			*s = mta.Server{Product: mta.Exim, Version: "4.96", Running: true, PID: 300, Hostname: "mail.example.com", Listen: s.Listen,
				Queue: []mta.Waiting{{ID: "1", Recipient: "a@b.example", Since: time.Now().Add(-30 * time.Hour), Tried: true, Reason: "Connection refused"}}}
		})
	}},
	{"foreign", "mailbox lock beside Postfix", "lock.dotlock_stale", func(w *world) {
		linux(w.t)
		w.alone(func(*mta.Server) {})
		w.spool("taro", mail(1))
		w.spool("taro.lock", fmt.Sprint(deadPID(w.t)))
	}},
}
