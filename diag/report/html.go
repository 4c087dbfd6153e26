package report

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"sync"
	"time"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/doctor"
)

//go:embed doctor.html
var doctorHTML string

var doctorPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("doctor").Parse(doctorHTML))
})

// DoctorHTML writes an examination as one page that needs no other file: what
// Doctor shows, with all evidence, for whoever it is handed on to.
func DoctorHTML(w io.Writer, r *doctor.Report, lang codes.Lang, version string, now time.Time) error {
	type finding struct {
		diag.Finding
		Class, Word string
		Facts       string
	}
	p := &Printer{Lang: lang}
	var fs []finding
	for _, f := range r.Findings {
		x := finding{Finding: f, Class: string(f.Status), Word: p.status(f.Status)}
		if len(f.Evidence) > 0 {
			if data, err := json.MarshalIndent(f.Evidence, "", "  "); err == nil {
				x.Facts = string(data)
			}
		}
		fs = append(fs, x)
	}
	var ignored string
	if r.Ignored > 0 {
		ignored = p.ignored(r.Ignored)
	}
	words := map[string]string{
		"title": lang.Pick("Mail server examination", "メールサーバー診断レポート"), "why": lang.Pick("why", "原因"), "facts": lang.Pick("facts", "詳細データ"),
		"checks": lang.Pick("What was looked at", "検査の一覧"), "fixed": lang.Pick("Repaired", "修復した項目"), "backup": lang.Pick("copy kept in", "コピーの保存先"),
	}
	return doctorPage().Execute(w, map[string]any{
		"Lang": lang.Pick("en", "ja"), "T": words, "Head": p.head(r), "Verdict": p.Verdict(r.Summary), "Class": worstClass(r.Summary), "Findings": fs,
		"Fixed": r.Fixed, "Checks": r.Checks, "Ignored": ignored, "Version": version, "Time": now.Format(time.RFC3339),
	})
}

func worstClass(s diag.Summary) string {
	switch {
	case s.Fail > 0:
		return string(diag.Fail)
	case s.Warn > 0:
		return string(diag.Warn)
	case s.Skip > 0:
		return string(diag.Skip)
	}
	return string(diag.OK)
}
