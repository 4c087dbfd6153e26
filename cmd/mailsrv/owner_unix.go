//go:build !windows

package main

import (
	"os"
	"syscall"
)

// giveToOwnerOf gives files that the administrator has made inside a data
// directory to its owner, so that a server that runs as that user can read
// them.
func giveToOwnerOf(dataDir string, files ...string) error {
	info, err := os.Stat(dataDir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	for _, f := range files {
		if err := os.Chown(f, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return nil
}
