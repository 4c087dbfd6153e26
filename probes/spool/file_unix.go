//go:build !linux && !windows

package spool

import (
	"io/fs"
	"syscall"

	"mailsrv/probes/host"
)

func (f *File) system(info fs.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.Links, f.Owner = int(st.Uid), int(st.Nlink), host.UserName(int(st.Uid))
	}
}
