package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/diag/report"
	"mailsrv/server/config"
)

// reachTargets reads the hosts of --reach-target: addresses or names.
func (d *doctorRun) reachTargets() ([]string, error) {
	for _, s := range d.reach {
		if _, err := netip.ParseAddr(s); err == nil {
			continue
		}
		if _, err := config.ParseDomain(s); err != nil || strings.HasPrefix(s, "[") {
			return nil, usagef("--reach-target %q: must be an IP address or a host name", s)
		}
	}
	return d.reach, nil
}

// writeFiles writes what --html and --report ask for.
func (d *doctorRun) writeFiles(ctx context.Context, opt doctor.Options, r *doctor.Report) error {
	if d.html != "" {
		err := writeFile(d.html, 0o644, func(w io.Writer) error { return report.DoctorHTML(w, r, d.lang, version, time.Now()) })
		if err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if d.bundle == "" {
		return nil
	}
	b := doctor.NewBundle(opt)
	clean, err := b.Clean(r)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	var text, doc, page bytes.Buffer
	(&report.Printer{W: &text, Lang: d.lang, Verbose: true}).Doctor(clean, false)
	if err := report.JSON(&doc, clean, true); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	if err := report.DoctorHTML(&page, clean, d.lang, version, time.Now()); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	err = writeFile(d.bundle, 0o600, func(w io.Writer) error {
		return b.Write(ctx, w, version, map[string][]byte{"report.txt": text.Bytes(), "report.json": doc.Bytes(), "report.html": page.Bytes()})
	})
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	if !d.quiet {
		fmt.Fprintf(d.stderr, d.lang.Pick("%s: without passwords, keys, accounts and mail; addresses are in it. Look at it before you hand it on.\n",
			"%s: パスワード、鍵、アカウント、メールの内容は含みませんが、アドレスは含みます。渡す前に中身を確認してください。\n"), d.bundle)
	}
	return nil
}

// writeFile makes a file whole or not at all.
func writeFile(path string, mode os.FileMode, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), mode)
}

// watching examines again and again until the context ends, and shows each
// round that differs from the one before.
func (d *doctorRun) watching(ctx context.Context) error {
	var last *doctor.Report
	for ctx.Err() == nil {
		opt, err := d.options() // the configuration may have changed
		if err != nil {
			return err
		}
		r, err := doctor.Run(ctx, opt)
		if err != nil {
			return usagef("doctor: %w", err)
		}
		if ctx.Err() != nil {
			break // half a round says nothing
		}
		if err := diag.Localize(r.Findings, d.lang); err != nil {
			return err
		}
		if last == nil || !same(last.Findings, r.Findings) {
			if err := d.round(last, r); err != nil {
				return err
			}
		}
		last = r
		select {
		case <-time.After(d.every):
		case <-ctx.Done():
		}
	}
	if last == nil {
		return exit(exitUnknown)
	}
	return exit(last.ExitCode(d.strict))
}

// round shows the first report whole, and of later ones what is new and what is
// gone.
func (d *doctorRun) round(last, r *doctor.Report) error {
	if d.json || last == nil {
		return d.print(r)
	}
	p := d.printer()
	fmt.Fprintln(d.stdout)
	p.Line(0, p.Faint(time.Now().Format(time.TimeOnly)))
	for _, f := range r.Findings {
		if f.Status != diag.OK && !has(last.Findings, f) {
			p.Finding(f)
		}
	}
	for _, f := range last.Findings {
		if f.Status != diag.OK && !has(r.Findings, f) {
			p.Labelled(0, d.lang.Pick("gone", "解消"), 6, f.Title+"  "+p.Faint("["+f.ID+"]"))
		}
	}
	p.VerdictLine(r.Summary)
	return nil
}

// same tells whether two rounds found the same, whatever the numbers in it.
func same(a, b []diag.Finding) bool {
	for _, f := range a {
		if !has(b, f) {
			return false
		}
	}
	return len(a) == len(b)
}

func has(fs []diag.Finding, f diag.Finding) bool {
	for _, g := range fs {
		if g.ID == f.ID && g.Subject == f.Subject && g.Status == f.Status {
			return true
		}
	}
	return false
}

// checkBar is a line on a terminal that says which checks still run.
type checkBar struct {
	w     io.Writer // nil: no terminal
	lang  func(en, ja string) string
	began time.Time
	shown bool
}

func (d *doctorRun) bar() *checkBar {
	b := &checkBar{lang: d.lang.Pick, began: time.Now()}
	if f, ok := d.stderr.(*os.File); ok && !d.quiet && term.IsTerminal(int(f.Fd())) {
		b.w = f
	}
	return b
}

// show appears after a second.
func (b *checkBar) show(done, total int, running []string) {
	if b.w == nil || time.Since(b.began) < time.Second {
		return
	}
	b.shown = true
	fmt.Fprintf(b.w, "\r%d/%d  "+b.lang("waiting for: %s", "実行中: %s")+"\x1b[K", done, total, strings.Join(running, ", "))
}

func (b *checkBar) clear() {
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
