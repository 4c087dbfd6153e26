//go:build interop && linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// windowsBox runs Windows programs under wine.
type windowsBox struct {
	wine, dir string
	env       []string
}

// newWindowsBox makes a wine prefix and builds mailsrv.exe and the tests of the
// spool room for it. Starting wine takes some seconds: there is one for all.
func newWindowsBox(t *testing.T) *windowsBox {
	t.Helper()
	wine, err := exec.LookPath("wine")
	if err != nil {
		t.Skip("wine is not installed (Debian: apt-get install wine wine64): nothing of Windows was tried")
	}
	b := &windowsBox{wine: wine, dir: t.TempDir()}
	prefix := filepath.Join(b.dir, "prefix")
	b.env = append(os.Environ(), "WINEPREFIX="+prefix, "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml,winemenubuilder.exe=", "MAILSRV_LANG=en", "MAILSRV_CONFIG=")
	for exe, args := range map[string][]string{
		"mailsrv.exe":       {"build", "-o", filepath.Join(b.dir, "mailsrv.exe"), "mailsrv/cmd/mailsrv"},
		"spoolfix.test.exe": {"test", "-c", "-o", filepath.Join(b.dir, "spoolfix.test.exe"), "mailsrv/diag/spoolfix"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", exe, err, out)
		}
	}
	if out, err := b.command("wineboot", "-i").CombinedOutput(); err != nil {
		t.Skipf("wine does not start here: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		cmd := exec.Command("wineserver", "-k") // of this prefix only
		cmd.Env = b.env
		_ = cmd.Run()
	})
	dll := filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if _, err := os.Stat(dll); err != nil {
		if err := os.WriteFile(dll, forwarder(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *windowsBox) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.wine, args...)
	cmd.Dir, cmd.Env = b.dir, b.env
	return cmd
}

// mailsrv runs a command that ends by itself.
func (b *windowsBox) mailsrv(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	cmd := b.command(append([]string{"mailsrv.exe"}, args...)...)
	cmd.Stdin = strings.NewReader("correct horse battery\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	watchdog := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = cmd.Run() // the code says it
	if got := cmd.ProcessState.ExitCode(); got != wantCode {
		t.Errorf("mailsrv %q: exit code %d, want %d\n%s", args, got, wantCode, &out)
	}
	return out.String()
}

func (b *windowsBox) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInteropWindows runs the Windows program: the server, the error numbers of
// Winsock, Maildir without colons, locks by Windows' own rules.
func TestInteropWindows(t *testing.T) {
	b := newWindowsBox(t)
	var ports []int
	for range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		defer l.Close()
		l.Close()
	}
	smtpPort, subPort, popPort, free := ports[0], ports[1], ports[2], ports[3]
	b.write(t, "mailsrv.toml", fmt.Sprintf("hostname = \"mail.example.com\"\ndata_dir = \"data\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:%d\"\nsubmission = \"127.0.0.1:%d\"\npop3 = \"127.0.0.1:%d\"\n", smtpPort, subPort, popPort))
	b.mailsrv(t, 0, "user", "add", "--required", "taro", "--password-stdin")

	serve := b.command("mailsrv.exe", "serve")
	var log bytes.Buffer
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	defer func() {
		_ = serve.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	for _, port := range []int{smtpPort, subPort, popPort} {
		c, err := dialPatiently(fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}

	t.Run("mail goes in and comes out", func(t *testing.T) {
		text := "Subject: Windows\r\n\r\nover wine\r\n"
		if err := send(fmt.Sprintf("127.0.0.1:%d", smtpPort), nil, "a@example.org", []string{"taro@example.com"}, text); err != nil {
			t.Fatal(err)
		}
		got, err := popAll(fmt.Sprintf("127.0.0.1:%d", popPort), "taro", "correct horse battery")
		if err != nil || len(got) != 1 || !strings.HasSuffix(got[0], text) {
			t.Fatalf("%q %v", got, err)
		}
		// A program for Windows marks it as read: no colon can stand in the name.
		box := filepath.Join(b.dir, "data", "mail", "example.com", "taro", "Maildir")
		files, err := filepath.Glob(filepath.Join(box, "*", "*S=*"))
		if err != nil || len(files) != 1 || strings.Contains(filepath.Base(files[0]), ":") {
			t.Fatalf("%q %v", files, err)
		}
		before := b.uid(t)
		name, _, _ := strings.Cut(filepath.Base(files[0]), ";")
		if err := os.Rename(files[0], filepath.Join(box, "cur", name+";2,S")); err != nil {
			t.Fatal(err)
		}
		if after := b.uid(t); after == "" || after != before {
			t.Errorf("the id was %q and is %q", before, after)
		}
	})

	t.Run("a second server", func(t *testing.T) {
		if out := b.mailsrv(t, 1, "serve"); !regexp.MustCompile(`data directory data is in use by the mailsrv with process id \d+`).MatchString(out) {
			t.Errorf("on the same data: %s", out)
		}
		b.write(t, "other.toml", fmt.Sprintf("hostname = \"mail.example.com\"\ndata_dir = \"data2\"\ndomains = [\"example.com\"]\n[listen]\nsmtp = \"127.0.0.1:%d\"\npop3 = \"192.0.2.1:%d\"\n", smtpPort, free))
		if out := b.mailsrv(t, 1, "--config", "other.toml", "serve"); !strings.Contains(out, "[port.in_use]") || !strings.Contains(out, "10048") {
			t.Errorf("on the same port: %s", out)
		}
		found := map[string]map[string]any{}
		var doc struct {
			Findings []struct {
				ID       string
				Evidence map[string]any
			}
		}
		out := b.mailsrv(t, 1, "--config", "other.toml", "doctor", "--stage", "local", "--only", "ports", "--json")
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, f := range doc.Findings {
			found[f.ID] = f.Evidence
		}
		for id, number := range map[string]float64{"port.in_use": 10048, "port.address_not_local": 10049} {
			if found[id]["winsock"] != number {
				t.Errorf("%s: %v", id, found[id])
			}
		}
		// GetExtendedTcpTable of wine often hides the process; then that is said.
		if holder := found["port.in_use"]; holder["pid"] == nil && found["env.admin_missing"] == nil {
			t.Errorf("neither a process nor that none could be seen: %v", holder)
		} else if strings.Contains(out, "sudo") {
			t.Errorf("there is no sudo on Windows: %s", out)
		} else {
			t.Logf("held by process %v (%v), which greets with %v", holder["pid"], holder["program"], holder["greeting"])
		}
	})

	t.Run("error numbers", func(t *testing.T) {
		out := b.mailsrv(t, 1, "probe", "pop3", fmt.Sprintf("127.0.0.1:%d", free), "--no-alternatives", "--json")
		if !strings.Contains(out, `"winsock": 10061`) || !strings.Contains(out, `"errno": "ECONNREFUSED"`) || !strings.Contains(out, `"cause": "connect-refused"`) {
			t.Error(out)
		}
		out = b.mailsrv(t, 0, "probe", "pop3", fmt.Sprintf("127.0.0.1:%d", popPort), "--tls", "none", "--user", "taro", "--password-stdin")
		if !strings.Contains(out, "✓ list") {
			t.Error(out)
		}
	})

	t.Run("locks", func(t *testing.T) {
		const one, two = "From a@example.com Mon Jan  1 00:00:01 2024\nSubject: one\n\n1\n\n", "From a@example.com Mon Jan  1 00:00:02 2024\nSubject: two\n\n2\n\n"
		old := time.Now().Add(-time.Hour)
		for name, text := range map[string]string{"spool/.taro.pop": one, "spool/taro": two, "spool/jiro.lock": "99999\n", "spool/jiro": "", "spool/.hanako.pop": one, "spool/hanako": ""} {
			if err := os.Chtimes(b.write(t, name, text), old, old); err != nil {
				t.Fatal(err)
			}
		}
		// Another program has one of them open.
		holder := b.command("spoolfix.test.exe")
		holder.Env = append(holder.Env, `SPOOLFIX_TEST_HOLD=spool\.hanako.pop`)
		stdin, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		if ready := make([]byte, 5); true {
			if _, err := stdout.Read(ready); err != nil || string(ready) != "ready" {
				t.Fatalf("%q %v", ready, err)
			}
		}
		out := b.mailsrv(t, 1, "locks", "scan", "spool")
		for _, want := range []string{"[lock.qpopper_newer]", "[lock.dotlock_stale]", "[lock.qpopper_live]"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in %s", want, out)
			}
		}
		out = b.mailsrv(t, 0, "locks", "clear", "spool", "--yes", "--backup", "copies")
		if got, err := os.ReadFile(filepath.Join(b.dir, "spool", "taro")); string(got) != one+two {
			t.Errorf("%q %v\n%s", got, err, out)
		}
		for name, there := range map[string]bool{".taro.pop": false, "jiro.lock": false, ".hanako.pop": true} {
			if _, err := os.Stat(filepath.Join(b.dir, "spool", name)); (err == nil) != there {
				t.Errorf("%s: %v", name, err)
			}
		}
		stdin.Close()
		_ = holder.Wait()
		b.mailsrv(t, 0, "locks", "clear", "spool", "--yes")
		if got, err := os.ReadFile(filepath.Join(b.dir, "spool", "hanako")); string(got) != one {
			t.Errorf("%q %v", got, err)
		}
	})

	t.Run("merging and repairing", func(t *testing.T) {
		out, err := b.command("spoolfix.test.exe", "-test.run", "^(TestClear|TestClearAcrossDirectories|TestRepair)$").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// uid is the id of the only message of taro's mailbox.
func (b *windowsBox) uid(t *testing.T) string {
	t.Helper()
	var doc struct{ Messages []struct{ UID string } }
	out := b.mailsrv(t, 0, "mailbox", "list", "taro", "--json")
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Messages) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return doc.Messages[0].UID
}

// dialPatiently waits for a server that starts slowly.
func dialPatiently(addr string) (c net.Conn, err error) {
	for range 6 {
		if c, err = dialSoon(addr); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// forwarder is a bcryptprimitives.dll for wine before version 9: the one export
// that Go programs ask for at start, ProcessPrng, leads to
// ADVAPI32.SystemFunction036 (PE format, sections 2 to 4 and 6.3).
func forwarder() []byte {
	const (
		section = 0x1000 // address of the only section
		align   = 0x200
	)
	le := binary.LittleEndian
	name, export, target := "bcryptprimitives.dll\x00", "ProcessPrng\x00", "ADVAPI32.SystemFunction036\x00"
	const table = 40 // export directory; then address, name pointer, ordinal
	texts := uint32(section + table + 4 + 4 + 2 + 2)
	atName, atExport := texts, texts+uint32(len(name))
	atTarget := atExport + uint32(len(export))
	var d []byte
	d = le.AppendUint32(d, 0)
	d = le.AppendUint32(d, 0)
	d = le.AppendUint32(d, 0)
	for _, v := range []uint32{atName, 1, 1, 1, section + table, section + table + 4, section + table + 8, atTarget, atExport} {
		d = le.AppendUint32(d, v)
	}
	d = le.AppendUint32(d, 0) // ordinal 0, padding
	d = append(d, name+export+target...)
	size := uint32(len(d))
	raw := append(d, make([]byte, align-len(d)%align)...)

	h := append([]byte("MZ"), make([]byte, 58)...)
	h = le.AppendUint32(h, 64) // the PE header follows
	h = append(h, "PE\x00\x00"...)
	for _, v := range []uint16{0x8664, 1} { // x86-64, one section
		h = le.AppendUint16(h, v)
	}
	h = append(h, make([]byte, 12)...)
	h = le.AppendUint16(h, 240)    // size of what follows
	h = le.AppendUint16(h, 0x2022) // a DLL
	h = le.AppendUint16(h, 0x20b)  // PE32+
	h = append(h, 14, 0)
	for _, v := range []uint32{0, uint32(len(raw)), 0, 0, 0} {
		h = le.AppendUint32(h, v)
	}
	h = le.AppendUint64(h, 0x180000000)
	h = le.AppendUint32(h, section)
	h = le.AppendUint32(h, align)
	for _, v := range []uint16{6, 0, 0, 0, 6, 0} {
		h = le.AppendUint16(h, v)
	}
	for _, v := range []uint32{0, 0x2000, align, 0} {
		h = le.AppendUint32(h, v)
	}
	h = le.AppendUint16(h, 3)
	h = le.AppendUint16(h, 0x160)
	for _, v := range []uint64{0x100000, 0x1000, 0x100000, 0x1000} {
		h = le.AppendUint64(h, v)
	}
	h = le.AppendUint32(h, 0)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint32(h, section) // the export directory
	h = le.AppendUint32(h, size)
	h = append(h, make([]byte, 15*8)...)
	h = append(h, ".edata\x00\x00"...)
	for _, v := range []uint32{size, section, uint32(len(raw)), align, 0, 0, 0, 0x40000040} {
		h = le.AppendUint32(h, v)
	}
	h = append(h, make([]byte, align-len(h))...)
	return append(h, raw...)
}
