package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

type mailsrv struct {
	dir, pop3 string
	cmd       *exec.Cmd
}

func startMailsrv(bin, dir string, users int) server {
	check(os.MkdirAll(dir, 0o700))
	cfg := filepath.Join(dir, "mailsrv.toml")
	check(os.WriteFile(cfg, fmt.Appendf(nil, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\ndata_dir = %q\n[listen]\npop3 = \"127.0.0.1:%d\"\n[limits]\nconnections = 10000\nconnections_per_ip = 10000\n[log]\nfile = \"log\"\n",
		filepath.Join(dir, "data"), freePort()), 0o600))
	add := exec.Command(bin, "user", "add", "u0", "--password-stdin", "--config", cfg)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		check(fmt.Errorf("user add: %w: %s", err, out))
	}
	// All have the password of the first: deriving 1,000 verifiers takes long.
	accounts := filepath.Join(dir, "data", "accounts", "example.com")
	first, err := os.ReadFile(filepath.Join(accounts, "u0.toml"))
	check(err)
	for i := range users + 1 {
		check(os.WriteFile(filepath.Join(accounts, fmt.Sprintf("u%d.toml", i)), first, 0o600))
	}
	for i := range 4 {
		check(os.WriteFile(filepath.Join(accounts, fmt.Sprintf("p%d.toml", i)), first, 0o600))
	}
	m := &mailsrv{dir: dir}
	m.cmd = exec.Command(bin, "serve", "--json", "--config", cfg)
	m.cmd.Stderr = os.Stderr
	out, err := m.cmd.StdoutPipe()
	check(err)
	check(m.cmd.Start())
	var doc struct {
		Listen []struct{ Service, Addr string }
	}
	check(json.NewDecoder(out).Decode(&doc))
	m.pop3 = doc.Listen[0].Addr
	return m
}

func (m *mailsrv) own(string)   {}
func (m *mailsrv) name() string { return "mailsrv" }
func (m *mailsrv) addr() string { return m.pop3 }
func (m *mailsrv) maildir(user string) string {
	return filepath.Join(m.dir, "data/mail/example.com", user, "Maildir")
}
func (m *mailsrv) forget()    { _ = os.Remove(filepath.Join(m.maildir("u0"), "..", "index")) }
func (m *mailsrv) rss() int64 { return pss(m.cmd.Process.Pid) }
func (m *mailsrv) stop() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
}

type dovecot struct {
	dir  string
	port int
	cmd  *exec.Cmd
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
    address = 127.0.0.1
    port = %[2]d
  }
  inet_listener pop3s {
    port = 0
  }
}
`

func startDovecot(dir string) server {
	check(os.MkdirAll(dir, 0o755))
	d := &dovecot{dir: dir, port: freePort()}
	conf := filepath.Join(dir, "dovecot.conf")
	check(os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, d.port, password), 0o600))
	d.cmd = exec.Command("dovecot", "-F", "-c", conf)
	d.cmd.Stderr = os.Stderr
	check(d.cmd.Start())
	for range 200 {
		if c, err := net.Dial("tcp", d.addr()); err == nil {
			check(c.Close())
			return d
		}
		time.Sleep(50 * time.Millisecond)
	}
	check(fmt.Errorf("dovecot does not listen; see %s/log", dir))
	return nil
}

func (d *dovecot) name() string               { return "dovecot" }
func (d *dovecot) addr() string               { return fmt.Sprintf("127.0.0.1:%d", d.port) }
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
