package safeio

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL, which chattr shows as T.
const topDir = 0x00020000

// Spread asks the file system of dir to give each folder that is made in it a
// place of its own, because they have nothing to do with each other. Only ext4
// listens; without that it makes files where its neighbours' temporary files
// come and go, and, if it has no journal, looks at each inode that became free
// in the last minutes before it takes one. It is a hint: nothing tells whether
// it helped.
func Spread(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topDir == 0 {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDir))
	}
}
