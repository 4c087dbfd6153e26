package policy

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailsrv/server/safeio"
)

// maxPasses bounds how many addresses are open at once.
const maxPasses = 10_000

// Pass is what a POP login has opened for an address.
type Pass struct {
	User  string    `json:"user"`
	Until time.Time `json:"until"`
}

// Passes are the addresses from which somebody has fetched mail within the
// window: POP before SMTP. They are kept in the data directory, so that they
// outlive a restart, and relay-test can see them.
type Passes struct {
	file   string
	window time.Duration

	mu   sync.Mutex
	seen fs.FileInfo
	open map[netip.Addr]Pass
}

// OpenPasses returns the passes of a data directory.
func OpenPasses(dataDir string, window time.Duration) *Passes {
	return &Passes{file: filepath.Join(dataDir, "pop-before-smtp.json"), window: window, open: map[netip.Addr]Pass{}}
}

// read takes in what another process has written. What cannot be read opens
// nothing.
func (p *Passes) read() {
	info, err := os.Stat(p.file)
	if err != nil || p.seen != nil && os.SameFile(info, p.seen) && info.ModTime().Equal(p.seen.ModTime()) {
		return
	}
	data, err := os.ReadFile(p.file)
	if err != nil {
		return
	}
	open := map[netip.Addr]Pass{}
	if json.Unmarshal(data, &open) == nil {
		p.seen = info
		for a, pass := range open {
			if pass.Until.After(p.open[a].Until) {
				p.open[a] = pass
			}
		}
	}
}

// Open returns the pass of a client.
func (p *Passes) Open(client netip.Addr) (Pass, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read()
	pass, ok := p.open[client.Unmap().WithZone("")]
	now := time.Now()
	// A window that was made smaller holds for old passes too.
	return pass, ok && now.Before(pass.Until) && pass.Until.Sub(now) <= p.window
}

// LoggedIn opens a client's address for the window.
func (p *Passes) LoggedIn(user string, client netip.Addr, log *slog.Logger) {
	client = client.Unmap().WithZone("")
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read()
	old := p.open[client]
	p.open[client] = Pass{User: user, Until: now.Add(p.window)}
	if old.User == user && old.Until.Sub(now) > p.window/4*3 {
		return // a client that looks every minute need not be written down each time
	}
	for a, pass := range p.open {
		if now.After(pass.Until) {
			delete(p.open, a)
		}
	}
	for a := range p.open {
		if len(p.open) <= maxPasses {
			break
		}
		delete(p.open, a)
	}
	if err := p.write(); err != nil {
		log.Error("addresses opened by POP logins cannot be kept; a restart forgets them", "error", err)
	}
}

func (p *Passes) write() error {
	data, err := json.Marshal(p.open)
	if err != nil {
		return err
	}
	if err := safeio.WriteFile(p.file, append(data, '\n'), 0o600); err != nil {
		return err
	}
	info, err := os.Stat(p.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.seen = info
	return nil
}
