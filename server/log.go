package server

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"mailsrv/server/config"
	"mailsrv/server/safeio"
)

// OpenLog makes the logger of a configuration: to its log file, or to stderr.
// closeLog ends it.
func OpenLog(c config.Log, stderr io.Writer) (log *slog.Logger, closeLog func() error, err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, nil, err
	}
	w, closeLog := stderr, func() error { return nil }
	if c.File != "" {
		if err := safeio.MkdirAll(filepath.Dir(c.File), 0o700); err != nil {
			return nil, nil, err
		}
		f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, nil, err
		}
		w, closeLog = f, f.Close
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), closeLog, nil
}
