package safeio

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// devices are folders, one on each file system that is to be synced as a
// whole. They stay open: an error of writing back is told to those who had the
// file system open when it happened.
type devices struct {
	mu   sync.Mutex
	open map[uint64]*os.File
}

// syncfs tells of errors since Linux 5.8.
var syncfsTells = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	minor := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a > 5 || a == 5 && b >= 8)
})

func (d *devices) sync(dirs []string) (bool, error) {
	if !syncfsTells() {
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	touched := map[uint64]*os.File{}
	for _, dir := range dirs {
		dev, f, err := d.of(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, with all that was in it
		}
		if err != nil {
			return true, err
		}
		touched[dev] = f
	}
	for _, f := range touched {
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			return true, &os.PathError{Op: "syncfs", Path: f.Name(), Err: err}
		}
	}
	return true, nil
}

func (d *devices) of(dir string) (uint64, *os.File, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, nil, err
	}
	dev := uint64(info.Sys().(*syscall.Stat_t).Dev)
	if f := d.open[dev]; f != nil {
		return dev, f, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return 0, nil, err
	}
	if d.open == nil {
		d.open = map[uint64]*os.File{}
	}
	d.open[dev] = f
	return dev, f, nil
}

func (d *devices) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.open {
		_ = f.Close()
	}
	d.open = nil
}
