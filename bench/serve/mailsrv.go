package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailsrv/bench/subject"
)

type mailsrv struct {
	*subject.Mailsrv
	label string
}

func startMailsrv(label, bin, dir string) *mailsrv {
	settings := fmt.Sprintf("[listen]\nsmtp = %q\n[limits]\nconnections_per_ip = 1000\n", subject.FreeAddr())
	if relayTo != "" {
		settings += fmt.Sprintf("[relay]\nnetworks = [\"127.0.0.0/8\"]\nsmart_host = %q\n[log]\nlevel = \"info\"\n", relayTo)
	}
	m := &mailsrv{subject.New(bin, dir, settings, "taro"), label}
	m.Start()
	return m
}

func (m *mailsrv) name() string       { return m.label }
func (m *mailsrv) addr() string       { return m.Addr("smtp") }
func (m *mailsrv) newDir() string     { return filepath.Join(m.Maildir("taro"), "new") }
func (m *mailsrv) cpu() time.Duration { return m.CPU() }
func (m *mailsrv) stop()              { m.Stop() }

// countSyncs runs the load with strace attached.
func countSyncs(m *mailsrv, l load) {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Println("strace is not installed: syncs not counted")
		return
	}
	out := filepath.Join(filepath.Dir(m.Config()), "strace")
	trace := exec.Command("strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs", "-o", out, "-p", strconv.Itoa(m.PID()))
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
	takeAway(m.newDir())
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
// waits. m is stopped.
func idle(m *mailsrv) {
	var took []time.Duration
	rss := ""
	for range 9 {
		cmd := exec.Command(m.Bin, "serve", "-q", "--config", m.Config())
		started := time.Now()
		check(cmd.Start())
		for {
			c, err := net.Dial("tcp", m.addr())
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
