package spoolfix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"mailsrv/probes/spool"
)

// merged is what a merge did, or would do.
type merged struct {
	before, after, duplicates int
	backup, spoolBackup       string
	hashes                    []string
}

// plan says which parts of a .user.pop and a spool the mailbox consists of.
type plan struct {
	pop, spool spool.Source
	a, b       []spool.Part // of pop, of spool
	order      []piece
	// keepSpool: everything is in the spool as it is.
	keepSpool bool
}

type piece struct {
	from spool.Source
	part spool.Part
}

// newPlan puts the mail of .user.pop first, then what only the spool has. A
// message that is cut in one of them is taken from the other.
func newPlan(pop, sp spool.Source) plan {
	p := plan{pop: pop, spool: sp, keepSpool: true}
	p.a, p.b = spool.Align(pop, sp)
	taken := map[int]bool{}
	for _, x := range p.a {
		switch {
		case x.Cut && !taken[x.Twin]:
			taken[x.Twin] = true
			p.order = append(p.order, piece{sp, p.b[x.Twin]})
		case !x.Cut:
			p.order = append(p.order, piece{pop, x})
			p.keepSpool = p.keepSpool && x.Twin >= 0
		}
	}
	for i, x := range p.b {
		if x.Twin < 0 && !taken[i] {
			p.order = append(p.order, piece{sp, x})
		}
	}
	return p
}

// write puts the pieces one after another. A Content-Length that is wrong is
// left out; without lengths all are.
func (p plan) write(ctx context.Context, w io.Writer, lengths bool) ([]begun, error) {
	m := newMboxWriter(ctx, w)
	for _, x := range p.order {
		r := x.from.Open(x.part)
		if !lengths || !measured(x.from, x.part) {
			r = withoutLength(r, -1)
		}
		if err := m.message(x.part.Hash, r); err != nil {
			return nil, err
		}
	}
	return m.begun, m.w.Flush()
}

// measured tells whether the part's Content-Length may stay: it is right.
func measured(s spool.Source, p spool.Part) bool {
	i, j := 0, len(s.Messages)
	for i < j { // they are in order
		k := (i + j) / 2
		if s.Messages[k].Offset < p.Offset {
			i = k + 1
		} else {
			j = k
		}
	}
	return i < len(s.Messages) && s.Messages[i].Offset == p.Offset && s.Messages[i].End() <= p.End() && (s.Messages[i].Measured || s.Messages[i].ContentLength < 0)
}

// count fills in the numbers of messages.
func (p plan) count() merged {
	m := merged{before: len(p.a) + len(p.b), after: len(p.order), hashes: []string{}}
	for _, x := range p.order {
		m.hashes = append(m.hashes, fmt.Sprintf("%x", x.part.Hash))
	}
	m.duplicates = m.before - m.after
	return m
}

// complete makes sure that nothing of either file is missing in parts, and
// nothing is there twice that was there once.
func (p plan) complete(parts []spool.Part) error {
	have, want := count(parts), count(p.a)
	for h, n := range count(p.b) {
		want[h] = max(want[h], n)
	}
	for h, n := range want {
		if have[h] != n {
			return errProof
		}
		delete(have, h)
	}
	if len(have) > 0 {
		return errProof
	}
	return nil
}

// count counts the parts that are not cut by their hashes.
func count(parts []spool.Part) map[[32]byte]int {
	n := map[[32]byte]int{}
	for _, x := range parts {
		if !x.Cut {
			n[x.Hash]++
		}
	}
	return n
}

// preview says what a merge would do, without a lock.
func preview(ctx context.Context, popPath, spoolPath string) (merged, error) {
	var read [2]spool.Source
	for i, path := range []string{popPath, spoolPath} {
		f, err := open(path)
		if i == 1 && errors.Is(err, fs.ErrNotExist) {
			read[i] = spool.Source{Mbox: &spool.Mbox{}}
			continue
		}
		if err != nil {
			return merged{}, err
		}
		defer f.Close()
		if read[i], err = spool.ReadSource(ctx, f); err != nil {
			return merged{}, err
		}
	}
	return newPlan(read[0], read[1]).count(), nil
}

