package host

import (
	"fmt"
	"os"
	"path/filepath"
)

// OpenFile returns the path of a file of that base name which the process has
// open, or an empty string.
func OpenFile(pid int, base string) string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if link, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && filepath.Base(link) == base {
			return link
		}
	}
	return ""
}
