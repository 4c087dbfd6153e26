// Package privilege lets a server that root has started become another user:
// root opens the ports below 1024 and reads the keys, everything else is done,
// and every file written, as that user. Where the system can give a process
// its ports without root (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE),
// that is the better way, and this package has nothing to do.
//
//	p, err := privilege.Begin("mailsrv", dataDir) // as that user from here on ...
//	err = p.AsRoot(openPorts)                     // ... but for this ...
//	err = p.Drop()                                // ... and for good
package privilege

// User is the user that the process is about to become. A nil *User is nobody
// in particular: what has to be done is done as whoever has started the process.
type User struct {
	name     string
	uid, gid int
	groups   []int
	dropped  bool
}

// AsRoot runs f with root's rights.
func (u *User) AsRoot(f func() error) error {
	if u == nil {
		return f()
	}
	if u.dropped {
		return f() // the system will say what is not allowed any more
	}
	return u.asRoot(f)
}
