package doctor

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
)

func init() {
	register(Check{Name: "crash", Stage: Local, Limit: 5 * time.Second, Run: needsData("crash", crashes)})
}

// crashAge is how long a crash stays news.
const crashAge = 14 * 24 * time.Hour

// crashes looks for the files that a server leaves when it dies of its own fault.
func crashes(ctx context.Context, c *Case) []diag.Finding {
	dir := filepath.Join(c.Config.DataDir, "crash")
	var recent []string
	var last time.Time
	for _, name := range list(dir) {
		if !strings.HasPrefix(name, "crash-") || !strings.HasSuffix(name, ".txt") {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || c.Now.Sub(info.ModTime()) > crashAge {
			continue
		}
		recent = append(recent, name)
		if info.ModTime().After(last) {
			last = info.ModTime()
			recent[0], recent[len(recent)-1] = name, recent[0]
		}
	}
	if len(recent) == 0 {
		return nil
	}
	newest := filepath.Join(dir, recent[0])
	slices.Sort(recent)
	return []diag.Finding{diag.New("crash.recent", newest, diag.Evidence{
		"file": newest, "panic": firstLine(newest), "at": last.Format(time.RFC3339), "count": len(recent),
	})}
}

func firstLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _, err := bufio.NewReaderSize(f, 4096).ReadLine()
	if err != nil {
		return ""
	}
	return printable(string(line[:min(len(line), 200)]))
}
