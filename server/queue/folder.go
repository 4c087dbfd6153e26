package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"mailsrv/server/safeio"
)

// folder is the queue on disk:
//
//	ID.eml ID.toml    a message
//	ID.new .new-*     being written
//	damaged/          ID.eml and ID.toml that cannot be used, and why in ID.txt
//	commands/         see command.go
//	paused            while delivery is switched off
type folder struct {
	path string
	fs   safeio.FS // what messages are written with

	// step is called before each change of the disk, so that a test can fail
	// it, or take the folder as a crash at this moment would leave it.
	step func(what string) error
}

func (f *folder) envelope(id string) string { return filepath.Join(f.path, id+".toml") }
func (f *folder) text(id string) string     { return filepath.Join(f.path, id+".eml") }
func (f *folder) unborn(id string) string   { return filepath.Join(f.path, id+".new") }
func (f *folder) damaged() string           { return filepath.Join(f.path, "damaged") }
func (f *folder) commands() string          { return filepath.Join(f.path, "commands") }
func (f *folder) pauseFile() string         { return filepath.Join(f.path, "paused") }

// do is one change of the disk.
func (f *folder) do(what string, change func() error) error {
	if f.step != nil {
		if err := f.step(what); err != nil {
			return err
		}
	}
	return change()
}

// damage is what is wrong with a message, other than that the disk fails.
type damage struct{ why string }

func (d *damage) Error() string { return d.why }

// load reads an envelope and holds it against the text's size; the error is
// *damage when there is no point in reading again.
func (f *folder) load(id string) (*Envelope, error) {
	data, err := os.ReadFile(f.envelope(id))
	if err != nil {
		return nil, err
	}
	e, err := decode(data)
	if err != nil {
		return nil, &damage{fmt.Sprintf("%s.toml: %v", id, err)}
	}
	if e.ID != id {
		return nil, &damage{fmt.Sprintf("%s.toml is the envelope of %s", id, e.ID)}
	}
	info, err := os.Stat(f.text(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &damage{id + ".eml is missing"}
	case err != nil:
		return nil, err
	case info.Size() != e.Size:
		return nil, &damage{fmt.Sprintf("%s.eml has %d octets, its envelope says %d", id, info.Size(), e.Size)}
	}
	return e, nil
}

// save replaces an envelope, durably or not.
func (f *folder) save(id string, data []byte, synced bool) error {
	return f.do("save", func() error {
		path, next := f.envelope(id), f.unborn(id)
		err := f.write(next, data, os.O_TRUNC, synced)
		if err == nil {
			err = safeio.Adopt(next)
		}
		if err == nil {
			err = f.fs.Rename(next, path)
		}
		if err == nil && synced {
			err = f.fs.SyncDir(f.path)
		}
		if err != nil {
			_ = f.fs.Remove(next)
		}
		return err
	})
}

// write makes a file; flag is os.O_EXCL, or os.O_TRUNC to write over one.
func (f *folder) write(path string, data []byte, flag int, synced bool) error {
	file, err := f.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil && synced {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// sync makes the octets of a file durable. One that is gone has none.
func (f *folder) sync(path string) error {
	file, err := f.fs.OpenFile(path, os.O_RDWR, 0) // Windows flushes only what may be written
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = file.Sync()
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// remove removes a file; one that is gone already is no error.
func (f *folder) remove(path string) error {
	if err := f.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// setAside moves a message that cannot be used out of the way.
func (f *folder) setAside(id string, why error) error {
	err := f.do("set aside", func() error {
		return safeio.WriteFile(filepath.Join(f.damaged(), id+".txt"), []byte(why.Error()+"\n"), 0o600)
	})
	for _, from := range []string{f.text(id), f.envelope(id)} {
		if err == nil {
			err = os.Rename(from, filepath.Join(f.damaged(), filepath.Base(from)))
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	if err == nil {
		err = errors.Join(safeio.SyncDir(f.damaged()), safeio.SyncDir(f.path))
	}
	return err
}

// removeDamaged deletes what setAside moved.
func (f *folder) removeDamaged(id string) (string, error) {
	why := filepath.Join(f.damaged(), id+".txt")
	if _, err := os.Stat(why); errors.Is(err, fs.ErrNotExist) {
		return NotFound, nil
	}
	for _, path := range []string{f.text(id), f.envelope(id)} {
		if err := removeFile(filepath.Join(f.damaged(), filepath.Base(path))); err != nil {
			return "", err
		}
	}
	return Done, removeFile(why)
}

// clear removes what was never finished, and the texts of messages that are
// done, and returns the ids of all messages.
func (f *folder) clear() ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	var ids []string
	have := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".toml"); ok && validID(id) {
			ids = append(ids, id)
			have[id] = true
		}
	}
	for _, e := range entries {
		name := e.Name()
		id, text := strings.CutSuffix(name, ".eml")
		orphan := text && validID(id) && !have[id]
		if orphan || strings.HasSuffix(name, ".new") || strings.HasPrefix(name, ".new-") {
			if err := f.fs.Remove(filepath.Join(f.path, name)); err != nil {
				return nil, err
			}
		}
	}
	return ids, nil
}

// dirSync makes names in a folder durable, for many callers at once.
type dirSync struct {
	sync func() error
	work sync.Mutex // held by the one who syncs

	mu   sync.Mutex
	next *syncing // not begun yet
}

type syncing struct {
	done chan struct{}
	err  error
}

// do returns after a sync that began after the call.
func (d *dirSync) do() error {
	d.mu.Lock()
	s, first := d.next, d.next == nil
	if first {
		s = &syncing{done: make(chan struct{})}
		d.next = s
	}
	d.mu.Unlock()
	if first {
		d.work.Lock()
		d.mu.Lock()
		d.next = nil
		d.mu.Unlock()
		s.err = d.sync()
		d.work.Unlock()
		close(s.done)
	}
	<-s.done
	return s.err
}
