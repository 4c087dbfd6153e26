package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"mailsrv/server/safeio"
)

// The methods of safeio.FS, in its order.

func (p *Process) OpenFile(name string, flag int, perm fs.FileMode) (safeio.File, error) {
	var f safeio.File
	err := p.do("open", name, func(d *Disk) (err error) {
		dir, base := d.at(name)
		if f, err = p.os.OpenFile(name, flag, perm); err != nil {
			return err
		}
		n := dir.now[base]
		switch {
		case n == nil && flag&os.O_CREATE != 0:
			n = &node{}
			dir.set(base, n)
		case n == nil: // was there before the disk was
			data, err := p.os.ReadFile(name)
			if err != nil {
				return err
			}
			n = &node{durable: data}
			dir.durable[base], dir.now[base] = n, n
		case flag&os.O_TRUNC != 0:
			n.pending = append(n.pending, write{off: -1})
		}
		f = &file{p: p, n: n, f: f, name: name, heard: n.errors}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (p *Process) ReadFile(name string) (data []byte, err error) {
	err = p.do("read", name, func(*Disk) error { data, err = p.os.ReadFile(name); return err })
	return data, err
}

func (p *Process) ReadNames(name string) (names []string, err error) {
	err = p.do("list", name, func(*Disk) error { names, err = p.os.ReadNames(name); return err })
	slices.Sort(names) // the same on every run
	return names, err
}

func (p *Process) Rename(from, to string) error {
	return p.do("rename", from, func(d *Disk) error {
		if err := p.os.Rename(from, to); err != nil {
			return err
		}
		source, a := d.at(from)
		target, b := d.at(to)
		target.set(b, source.now[a])
		source.set(a, nil)
		return nil
	})
}

func (p *Process) Link(from, to string) error {
	return p.do("link", to, func(d *Disk) error {
		if err := p.os.Link(from, to); err != nil {
			return err
		}
		source, a := d.at(from)
		target, b := d.at(to)
		target.set(b, source.now[a])
		return nil
	})
}

func (p *Process) Remove(name string) error {
	return p.do("remove", name, func(d *Disk) error {
		if err := p.os.Remove(name); err != nil {
			return err
		}
		dir, base := d.at(name)
		dir.set(base, nil)
		return nil
	})
}

// MkdirAll is durable: safeio syncs what it makes.
func (p *Process) MkdirAll(name string, perm fs.FileMode) error {
	return p.do("mkdir", name, func(d *Disk) error {
		if err := p.os.MkdirAll(name, perm); err != nil {
			return err
		}
		for rel := d.rel(name); ; rel = filepath.Dir(rel) {
			if d.dirs[rel] == nil {
				d.dirs[rel] = newDir()
			}
			if rel == "." {
				return nil
			}
		}
	})
}

func (p *Process) SyncDir(name string) error {
	return p.do("sync folder", name, func(d *Disk) error {
		if dir := d.dirs[d.rel(name)]; dir != nil {
			dir.sync()
		}
		return nil
	})
}

func (p *Process) Room(string) (uint64, bool, bool) {
	return 0, false, false // it is full when a step says so
}

func (p *Process) Machine(string) string { return p.d.Boot }

func (p *Process) SyncFS([]string) (bool, error) {
	err := p.do("sync all", p.d.Root, func(d *Disk) error {
		for _, dir := range d.dirs {
			for _, n := range dir.now {
				n.sync()
			}
			dir.sync()
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrDead) {
		p.d.mu.Lock()
		for _, rel := range slices.Sorted(maps.Keys(p.d.dirs)) {
			dir := p.d.dirs[rel]
			for _, name := range slices.Sorted(maps.Keys(dir.now)) {
				p.d.lose(dir.now[name])
			}
		}
		p.d.mu.Unlock()
	}
	return true, err
}

type file struct {
	p    *Process
	n    *node
	f    safeio.File
	name string
	end  int64 // where Write goes on

	heard int // of n.errors
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.end)
	f.end += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.p.do("write", f.name, func(*Disk) error {
		if n, err = f.f.WriteAt(b, off); n > 0 {
			f.n.pending = append(f.n.pending, write{off: off, data: slices.Clone(b[:n])})
		}
		return err
	})
	return n, err
}

func (f *file) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.p.do("read", f.name, func(*Disk) error { n, err = f.f.ReadAt(b, off); return nil })
	if n < len(b) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (f *file) Size() (int64, error) { return f.f.Size() }
func (f *file) Close() error         { return f.f.Close() }
func (f *file) SyncData() error      { return f.Sync() }

func (f *file) Sync() error {
	err := f.p.do("sync", f.name, func(*Disk) error {
		f.n.sync()
		if f.heard != f.n.errors {
			f.heard = f.n.errors
			return errors.New("an earlier write was lost")
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrDead) {
		f.p.d.mu.Lock()
		f.p.d.lose(f.n)
		f.p.d.mu.Unlock()
	}
	return err
}
