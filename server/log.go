package server

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"mailsrv/server/config"
	"mailsrv/server/safeio"
)

// Log is the log of a configuration: its file, or standard error. Level and
// file can change while it is written.
type Log struct {
	*slog.Logger
	level slog.LevelVar
	out   logOutput
}

// logOutput writes to a file that may be replaced.
type logOutput struct {
	stderr io.Writer

	mu   sync.Mutex
	file *os.File // nil: stderr
}

func (o *logOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		return o.file.Write(p)
	}
	return o.stderr.Write(p)
}

// use writes to f from now on, to stderr when it is nil.
func (o *logOutput) use(f *os.File) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.file
	o.file = f
	if old != nil {
		return old.Close()
	}
	return nil
}

// OpenLog opens the log of a configuration.
func OpenLog(c config.Log, stderr io.Writer) (*Log, error) {
	l := &Log{out: logOutput{stderr: stderr}}
	l.Logger = slog.New(slog.NewTextHandler(&l.out, &slog.HandlerOptions{Level: &l.level}))
	return l, l.Configure(c)
}

// Configure changes to the level and file of c. A file is opened anew also when
// its name is the old one: whoever rotates logs has moved it. After an error
// nothing has changed.
func (l *Log) Configure(c config.Log) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return err
	}
	var f *os.File
	if c.File != "" {
		if err := safeio.MkdirAll(filepath.Dir(c.File), 0o700); err != nil {
			return err
		}
		var err error
		if f, err = os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			return err
		}
	}
	l.level.Set(level)
	return l.out.use(f)
}

// Close ends the log file; what is still logged goes to standard error.
func (l *Log) Close() error { return l.out.use(nil) }
