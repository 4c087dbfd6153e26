package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailsrv/diag/explain"
)

func runExplain(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("MAILSRV_LANG", "en")
	var out, errs bytes.Buffer
	code = run(append([]string{"explain"}, args...), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// A paste of 10 MB is answered by its first part and its end, and says so.
func TestExplainLongInput(t *testing.T) {
	long := "Error Number: 0x800CCC0E\n" + strings.Repeat("x", 10_000_000)
	code, out, errs := runExplain(t, long, "--json")
	if code != exitDone || errs != "" || !strings.HasPrefix(out, `{"input":{"kind":"dialog","error":"The input is long: only its first 4 MiB and its last 64 KiB were read."},"matches":[{"id":"outlook/0x800CCC0E"`) {
		t.Errorf("exit %d, %q, %.200s", code, errs, out)
	}
	code, out, _ = runExplain(t, strings.Repeat("x", 10_000_000))
	if code != exitFailed || !strings.HasPrefix(out, "The input is long: only its first 4 MiB and its last 64 KiB were read.\nNo error message was found in this\n") {
		t.Errorf("exit %d, %.200s", code, out)
	}
	name := filepath.Join(t.TempDir(), "long.txt")
	if err := os.WriteFile(name, bytes.Repeat([]byte{'x'}, explain.MaxInput), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := runExplain(t, "", name); strings.Contains(out, "long") {
		t.Errorf("a file of just the limit is called long: %.200s", out)
	}
}

func TestExplainUnreadableFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(name, []byte("10061"), 0o000); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(name); err == nil { // as root everything can be read
		f.Close()
		name = filepath.Join(t.TempDir(), "gone.txt")
	}
	code, out, errs := runExplain(t, "", name)
	if code != exitUsage || out != "" || !strings.HasPrefix(errs, "mailsrv: explain: "+name+": ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	code, out, _ = runExplain(t, "", "--json", name, "10061")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitUsage || len(lines) != 2 || !strings.Contains(lines[0], `"error":"`) || !strings.Contains(lines[1], "winsock/10061") {
		t.Errorf("exit %d, %q", code, lines)
	}
}

func TestExplainBinary(t *testing.T) {
	code, out, errs := runExplain(t, "\x7fELF\x00\x00\x01")
	if code != exitFailed || errs != "" || !strings.HasPrefix(out, "This is binary data") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestJoinWords(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("421", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, want []string
	}{
		{[]string{"550", "5.7.1"}, []string{"550 5.7.1"}},
		{[]string{"550", "5.7.1", "450", "4.7.1", "10061"}, []string{"550 5.7.1", "450 4.7.1", "10061"}},
		{[]string{"550", "551"}, []string{"550", "551"}},
		{[]string{"5.7.1", "550"}, []string{"5.7.1", "550"}},
		{[]string{"421", "4.7.0"}, []string{"421", "4.7.0"}}, // 421 is a file here
		{[]string{"connection", "refused"}, []string{"connection refused"}},
		{[]string{"550", "5.7.1", "Relay", "access", "denied"}, []string{"550 5.7.1 Relay access denied"}},
		{[]string{"Socket", "Error:", "10061"}, []string{"Socket Error: 10061"}},
		{[]string{"topic", "pop-before-smtp"}, []string{"topic pop-before-smtp"}},
		{[]string{"WSAECONNREFUSED", "ECONNRESET"}, []string{"WSAECONNREFUSED", "ECONNRESET"}},
		{[]string{"FAQ00", "pop-before-smtp"}, []string{"FAQ00", "pop-before-smtp"}},
		{[]string{"one text with spaces", "10061"}, []string{"one text with spaces", "10061"}},
		{[]string{"hello"}, []string{"hello"}},
		{nil, nil},
	} {
		if diff := cmp.Diff(tt.want, joinWords(tt.args)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestSplitFlags(t *testing.T) {
	a := &app{}
	cmd, _, err := a.root().Find([]string{"explain"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, flags, inputs []string
		fails               bool
	}{
		{args: []string{"-2146644978"}, inputs: []string{"-2146644978"}},
		{args: []string{"-ERR [IN-USE] busy"}, inputs: []string{"-ERR [IN-USE] busy"}},
		{args: []string{"-ERR"}, inputs: []string{"-ERR"}},
		{args: []string{"--json", "550", "--lang", "ja", "-v"}, flags: []string{"--json", "--lang", "ja", "-v"}, inputs: []string{"550"}},
		{args: []string{"--lang=ja", "550"}, flags: []string{"--lang=ja"}, inputs: []string{"550"}},
		{args: []string{"-rvq", "dir"}, flags: []string{"-rvq"}, inputs: []string{"dir"}},
		{args: []string{"--", "--json"}, inputs: []string{"--json"}},
		{args: []string{"-"}, inputs: []string{"-"}},
		{args: []string{"---------- Forwarded message"}, inputs: []string{"---------- Forwarded message"}},
		{args: []string{"--bogus"}, fails: true},
		{args: []string{"-x"}, fails: true},
	} {
		flags, inputs, err := splitFlags(cmd, tt.args)
		if (err != nil) != tt.fails {
			t.Errorf("%q: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.flags, flags); !tt.fails && diff != "" {
			t.Errorf("%q: flags (-want +got):\n%s", tt.args, diff)
		}
		if diff := cmp.Diff(tt.inputs, inputs); !tt.fails && diff != "" {
			t.Errorf("%q: inputs (-want +got):\n%s", tt.args, diff)
		}
	}
}

// Of a long output that is neither log nor mail the end is read as well; what
// gzip packed is read as it was.
func TestExplainLongOutput(t *testing.T) {
	dull := strings.Repeat("Nothing of interest happens in this line.\n", explain.MaxInput/42+1000)
	text := dull + "The connection to the server has failed. Server: 'pop.example.com', Port: 110, Socket Error: 10061, Error Number: 0x800CCC0E\n"
	dir := t.TempDir()
	plain, packed := filepath.Join(dir, "out"), filepath.Join(dir, "out.gz")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{plain: []byte(text), packed: z.Bytes()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{plain}, {packed}, {"-"}} {
		var out, said bytes.Buffer
		code := run(append([]string{"explain", "--lang", "en"}, args...), strings.NewReader(text), &out, &said)
		if code != exitDone || !strings.HasPrefix(out.String(), "The input is long: only its first 4 MiB and its last 64 KiB were read.\nNothing answers on that port") {
			t.Errorf("%v: exit %d: %.300s%s", args, code, out.String(), said.String())
		}
	}
	var out, said bytes.Buffer
	if err := os.WriteFile(packed, z.Bytes()[:z.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"explain", packed}, nil, &out, &said); code != exitUsage || !strings.Contains(said.String(), "unexpected EOF") {
		t.Errorf("cut off: exit %d: %s%s", code, out.String(), said.String())
	}
}