// merge brings the mail of a .user.pop back into the spool and removes it.
func (d *disk) merge(ctx context.Context, l spool.Lock, spoolPath, backupDir string, opt Options) (m merged, err error) {
	h, err := d.lock(ctx, spoolPath)
	if err != nil {
		return m, err
	}
	defer h.release()
	pop, err := open(l.Path)
	if err != nil {
		return m, err
	}
	if err := h.kernel(ctx, pop); err != nil {
		return m, err
	}
	info, err := pop.Stat()
	if err != nil {
		return m, err
	}
	if info.Size() != l.Size || !info.ModTime().Equal(l.Modified) {
		return m, fmt.Errorf("%s: %w", l.Path, errChanged)
	}
	old, err := open(spoolPath)
	if errors.Is(err, fs.ErrNotExist) {
		old = nil
	} else if err != nil {
		return m, err
	} else if err := h.kernel(ctx, old); err != nil {
		return m, err
	}

	p, err := d.read(ctx, pop, old)
	if err != nil {
		return m, err
	}
	m = p.count()
	if backupDir == "" {
		backupDir = filepath.Dir(spoolPath)
	}
	undo := func() { // nothing was replaced: the copies are of no use
		for _, path := range []string{m.backup, m.spoolBackup} {
			if path != "" {
				d.discard(path)
			}
		}
		m.backup, m.spoolBackup = "", ""
	}
	if m.backup, err = d.keep(pop, backupDir, opt.Now); err != nil {
		return m, err
	}
	if p.keepSpool {
		if err := p.complete(p.b); err != nil {
			undo()
			return m, err
		}
		return m, d.remove(l.Path, pop)
	}
	if old != nil && p.spool.Size > 0 {
		if m.spoolBackup, err = d.keep(old, backupDir, opt.Now); err != nil {
			undo()
			return m, err
		}
	}
	like, mode, err := ownerOf(old, pop, spoolPath)
	if err == nil {
		err = d.replace(ctx, h, spoolPath, old, like, mode, p)
	}
	if err != nil {
		undo()
		return m, err
	}
	return m, d.remove(l.Path, pop)
}

func (d *disk) read(ctx context.Context, pop, old *os.File) (plan, error) {
	a, err := spool.ReadSource(ctx, pop)
	if err != nil {
		return plan{}, err
	}
	b := spool.Source{Mbox: &spool.Mbox{}}
	if old != nil {
		if b, err = spool.ReadSource(ctx, old); err != nil {
			return plan{}, err
		}
	}
	return newPlan(a, b), nil
}

// replace writes the planned mailbox and puts it in place of the old one.
func (d *disk) replace(ctx context.Context, h *hold, path string, old *os.File, like fs.FileInfo, mode fs.FileMode, p plan) error {
	tmp := filepath.Join(filepath.Dir(path), newName(filepath.Base(path)))
	err := d.writeProven(ctx, tmp, like, mode, p, true)
	if errors.Is(err, errProof) {
		// A Content-Length that was right by chance means something else among
		// other messages.
		err = d.writeProven(ctx, tmp, like, mode, p, false)
	}
	if err == nil {
		err = d.put(ctx, h, tmp, path, old)
	}
	if err != nil {
		d.discard(tmp)
	}
	return err
}

func (d *disk) writeProven(ctx context.Context, tmp string, like fs.FileInfo, mode fs.FileMode, p plan, lengths bool) error {
	var written []begun
	f, err := d.writeNew(tmp, like, mode, func(w io.Writer) (err error) {
		written, err = p.write(ctx, w, lengths)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := spool.ReadSource(ctx, f)
	if err != nil {
		return err
	}
	parts, err := prove(s, written)
	if err != nil {
		return err
	}
	return p.complete(parts)
}

// put renames a written file into its place. A program that opened the old one
// before, and waits for its lock without a dotlock, writes into a file that has
// no name any more: what it adds is brought over.
func (d *disk) put(ctx context.Context, h *hold, tmp, path string, old *os.File) error {
	if old == nil {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, errChanged)
		}
		return d.rename(tmp, path)
	}
	if err := same(path, old); err != nil {
		return err
	}
	before, err := old.Stat()
	if err != nil {
		return err
	}
	h.beforeRename(old)
	if err := d.rename(tmp, path); err != nil {
		return err
	}
	return d.latecomers(ctx, path, old, before.Size())
}

// ownerOf says whose the merged mailbox is: as the spool, or without one the
// account's, else as .user.pop.
func ownerOf(old, pop *os.File, path string) (fs.FileInfo, fs.FileMode, error) {
	if old != nil {
		info, err := old.Stat()
		if err != nil {
			return nil, 0, err
		}
		return info, info.Mode().Perm(), nil
	}
	info, err := pop.Stat()
	if err != nil {
		return nil, 0, err
	}
	if u, err := user.Lookup(filepath.Base(path)); err == nil {
		if uid, err := strconv.Atoi(u.Uid); err == nil {
			gid, _ := strconv.Atoi(u.Gid)
			info = withOwner(info, uid, gid)
		}
	}
	return info, 0o600, nil
}
