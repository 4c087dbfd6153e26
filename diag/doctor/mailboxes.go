package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mailsrv/diag"
)

func init() {
	register(Check{Name: "mailboxes", Stage: Local, Limit: 30 * time.Second, Run: needsData("mailboxes", mailboxes)})
}

// leftoverAge is after how long a file in tmp belongs to nobody: maildir(5) of
// qmail lets deliveries take 36 hours.
const leftoverAge = 36 * time.Hour

// mailboxes looks at the form of the Maildirs: folders, rights, and files that
// are not as long as their names say; and at the journal before them.
func mailboxes(ctx context.Context, c *Case) []diag.Finding {
	boxes, out := c.boxes(), c.journal()
	if len(boxes) == 0 && len(out) == 0 {
		return []diag.Finding{nothing}
	}
	server := c.serverUser()
	for _, b := range boxes {
		if ctx.Err() != nil {
			break // the frame says that time was up
		}
		for _, f := range b.judge(ctx, server, c.Now) {
			n, _ := f.Evidence["count"].(int)
			out = append(out, f.With("several", n > 1))
		}
	}
	return out
}

// box is the folder of one mailbox.
type box struct{ address, dir string }

// boxes lists the mailboxes of the data directory, with or without an account.
func (c *Case) boxes() []box {
	var out []box
	root := filepath.Join(c.Config.DataDir, "mail")
	for _, domain := range list(root) {
		for _, user := range list(filepath.Join(root, domain)) {
			if !strings.HasPrefix(user, "loop-") { // the loop check's own
				out = append(out, box{user + "@" + domain, filepath.Join(root, domain, user)})
			}
		}
	}
	return out
}

var maildirParts = []string{"tmp", "new", "cur"}

func (b box) judge(ctx context.Context, server serverAccount, now time.Time) []diag.Finding {
	maildir := filepath.Join(b.dir, "Maildir")
	if _, err := os.Lstat(maildir); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has arrived yet
	}
	for _, dir := range []string{b.dir, maildir} {
		if f, closed := b.closed(dir, server, true); closed {
			return []diag.Finding{f}
		}
	}
	var missing []string
	for _, part := range maildirParts {
		info, err := os.Stat(filepath.Join(maildir, part))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			missing = append(missing, part)
		}
	}
	if len(missing) > 0 {
		ev := diag.Evidence{"user": b.address, "path": maildir, "missing": missing}
		return []diag.Finding{diag.New("mailbox.not_a_maildir", b.address, ev).With("q_path", shellWord(maildir))}
	}
	for _, part := range maildirParts {
		if f, closed := b.closed(filepath.Join(maildir, part), server, true); closed {
			return []diag.Finding{f}
		}
	}
	var out []diag.Finding
	for _, part := range []string{"new", "cur"} {
		for _, name := range list(filepath.Join(maildir, part)) {
			if ctx.Err() != nil {
				return out
			}
			if strings.HasPrefix(name, ".") {
				continue
			}
			if f, bad := b.file(filepath.Join(maildir, part, name), server); bad {
				out = more(out, f)
			}
		}
	}
	if f, any := b.leftovers(now); any {
		out = append(out, f)
	}
	return out
}

// more adds a finding, or counts it where the mailbox has one of its id.
func more(out []diag.Finding, f diag.Finding) []diag.Finding {
	for _, g := range out {
		if n, ok := g.Evidence["count"].(int); ok && g.ID == f.ID {
			g.Evidence["count"] = n + 1
			return out
		}
	}
	f.Evidence["count"] = 1
	return append(out, f)
}

// closed tells whether owner or mode keep the server out of a file or folder.
func (b box) closed(path string, server serverAccount, dir bool) (diag.Finding, bool) {
	info, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) || err == nil && !server.shutOut(info, dir) {
		return diag.Finding{}, false
	}
	ev := diag.Evidence{"user": b.address, "path": path, "server_user": server.name}
	if err == nil {
		ev["owner"], ev["mode"] = ownerOf(info), info.Mode().Perm().String()
	}
	f := diag.New("mailbox.unreadable", b.address, ev).With("q_path", shellWord(path)).With("dir", dir)
	return f.With("q_dir", shellWord(b.dir)), true
}

// file holds a message's file against its name.
func (b box) file(path string, server serverAccount) (diag.Finding, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return diag.Finding{}, false // fetched in this moment
	}
	if f, closed := b.closed(path, server, false); closed {
		f.Evidence["count"] = 1
		return f, true
	}
	promised, says := promisedSize(info.Name())
	if info.Mode().IsRegular() && info.Size() > 0 && (!says || info.Size() == promised) {
		return diag.Finding{}, false
	}
	ev := diag.Evidence{"user": b.address, "path": path, "size": info.Size(), "regular": info.Mode().IsRegular()}
	if says {
		ev["promised"] = promised
	}
	return diag.New("mailbox.size_mismatch", b.address, ev).With("q_path", shellWord(path)).With("q_dir", shellWord(filepath.Dir(filepath.Dir(filepath.Dir(path))))), true
}

// promisedSize is the size that a file name states, ",S=" of Maildir++.
func promisedSize(name string) (int64, bool) {
	if i := max(strings.LastIndex(name, ":2,"), strings.LastIndex(name, ";2,")); i >= 0 {
		name = name[:i]
	}
	_, fields, _ := strings.Cut(name, ",")
	for field := range strings.SplitSeq(fields, ",") {
		if digits, ok := strings.CutPrefix(field, "S="); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// leftovers are what broken deliveries have left in tmp.
func (b box) leftovers(now time.Time) (diag.Finding, bool) {
	tmp := filepath.Join(b.dir, "Maildir", "tmp")
	files := oldFiles(tmp, now)
	if len(files) == 0 {
		return diag.Finding{}, false
	}
	var size int64
	for _, f := range files {
		if info, err := os.Lstat(f); err == nil {
			size += info.Size()
		}
	}
	return diag.New("mailbox.tmp_leftover", b.address, diag.Evidence{"user": b.address, "path": tmp, "count": len(files), "size": size}), true
}

// oldFiles are the files in a tmp folder that no delivery writes any more.
func oldFiles(tmp string, now time.Time) []string {
	var out []string
	for _, name := range list(tmp) {
		path := filepath.Join(tmp, name)
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > leftoverAge {
			out = append(out, path)
		}
	}
	return out
}

// clearTmp removes them.
func clearTmp(tmp string, now time.Time) error {
	var errs []error
	for _, path := range oldFiles(tmp, now) {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
