package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/doctor"
)

func examined(t *testing.T) *doctor.Report {
	t.Helper()
	r := &doctor.Report{Stage: "local", Checks: []doctor.CheckResult{{Name: "ports", Status: diag.Fail}}, Findings: []diag.Finding{
		diag.New("port.wrong_service", "pop3 127.0.0.1:110", diag.Evidence{
			"listener": "pop3", "address": "127.0.0.1:110", "pid": 1, "greeting": "<script>alert(1)</script>\x1b]0;x\a"}),
		diag.New("check.skipped", "loop", diag.Evidence{"because": "server.not_running"}),
		diag.New("ports.ok", "", diag.Evidence{"running": true, "listen": []string{"pop3 127.0.0.1:110"}}),
	}, Ignored: 1}
	if err := diag.Localize(r.Findings, codes.English); err != nil {
		t.Fatal(err)
	}
	r.Summary = diag.Summarize(r.Findings)
	return r
}

// What servers said cannot become part of the page.
func TestDoctorHTMLQuotesForeignWords(t *testing.T) {
	var b bytes.Buffer
	if err := DoctorHTML(&b, examined(t), codes.English, "1.0", time.Unix(0, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "\x1b", "\a"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"alert(1)", "port.wrong_service", "1970-01-01T00:00:00Z", "Not working: 1 failure, 1 could not be checked, 1 ok", "1 silenced by configuration"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Checks that were not made are one line behind the rest, and no line is too
// long for a terminal.
func TestDoctorOnTheTerminal(t *testing.T) {
	var b bytes.Buffer
	(&Printer{W: &b, Lang: codes.English, Program: "./mailsrv"}).Doctor(examined(t), false)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for _, l := range lines {
		if len(l) > 80 && !strings.Contains(l, "$ ") {
			t.Errorf("too long: %q", l)
		}
	}
	tail := strings.Join(lines[len(lines)-5:], "\n")
	want := "ok    ports\nskip  Not checked: loop. This needs the running server.\n\nNot working: 1 failure, 1 could not be checked, 1 ok\n1 silenced by configuration"
	if tail != want {
		t.Errorf("%s", b.String())
	}
}
