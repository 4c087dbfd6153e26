package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type mailsrv struct {
	label, dir, smtp string
	cmd              *exec.Cmd
	log              *os.File
}

func startMailsrv(label, bin, dir string) *mailsrv {
	check(os.MkdirAll(dir, 0o700))
	cfg := filepath.Join(dir, "mailsrv.toml")
	text := fmt.Sprintf("hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\ndata_dir = %q\n[listen]\nsmtp = %q\n[limits]\nconnections_per_ip = 1000\n", filepath.Join(dir, "data"), freeAddr())
	if relayTo != "" {
		text += fmt.Sprintf("[relay]\nnetworks = [\"127.0.0.0/8\"]\nsmart_host = %q\n[log]\nlevel = \"info\"\n", relayTo)
	}
	if _, err := os.Stat(cfg); err != nil {
		check(os.WriteFile(cfg, []byte(text), 0o600))
		add := exec.Command(bin, "user", "add", "taro", "--password-stdin", "--config", cfg)
		add.Stdin = strings.NewReader("correct horse battery\n")
		out, err := add.CombinedOutput()
		if err != nil {
			check(fmt.Errorf("user add: %w: %s", err, out))
		}
	}
	m := &mailsrv{label: label, dir: dir}
	var err error
	m.log, err = os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	check(err)
	m.cmd = exec.Command(bin, "serve", "--json", "--config", cfg)
	m.cmd.Stderr = m.log
	out, err := m.cmd.StdoutPipe()
	check(err)
	check(m.cmd.Start())
	var doc struct {
		Listen []struct{ Service, Addr string }
	}
	check(json.NewDecoder(out).Decode(&doc))
	m.smtp = doc.Listen[0].Addr
	return m
}

func (m *mailsrv) name() string { return m.label }
func (m *mailsrv) addr() string { return m.smtp }
func (m *mailsrv) newDir() string {
	return filepath.Join(m.dir, "data/mail/example.com/taro/Maildir/new")
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer l.Close()
	return l.Addr().String()
}

func (m *mailsrv) stop() {
	if m.cmd == nil {
		return
	}
	check(m.cmd.Process.Signal(os.Interrupt))
	check(m.cmd.Wait())
	check(m.log.Close())
	m.cmd = nil
}

// cpu is what the process has used so far, in user and system mode.
func (m *mailsrv) cpu() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0 // not on Linux
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// countSyncs runs the load with strace attached.
func countSyncs(m *mailsrv, l load) {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Println("strace is not installed: syncs not counted")
		return
	}
	out := filepath.Join(m.dir, "strace")
	trace := exec.Command("strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs", "-o", out, "-p", strconv.Itoa(m.cmd.Process.Pid))
	said, err := trace.StderrPipe()
	check(err)
	check(trace.Start())
	_, err = bufio.NewReader(said).ReadString('\n') // "Process N attached"
	check(err)
	l.run(m)
	check(trace.Process.Signal(os.Interrupt))
	_ = trace.Wait() // ends by the signal
	data, err := os.ReadFile(out)
	check(err)
	empty(m.newDir())
	n := map[string]int{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 5 && strings.Contains(f[len(f)-1], "sync") {
			n[f[len(f)-1]], _ = strconv.Atoi(f[3])
		}
	}
	fmt.Printf("syncs at %3d connections: %.3f per message (%d fsync, %d fdatasync; %d syncfs in the background) for %d messages\n",
		l.conns, float64(n["fsync"]+n["fdatasync"])/float64(l.total()), n["fsync"], n["fdatasync"], n["syncfs"], l.total())
}

// idle measures from exec to the greeting, and the memory of a server that
// waits.
func idle(bin, dir string) {
	cfg := filepath.Join(dir, "mailsrv.toml")
	text, err := os.ReadFile(cfg)
	check(err)
	_, addr, _ := strings.Cut(string(text), "smtp = \"")
	addr, _, _ = strings.Cut(addr, "\"")
	var took []time.Duration
	rss := ""
	for range 9 {
		cmd := exec.Command(bin, "serve", "-q", "--config", cfg)
		started := time.Now()
		check(cmd.Start())
		for {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				time.Sleep(500 * time.Microsecond)
				continue
			}
			_, err = bufio.NewReader(c).ReadString('\n')
			check(err)
			took = append(took, time.Since(started))
			check(c.Close())
			break
		}
		time.Sleep(time.Second)
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
			_, rest, _ := strings.Cut(string(status), "VmRSS:")
			rss, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
		}
		check(cmd.Process.Signal(os.Interrupt))
		check(cmd.Wait())
	}
	slices.Sort(took)
	fmt.Printf("start to first greeting: %.1f ms (median of %d); idle memory: %s\n", float64(took[len(took)/2].Microseconds())/1000, len(took), rss)
}
