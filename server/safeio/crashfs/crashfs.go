// Package crashfs is a file system for tests: the real one below a folder, plus
// a model of what of it would outlast a power cut. Each step can be made to
// fail.
//
// The model is as unkind as POSIX allows. What is not synced may be there or
// not, each write and each name by itself; names of one folder in order. After
// a sync that failed, what it should have written may be lost for good although
// it can still be read, and later syncs succeed, except for those who had the
// file open at the time: they are told once (Linux since 4.13).
package crashfs

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mailsrv/server/safeio"
)

// ErrDead is what a killed process gets.
var ErrDead = errors.New("crashfs: this process was killed")

// Disk is a file system with a memory of what is durable.
type Disk struct {
	Root string
	Boot string // Machine of its processes; Cut makes another

	mu   sync.Mutex
	rng  *rand.Rand
	dirs map[string]*dir // by path below Root
}

type dir struct {
	durable map[string]*node
	pending []change
	now     map[string]*node
}

type change struct {
	name string
	node *node // nil: removed
}

type node struct {
	durable []byte
	pending []write
	errors  int // of syncs; who has the file open since before hears of it
}

type write struct {
	off  int64 // -1: the file was cut to nothing
	data []byte
	lost bool
}

// New returns a disk below root, a folder that exists.
func New(root string, rng *rand.Rand) *Disk {
	return &Disk{Root: root, Boot: "first boot", rng: rng, dirs: map[string]*dir{".": newDir()}}
}

func newDir() *dir { return &dir{durable: map[string]*node{}, now: map[string]*node{}} }

// Process is one process's view of the disk; it implements safeio.FS.
type Process struct {
	d  *Disk
	os safeio.OS

	step func(op, path string) error
	dead bool
}

// Steps has step called before each change with its kind and path; an error
// makes the change fail. nil ends that.
func (p *Process) Steps(step func(op, path string) error) {
	p.d.mu.Lock()
	p.step = step
	p.d.mu.Unlock()
}

// Process starts a process.
func (d *Disk) Process() *Process { return &Process{d: d} }

// Kill ends a process: what it still does has no effect.
func (p *Process) Kill() {
	p.d.mu.Lock()
	p.dead = true
	p.d.mu.Unlock()
}

// do makes one step with the disk locked.
func (p *Process) do(op, path string, change func(d *Disk) error) error {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.dead {
		return ErrDead
	}
	if p.step != nil {
		if err := p.step(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	return change(p.d)
}

func (d *Disk) rel(path string) string {
	rel, err := filepath.Rel(d.Root, path)
	if err != nil || !filepath.IsLocal(rel) {
		panic("crashfs: outside of the disk: " + path)
	}
	return rel
}

// at returns the folder of path, made known if need be, and the name in it.
func (d *Disk) at(path string) (*dir, string) {
	rel := d.rel(path)
	parent := filepath.Dir(rel)
	if d.dirs[parent] == nil {
		d.dirs[parent] = newDir()
	}
	return d.dirs[parent], filepath.Base(rel)
}

func (d *dir) set(name string, n *node) {
	d.pending = append(d.pending, change{name, n})
	if n == nil {
		delete(d.now, name)
	} else {
		d.now[name] = n
	}
}

func (d *dir) sync() {
	for _, c := range d.pending {
		apply(d.durable, c)
	}
	d.pending = nil
}

func apply(names map[string]*node, c change) {
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

func (n *node) sync() {
	for _, w := range n.pending {
		if !w.lost {
			n.durable = w.apply(n.durable, len(w.data))
		}
	}
	n.pending = nil
}

func (w write) apply(b []byte, n int) []byte {
	if w.off < 0 {
		return nil
	}
	if need := int(w.off) + n; need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[w.off:], w.data[:n])
	return b
}

// lose is what a failed sync does.
func (d *Disk) lose(n *node) {
	if len(n.pending) > 0 {
		n.errors++
	}
	for i := range n.pending {
		n.pending[i].lost = n.pending[i].lost || d.rng.IntN(2) == 0
	}
}

// Observe takes over what somebody else did to the real files: names that are
// gone, and files that were moved. durable tells whether they synced it. A move
// is durable in any case, though the octets may not be: no file system in use
// does half of one.
func (d *Disk) Observe(durable bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := map[string]*node{} // by the first part of the name
	from := map[*node]*dir{}
	unique := func(name string) string { u, _, _ := strings.Cut(name, ":"); return u }
	for _, rel := range slices.Sorted(maps.Keys(d.dirs)) {
		dir := d.dirs[rel]
		for _, name := range slices.Sorted(maps.Keys(dir.now)) {
			if _, err := os.Lstat(filepath.Join(d.Root, rel, name)); errors.Is(err, fs.ErrNotExist) {
				lost[unique(name)] = dir.now[name]
				from[dir.now[name]] = dir
				dir.set(name, nil)
				if durable {
					dir.sync()
				}
			}
		}
	}
	return filepath.WalkDir(d.Root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		dir, name := d.at(path)
		if dir.now[name] != nil {
			return nil
		}
		n := lost[unique(name)]
		if n == nil {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			n = &node{durable: data}
		}
		dir.set(name, n)
		if durable {
			n.sync()
		}
		dir.sync()
		if source := from[n]; source != nil {
			source.sync()
		}
		return nil
	})
}

// Cut writes to root, an empty folder, what is left after a power cut at this
// moment, and returns the disk that lies there. The old one is of no use then.
func (d *Disk) Cut(root string) (*Disk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New(root, d.rng)
	after.Boot = d.Boot + "'"
	for _, rel := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := os.MkdirAll(filepath.Join(root, rel), 0o700); err != nil {
			return nil, err
		}
		dir := d.dirs[rel]
		names := maps.Clone(dir.durable)
		for _, c := range dir.pending[:d.rng.IntN(len(dir.pending)+1)] {
			apply(names, c)
		}
		there := newDir()
		for _, name := range slices.Sorted(maps.Keys(names)) {
			b := names[name].afterCut(d.rng)
			if err := os.WriteFile(filepath.Join(root, rel, name), b, 0o600); err != nil {
				return nil, err
			}
			n := &node{durable: b}
			there.durable[name], there.now[name] = n, n
		}
		after.dirs[rel] = there
	}
	return after, nil
}

func (n *node) afterCut(rng *rand.Rand) []byte {
	b := slices.Clone(n.durable)
	for _, w := range n.pending {
		switch rng.IntN(3) {
		case 0: // not written
		case 1:
			b = w.apply(b, len(w.data))
		default: // in part
			b = w.apply(b, rng.IntN(len(w.data)+1))
		}
	}
	return b
}
