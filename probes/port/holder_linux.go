package port

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mailsrv/probes/host"
)

func listeners(ctx context.Context) ([]Holder, error) {
	var all []socket
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, "6") {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		all = append(all, parseProcNet(string(b))...)
	}
	want := map[uint64]bool{}
	for _, s := range all {
		if s.state == stateListen {
			want[s.inode] = true
		}
	}
	pids, err := socketOwners(ctx, want)
	if err != nil {
		return nil, err
	}
	known := map[int]host.Process{}
	var out []Holder
	for _, s := range all {
		if s.state != stateListen {
			continue
		}
		out = append(out, Holder{Local: s.local, Process: first(pids[s.inode], known), User: host.UserName(s.uid)})
	}
	return out, nil
}

// socketOwners finds the processes that have one of the sockets open, by the
// links /proc/PID/fd/N -> "socket:[INODE]".
func socketOwners(ctx context.Context, want map[uint64]bool) (map[uint64][]int, error) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	owners := map[uint64][]int{}
	for _, d := range procs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dir := filepath.Join("/proc", d.Name(), "fd")
		// Processes end while one looks, and those of others are closed to us.
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			link, err := os.Readlink(filepath.Join(dir, fd.Name()))
			if err != nil {
				continue
			}
			if inode, ok := socketInode(link); ok && want[inode] {
				owners[inode] = append(owners[inode], pid)
			}
		}
	}
	return owners, nil
}

func socketInode(link string) (uint64, bool) {
	rest, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(rest, "]"), 10, 64)
	return n, err == nil
}

// first returns the one among processes with the same socket that the others
// descend from. Process 1 opens sockets for its services and keeps them; it
// counts only when it is alone.
func first(pids []int, known map[int]host.Process) host.Process {
	among := map[int]bool{}
	for _, pid := range pids {
		among[pid] = pid != 1 || len(pids) == 1
	}
	for _, pid := range pids {
		if !among[pid] {
			continue
		}
		p, ok := known[pid]
		if !ok {
			if p, ok = host.ProcessOf(pid); !ok {
				continue
			}
			known[pid] = p
		}
		if !among[p.Parent] {
			return p
		}
	}
	return host.Process{}
}
