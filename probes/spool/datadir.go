package spool

import (
	"os"
	"path/filepath"
)

// Mailsrv is the lock that a running mailsrv holds on its data directory. The
// system takes it back when the process ends, however it ends: a server.lock
// that nobody holds is a leftover without effect, and no lock.
const Mailsrv = "mailsrv"

// isDataDir tells a data directory of mailsrv, in which nothing is an mbox
// spool, by what lies in it.
func isDataDir(entries []os.DirEntry) bool {
	lock, other := false, false
	for _, e := range entries {
		switch e.Name() {
		case "server.lock":
			lock = e.Type().IsRegular()
		case "accounts", "queue":
			other = other || e.IsDir()
		}
	}
	return lock && other
}

// dataDir adds the lock of the server that runs on a data directory.
func (s *scanner) dataDir(dir string) {
	path := filepath.Join(dir, "server.lock")
	f, err := stat(path)
	if err != nil || s.opt.User != "" {
		return
	}
	held, err := serverHolds(path)
	if err == nil && !held {
		return
	}
	l := Lock{Kind: Mailsrv, File: f, Messages: -1, Err: err}
	l.readPID()
	l.Alive, l.HoldersKnown = held, held
	b := s.box(dir, "")
	b.Locks = append(b.Locks, l)
}
