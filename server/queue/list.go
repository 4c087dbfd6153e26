package queue

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mailsrv/codes"
)

// Listing is what lies in a queue.
type Listing struct {
	Paused   bool        `json:"paused"`
	Messages []*Envelope `json:"messages"` // oldest first
	Damaged  []Damaged   `json:"damaged,omitempty"`
}

// Damaged is a message that cannot be used.
type Damaged struct {
	ID     string `json:"id"`
	Folder string `json:"folder"` // where its files lie
	Why    string `json:"why"`
}

// List reads the queue of a data directory, whether a server runs on it or
// not. It changes nothing. A data directory without a queue has an empty one.
func List(dataDir string) (Listing, error) {
	f := &folder{path: Dir(dataDir)}
	var l Listing
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), ".toml")
		if !ok || !validID(id) {
			l.Paused = l.Paused || entry.Name() == filepath.Base(f.pauseFile())
			continue
		}
		e, err := f.load(id)
		var d *damage
		switch {
		case err == nil:
			l.Messages = append(l.Messages, e)
		case errors.As(err, &d):
			// A message that goes out in this moment is no damage.
			if _, statErr := os.Stat(f.envelope(id)); statErr == nil {
				l.Damaged = append(l.Damaged, Damaged{id, f.path, d.why})
			}
		case !errors.Is(err, fs.ErrNotExist):
			return l, err
		}
	}
	slices.SortFunc(l.Messages, func(a, b *Envelope) int {
		return cmp.Or(a.Accepted.Compare(b.Accepted), strings.Compare(a.ID, b.ID))
	})
	aside, err := os.ReadDir(f.damaged())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	for _, entry := range aside {
		if id, ok := strings.CutSuffix(entry.Name(), ".txt"); ok {
			why, err := os.ReadFile(filepath.Join(f.damaged(), entry.Name()))
			if err != nil {
				return l, err
			}
			l.Damaged = append(l.Damaged, Damaged{id, f.damaged(), strings.TrimSpace(string(why))})
		}
	}
	return l, nil
}

// Show reads one message's envelope, and says where its text lies. The error is
// fs.ErrNotExist when there is no such message.
func Show(dataDir, id string) (e *Envelope, text string, err error) {
	f := &folder{path: Dir(dataDir)}
	if !validID(id) {
		return nil, "", fs.ErrNotExist
	}
	e, err = f.load(id)
	return e, f.text(id), err
}

// Why says in a few words why a recipient has not got the message yet; empty
// when it has, or was not tried yet. The other host's own words are in Reply.
func (r *Recipient) Why(lang codes.Lang) string {
	if r.Cause == "" || r.Cause == "unknown" {
		return ""
	}
	c := codes.CauseOf(r.Cause)
	if c == nil {
		return ""
	}
	return c.Text(lang).Title
}
