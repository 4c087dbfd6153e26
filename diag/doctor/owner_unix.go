//go:build !windows

package doctor

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"mailsrv/probes/host"
)

// ownerOf names the owner of a file.
func ownerOf(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return host.UserName(int(st.Uid))
	}
	return ""
}

// serverAccount is the user that the server works as.
type serverAccount struct {
	name   string
	uid    int // -1: not known
	groups []string
}

// serverUser is who the running server is, or who owns its data.
func (c *Case) serverUser() serverAccount {
	a := serverAccount{uid: -1}
	if info, err := os.Stat(c.Config.DataDir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			a.uid, a.name = int(st.Uid), host.UserName(int(st.Uid))
		}
	}
	if p, ok := host.ProcessOf(c.Server.PID); c.Running && ok && p.User != "" {
		a = serverAccount{name: p.User, uid: -1}
		if u, err := user.Lookup(p.User); err == nil {
			a.uid, _ = strconv.Atoi(u.Uid)
		} else if n, err := strconv.Atoi(p.User); err == nil {
			a.uid = n
		}
	}
	if u, err := user.LookupId(strconv.Itoa(a.uid)); err == nil {
		a.groups, _ = u.GroupIds() // none known: then no group helps
	}
	return a
}

// shutOut tells whether owner and mode keep the user from reading and, in a
// folder, from making and removing files.
func (a serverAccount) shutOut(info os.FileInfo, dir bool) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || a.uid <= 0 { // root may all, and of nobody nothing is known
		return false
	}
	need := os.FileMode(0o4)
	if dir {
		need = 0o7
	}
	switch {
	case int(st.Uid) == a.uid:
		need <<= 6
	case slices.Contains(a.groups, strconv.Itoa(int(st.Gid))):
		need <<= 3
	}
	return info.Mode().Perm()&need != need
}
