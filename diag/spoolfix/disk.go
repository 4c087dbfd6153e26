package spoolfix

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// disk does all that changes files, one step after another. The zero value
// works; tests stop it before a step, as a crash would.
type disk struct {
	before   func(step string) // called before each step
	dead     bool              // a test has stopped it: nothing is tidied up any more
	noSync   bool              // tests: do not wait for the disk
	buffer   int               // octets written at a time; 0: 256 KiB
	patience time.Duration     // how long to wait for a lock; 0: 3 s

	dotlock string // the one that is held
	touched time.Time
}

// refresh keeps a dotlock young during long work: others break old ones.
func (d *disk) refresh() {
	if now := time.Now(); d.dotlock != "" && now.Sub(d.touched) > 10*time.Second {
		d.touched = now
		_ = os.Chtimes(d.dotlock, now, now)
	}
}

func (d *disk) step(name string) {
	if d.before != nil {
		d.before(name)
	}
}

func (d *disk) sync(f *os.File) error {
	d.step("sync " + filepath.Base(f.Name()))
	if d.noSync {
		return nil
	}
	return f.Sync()
}

func (d *disk) syncDir(dir string) error {
	d.step("syncdir")
	if d.noSync || runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (d *disk) rename(from, to string) error {
	d.step("rename " + filepath.Base(to))
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(to))
}

// remove deletes a file that must still be the one that is open as f.
func (d *disk) remove(path string, f *os.File) error {
	if err := same(path, f); err != nil {
		return err
	}
	d.step("remove " + filepath.Base(path))
	if runtime.GOOS == "windows" { // which deletes no open file
		_ = f.Close()
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// errChanged: somebody was faster.
var errChanged = errors.New("it has changed since it was looked at")

// errUnsafe: a link, a folder or the like stands where a file should be.
var errUnsafe = errors.New("is no ordinary file")

// same makes sure that path still leads to the open file.
func same(path string, f *os.File) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errChanged, err)
	}
	open, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, open) {
		return fmt.Errorf("%s: %w", path, errChanged)
	}
	return nil
}

// open opens an ordinary file, for writing if that is allowed (which some locks
// want), and follows no link.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
	if errors.Is(err, fs.ErrPermission) {
		f, err = os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	}
	if err != nil {
		if info, serr := os.Lstat(path); serr == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: %w", path, errUnsafe)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, errUnsafe)
	}
	if err == nil {
		err = same(path, f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// writeNew writes a file beside its final place, makes it durable, and returns
// it open for reading. A file of that name that a crash left is replaced. The
// owner and mode are those of like, or of the caller when that is nil.
func (d *disk) writeNew(path string, like fs.FileInfo, mode fs.FileMode, write func(io.Writer) error) (f *os.File, err error) {
	d.step("create " + filepath.Base(path))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			d.discard(path)
			f = nil
		}
	}()
	if like != nil {
		if err := giveTo(f, like); err != nil {
			return f, err
		}
	}
	size := d.buffer
	if size == 0 {
		size = 256 << 10
	}
	w := &stepWriter{d: d, f: f, size: size}
	if err := write(w); err != nil {
		return f, err
	}
	if err := w.flush(); err != nil {
		return f, err
	}
	if err := f.Chmod(mode); err != nil && runtime.GOOS != "windows" {
		return f, err
	}
	return f, d.sync(f)
}

// discard removes a file of ours after a failure. It is also removed by the
// next run, so an error does not matter.
func (d *disk) discard(path string) {
	if !d.dead {
		_ = os.Remove(path)
	}
}

// stepWriter writes in pieces of a size, each a step.
type stepWriter struct {
	d    *disk
	f    *os.File
	size int
	buf  []byte
}

func (w *stepWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for len(w.buf) >= w.size {
		w.d.step("write")
		w.d.refresh()
		if _, err := w.f.Write(w.buf[:w.size]); err != nil {
			return 0, err
		}
		w.buf = w.buf[:copy(w.buf, w.buf[w.size:])]
	}
	return len(p), nil
}

func (w *stepWriter) flush() error {
	w.d.step("write")
	_, err := w.f.Write(w.buf)
	w.buf = nil
	return err
}

// stamp is the time in the names of copies, to the second, in UTC.
const stamp = "20060102T150405Z"

// mayGive: this process may give files to others.
var mayGive = os.Geteuid() == 0

// keep copies a file into dir under a dated name, and returns that. The copy is
// readable for the owner of the file only.
func (d *disk) keep(f *os.File, dir string, now time.Time) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	name := filepath.Base(f.Name())
	like := info
	if !mayGive {
		like = nil
	}
	tmp := filepath.Join(dir, newName(name+".bak"))
	out, err := d.writeNew(tmp, like, 0o600, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, 0, info.Size()))
		return err
	})
	if err != nil {
		return "", err
	}
	out.Close()
	base := filepath.Join(dir, name+"."+now.UTC().Format(stamp))
	path := base + ".bak"
	for n := 2; ; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		path = fmt.Sprintf("%s-%d.bak", base, n)
	}
	if err := d.rename(tmp, path); err != nil {
		d.discard(tmp)
		return "", err
	}
	return path, nil
}

// newName is the name under which a file is written before it takes its place.
func newName(base string) string {
	if base[0] == '.' {
		base = base[1:]
	}
	return "." + base + ".mailsrv-new"
}
