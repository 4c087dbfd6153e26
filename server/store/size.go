package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Octets is how large a mailbox is: the sizes that stand in the names of its
// files, or else the files' own, added up. Nothing is opened, and a mailbox that
// does not exist yet is empty.
func Octets(dataDir string, box Box) (total int64, err error) {
	for _, part := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(Dir(dataDir, box), "Maildir", part))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if n := parseName(e.Name()).raw; n >= 0 {
				total += n
			} else if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
		}
	}
	return total, nil
}
