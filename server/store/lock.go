package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mailsrv/server/safeio"
)

// Lock keeps a data directory for one server. The system lets go of it when
// the process ends, however it ends.
type Lock struct{ f *os.File }

// LockedError says which server has a data directory already.
type LockedError struct {
	Dir string
	PID int // 0 when it could not be read
}

func (e *LockedError) Error() string {
	who := "another mailsrv"
	if e.PID > 0 {
		who = "the mailsrv with process id " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it first, or give this one another data_dir", e.Dir, who)
}

func lockFile(dataDir string) string { return filepath.Join(dataDir, "server.lock") }

// Acquire makes the data directory if need be and locks it; the error is
// *LockedError when another server has it.
func Acquire(dataDir string) (*Lock, error) {
	if err := safeio.MkdirAll(dataDir, 0o700); err != nil {
		return nil, dirError(dataDir, err)
	}
	f, err := os.OpenFile(lockFile(dataDir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dirError(dataDir, err)
	}
	// ReadRun holds the lock for a moment: once is not enough.
	for try := 0; ; try++ {
		err = tryLock(f, true)
		if err == nil || try == 10 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, errHeld) {
			return nil, &LockedError{Dir: dataDir, PID: readPID(dataDir)}
		}
		return nil, fmt.Errorf("%s: %w", lockFile(dataDir), err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, dirError(dataDir, err)
	}
	return &Lock{f}, nil
}

// dirError says that the data directory is what is wrong, and what to do.
func dirError(dataDir string, err error) error {
	if err == nil {
		return nil
	}
	advice := "set data_dir to a folder that can be written"
	if errors.Is(err, fs.ErrPermission) {
		advice = "it must belong to the user that mailsrv runs as"
	}
	return fmt.Errorf("data directory %s cannot be used: %w: %s", dataDir, DiskError(err), advice)
}

// Release lets the next server in.
func (l *Lock) Release() error { return l.f.Close() }

func readPID(dataDir string) int {
	data, err := os.ReadFile(lockFile(dataDir))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil {
		return 0
	}
	return pid
}

// Run is what a server says about itself in DATA_DIR/server.json: for doctor,
// and for whoever has only the data directory.
type Run struct {
	PID     int         `json:"pid"`
	Version string      `json:"version"`
	Config  string      `json:"config,omitempty"` // its configuration file, absolute
	Started time.Time   `json:"started"`
	Starts  []time.Time `json:"starts"` // the last ten, this one included
	Listen  []RunAddr   `json:"listen"`
}

// RunAddr is where one service really listens.
type RunAddr struct {
	Service string `json:"service"`
	Addr    string `json:"addr"`
}

func runFile(dataDir string) string { return filepath.Join(dataDir, "server.json") }

// Announce writes the run file. Starts is filled in from the last one.
func (l *Lock) Announce(dataDir string, r Run) error {
	last, _ := readRunFile(dataDir) // a damaged one is no reason not to run
	r.Starts = last.Starts
	if n := len(r.Starts); n == 0 || last.PID != r.PID || !r.Starts[n-1].Equal(r.Started) { // else a reload
		r.Starts = append(r.Starts, r.Started)
	}
	r.Starts = r.Starts[max(0, len(r.Starts)-10):]
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return dirError(dataDir, safeio.WriteFile(runFile(dataDir), append(data, '\n'), 0o600))
}

// ReadRun tells whether a server runs on the data directory, and what the
// last one that did said about itself. Nothing is changed. A data directory
// that no server has used is no error.
func ReadRun(dataDir string) (r Run, running bool, err error) {
	f, err := os.Open(lockFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, err
	}
	err = tryLock(f, false)
	_ = f.Close()
	running = errors.Is(err, errHeld)
	if err != nil && !running {
		return Run{}, false, fmt.Errorf("%s: %w", lockFile(dataDir), err)
	}
	r, err = readRunFile(dataDir)
	if running {
		if pid := readPID(dataDir); pid > 0 {
			r.PID = pid
		}
	}
	return r, running, err
}

func readRunFile(dataDir string) (Run, error) {
	var r Run
	data, err := os.ReadFile(runFile(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return Run{}, fmt.Errorf("%s: %w", runFile(dataDir), err)
	}
	return r, nil
}
