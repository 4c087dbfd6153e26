package doctor

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"mailsrv/probes/host"
	"mailsrv/probes/port"
	"mailsrv/server/account"
	"mailsrv/server/queue"
)

// Bundle is what one hands to somebody who helps: the report and what it rests
// on, without secrets. Mail, accounts and keys are never opened for it;
// passwords that stand in what it has are blanked.
type Bundle struct {
	c       *Case
	secrets []string // longest first
	tail    []byte   // of the log
}

// blank stands in place of a secret.
const blank = "***"

// minSecret is how many octets a secret has at least: what is shorter stands in
// half of all words.
const minSecret = 4

// maxBundleLog is how much of the log goes along, in octets.
const maxBundleLog = 512 << 10

// NewBundle collects what must not be in it.
func NewBundle(opt Options) *Bundle {
	b := &Bundle{c: newCase(opt, nil)}
	b.tail = b.readTail()
	b.secrets = b.known()
	return b
}

// passwordLine is a password in a configuration file, also in one that does not
// parse.
var passwordLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(?:password|passwd|secret|token)"?\s*[=:]\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,}#]+)`)
})

func (b *Bundle) known() []string {
	var found []string
	for _, w := range b.c.Config.Relay.Ways() {
		found = append(found, w.Auth.Password)
		if s, err := w.Auth.Secret(); err == nil {
			found = append(found, s)
		}
	}
	if data, err := os.ReadFile(b.c.Config.File); err == nil {
		for _, m := range passwordLine().FindAllStringSubmatch(string(data), -1) {
			found = append(found, strings.Trim(m[1], `"'`))
			if s, err := strconv.Unquote(m[1]); err == nil {
				found = append(found, s)
			}
		}
	}
	found = append(found, b.typedAsName()...)
	var out []string
	for _, s := range found {
		for _, form := range []string{s, jsonForm(s), html.EscapeString(s), strings.Trim(strconv.Quote(s), `"`)} {
			if len(form) >= minSecret && !slices.Contains(out, form) {
				out = append(out, form)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return len(out[i]) > len(out[j]) })
	return out
}

func jsonForm(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return strings.Trim(string(data), `"`)
}

// typedAsName are words of failed logins that look like passwords: people type
// them into the wrong field.
func (b *Bundle) typedAsName() []string {
	var out []string
	for line := range strings.Lines(string(b.tail)) {
		l, ok := parseLogLine(strings.TrimRight(line, "\r\n"))
		if !ok || !strings.HasPrefix(l.get("msg"), "login ") {
			continue
		}
		user := l.get("user")
		if len(user) >= 6 && strings.ContainsFunc(user, func(r rune) bool { return r < 'a' || r > 'z' }) && !b.isAccount(user) {
			out = append(out, user)
		}
	}
	return out
}

func (b *Bundle) isAccount(user string) bool {
	if b.c.Accounts == nil {
		return false
	}
	name, domain, whole := account.SplitAddress(user)
	if whole {
		_, err := b.c.Accounts.Lookup(name, domain)
		return !errors.Is(err, account.ErrNotFound)
	}
	return slices.ContainsFunc(b.c.Config.Domains, func(d string) bool {
		_, err := b.c.Accounts.Lookup(user, d)
		return !errors.Is(err, account.ErrNotFound)
	})
}

func (b *Bundle) scrub(data []byte) []byte {
	for _, s := range b.secrets {
		data = bytes.ReplaceAll(data, []byte(s), []byte(blank))
	}
	return data
}

// Clean is the localized report without secrets.
func (b *Bundle) Clean(r *Report) (*Report, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if data, err = json.Marshal(b.scrubValues(doc)); err != nil {
		return nil, err
	}
	clean := &Report{named: r.named}
	return clean, json.Unmarshal(data, clean)
}

// scrubValues leaves the names of fields alone.
func (b *Bundle) scrubValues(v any) any {
	switch v := v.(type) {
	case string:
		return string(b.scrub([]byte(v)))
	case []any:
		for i := range v {
			v[i] = b.scrubValues(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = b.scrubValues(v[k])
		}
	}
	return v
}

// Write makes the archive: the texts given, which come from a clean report, by
// name, and what belongs to them.
func (b *Bundle) Write(ctx context.Context, w io.Writer, version string, texts map[string][]byte) error {
	z := zip.NewWriter(w)
	files := map[string][]byte{"system.txt": b.system(ctx, version), "config.toml": []byte(b.c.Config.TOML()), "queue.json": b.queue()}
	if len(b.tail) > 0 {
		files["log.txt"] = b.tail
	}
	b.crashes(files)
	for name, data := range files {
		files[name] = b.scrub(data)
	}
	for name, data := range texts {
		files[name] = data
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.c.Now})
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// system is the machine in some lines.
func (b *Bundle) system(ctx context.Context, version string) []byte {
	var out bytes.Buffer
	line := func(name string, value any) { fmt.Fprintf(&out, "%-12s %v\n", name, value) }
	line("mailsrv", version)
	line("go", runtime.Version())
	line("system", runtime.GOOS+" "+runtime.GOARCH)
	line("time", b.c.Now.Format(time.RFC3339))
	if name, err := host.Name(); err == nil {
		line("name", name)
	}
	line("addresses", strings.Join(texts(b.c.Addresses), " "))
	line("resolvers", strings.Join(b.c.resolvers(), " "))
	if v, err := host.VolumeOf(b.c.Config.DataDir); err == nil {
		line("volume", fmt.Sprintf("%s %s, %d of %d octets free", v.Path, v.FSType, v.Free, v.Size))
	}
	if b.c.Server.PID > 0 {
		line("server", fmt.Sprintf("pid %d, version %s, started %s, running %v", b.c.Server.PID, b.c.Server.Version, b.c.Server.Started.Format(time.RFC3339), b.c.Running))
	}
	if all, err := port.Listeners(ctx); err == nil {
		for _, h := range all {
			line("listens", fmt.Sprintf("%s %s %s", h.Local, h.Process.Program, h.Process.Unit))
		}
	}
	return out.Bytes()
}

// queue lists the envelopes; what the messages say stays where it is.
func (b *Bundle) queue() []byte {
	l, err := queue.List(b.c.Config.DataDir)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	return data
}

// readTail is the end of the log, from a whole line on.
func (b *Bundle) readTail() []byte {
	f, err := os.Open(b.c.Config.Log.File)
	if err != nil {
		return nil // no log file, or not for us
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	from := max(0, size-maxBundleLog)
	data, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	if err != nil {
		return nil
	}
	if from > 0 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	return data
}

// maxCrashFiles is how many crash files go along, the newest.
const maxCrashFiles = 5

func (b *Bundle) crashes(files map[string][]byte) {
	dir := filepath.Join(b.c.Config.DataDir, "crash")
	names := slices.DeleteFunc(list(dir), func(n string) bool { return !strings.HasPrefix(n, "crash-") || !strings.HasSuffix(n, ".txt") })
	slices.Sort(names) // they begin with the time
	for _, name := range names[max(0, len(names)-maxCrashFiles):] {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			data = []byte(err.Error() + "\n")
		}
		files[path.Join("crash", name)] = data
	}
}
