package spool

import (
	"strconv"
	"strings"
)

// kernelLock is one line of /proc/locks.
type kernelLock struct {
	kind       string // Flock or Fcntl
	pid        int
	dev, inode uint64
}

// parseLocks reads /proc/locks (proc(5)): "1: POSIX  ADVISORY  WRITE 412
// 08:01:131 0 EOF". Those who wait for a lock ("1: -> ...") hold nothing.
func parseLocks(text string) []kernelLock {
	var out []kernelLock
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] == "->" {
			continue
		}
		var k kernelLock
		switch f[1] {
		case "FLOCK":
			k.kind = Flock
		case "POSIX", "OFDLCK":
			k.kind = Fcntl
		default:
			continue
		}
		pid, err := strconv.Atoi(f[4])
		id := strings.Split(f[5], ":")
		if err != nil || pid <= 0 || len(id) != 3 {
			continue
		}
		major, err1 := strconv.ParseUint(id[0], 16, 32)
		minor, err2 := strconv.ParseUint(id[1], 16, 32)
		inode, err3 := strconv.ParseUint(id[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			continue
		}
		k.pid, k.dev, k.inode = pid, mkdev(major, minor), inode
		out = append(out, k)
	}
	return out
}

// mkdev is the device number as stat(2) of Linux gives it.
func mkdev(major, minor uint64) uint64 {
	return minor&0xff | major&0xfff<<8 | minor&^0xff<<12 | major&^0xfff<<32
}
