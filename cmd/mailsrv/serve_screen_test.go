package main

import (
	"bytes"
	"strings"
	"testing"

	"mailsrv/codes"
	"mailsrv/server/config"
)

// The password of the first account is shown once; from the second start on the
// screen says how to get another.
func TestScreenAfterTheFirstStart(t *testing.T) {
	for _, tt := range []struct {
		lang   codes.Lang
		second bool
		want   string
		not    string
	}{
		{codes.English, false, "(shown only now)", "user passwd"},
		{codes.English, true, "mailsrv user passwd postmaster         makes a new password for a lost one", "(shown only now)"},
		{codes.Japanese, true, "mailsrv user passwd postmaster         忘れたパスワードを作り直す", "パスワード  "},
	} {
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out, colorFlag: "never", lang: tt.lang}
		s := screen{cfg: &config.Config{DataDir: "data"}}
		if !tt.second {
			s.account, s.password = "postmaster@localhost", "secret"
		}
		if err := a.firstScreen(s); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), tt.want) || strings.Contains(out.String(), tt.not) {
			t.Errorf("%s, second %v:\n%s", tt.lang, tt.second, out.String())
		}
	}
}
