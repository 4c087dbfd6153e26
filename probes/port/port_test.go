package port

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With PORT_TEST_LISTEN set the test binary is the other program: it listens
// there until its standard input ends.
func TestMain(m *testing.M) {
	if addr := os.Getenv("PORT_TEST_LISTEN"); addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(l.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// otherProgram starts a process that listens, and returns its address and id.
func otherProgram(t *testing.T, listen string) (string, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "some", "words")
	cmd.Env = append(os.Environ(), "PORT_TEST_LISTEN="+listen)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Skipf("no listener on %s: %s %v", listen, line, err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}

func TestHolderOfAnotherProcess(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			addr, pid := otherProgram(t, listen)
			all, err := Listeners(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			hs := Holding(all, addr)
			if len(hs) != 1 {
				t.Fatalf("%d holders of %s: %+v", len(hs), addr, hs)
			}
			h := hs[0]
			if h.Process.PID != pid || h.Process.Program != filepath.Base(os.Args[0]) || h.Local.String() != addr {
				t.Errorf("holder %+v, want pid %d of %s", h, pid, os.Args[0])
			}
			if !strings.HasSuffix(h.Process.Command, " some words") {
				t.Errorf("command %q", h.Process.Command)
			}
			err = TryBind(context.Background(), "tcp", addr)
			if err == nil || Why(err) != InUse {
				t.Errorf("TryBind: %v (%s)", err, Why(err))
			}
		})
	}
}

func TestTryBind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	// Twice: the first try must leave nothing behind.
	for range 2 {
		if err := TryBind(context.Background(), "tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := TryBind(context.Background(), "tcp", "192.0.2.1:0"); Why(err) != NotLocal {
		t.Errorf("foreign address: %v is %q", err, Why(err))
	}
	if err := TryBind(context.Background(), "tcp", "127.0.0.1:99999"); Why(err) != Other {
		t.Errorf("impossible port: %v is %q", err, Why(err))
	}
}

func TestHoldingOverlap(t *testing.T) {
	at := func(s string) Holder { return Holder{Local: netip.MustParseAddrPort(s)} }
	all := []Holder{at("127.0.0.1:25"), at("0.0.0.0:110"), at("[::]:143"), at("[::1]:25"), at("192.0.2.1:110")}
	for _, tt := range []struct {
		addr string
		want []string
	}{
		{":25", []string{"[::1]:25", "127.0.0.1:25"}},
		{"127.0.0.1:25", []string{"127.0.0.1:25"}},
		{"127.0.0.2:25", nil},
		{"0.0.0.0:25", []string{"127.0.0.1:25"}},
		{"127.0.0.1:110", []string{"0.0.0.0:110"}},
		{"192.0.2.1:110", []string{"0.0.0.0:110", "192.0.2.1:110"}},
		{"127.0.0.1:143", []string{"[::]:143"}},
		{"localhost:25", []string{"127.0.0.1:25"}},
		{"[::]:25", []string{"[::1]:25"}},
		{"127.0.0.1:26", nil},
		{"no address", nil},
	} {
		var got []string
		for _, h := range Holding(all, tt.addr) {
			got = append(got, h.Local.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.addr, got, tt.want)
		}
	}
}

