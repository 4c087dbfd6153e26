package host

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ProcessOf returns the process of that id; ok is false when there is none.
func ProcessOf(pid int) (p Process, ok bool) {
	if pid <= 0 {
		return Process{}, false
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	info, err := os.Stat(dir)
	if err != nil {
		return Process{}, false
	}
	p.PID = pid
	if st, isStat := info.Sys().(*syscall.Stat_t); isStat {
		p.User = UserName(int(st.Uid))
	}
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		s, err := parseStat(b)
		if err != nil {
			return p, true
		}
		if s.state == 'Z' || s.state == 'X' {
			return Process{}, false // a zombie holds nothing
		}
		p.Program, p.Parent = s.comm, s.parent
		if boot := bootTime(); !boot.IsZero() {
			p.Started = boot.Add(time.Duration(s.start) * (time.Second / clockTicks))
		}
	}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		p.Path = strings.TrimSuffix(exe, " (deleted)")
		p.Program = path.Base(p.Path)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil {
		b = bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '})
		p.Command = string(b[:min(len(b), maxCommand)])
	}
	if b, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil {
		p.Unit = unitOf(string(b))
	}
	return p, true
}

// clockTicks is USER_HZ, which Linux gives user space as 100 on every
// architecture Go runs on.
const clockTicks = 100

type procStat struct {
	comm   string
	state  byte
	parent int
	start  int64 // clock ticks since boot
}

// parseStat reads /proc/PID/stat (proc(5)). The name stands in parentheses and
// may hold blanks and parentheses itself.
func parseStat(b []byte) (procStat, error) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return procStat{}, fmt.Errorf("stat: %.60q has no (name)", b)
	}
	f := bytes.Fields(b[shut+1:])
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("stat: %d fields after the name, want 20 or more", len(f))
	}
	s := procStat{comm: string(b[open+1 : shut]), state: f[0][0]}
	var err error
	if s.parent, err = strconv.Atoi(string(f[1])); err != nil {
		return s, fmt.Errorf("stat: parent: %w", err)
	}
	if s.start, err = strconv.ParseInt(string(f[19]), 10, 64); err != nil {
		return s, fmt.Errorf("stat: start: %w", err)
	}
	return s, nil
}

// bootTime is when this machine started, by the btime line of /proc/stat.
var bootTime = sync.OnceValue(func() time.Time {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			if sec, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64); err == nil {
				return time.Unix(sec, 0)
			}
		}
	}
	return time.Time{}
})

// unitOf finds the systemd service in the text of /proc/PID/cgroup. Services
// that only start other people's programs are not named: stopping them is no
// remedy for what a shell below them does.
func unitOf(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != "" && f[1] != "name=systemd" {
			continue
		}
		unit := ""
		for part := range strings.SplitSeq(f[2], "/") {
			switch {
			case strings.HasSuffix(part, ".service"):
				unit = part
			case strings.HasSuffix(part, ".scope"):
				unit = ""
			}
		}
		base, _, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
		switch base {
		case "", "user", "ssh", "sshd", "cron", "crond", "atd", "getty", "serial-getty", "console-getty":
			continue
		}
		return unit
	}
	return ""
}

// UserName is the name of a user id, or its number.
func UserName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// FileLimit returns the limits of open files of a process; pid 0 is this one.
func FileLimit(pid int) (soft, hard uint64, err error) {
	name := "/proc/self/limits"
	if pid != 0 {
		name = fmt.Sprintf("/proc/%d/limits", pid)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	return parseLimits(string(b))
}

// parseLimits reads the "Max open files" line of /proc/PID/limits.
func parseLimits(text string) (soft, hard uint64, err error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			break
		}
		if soft, err = parseLimit(f[0]); err != nil {
			return 0, 0, err
		}
		hard, err = parseLimit(f[1])
		return soft, hard, err
	}
	return 0, 0, fmt.Errorf("limits: no line \"Max open files\" with two numbers")
}

func parseLimit(s string) (uint64, error) {
	if s == "unlimited" {
		return 1 << 62, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// Processes lists the processes whose program has one of these names. Those of
// other mount namespaces, as containers have, are left out where that can be
// seen.
func Processes(names ...string) []Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	ours, _ := os.Readlink("/proc/self/ns/mnt") // unknown: then no process is left out
	var out []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The name in stat is readable for everybody, and cut to 15 octets.
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err != nil || !slices.Contains(names, string(bytes.TrimSpace(b))) {
			continue
		}
		if theirs, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/mnt")); err == nil && ours != "" && theirs != ours {
			continue
		}
		if p, ok := ProcessOf(pid); ok {
			out = append(out, p)
		}
	}
	return out
}
