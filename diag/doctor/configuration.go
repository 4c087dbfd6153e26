package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/server/config"
)

func init() {
	register(Check{Name: "config", Stage: Local, Limit: 10 * time.Second, Run: configuration})
}

func configuration(ctx context.Context, c *Case) []diag.Finding {
	var out []diag.Finding
	for _, p := range c.Problems {
		if c.elsewhere(p) {
			continue
		}
		out = append(out, ConfigMistake(p))
	}
	if !c.Readable() {
		return out
	}
	if c.Config.File == "" {
		return append(out, diag.New("config.default", "", diag.Evidence{"place": config.UsualPlace()}))
	}
	out = append(out, c.limits()...)
	out = append(out, c.secrets()...)
	out = append(out, c.changed()...)
	if d := differences(c.Config); len(d) > 0 {
		out = append(out, diag.New("config.differs", c.Config.File, diag.Evidence{"settings": d}))
	}
	return out
}

// elsewhere tells whether another check that runs, too, says more about a
// mistake than its place in the file.
func (c *Case) elsewhere(p config.Problem) bool {
	if p.Kind != config.BadValue {
		return false
	}
	switch p.Key {
	case "hostname":
		return c.runs("hostname") && len(judgeHostname(c.Config.Hostname, c.Config.Open())) > 0
	case "domains":
		return c.runs("domains") && bareAddress(unquoted(p.Value))
	case "auth.mechanisms":
		return c.runs("auth") && (p.Value == "[]" || unsupported(p) != "")
	}
	return false
}

func unquoted(s string) string { return strings.Trim(s, `"'`) }

func bareAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// ConfigMistake turns a mistake in a configuration file into its finding.
func ConfigMistake(p config.Problem) diag.Finding {
	subject := p.File
	if p.Line > 0 {
		subject = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	ev := diag.Evidence{"file": p.File, "message": p.Message}
	for key, value := range map[string]string{"key": p.Key, "value": p.Value, "suggestion": p.Suggestion} {
		if value != "" {
			ev[key] = value
		}
	}
	if p.Line > 0 {
		ev["line"] = p.Line
		ev["column"] = p.Column
	}
	if p.Later {
		ev["later"] = true
	}
	return diag.New("config."+string(p.Kind), subject, ev)
}

// limits looks for values that are allowed and unwise.
func (c *Case) limits() []diag.Finding {
	const mb = 1_000_000
	l := c.Config.Limits
	var out []diag.Finding
	size := diag.Evidence{"value": l.MessageSize, "value_text": config.FormatSize(l.MessageSize)}
	switch {
	case l.MessageSize < 1*mb:
		out = append(out, diag.New("config.message_size_low", "limits.message_size", size))
	case l.MessageSize > 1000*mb:
		out = append(out, diag.New("config.message_size_high", "limits.message_size", size))
	}
	low := func(key string, value, least any) {
		out = append(out, diag.New("config.limit_low", key, diag.Evidence{"key": key, "value": fmt.Sprint(value), "least": fmt.Sprint(least)}))
	}
	if l.Recipients < 100 {
		low("limits.recipients", l.Recipients, 100)
	}
	if l.Connections < 10 {
		low("limits.connections", l.Connections, 10)
	}
	if l.IdleTimeout < time.Minute {
		low("limits.idle_timeout", config.FormatDuration(l.IdleTimeout), "1m")
	}
	r := c.Config.Retry
	retry := diag.Evidence{"give_up_after": config.FormatDuration(r.GiveUpAfter)}
	switch {
	case len(r.Schedule) > 0 && r.GiveUpAfter < r.Schedule[0]:
		retry["first"] = config.FormatDuration(r.Schedule[0])
		out = append(out, diag.New("config.retry_nonsense", "retry.give_up_after", retry))
	case r.GiveUpAfter < r.WarnAfter:
		retry["warn_after"] = config.FormatDuration(r.WarnAfter)
		out = append(out, diag.New("config.retry_nonsense", "retry.give_up_after", retry))
	}
	return out
}

// secrets looks whether others may read the files that hold a password.
func (c *Case) secrets() []diag.Finding {
	var out []diag.Finding
	files := map[string]bool{}
	for _, w := range c.Config.Relay.Ways() {
		files[c.Config.File] = files[c.Config.File] || w.Auth.Password != ""
		files[w.Auth.PasswordFile] = w.Auth.PasswordFile != ""
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		holds := files[file]
		info, err := os.Stat(file)
		if !holds || err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 {
			continue
		}
		out = append(out, diag.New("config.secret_readable", file, diag.Evidence{"file": file, "mode": info.Mode().Perm().String()}).With("q_file", shellWord(file)))
	}
	return out
}

// changed tells whether the running server has read an older state of the file.
func (c *Case) changed() []diag.Finding {
	if !c.Running || c.Server.Started.IsZero() {
		return nil
	}
	info, err := os.Stat(c.Config.File)
	const grain = 2 * time.Second // the start is kept in whole seconds
	if err != nil || !info.ModTime().After(c.Server.Started.Add(grain)) {
		return nil
	}
	return []diag.Finding{diag.New("config.changed_since_start", c.Config.File, diag.Evidence{
		"changed": info.ModTime().Format(time.RFC3339), "started": c.Server.Started.Format(time.RFC3339), "pid": c.Server.PID,
	})}
}

// differences lists the settings that have another value than the one they have
// when left out, as "key = value". What every file must say is not among them.
func differences(c *config.Config) []string {
	plain, _ := config.Parse(c.File, nil)
	var out []string
	was := settings(plain)
	for _, line := range settings(c) {
		// A table that is shown only when it is used has empty settings.
		if !slices.Contains(was, line) && !strings.HasSuffix(line, ` = ""`) {
			out = append(out, line)
		}
	}
	return out
}

func settings(c *config.Config) []string {
	var out []string
	table := ""
	for line := range strings.Lines(c.TOML()) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]") + "."
		case line == "", table == "", table == "listen.", table == "doctor.ignore.":
		default:
			out = append(out, table+line)
		}
	}
	return out
}
