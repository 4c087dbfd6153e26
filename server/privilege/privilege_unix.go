//go:build !windows

package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"mailsrv/server/safeio"
)

// Begin becomes the named user, with the way back to root still open. The data
// directory is made if need be, and must belong to the user. Without a name, or
// when the process runs as that user already, the result is nil.
func Begin(name, dataDir string) (*User, error) {
	if name == "" {
		return nil, nil
	}
	account, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("there is no user %q on this system: useradd --system %s", name, name)
	}
	u := &User{name: name}
	if u.uid, err = strconv.Atoi(account.Uid); err == nil {
		u.gid, err = strconv.Atoi(account.Gid)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case os.Geteuid() == u.uid && os.Getuid() == u.uid:
		return nil, nil
	case os.Geteuid() != 0:
		return nil, fmt.Errorf("only root can become user %q: start the server as root, or as %s itself", name, name)
	}
	ids, err := account.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of user %q: %w", name, err)
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != 0 {
			u.groups = append(u.groups, n)
		}
	}
	if err := u.own(dataDir); err != nil {
		return nil, err
	}
	return u, u.become()
}

// own makes the data directory, or refuses one that is somebody else's: what
// lies in it could not be read later.
func (u *User) own(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := safeio.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.Chown(dir, u.uid, u.gid)
	}
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != u.uid {
		return fmt.Errorf("data directory %s belongs to user number %d and not to %s: chown -R %s %s", dir, st.Uid, u.name, u.name, dir)
	}
	return nil
}

func (u *User) become() error {
	if err := syscall.Setegid(u.gid); err != nil {
		return fmt.Errorf("becoming user %s: %w", u.name, err)
	}
	if err := syscall.Seteuid(u.uid); err != nil {
		return fmt.Errorf("becoming user %s: %w", u.name, err)
	}
	return nil
}

func (u *User) asRoot(f func() error) error {
	if err := syscall.Seteuid(0); err != nil {
		return err
	}
	return errors.Join(f(), u.become())
}

// Drop gives up root's rights for good.
func (u *User) Drop() error {
	if u == nil {
		return nil
	}
	err := syscall.Seteuid(0)
	if err == nil {
		err = syscall.Setgroups(append([]int{u.gid}, u.groups...))
	}
	if err == nil {
		err = syscall.Setregid(u.gid, u.gid)
	}
	if err == nil {
		err = syscall.Setreuid(u.uid, u.uid)
	}
	if err == nil && (syscall.Setuid(0) == nil || os.Getuid() != u.uid || os.Geteuid() != u.uid || os.Getegid() != u.gid) {
		err = errors.New("the system has left a way back")
	}
	if err != nil {
		return fmt.Errorf("root's rights cannot be given up for those of %s: %w", u.name, err)
	}
	u.dropped = true
	return nil
}

// Root tells whether the process has root's rights.
func Root() bool { return os.Geteuid() == 0 }

// BecomeOwner makes root, who gives a command, act as the owner of the data
// directory: what the command writes there is for a server that runs as that
// user. For anybody else, and where there is no such folder yet, nothing changes.
func BecomeOwner(dataDir string) error {
	info, err := os.Stat(dataDir)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	owner := &User{name: fmt.Sprint("number ", st.Uid), uid: int(st.Uid), gid: int(st.Gid)}
	return owner.become()
}
