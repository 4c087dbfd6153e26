//go:build linux || darwin

package safeio

import "golang.org/x/sys/unix"

func room(dir string) (free uint64, readOnly, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 { // some network file systems do not count
		return 0, false, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), st.Flags&readOnlyFlag != 0, true
}
