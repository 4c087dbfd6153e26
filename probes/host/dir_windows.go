package host

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// mayWrite asks for the right to add files to dir by opening a handle to it
// and closing that again.
func mayWrite(dir string) error {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	const addFile = 0x2 // FILE_ADD_FILE
	h, err := windows.CreateFile(p, addFile, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	return windows.CloseHandle(h)
}

func statVolume(dir string) (Volume, error) {
	var v Volume
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return v, err
	}
	if err := windows.GetDiskFreeSpaceEx(p, &v.Free, &v.Size, nil); err != nil {
		return v, &fs.PathError{Op: "free space", Path: dir, Err: err}
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(dir) + `\`)
	if err != nil {
		return v, err
	}
	v.Network = windows.GetDriveType(root) == windows.DRIVE_REMOTE
	var flags uint32
	var name [windows.MAX_PATH + 1]uint16
	if windows.GetVolumeInformation(root, nil, 0, nil, nil, &flags, &name[0], uint32(len(name))) == nil {
		v.FSType = windows.UTF16ToString(name[:])
		v.ReadOnly = flags&windows.FILE_READ_ONLY_VOLUME != 0
	}
	return v, nil
}
