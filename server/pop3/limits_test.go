package pop3

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// truncateFirst cuts a file of the mailbox after three octets.
func (r *rig) truncateFirst(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "mail", "*", "*", "Maildir", "new", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 3); err != nil {
		t.Fatal(err)
	}
}

func TestUTF8(t *testing.T) {
	newRig(t, nil, "Subject: \u5c71\r\n\r\n\u5ddd\r\n").dial(t).talk(`
		C: UTF8 yes
		S: -ERR UTF8 takes no argument
		C: UTF8
		S: +OK UTF8 enabled
		C: USER taro
		S: +OK Password please
		C: PASS correct horse battery
		S: +OK Mailbox has 1 messages (21 octets)
		C: UTF8
		S: -ERR You are logged in already
		C: RETR 1
		S: +OK 21 octets
		S: Subject: ` + "\u5c71" + `
		S:
		S: ` + "\u5ddd" + `
		S: .
		C: STAT 1
		S: -ERR STAT takes no argument
		C: RSET x
		S: -ERR RSET takes no argument
		C: NOOP x
		S: -ERR NOOP takes no argument
		C: UIDL 1 2
		S: -ERR The command wants a message number
		C: QUIT
		S: +OK Bye`)
}

// SCRAM over POP3, with an initial response, cancelled and with the wrong
// password.
func TestAuthEnds(t *testing.T) {
	r := newRig(t, func(r *rig) { r.Mechanisms = []string{"SCRAM-SHA-256", "PLAIN"} })
	p := r.dial(t)
	if got := p.do("AUTH SCRAM-SHA-256 biwsbj10YXJvLHI9YWJj"); !strings.HasPrefix(got, "+ ") { // n,,n=taro,r=abc
		t.Fatal(got)
	}
	p.talk(`C: *
		S: -ERR Login cancelled
		C: AUTH SCRAM-SHA-256 eA==
		S: -ERR Message of the login is malformed
		C: AUTH PLAIN =
		S: -ERR Message of the login is malformed
		C: AUTH PLAIN AHRhcm8Ad3Jvbmc=
		S: -ERR [AUTH] User name or password is wrong`)
	p.do("AUTH SCRAM-SHA-256 biwsbj10YXJvLHI9YWJj")
	p.send(strings.Repeat("A", maxAuthLine) + "\r\n")
	if got := p.line(); got != "-ERR Line of the login is too long" {
		t.Error(got)
	}
	p.login()
}

// Whatever a client goes on doing without getting anywhere, it ends.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		login   bool
		command string
		times   int
		last    string
	}{
		"unknown commands":  {true, "XYZZY", maxErrors, "-ERR Too many errors"},
		"messages not here": {true, "RETR 2", maxRefused, "-ERR Too many commands for messages that are not there; nothing was deleted"},
		"no login":          {false, "CAPA", maxBefore, "-ERR Too many commands without a login"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newRig(t, nil, "one\r\n").dial(t)
			if tt.login {
				p.login()
			}
			p.send(strings.Repeat(tt.command+"\r\n", tt.times))
			lines, last := 0, ""
			for {
				line := p.line()
				if line == "EOF" {
					break
				}
				if strings.HasPrefix(line, "-ERR") || strings.HasPrefix(line, "+OK") {
					lines++
				}
				last = line
			}
			if lines != tt.times+1 || last != tt.last {
				t.Errorf("%d answers, the last %q; want %d and %q", lines, last, tt.times+1, tt.last)
			}
		})
	}
}

// Each command comes in time, but never a login.
func TestLoginTakesTooLong(t *testing.T) {
	p := newRig(t, func(r *rig) { r.Limits.Login = 300 * time.Millisecond }).dial(t)
	p.do("CAPA")
	for {
		line := p.line()
		if line == "-ERR Timeout waiting for the client; nothing was deleted" {
			break
		}
		if line == "EOF" {
			t.Fatal("no reason given")
		}
	}
	// After the login there is as much time as before.
	r := newRig(t, func(r *rig) { r.Limits.Login = 10 * time.Second }, "one\r\n")
	p = r.dial(t)
	p.login()
	if got := p.do("STAT"); got != "+OK 1 5" {
		t.Error(got)
	}
}

// A client that takes a long reply by the octet is left.
func TestPace(t *testing.T) {
	var b bytes.Buffer
	asked := 0
	_, err := sendStuffed(bufio.NewWriter(&b), strings.NewReader(strings.Repeat("line\r\n", 10_000)), -1, func(sent int64) error {
		if asked++; sent >= 2*paceEvery {
			return errSlow
		}
		return nil
	})
	if !errors.Is(err, errSlow) || asked != 2 || b.Len() > 3*paceEvery {
		t.Errorf("%v after %d questions and %d octets", err, asked, b.Len())
	}
	s := &session{srv: &Server{Limits: Limits{Idle: time.Hour}}}
	if err := s.pace()(0); err != nil {
		t.Error(err)
	}
	s.srv.Limits.Idle = -time.Minute
	if err := s.pace()(0); !errors.Is(err, errSlow) {
		t.Error(err)
	}
	if err := s.pace()(61 * slowest); err != nil {
		t.Error(err)
	}
}

// A message that is not as long as its name says is logged, and the others are
// not touched by that.
func TestDamagedMessageIsLogged(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(r *rig) { r.Log = slog.New(slog.NewTextHandler(&log, nil)) }, "first\r\n", "second\r\n")
	r.truncateFirst(t)
	p := r.dial(t)
	p.login()
	p.raw("RETR 1")
	p.raw("RETR 2")
	p.do("QUIT")
	r.group.Stop(t.Context())
	if n := strings.Count(log.String(), "its file is damaged or was changed"); n != 1 || !strings.Contains(log.String(), fmt.Sprintf("octets=%d said=7", 5)) {
		t.Errorf("log:\n%s", log.String())
	}
}
