package doctor

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag"
	"mailsrv/probes/host"
	"mailsrv/probes/pop3/pop3test"
	"mailsrv/probes/port"
	"mailsrv/server/store"
)

func onePort(t *testing.T, service, addr string) files {
	return configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\n"+service+" = \""+addr+"\"\n")
}

func TestPortHeldByAnotherProgram(t *testing.T) {
	addr, pid := other(t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=+OK old server ready")
	r := examine(t, Options{ConfigFile: onePort(t, "pop3", addr).config, Only: []string{"ports"}})
	if d := cmp.Diff([]string{"port.in_use"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	f := find(t, r.Findings, "port.in_use")
	if f.Subject != "pop3 "+addr || f.Evidence["winsock"] != 10048 || f.Evidence["errno"] != "EADDRINUSE" || f.Evidence["family"] != "IPv4" {
		t.Errorf("%s %+v", f.Subject, f.Evidence)
	}
	if f.Evidence["pid"] != pid || f.Evidence["program"] != filepath.Base(os.Args[0]) || f.Evidence["greeting"] != "+OK old server ready" {
		t.Errorf("holder %+v, want pid %d", f.Evidence, pid)
	}
	if len(f.Codes) != 1 || f.Codes[0] != "10048" || !strings.Contains(f.Detail, "10048") {
		t.Errorf("%+v", f)
	}
	if n := find(t, r.Findings, "server.not_running"); n.Status != diag.Info {
		t.Errorf("%+v", n)
	}
}

// The mail shield of an antivirus is known by its greeting when its program is
// not.
func TestPortHeldByMailShield(t *testing.T) {
	addr, _ := other(t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=+OK Avast POP3 proxy ready")
	r := examine(t, Options{ConfigFile: onePort(t, "pop3", addr).config, Only: []string{"ports"}})
	if d := cmp.Diff([]string{"port.av_proxy"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	if f := find(t, r.Findings, "port.av_proxy"); f.Evidence["product"] != "Avast Mail Shield" {
		t.Errorf("%+v", f.Evidence)
	}
}

func TestPortHeldAtTheWildcard(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort(l.Addr().String()).Port()).String()
	r := examine(t, Options{ConfigFile: onePort(t, "smtp", addr).config, Only: []string{"ports"}})
	f := find(t, r.Findings, "port.in_use")
	if f.Evidence["held"] != l.Addr().String() || f.Evidence["pid"] != os.Getpid() {
		t.Errorf("%+v", f.Evidence)
	}
}

func TestPortFree(t *testing.T) {
	r := examine(t, Options{ConfigFile: onePort(t, "smtp", freeAddr(t)).config, Only: []string{"ports"}})
	if len(bad(r)) != 0 || !has(r.Findings, "ports.ok") || !has(r.Findings, "server.not_running") || !has(r.Findings, "port.loopback_only") {
		t.Errorf("%v %+v", bad(r), r.Findings)
	}
}

func TestAddressOfAnotherMachine(t *testing.T) {
	r := examine(t, Options{ConfigFile: onePort(t, "smtp", "192.0.2.1:2525").config, Only: []string{"ports"}})
	if d := cmp.Diff([]string{"port.address_not_local"}, bad(r)); d != "" {
		t.Fatal(d)
	}
	if f := find(t, r.Findings, "port.address_not_local"); f.Evidence["winsock"] != 10049 {
		t.Errorf("%+v", f.Evidence)
	}
}

func TestJudgeListen(t *testing.T) {
	holder := func(program, unit string, pid int) []port.Holder {
		return []port.Holder{{Local: netip.MustParseAddrPort("0.0.0.0:110"), User: "root", Process: host.Process{PID: pid, Program: program, Unit: unit}}}
	}
	for _, tt := range []struct {
		name string
		e    ListenEvidence
		id   string
		stop string // what the first command says
	}{
		{"a service", ListenEvidence{Err: syscall.EADDRINUSE, Holders: holder("dovecot", "dovecot.service", 412)}, "port.in_use", "dovecot.service"},
		{"a process", ListenEvidence{Err: syscall.EADDRINUSE, Holders: holder("python3", "", 412)}, "port.in_use", "412"},
		{"hidden", ListenEvidence{Err: syscall.EADDRINUSE, Holders: holder("", "", 0)}, "port.in_use", ""},
		{"nobody seen", ListenEvidence{Err: syscall.EADDRINUSE}, "port.in_use", ""},
		{"bound beside a wildcard", ListenEvidence{Holders: holder("master", "postfix.service", 9)}, "port.in_use", "postfix.service"},
		{"docker", ListenEvidence{Err: syscall.EADDRINUSE, Holders: holder("docker-proxy", "", 7)}, "port.in_use", "docker ps"},
		{"mail shield", ListenEvidence{Err: syscall.EADDRINUSE, Holders: holder("AvastSvc.exe", "", 4000)}, "port.av_proxy", ""},
		{"no right", ListenEvidence{Err: syscall.EACCES}, "port.permission", ""},
		{"no right, and taken", ListenEvidence{Err: syscall.EACCES, Holders: holder("exim4", "exim4.service", 5)}, "port.in_use", "exim4.service"},
		{"kept by Windows", ListenEvidence{Err: syscall.EACCES, Excluded: &port.Range{From: 100, To: 120}}, "port.excluded_range", "startport=110"},
		{"elsewhere", ListenEvidence{Err: syscall.EADDRNOTAVAIL}, "port.address_not_local", ""},
		{"no IPv6", ListenEvidence{Err: syscall.EAFNOSUPPORT}, "port.unusable", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.e.Service, tt.e.Network, tt.e.Addr = "pop3", "tcp", "127.0.0.1:110"
			fs := []diag.Finding{JudgeListen(tt.e)}
			renders(t, fs)
			if fs[0].ID != tt.id || fs[0].Subject != "pop3 127.0.0.1:110" {
				t.Errorf("%s %s, want %s", fs[0].ID, fs[0].Subject, tt.id)
			}
			commands := ""
			for _, x := range fs[0].Fixes {
				commands += x.Command + "\n"
			}
			if tt.stop != "" && !strings.Contains(commands, tt.stop) {
				t.Errorf("commands %q, want one with %q", commands, tt.stop)
			}
		})
	}
}

func TestRunningServer(t *testing.T) {
	good := pop3test.Play(t, "> 220 mail.example.com ESMTP\n< QUIT\n> 221 bye")
	silent := pop3test.Play(t, "stall")
	wrong := pop3test.Play(t, "> HTTP/1.1 400 Bad Request")
	for _, tt := range []struct {
		name, addr string
		announced  bool
		want       []string
	}{
		{"answers", good.Addr, true, []string{}},
		{"hangs", silent.Addr, true, []string{"server.not_answering"}},
		{"is a web server", wrong.Addr, true, []string{"port.wrong_service"}},
		{"is elsewhere", good.Addr, false, []string{"port.not_listening"}},
		{"is gone", freeAddr(t), true, []string{"port.not_listening"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := onePort(t, "smtp", tt.addr)
			var at []store.RunAddr
			if tt.announced {
				at = append(at, store.RunAddr{Service: "smtp", Addr: tt.addr})
			}
			running(t, f.data(), at...)
			r := examine(t, Options{ConfigFile: f.config, Only: []string{"ports"}, Timeout: 300 * time.Millisecond})
			if d := cmp.Diff(tt.want, bad(r)); d != "" {
				t.Error(d)
			}
			if !r.Server.Running || r.Server.PID != os.Getpid() || has(r.Findings, "server.not_running") {
				t.Errorf("%+v", r.Server)
			}
		})
	}
}

func TestRestarting(t *testing.T) {
	now := time.Now()
	ago := func(m ...time.Duration) (out []time.Time) {
		for _, d := range m {
			out = append(out, now.Add(-d*time.Minute))
		}
		return out
	}
	if n := restarts(ago(60, 9, 5, 3, 1), now); n != 4 {
		t.Errorf("%d starts, want 4", n)
	}
}

func TestWhoCanReach(t *testing.T) {
	file := func(listen string) string {
		return configured(t, "hostname = \"mail.example.com\"\ndomains = [\"example.com\"]\n[listen]\n"+listen).config
	}
	loopbackOnly := file("smtp = \"127.0.0.1:2525\"\npop3 = \"[::1]:1110\"\n")
	open := file("smtp = \":2525\"\nsubmissions = \":4465\"\npop3 = \":1110\"\n")
	judge := func(path string, stage Stage) []diag.Finding {
		c := newCase(Options{ConfigFile: path, Stage: stage}, nil)
		c.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.5"), netip.MustParseAddr("2001:db8::5")}
		fs := c.whoCanReach()
		renders(t, fs)
		return fs
	}
	if f := find(t, judge(loopbackOnly, Local), "port.loopback_only"); f.Status != diag.Info || f.Subject != "smtp, pop3" {
		t.Errorf("%+v", f)
	}
	if f := find(t, judge(loopbackOnly, Internet), "port.loopback_only"); f.Status != diag.Fail {
		t.Errorf("%+v", f)
	}
	// POP3 in clear on loopback is right where POP3S is open.
	both := file("smtp = \":2525\"\npop3s = \":9995\"\npop3 = \"127.0.0.1:1110\"\n")
	if f := find(t, judge(both, Internet), "port.loopback_only"); f.Status != diag.Info || f.Subject != "pop3" {
		t.Errorf("%+v", f)
	}
	f := find(t, judge(open, Internet), "port.needed_outside")
	if d := cmp.Diff([]string{"2525", "4465"}, f.Evidence["ports"]); d != "" {
		t.Error(d)
	}
	f = find(t, judge(file("smtp = \"0.0.0.0:2525\"\n"), Local), "port.one_family")
	if f.Evidence["family"] != "IPv4" {
		t.Errorf("%+v", f)
	}
	if fs := judge(open, Local); len(fs) != 0 {
		t.Errorf("%+v", fs)
	}
}

func TestGatherListenLooksUpHolders(t *testing.T) {
	addr, pid := other(t, "DOCTOR_TEST_PORT=127.0.0.1:0", "DOCTOR_TEST_GREETING=220 x ESMTP")
	err := port.TryBind(context.Background(), "tcp", addr)
	f := JudgeListen(GatherListen(context.Background(), "smtp", "tcp", addr, err, nil))
	if f.ID != "port.in_use" || f.Evidence["pid"] != pid {
		t.Errorf("%+v", f)
	}
}

// A server of another user, whose data directory is closed to this one, is no
// fault: what cannot be seen is said, and nothing is judged from outside.
func TestServerOfAnotherUser(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f := onePort(t, "smtp", l.Addr().String())
	must(t, os.Mkdir(f.data(), 0o700))
	c := newCase(Options{ConfigFile: f.config}, nil)
	if runtime.GOOS == "linux" && !c.heldByOwner() {
		t.Error("the owner of the data directory listens, and is not seen")
	}
	if c := newCase(Options{ConfigFile: onePort(t, "smtp", freeAddr(t)).config}, nil); c.heldByOwner() {
		t.Error("nobody listens")
	}
	c.Hidden = true
	for _, name := range []string{"ports", "relay", "accounts", "crash", "loop"} {
		fs, _ := runOne(context.Background(), c, registered[name])
		renders(t, fs)
		if f := find(t, fs, "check.skipped"); f.Evidence["because"] != "env.admin_missing" || len(fs) != 1 {
			t.Errorf("%s: %+v", name, fs)
		}
	}
	fs, _ := runOne(context.Background(), c, registered["environment"])
	renders(t, fs)
	if find(t, fs, "env.admin_missing").Subject != f.data() || has(fs, "env.data_dir_unwritable") {
		t.Errorf("%+v", fs)
	}
}
