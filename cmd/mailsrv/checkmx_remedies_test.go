package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"mailsrv/diag"
	"mailsrv/diag/checkmx"
)

// edit puts what a finding's remedy says into the text of a zone: lines to
// delete go, and each record to publish takes the place of those it mends.
type edit struct {
	f     diag.Finding
	lines []string // OWNER IN TYPE DATA
}

func (e *edit) zone(text string) string {
	deleted, _ := e.f.Evidence["delete"].(string)
	var out []string
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		owner, typ, data := splitLine(l)
		if l == "" || l[0] == '!' || owner == "" || !e.replaces(owner, typ, data) && !sameLine(l, deleted) {
			out = append(out, l)
		}
	}
	for _, l := range e.lines {
		out = append(out, strings.Replace(l, " IN ", " ", 1))
	}
	return strings.Join(out, "\n")
}

// splitLine reads OWNER [TTL] [IN] TYPE DATA.
func splitLine(l string) (owner, typ, data string) {
	f := strings.Fields(l)
	if len(f) < 3 || f[0] == ";" {
		return "", "", ""
	}
	at := 1
	for at < len(f)-1 && (f[at] == "IN" || strings.Trim(f[at], "0123456789") == "") {
		at++
	}
	i := strings.Index(l, f[at]+" ") + len(f[at])
	return strings.ToLower(f[0]), f[at], strings.TrimSpace(l[i:])
}

func sameLine(a, b string) bool {
	ao, at, ad := splitLine(a)
	bo, bt, bd := splitLine(b)
	return ao == bo && at == bt && strings.EqualFold(unquote(ad), unquote(bd))
}

// unquote joins the strings of a text.
func unquote(data string) string {
	if !strings.HasPrefix(data, `"`) {
		return strings.Join(strings.Fields(data), " ")
	}
	return strings.Trim(strings.ReplaceAll(data, `" "`, ""), `"`)
}

// replaces tells that a record of the zone gives way to the remedy.
func (e *edit) replaces(owner, typ, data string) bool {
	for _, l := range e.lines {
		o, t, d := splitLine(l)
		if o != owner || t != typ && typ != "CNAME" {
			continue
		}
		_, host, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(data, `\032`, `\ `)), " ")
		last := strings.TrimSuffix(host, ".")
		switch t {
		case "NS":
			if strings.TrimSuffix(data, ".") == e.f.Subject {
				return true
			}
		case "MX":
			if last == e.f.Subject || last == "" && e.f.ID == "mx.null_mixed" || strings.EqualFold(data, d) {
				return true
			}
		case "SRV":
			target, _ := e.f.Evidence["target"].(string)
			if strings.HasSuffix(last, " "+target) {
				return true
			}
		case "TXT":
			if typ == "CNAME" || samePolicy(unquote(data), unquote(d)) || slices.Contains(evidenceTexts(e.f), unescape(unquote(data))) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// samePolicy tells that two texts are records of one kind.
func samePolicy(a, b string) bool {
	kind := func(s string) string {
		return strings.ToLower(strings.FieldsFunc(s+" ", func(r rune) bool { return r == ' ' || r == ';' })[0])
	}
	return a != "" && b != "" && kind(a) == kind(b)
}

func evidenceTexts(f diag.Finding) []string {
	var out []string
	if s, ok := f.Evidence["record"].(string); ok {
		out = append(out, s)
	}
	list, _ := f.Evidence["records"].([]any)
	for _, x := range list {
		if s, ok := x.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

var zoneEscapes = strings.NewReplacer(`\"`, `"`, `\226\128\147`, "–")

func unescape(s string) string { return zoneEscapes.Replace(s) }

func (s *scenario) report(t *testing.T) *checkmx.Report {
	t.Helper()
	var stdout, stderr bytes.Buffer
	run(slices.Concat([]string{"check-mx", s.domain, "--json"}, s.start(t, s.base.lines), s.flags), nil, &stdout, &stderr)
	var r checkmx.Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%s: %s%s", err, stdout.String(), stderr.String())
	}
	return &r
}

// hidden tells that a finding after a remedy was no business of the remedy: the
// address of a host that is only being given a name, an address of the test that
// nobody has, a policy that now stands where it is read.
func hidden(s *scenario, mended string, g diag.Finding) bool {
	switch g.ID {
	case "mx.nxdomain":
		return slices.Contains([]string{"mx.localhost", "mx.none", "mx.invalid_name"}, mended)
	case "mx.private_address":
		return slices.Contains(s.flags, g.Subject)
	case "mtasts.mx_tls":
		return mended == "mtasts.syntax" // from now on senders obey the policy
	case "dmarc.policy_none":
		return mended == "dmarc.wrong_place"
	}
	return false
}

// remedies puts every record that a report's findings ask for into the zone, one
// finding at a time, and checks again: the finding is gone, and nothing new is
// there.
func (s *scenario) remedies(t *testing.T, before *checkmx.Report) {
	t.Helper()
	wrong := func(f diag.Finding) bool { return f.Status == diag.Warn || f.Status == diag.Fail }
	had := map[string]bool{}
	for _, f := range before.Findings {
		had[f.ID+" "+f.Subject] = wrong(f)
	}
	for _, f := range before.Findings {
		i := slices.IndexFunc(f.Fixes, func(x diag.Fix) bool { return x.Record != "" })
		if i < 0 || !wrong(f) {
			continue
		}
		mended := *s
		mended.remedy = &edit{f: f, lines: strings.Split(f.Fixes[i].Record, "\n")}
		for _, g := range mended.report(t).Findings {
			switch {
			case !wrong(g):
			case g.ID == f.ID && g.Subject == f.Subject:
				t.Errorf("%s %s: still there after %q", f.ID, f.Subject, f.Fixes[i].Record)
			case !had[g.ID+" "+g.Subject] && !hidden(s, f.ID, g):
				t.Errorf("%s %s: brings %s %s after %q", f.ID, f.Subject, g.ID, g.Subject, f.Fixes[i].Record)
			}
		}
	}
}
