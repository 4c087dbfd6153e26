package spool

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"mailsrv/probes/host"
)

func (f *File) system(info fs.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.Links, f.Owner = int(st.Uid), int(st.Nlink), host.UserName(int(st.Uid))
	}
}

// file identifies a file as the kernel does.
type file struct{ dev, inode uint64 }

// holders finds, for each spool and lock file, the processes that have it open
// for writing or hold a kernel lock on it, and adds kernel locks on spools as
// locks of their own.
func (s *scanner) holders(ctx context.Context) {
	want := map[file]bool{}
	for _, b := range s.boxes {
		for _, path := range b.paths() {
			if id, ok := identify(path); ok {
				want[id] = true
			}
		}
	}
	if len(want) == 0 {
		return
	}
	open, hidden, seen := openForWriting(ctx, want)
	text, err := os.ReadFile("/proc/locks")
	kernel := map[file][]kernelLock{}
	for _, k := range parseLocks(string(text)) {
		for id := range want {
			// On btrfs and overlay the device number is another; the open files
			// of the process then tell whether it is ours.
			if id.inode == k.inode && (id.dev == k.dev || slices.Contains(open[id], k.pid)) {
				kernel[id] = append(kernel[id], k)
			}
		}
	}
	for i := range s.boxes {
		b := &s.boxes[i]
		for j := range b.Locks {
			l := &b.Locks[j]
			id, ok := identify(l.Path)
			if !ok || l.Kind == Mailsrv {
				continue
			}
			pids := slices.Clone(open[id])
			for _, k := range kernel[id] {
				pids = append(pids, k.pid)
			}
			l.Holders = processes(pids)
			// Whoever works on a mailbox works as its owner, or locks it.
			l.HoldersKnown = seen && err == nil && !hidden[l.UID] || len(l.Holders) > 0
		}
		if b.Spool == nil {
			continue
		}
		id, _ := identify(b.Spool.Path)
		b.Holders = processes(open[id])
		for _, k := range kernel[id] {
			l := Lock{Kind: k.kind, File: *b.Spool, PID: k.pid, Alive: true, HoldersKnown: true, Messages: -1}
			l.Process, _ = host.ProcessOf(k.pid)
			b.Locks = append(b.Locks, l)
		}
	}
}

func (b *Mailbox) paths() []string {
	var out []string
	if b.Spool != nil {
		out = append(out, b.Spool.Path)
	}
	for _, l := range b.Locks {
		if l.Type == "file" {
			out = append(out, l.Path)
		}
	}
	return out
}

func identify(path string) (file, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return file{}, false
	}
	return identity(info)
}

func identity(info fs.FileInfo) (file, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, false
	}
	return file{uint64(st.Dev), st.Ino}, true
}

// openForWriting finds the processes that have one of the files open for
// writing. hidden are the users whose processes could not all be looked into;
// seen is false when nothing could be.
func openForWriting(ctx context.Context, want map[file]bool) (open map[file][]int, hidden map[int]bool, seen bool) {
	open, hidden = map[file][]int{}, map[int]bool{}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return open, hidden, false
	}
	for _, d := range procs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if ctx.Err() != nil {
			return open, hidden, false
		}
		dir := filepath.Join("/proc", d.Name(), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			// A process that ended meanwhile hides nothing.
			if info, gone := os.Stat(filepath.Join("/proc", d.Name())); gone == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					hidden[int(st.Uid)] = true
				}
			}
			continue
		}
		for _, fd := range fds {
			path := filepath.Join(dir, fd.Name())
			if link, err := os.Readlink(path); err != nil || !strings.HasPrefix(link, "/") {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			if id, ok := identity(info); ok && want[id] && writable(pid, fd.Name()) {
				open[id] = append(open[id], pid)
			}
		}
	}
	return open, hidden, true
}

// writable reads the open flags off /proc/PID/fdinfo/N.
func writable(pid int, fd string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "fdinfo", fd))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 64)
			return err != nil || flags&syscall.O_ACCMODE != syscall.O_RDONLY
		}
	}
	return true
}

func processes(pids []int) []host.Process {
	slices.Sort(pids)
	var out []host.Process
	for _, pid := range slices.Compact(pids) {
		if p, ok := host.ProcessOf(pid); ok {
			out = append(out, p)
		}
	}
	return out
}
