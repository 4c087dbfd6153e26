package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mailsrv/bench/subject"
)

type mailsrv struct{ *subject.Mailsrv }

func startMailsrv(bin, dir string, users int) server {
	m := mailsrv{subject.New(bin, dir, fmt.Sprintf("[listen]\npop3 = %q\n[limits]\nconnections = 10000\nconnections_per_ip = 10000\n", subject.FreeAddr()), "u0")}
	// All have the password of the first: deriving 1,000 verifiers takes long.
	first, err := os.ReadFile(m.Account("u0"))
	check(err)
	for i := range users + 1 {
		check(os.WriteFile(m.Account(fmt.Sprintf("u%d", i)), first, 0o600))
	}
	for i := range 4 {
		check(os.WriteFile(m.Account(fmt.Sprintf("p%d", i)), first, 0o600))
	}
	m.Start()
	return m
}

func (m mailsrv) own(string)                 {}
func (m mailsrv) name() string               { return "mailsrv" }
func (m mailsrv) addr() string               { return m.Addr("pop3") }
func (m mailsrv) maildir(user string) string { return m.Maildir(user) }
func (m mailsrv) forget()                    { _ = os.Remove(filepath.Join(m.Maildir("u0"), "..", "index")) }
func (m mailsrv) rss() int64                 { return pss(m.PID()) }
func (m mailsrv) start()                     { m.Start() }
func (m mailsrv) stop()                      { m.Stop() }

type dovecot struct {
	dir, pop3 string
	cmd       *exec.Cmd
}

const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = pop3
ssl = no
disable_plaintext_auth = no
mail_location = maildir:%[1]s/mail/%%u
first_valid_uid = 1
first_valid_gid = 1
default_client_limit = 10000
default_process_limit = 5000
mail_max_userip_connections = 10000
auth_cache_size = 10M
passdb {
  driver = static
  args = password=%[3]s
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s/mail/%%u/home
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    address = %[2]s
    port = %[4]s
  }
  inet_listener pop3s {
    port = 0
  }
}
`

func startDovecot(dir string) server {
	check(os.MkdirAll(dir, 0o755))
	d := &dovecot{dir: dir, pop3: subject.FreeAddr()}
	host, port, err := net.SplitHostPort(d.pop3)
	check(err)
	check(os.WriteFile(d.conf(), fmt.Appendf(nil, dovecotConf, dir, host, subject.Password, port), 0o600))
	d.start()
	return d
}

func (d *dovecot) conf() string { return filepath.Join(d.dir, "dovecot.conf") }

func (d *dovecot) start() {
	d.cmd = exec.Command("dovecot", "-F", "-c", d.conf())
	d.cmd.Stderr = os.Stderr
	check(d.cmd.Start())
	for range 200 {
		if c, err := net.Dial("tcp", d.pop3); err == nil {
			check(c.Close())
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	check(fmt.Errorf("dovecot does not listen; see %s/log", d.dir))
}

func (d *dovecot) name() string               { return "dovecot" }
func (d *dovecot) addr() string               { return d.pop3 }
func (d *dovecot) maildir(user string) string { return filepath.Join(d.dir, "mail", user) }

// own: Dovecot reads no mail as root.
func (d *dovecot) own(path string) {
	if out, err := exec.Command("chown", "-R", "mail:mail", path).CombinedOutput(); err != nil {
		check(fmt.Errorf("chown: %w: %s", err, out))
	}
}

func (d *dovecot) forget() {
	files, _ := filepath.Glob(filepath.Join(d.maildir("u0"), "dovecot*"))
	for _, f := range files {
		_ = os.Remove(f)
	}
}

// rss is that of all of its processes.
func (d *dovecot) rss() (sum int64) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == d.cmd.Process.Pid || parent(pid) == d.cmd.Process.Pid {
			sum += pss(pid)
		}
	}
	return sum
}

func (d *dovecot) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
}

func parent(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > 1 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

// pss is the memory of a process with its share of what it shares, in octets.
func pss(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
