package doctor

import (
	"os"
	"path/filepath"

	"mailsrv/diag"
	"mailsrv/server/store"
)

// journal tells of segments that the server could not read whole after a
// crash, and has kept: what was in the unreadable places is lost.
func (c *Case) journal() []diag.Finding {
	dir := filepath.Join(store.JournalDir(c.Config.DataDir), store.DamagedDir)
	var files []string
	var size int64
	for _, name := range list(dir) {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			files, size = append(files, name), size+info.Size()
		}
	}
	if len(files) == 0 {
		return nil
	}
	ev := diag.Evidence{"path": dir, "files": files, "count": len(files), "size": size}
	return []diag.Finding{diag.New("mailbox.journal_damaged", dir, ev).With("q_path", shellWord(dir)).With("several", len(files) > 1)}
}
