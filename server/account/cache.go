package account

import (
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

// cache keeps account files as they were decoded. Each use asks the system
// whether the file is still the one that was read, so that changes hold at
// once; reading and decoding it is what it spares.
type cache struct {
	mu    sync.Mutex
	files map[string]cached
}

type cached struct {
	info  fs.FileInfo
	entry entry // its slices are shared and must not be written to
}

const (
	// maxCached bounds the memory: an entry has about 1 KiB.
	maxCached = 4096

	// restless is how young a change must be to be possibly followed by another
	// that leaves time and size the same. FAT counts time in 2 seconds.
	restless = 3 * time.Second
)

// read is readEntry, from memory if the file has not changed.
func (c *cache) read(file, name, domain string) (entry, error) {
	// Before reading: what is put in its place meanwhile shows the next time.
	info, err := os.Stat(file)
	if err != nil {
		return readEntry(file, name, domain) // knows what the error means
	}
	c.mu.Lock()
	last, ok := c.files[file]
	c.mu.Unlock()
	if ok && os.SameFile(info, last.info) && info.ModTime().Equal(last.info.ModTime()) && info.Size() == last.info.Size() {
		return last.entry, nil
	}
	e, err := readEntry(file, name, domain)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || time.Since(info.ModTime()) < restless {
		delete(c.files, file)
		return e, err
	}
	if c.files == nil || len(c.files) >= maxCached {
		c.files = map[string]cached{}
	}
	e.Forward = slices.Clip(e.Forward)
	c.files[file] = cached{info, e}
	return e, nil
}