// On this machine lsof must tell the same as our own look.
func TestLsofAgrees(t *testing.T) {
	if _, err := exec.LookPath("lsof"); err != nil {
		t.Skip("no lsof here")
	}
	addr, pid := otherProgram(t, "127.0.0.1:0")
	hs, err := lsof(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := Holding(hs, addr)
	if len(got) != 1 || got[0].Process.PID != pid {
		t.Errorf("lsof: %+v, want pid %d", got, pid)
	}
}

const procNetSample = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:006E 00000000:0000 0A 00000000:00000000 00:00000000 00000000   106        0 18432 1 0000000000000000 100 0 0 10 0
   1: 0100007F:9C40 0100007F:006E 01 00000000:00000000 00:00000000 00000000     0        0 18433 1 0000000000000000 20 4 30 10 -1
`

const procNetSample6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3411 1 0000000000000000 100 0 0 10 0
   1: B80D0120000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3412 1 0000000000000000 100 0 0 10 0
`

func TestParseProcNet(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("samples are of a little-endian machine")
	}
	got := append(parseProcNet(procNetSample), parseProcNet(procNetSample6)...)
	want := []socket{
		{netip.MustParseAddrPort("127.0.0.1:110"), 0x0A, 106, 18432},
		{netip.MustParseAddrPort("127.0.0.1:40000"), 1, 0, 18433},
		{netip.MustParseAddrPort("[::1]:25"), 0x0A, 0, 3411},
		{netip.MustParseAddrPort("[2001:db8::1]:25"), 0x0A, 0, 3412},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(socket{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func FuzzParseProcNet(f *testing.F) {
	f.Add(procNetSample)
	f.Add(procNetSample6)
	f.Add("x\n 0: 00:0 0:0 0A\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parseProcNet(text) {
			if !s.local.IsValid() || s.local.Addr().Is4In6() {
				t.Errorf("%q: address %v", text, s.local)
			}
		}
	})
}

func TestParseLsof(t *testing.T) {
	const text = "p412\ncmaster\nLroot\nf13\ntIPv4\nn127.0.0.1:25\nf14\ntIPv6\nn[::1]:25\nf15\ntIPv4\nn127.0.0.1:25\np500\ncdovecot\nLdovecot\nf3\ntIPv6\nn*:110\nf4\ntIPv4\nn*:110\n"
	var got []string
	for _, h := range parseLsof(text) {
		got = append(got, fmt.Sprintf("%d %s %s %s", h.Process.PID, h.Process.Program, h.User, h.Local))
	}
	want := []string{
		"412 master root 127.0.0.1:25", "412 master root [::1]:25",
		"500 dovecot dovecot [::]:110", "500 dovecot dovecot 0.0.0.0:110",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzParseLsof(f *testing.F) {
	f.Add("p412\ncmaster\nLroot\nf13\ntIPv4\nn127.0.0.1:25\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, h := range parseLsof(text) {
			if h.Process.PID == 0 || !h.Local.IsValid() {
				t.Errorf("%q: %+v", text, h)
			}
		}
	})
}

func TestExcluded(t *testing.T) {
	const german = `
Protokoll "tcp" - Portausschlussbereiche

Startport    Endport
----------    --------
        25         25
      5357       5357
     50000      50059     *

* - Verwaltete Portausschlüsse.
`
	rs := parseExcluded(german)
	if d := cmp.Diff([]Range{{25, 25}, {5357, 5357}, {50000, 50059}}, rs); d != "" {
		t.Error(d)
	}
	if r, ok := InRange(rs, "127.0.0.1:50010"); !ok || r != (Range{50000, 50059}) {
		t.Errorf("50010: %v %v", r, ok)
	}
	if _, ok := InRange(rs, ":110"); ok {
		t.Error("110 is in no range")
	}
}

func TestProducts(t *testing.T) {
	for _, tt := range []struct{ program, path, unit, want, kind string }{
		{"dovecot", "/usr/sbin/dovecot", "dovecot.service", "Dovecot", MailServer},
		{"master", "/usr/lib/postfix/sbin/master", "", "Postfix", MailServer},
		{"master", "", "postfix@-.service", "Postfix", MailServer},
		{"master", "/opt/salt/master", "salt-master.service", "", ""},
		{"AvastSvc.exe", `C:\Program Files\Avast Software\Avast\AvastSvc.exe`, "avast! Antivirus", "Avast Mail Shield", MailShield},
		{"inetinfo.exe", "", "SMTPSVC", "IIS SMTP", MailServer},
		{"exim-4.98", "", "", "Exim", MailServer},
		{"systemd", "/usr/lib/systemd/systemd", "", "systemd socket unit", Activator},
		{"python3.13", "", "", "", ""},
	} {
		var h Holder
		h.Process.Program, h.Process.Path, h.Process.Unit = tt.program, tt.path, tt.unit
		got, _ := h.Product()
		if got != (Product{tt.want, tt.kind}) {
			t.Errorf("%s %s: %+v, want %s", tt.program, tt.path, got, tt.want)
		}
	}
}

func TestShieldByWords(t *testing.T) {
	for text, want := range map[string]string{
		"+OK Avast POP3 proxy ready":              "Avast Mail Shield",
		"220 mail.example.com ESMTP Postfix":      "",
		"-ERR connection reset by peer":           "",
		"220 ESET Mail Server ready":              "ESET email protection",
		"CN=Norton Web/Mail Shield Root":          "Norton email protection",
		"+OK POP3 server ready, averaging (avgX)": "",
	} {
		got, ok := ShieldByWords(text)
		if got.Name != want || ok != (want != "") {
			t.Errorf("%q: %q, want %q", text, got.Name, want)
		}
	}
}

// table builds the octets that GetExtendedTcpTable returns.
func table(rows ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(rows)))
	for _, r := range rows {
		b = append(b, r...)
	}
	return append(b, 0xAA, 0xAA) // the buffer is larger than the table
}

func TestParseTCPTable(t *testing.T) {
	v4 := []byte{2, 0, 0, 0, 127, 0, 0, 1, 0, 110, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x9c, 1, 0, 0}
	if d := cmp.Diff([]row{{netip.MustParseAddrPort("127.0.0.1:110"), 412}}, parseTCPTable(table(v4), false), cmp.AllowUnexported(row{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	v6 := make([]byte, 56)
	v6[15], v6[20], v6[21], v6[52] = 1, 0x03, 0xE3, 9
	if d := cmp.Diff([]row{{netip.MustParseAddrPort("[::1]:995"), 9}}, parseTCPTable(table(v6), true), cmp.AllowUnexported(row{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func FuzzParseTCPTable(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0}, false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2}, true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		for _, r := range parseTCPTable(b, v6) {
			if r.local.Addr().Is6() != v6 {
				t.Errorf("%v", r)
			}
		}
	})
}
