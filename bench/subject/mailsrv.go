// Package subject starts the mailsrv that a measurement is about, on a folder
// and ports of its own, and tells what it uses. What fails ends the program.
package subject

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Password is that of every account.
const Password = "correct-horse-battery"

// Mailsrv is a server for example.com in a folder.
type Mailsrv struct {
	Bin   string
	dir   string
	addrs map[string]string // of each service
	cmd   *exec.Cmd
	log   *os.File
}

// New makes dir ready for the binary: the configuration, whose lines beside
// hostname, domains and data_dir are given, and one account. It does not start
// anything.
func New(bin, dir, settings, user string) *Mailsrv {
	Check(os.MkdirAll(dir, 0o700))
	m := &Mailsrv{Bin: bin, dir: dir}
	Check(os.WriteFile(m.Config(), fmt.Appendf(nil, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\ndata_dir = %q\n%s", filepath.Join(dir, "data"), settings), 0o600))
	add := exec.Command(bin, "user", "add", user, "--password-stdin", "--config", m.Config())
	add.Stdin = strings.NewReader(Password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		Check(fmt.Errorf("user add: %w: %s", err, out))
	}
	return m
}

// Start runs the server. Its log goes to a file in the folder.
func (m *Mailsrv) Start() {
	var err error
	m.log, err = os.OpenFile(filepath.Join(m.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	Check(err)
	m.cmd = exec.Command(m.Bin, "serve", "--json", "--config", m.Config())
	m.cmd.Stderr = m.log
	out, err := m.cmd.StdoutPipe()
	Check(err)
	Check(m.cmd.Start())
	var doc struct {
		Listen []struct{ Service, Addr string }
	}
	Check(json.NewDecoder(out).Decode(&doc))
	m.addrs = map[string]string{}
	for _, l := range doc.Listen {
		m.addrs[l.Service] = l.Addr
	}
}

// Stop ends the server, if it runs.
func (m *Mailsrv) Stop() {
	if m.cmd == nil {
		return
	}
	Check(m.cmd.Process.Signal(os.Interrupt))
	Check(m.cmd.Wait())
	Check(m.log.Close())
	m.cmd = nil
}

// Config is the configuration file.
func (m *Mailsrv) Config() string { return filepath.Join(m.dir, "mailsrv.toml") }

// Addr is where a service of the running server listens.
func (m *Mailsrv) Addr(service string) string { return m.addrs[service] }

// PID is the running server's.
func (m *Mailsrv) PID() int { return m.cmd.Process.Pid }

// Maildir is that of a user.
func (m *Mailsrv) Maildir(user string) string {
	return filepath.Join(m.dir, "data/mail/example.com", user, "Maildir")
}

// Account is the file of a user's account.
func (m *Mailsrv) Account(user string) string {
	return filepath.Join(m.dir, "data/accounts/example.com", user+".toml")
}

// CPU is what the running server has used so far, in user and system mode; 0
// where the system has no /proc.
func (m *Mailsrv) CPU() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// FreeAddr is a loopback address where nothing listens just now.
func FreeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Check(err)
	defer l.Close()
	return l.Addr().String()
}

// Check ends the program after an error. It panics, so that what is deferred
// still stops the servers and removes their files.
func Check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
