package server

import (
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"mailsrv/server/conn"
	"mailsrv/server/safeio"
)

// crashed keeps the evidence of a panic in DATA_DIR/crash; the other sessions
// go on.
func (s *Server) crashed(c *conn.Conn, value any, stack []byte) {
	crashes.Add(1)
	now := time.Now().UTC()
	file := filepath.Join(s.dataDir, "crash", fmt.Sprintf("crash-%s-%s.txt", now.Format("20060102T150405Z"), c.ID))
	text := fmt.Sprintf("panic: %v\ntime: %s\nversion: %s (%s, %s/%s)\nsession: %s\nlocal: %s\nremote: %s\n\n%s",
		value, now.Format(time.RFC3339), s.version, runtime.Version(), runtime.GOOS, runtime.GOARCH, c.ID, c.Local(), c.Remote(), stack)
	err := safeio.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = safeio.WriteFile(file, []byte(text), 0o600)
	}
	s.log.Error("a session has crashed, the others go on", "session", c.ID, "panic", fmt.Sprint(value), "file", file, "error", err)
}
