package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/diag/simulate"
)

// diagnosed is what the documents of probe, doctor and relay-test have in
// common.
type diagnosed struct {
	Findings []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"findings"`
	Diagnosis []struct {
		Cause string `json:"cause"`
	} `json:"diagnosis"`
}

// first is what the document names first: the likeliest cause, or the finding
// to repair first.
func (d diagnosed) first(asCause bool) string {
	switch {
	case asCause && len(d.Diagnosis) > 0:
		return d.Diagnosis[0].Cause
	case !asCause && len(d.Findings) > 0:
		return d.Findings[0].ID
	}
	return "nothing"
}

// Every failure that can be played is named by the command that its entry says.
// They are played side by side: most of the time goes into waiting.
func TestSimulationsAreNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some time-outs")
	}
	t.Parallel()
	all := codes.Simulations()
	var right atomic.Int32
	var wg sync.WaitGroup
	for _, sim := range all {
		wg.Go(func() {
			srv, err := simulate.Start(sim, simulate.Options{})
			if errors.Is(err, simulate.ErrCannotPlay) && runtime.GOOS != "linux" {
				t.Log(err)
				right.Add(1)
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer srv.Close()
			if nameIt(t, sim, srv.Addr) {
				right.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("named: %d of %d", right.Load(), len(all))
}

func nameIt(t *testing.T, sim *codes.Simulation, addr string) bool {
	args := strings.Fields(strings.ReplaceAll(sim.Try, "ADDR", addr))
	args = append(args, "--json", "--lang", "en")
	if args[0] == "probe" {
		args = append(args, "--no-alternatives")
		if sim.TLS == "implicit" { // told by the other TLS mode on the port
			args = args[:len(args)-1]
		}
		if !slices.Contains(args, "--timeout") {
			args = append(args, "--timeout", "3s")
		}
	}
	var out, problems bytes.Buffer
	code := run(args, strings.NewReader("secret\n"), &out, &problems)
	var doc diagnosed
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Errorf("%s: %q: exit %d, %s: %v", sim.ID, args, code, problems.String(), err)
		return false
	}
	if strings.Contains(out.String(), "secret") {
		t.Errorf("%s: the password stands in the document", sim.ID)
	}
	got := doc.first(sim.Cause != "")
	if got != sim.Names() {
		t.Errorf("%s: %q names %s, want %s\n%s", sim.ID, args, got, sim.Names(), out.String())
		return false
	}
	return true
}

// The command as other programs use it: the first line comes at once, --once
// ends it after one connection, a signal at any time, both with exit code 0.
func TestSimulateProcess(t *testing.T) {
	for _, once := range []bool{true, false} {
		args := []string{"simulate", "smtp-too-many", "--lang", "en"}
		if once {
			args = append(args, "--once", "--json")
		}
		cmd := exec.Command("mailsrv", args...)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer watchdog.Stop()
		first, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err, said.String())
		}
		addr := strings.TrimSpace(strings.TrimPrefix(first, "listening "))
		if once {
			var doc struct{ ID, Listening string }
			if err := json.Unmarshal([]byte(first), &doc); err != nil || doc.ID != "smtp-too-many" {
				t.Fatalf("%q: %v", first, err)
			}
			addr = doc.Listening
		}
		if ap, err := netip.ParseAddrPort(addr); err != nil || !ap.Addr().IsLoopback() {
			t.Fatalf("listens on %q: %v", addr, err)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if reply, err := io.ReadAll(conn); err != nil || string(reply) != "421 4.7.0 mail.example.com Error: too many connections from 127.0.0.1\r\n" {
			t.Errorf("%q, %v", reply, err)
		}
		from := conn.LocalAddr().String()
		conn.Close()
		if !once {
			if runtime.GOOS == "windows" {
				_ = cmd.Process.Kill() // a process cannot be asked to stop there
			} else if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil && runtime.GOOS != "windows" {
			t.Errorf("once %v: %v", once, err)
		}
		if got, want := said.String(), "connection 1 from "+from+"\n"; got != want {
			t.Errorf("once %v: standard error %q, want %q", once, got, want)
		}
	}
}
