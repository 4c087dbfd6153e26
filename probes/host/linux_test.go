//go:build linux

package host

import "testing"

func TestUnitOf(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/postfix@-.service\n":                                           "postfix@-.service",
		"0::/system.slice/system-postfix.slice/postfix@-.service\n":                      "postfix@-.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n": "",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/mailsrv.service\n":   "mailsrv.service",
		"0::/system.slice/ssh.service\n":                                                 "",
		"0::/system.slice/docker-0123.scope\n":                                           "",
		"9:name=systemd:/system.slice/dovecot.service\n8:pids:/\n0::/\n":                 "dovecot.service",
		"4:memory:/system.slice/other.service\n0::/\n":                                   "",
		"nonsense": "",
	} {
		if got := unitOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("412 (dovecot) S 1 412 412 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2"))
	f.Add([]byte("1 (a) b) R 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && s.state == 0 {
			t.Errorf("%q: %+v", b, s)
		}
	})
}

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("1 (a) b) R 17 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 9"))
	if err != nil || s != (procStat{comm: "a) b", state: 'R', parent: 17, start: 7}) {
		t.Errorf("%+v %v", s, err)
	}
}

func TestParseLimits(t *testing.T) {
	soft, hard, err := parseLimits("Limit                     Soft Limit           Hard Limit           Units\nMax processes             10 20 processes\nMax open files            1024                 unlimited            files\n")
	if soft != 1024 || hard != 1<<62 || err != nil {
		t.Errorf("%d %d %v", soft, hard, err)
	}
	if _, _, err := parseLimits("nothing"); err == nil {
		t.Error("no error for no line")
	}
}
