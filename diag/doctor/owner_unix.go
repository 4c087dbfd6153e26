//go:build !windows

package doctor

import (
	"os"
	"syscall"

	"mailsrv/probes/host"
)

// ownerOf names the owner of a file.
func ownerOf(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return host.UserName(int(st.Uid))
	}
	return ""
}
