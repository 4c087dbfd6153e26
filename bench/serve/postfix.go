package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mailsrv/bench/subject"
)

// postfix is an instance of its own: configuration, queue and mailboxes below
// one folder, with Debian's defaults otherwise.
type postfix struct{ dir, smtp string }

func startPostfix(dir string) *postfix {
	for _, d := range []string{"etc", "queue", "data", "mail/taro/Maildir"} {
		check(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	p := &postfix{dir: dir, smtp: subject.FreeAddr()}
	main := fmt.Sprintf(`compatibility_level = 3.6
myhostname = mail.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = /var/log/bench-postfix.log
virtual_mailbox_domains = example.com
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:taro/Maildir/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
alias_maps =
smtpd_peername_lookup = no
`, dir)
	if relayTo != "" {
		host, port, err := net.SplitHostPort(relayTo)
		check(err)
		main += fmt.Sprintf("relayhost = [%s]:%s\n", host, port)
	}
	check(os.WriteFile(filepath.Join(dir, "etc/main.cf"), []byte(main), 0o644))
	master, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	check(err)
	var lines []string
	for line := range strings.Lines(string(master)) {
		if strings.HasPrefix(line, "smtp      inet") {
			line = p.smtp + " inet n - n - - smtpd\n"
		}
		f := strings.Fields(line)
		if len(f) > 4 && !strings.HasPrefix(line, "#") && f[4] == "y" {
			line = strings.Replace(line, " y ", " n ", 1) // no chroot below a temporary folder
		}
		lines = append(lines, line)
	}
	check(os.WriteFile(filepath.Join(dir, "etc/master.cf"), []byte(strings.Join(lines, "")), 0o644))
	run("chown", "postfix", filepath.Join(dir, "data"))
	run("chown", "-R", "65534:65534", filepath.Join(dir, "mail"))
	run("postfix", "-c", filepath.Join(dir, "etc"), "start")
	for range 100 {
		if c, err := net.Dial("tcp", p.smtp); err == nil {
			_ = c.Close()
			return p
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.stop()
	check(fmt.Errorf("postfix does not answer on %s: see /var/log/bench-postfix.log", p.smtp))
	return nil
}

func (p *postfix) name() string       { return "Postfix" }
func (p *postfix) addr() string       { return p.smtp }
func (p *postfix) newDir() string     { return filepath.Join(p.dir, "mail/taro/Maildir/new") }
func (p *postfix) cpu() time.Duration { return 0 }
func (p *postfix) stop()              { run("postfix", "-c", filepath.Join(p.dir, "etc"), "stop") }

func run(name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		check(fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out))
	}
}
