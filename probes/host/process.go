package host

import "time"

// Process is what can be seen of a running process. What cannot be seen is
// empty: command lines and paths of other users' processes need rights.
type Process struct {
	PID     int
	Parent  int
	Program string // name of the program file, without directory: "dovecot"
	Path    string // the program file
	Command string // command line, words separated by blanks, 300 octets at most
	Unit    string // systemd unit ("dovecot.service") or Windows service ("SMTPSVC")
	User    string // owner's name, or number
	Started time.Time
}

// maxCommand is how much of a command line is kept, in octets.
const maxCommand = 300

// RunningSince tells whether the process was there already at t. A process id
// found in a file that is older than the process belongs to somebody else by
// now.
func (p Process) RunningSince(t time.Time) bool {
	const clockGrain = 2 * time.Second
	return p.Started.IsZero() || !p.Started.After(t.Add(clockGrain))
}
