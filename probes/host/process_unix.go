//go:build !windows && !linux

package host

import (
	"context"
	"errors"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessOf returns the process of that id; ok is false when there is none.
func ProcessOf(pid int) (p Process, ok bool) {
	if pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return Process{}, false
	}
	p.PID = pid
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-o", "ppid=,user=,etime=,comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return p, true
	}
	f := strings.Fields(string(out))
	if len(f) < 4 {
		return p, true
	}
	p.Parent, _ = strconv.Atoi(f[0])
	p.User = f[1]
	if d, ok := parseElapsed(f[2]); ok {
		p.Started = time.Now().Add(-d)
	}
	p.Path = strings.Join(f[3:], " ")
	p.Program = filepath.Base(p.Path)
	return p, true
}

// UserName is the name of a user id, or its number.
func UserName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// FileLimit returns the limits of open files of this process; those of others
// cannot be seen here.
func FileLimit(pid int) (soft, hard uint64, err error) {
	if pid != 0 {
		return 0, 0, errors.ErrUnsupported
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, 0, err
	}
	return uint64(r.Cur), uint64(r.Max), nil
}
