// Package domains keeps the local domains that "mailsrv domain add" has put
// beside those of the configuration file: DATA_DIR/domains.txt, one a line. A
// running server sees changes at its next look.
package domains

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mailsrv/server/safeio"
)

// File is where the domains of a data directory are kept.
func File(dataDir string) string { return filepath.Join(dataDir, "domains.txt") }

const heading = "# Local domains beside those of the configuration. Change them with: mailsrv domain\n"

// Read returns the domains, in lower case; none when there is no file.
func Read(dataDir string) ([]string, error) {
	data, err := os.ReadFile(File(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		d := strings.ToLower(strings.TrimSpace(line))
		if d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out, nil
}

// Write puts list in place of what is there.
func Write(dataDir string, list []string) error {
	var b strings.Builder
	b.WriteString(heading)
	for _, d := range list {
		fmt.Fprintln(&b, strings.ToLower(d))
	}
	if err := safeio.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	return safeio.WriteFile(File(dataDir), []byte(b.String()), 0o600)
}

// Live is the list as it is now. It reads the file again only when that has
// changed, and keeps the last list while the file cannot be read.
type Live struct {
	dataDir string

	mu   sync.Mutex
	seen fs.FileInfo
	list []string
}

// Watch returns the live list of a data directory.
func Watch(dataDir string) *Live { return &Live{dataDir: dataDir} }

// List returns the domains, not to be changed.
func (l *Live) List() []string {
	info, err := os.Stat(File(l.dataDir))
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		l.seen, l.list = nil, nil
		return nil
	}
	if err != nil || l.seen != nil && os.SameFile(info, l.seen) && info.ModTime().Equal(l.seen.ModTime()) && info.Size() == l.seen.Size() {
		return l.list
	}
	if list, err := Read(l.dataDir); err == nil {
		l.seen, l.list = info, list
	}
	return l.list
}
