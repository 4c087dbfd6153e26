package host

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// fsTypes are the file systems worth naming, by statfs(2) magic.
var fsTypes = map[int64]struct {
	name    string
	network bool
}{
	unix.EXT4_SUPER_MAGIC: {"ext4", false}, unix.XFS_SUPER_MAGIC: {"xfs", false}, unix.BTRFS_SUPER_MAGIC: {"btrfs", false},
	unix.TMPFS_MAGIC: {"tmpfs", false}, unix.OVERLAYFS_SUPER_MAGIC: {"overlay", false}, 0x2fc12fc1: {"zfs", false},
	unix.NFS_SUPER_MAGIC: {"nfs", true}, unix.SMB_SUPER_MAGIC: {"smb", true}, 0xff534d42: {"cifs", true}, 0xfe534d42: {"smb2", true},
	unix.V9FS_MAGIC: {"9p", true}, unix.CEPH_SUPER_MAGIC: {"ceph", true}, unix.AFS_SUPER_MAGIC: {"afs", true}, unix.FUSE_SUPER_MAGIC: {"fuse", false},
}

func statVolume(dir string) (Volume, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Volume{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	t := fsTypes[int64(uint32(s.Type))]
	size := uint64(s.Bsize)
	return Volume{
		Free: s.Bavail * size, Size: s.Blocks * size, FreeInodes: s.Ffree, Inodes: s.Files,
		FSType: t.name, Network: t.network, ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}
