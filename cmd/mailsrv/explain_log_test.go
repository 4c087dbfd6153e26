package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailsrv/diag/explain"
)

// A log beyond what is read whole is read to its last line, from a file and from
// a pipe, alone and among other inputs.
func TestExplainLongLog(t *testing.T) {
	const line = "Nov 20 03:11:01 mx postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n"
	n := (explain.MaxInput + 1<<20) / len(line)
	log := strings.Repeat(line, n) + "Nov 20 23:59:59 mx postfix/cleanup[7]: warning: mail_queue_enter: create file maildrop/12.99: No space left on device\n"
	name := filepath.Join(t.TempDir(), "mail.log")
	if err := os.WriteFile(name, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		stdin string
		args  []string
	}{{log, []string{"--json"}}, {"", []string{"--json", name, "10061"}}} {
		code, out, errs := runExplain(t, tt.stdin, tt.args...)
		if code != exitDone || errs != "" {
			t.Fatalf("exit %d: %s", code, errs)
		}
		first, rest, _ := strings.Cut(out, "\n")
		var r explain.Result
		if err := json.Unmarshal([]byte(first), &r); err != nil {
			t.Fatal(err)
		}
		if r.Log == nil || r.Log.Trouble != n+1 || len(r.Groups) != 2 || r.Groups[0].Cause != "disk-full-server" || r.Groups[1].Count != n || r.Input.Error != "" {
			t.Errorf("%q: %+v %+v", tt.args, r.Log, r.Groups)
		}
		if len(tt.args) > 1 && !strings.Contains(rest, "winsock/10061") {
			t.Errorf("what follows the log is lost: %q", rest)
		}
	}
}

func TestBarText(t *testing.T) {
	for _, tt := range []struct {
		n, size int64
		want    string
	}{
		{500e6, 1000e6, "[###############...............] 50%  500/1000 MB  50 MB/s"},
		{1000e6, 1000e6, "[##############################] 100%  1000/1000 MB  100 MB/s"},
		{500e6, 0, "500 MB  50 MB/s"},
		{1100e6, 1000e6, "1100 MB  110 MB/s"}, // it grew meanwhile
	} {
		if got := barText(tt.n, tt.size, 10*time.Second); got != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.n, tt.size, got, tt.want)
		}
	}
}
