package host

import (
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

func statVolume(dir string) (Volume, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Volume{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	name := unix.ByteSliceToString(s.Fstypename[:])
	size := uint64(s.Bsize)
	return Volume{
		Free: s.Bavail * size, Size: s.Blocks * size, FreeInodes: s.Ffree, Inodes: s.Files,
		FSType: name, Network: slices.Contains([]string{"nfs", "smbfs", "afpfs", "webdav"}, name), ReadOnly: s.Flags&unix.MNT_RDONLY != 0,
	}, nil
}
