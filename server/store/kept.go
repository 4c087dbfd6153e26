package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mailsrv/server/safeio"
)

// Deleted mail is kept in the folder "deleted" beside the Maildir, where no
// other program looks for mail: one folder for each hour (UTC) in which
// something was deleted, and in it the files under their names. So the file
// itself is never touched, bringing a message back is one rename, and what is
// too old is found without looking at files.

const hourForm = "2006-01-02T15"

func (s *Maildirs) keptDir(box Box) string { return filepath.Join(Dir(s.dataDir, box), "deleted") }

// bin is where deleted messages go; in the zero one they are gone for good.
type bin struct{ dir string }

// bin makes the folder for what is deleted now.
func (s *Maildirs) bin(box Box, now time.Time) (bin, error) {
	if s.Keep <= 0 {
		return bin{}, nil
	}
	dir := filepath.Join(s.keptDir(box), now.UTC().Format(hourForm))
	err := DiskError(safeio.MkdirAll(dir, 0o700))
	if errors.Is(err, ErrFull) {
		return bin{}, nil
	}
	return bin{dir}, err
}

// take deletes a file. When the disk is full even for a name, the message goes
// for good: who deletes then wants the room.
func (b bin) take(path, name string) error {
	if b.dir != "" {
		if err := os.Rename(path, filepath.Join(b.dir, name)); !errors.Is(DiskError(err), ErrFull) {
			return err
		}
	}
	return os.Remove(path)
}

func (b bin) sync() error {
	if b.dir == "" {
		return nil
	}
	return safeio.SyncDir(b.dir)
}

// Kept is a deleted message that can still be brought back.
type Kept struct {
	UID     string
	Size    int64     // octets with CRLF line ends, or of the file if its name does not tell
	Deleted time.Time // to the hour where the history does not know better
	Until   time.Time // when it is removed for good
	By      By
	Fields

	path, name string
}

// Kept lists the deleted messages that can be brought back, in the order they
// were deleted.
func (s *Maildirs) Kept(box Box) ([]Kept, error) {
	hours, err := readHours(s.keptDir(box))
	if err != nil || len(hours) == 0 {
		return nil, err
	}
	// What the history cannot tell, the file can.
	events, _, _ := s.History(box)
	last := map[string]Event{}
	for _, e := range events {
		if e.What == Deleted {
			last[e.UID] = e
		}
	}
	var out []Kept
	for _, h := range hours {
		dir := filepath.Join(s.keptDir(box), h.Format(hourForm))
		names, err := readNames(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			k := Kept{Deleted: h, Until: h.Add(time.Hour + s.Keep), path: filepath.Join(dir, name), name: name}
			p := parseName(name)
			k.UID, k.Size = p.uid, p.size
			if e, ok := last[k.UID]; ok {
				k.Deleted, k.Size, k.By, k.Fields = e.Time, e.Size, e.By, e.Fields
			} else if k.Fields = fieldsOf(k.path); k.Size < 0 {
				if info, err := os.Lstat(k.path); err == nil {
					k.Size = info.Size()
				}
			}
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b Kept) int {
		return cmp.Or(a.Deleted.Compare(b.Deleted), cmp.Compare(a.name, b.name))
	})
	return out, nil
}

func fieldsOf(path string) Fields {
	f, err := os.Open(path)
	if err != nil {
		return Fields{}
	}
	defer f.Close()
	return readFields(f)
}

// readHours lists the hours for which there is a folder.
func readHours(dir string) ([]time.Time, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []time.Time
	for _, e := range entries {
		if t, err := time.Parse(hourForm, e.Name()); err == nil && e.IsDir() {
			out = append(out, t)
		}
	}
	return out, err
}

// Restore brings deleted messages back, durably and under the same UIDs. A
// POP3 session that is open shows them at its next login. The error is ErrGone
// for one that was brought back or removed since Kept.
func (s *Maildirs) Restore(box Box, kept []Kept, by By) error {
	if len(kept) == 0 {
		return nil
	}
	if err := s.make(box); err != nil {
		return err
	}
	var events []Event
	var errs []error
	touched, from := [parts]bool{}, map[string]bool{}
	for _, k := range kept {
		p := inNew
		if flagsAt(k.name) >= 0 {
			p = inCur
		}
		err := os.Rename(k.path, filepath.Join(s.maildir(box, p.String()), k.name))
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrGone
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("message %s: %w", k.UID, DiskError(err)))
			continue
		}
		touched[p], from[filepath.Dir(k.path)] = true, true
		events = append(events, Event{Time: s.now().UTC(), What: Restored, UID: k.UID, Size: k.Size, By: by, Fields: k.Fields})
	}
	for p := range parts {
		if touched[p] {
			errs = append(errs, safeio.SyncDir(s.maildir(box, p.String())))
		}
	}
	for dir := range from {
		errs = append(errs, safeio.SyncDir(dir))
	}
	if len(events) > 0 {
		errs = append(errs, s.record(box, events))
	}
	return errors.Join(errs...)
}

// Expire removes the deleted mail of all mailboxes that has been kept long
// enough, and tells how much that was.
func (s *Maildirs) Expire(ctx context.Context) (messages int, octets int64, err error) {
	var errs []error
	before := s.now().Add(-s.Keep - time.Hour)
	for _, dir := range s.boxDirs() {
		dir = filepath.Join(dir, "deleted")
		hours, err := readHours(dir)
		errs = append(errs, err)
		for _, h := range hours {
			if h.After(before) || ctx.Err() != nil {
				continue
			}
			hour := filepath.Join(dir, h.Format(hourForm))
			names, _ := readNames(hour)
			for _, name := range names {
				if info, err := os.Lstat(filepath.Join(hour, name)); err == nil {
					messages, octets = messages+1, octets+info.Size()
				}
			}
			errs = append(errs, os.RemoveAll(hour))
		}
	}
	return messages, octets, errors.Join(append(errs, ctx.Err())...)
}

// boxDirs are the folders of all mailboxes.
func (s *Maildirs) boxDirs() []string {
	var out []string
	root := filepath.Join(s.dataDir, "mail")
	domains, _ := os.ReadDir(root)
	for _, d := range domains {
		users, _ := os.ReadDir(filepath.Join(root, d.Name()))
		for _, u := range users {
			out = append(out, filepath.Join(root, d.Name(), u.Name()))
		}
	}
	return out
}

// UIDs are those of the messages in a mailbox. It may be open meanwhile.
func (s *Maildirs) UIDs(box Box) (map[string]bool, error) {
	out := map[string]bool{}
	for p := range parts {
		names, err := readNames(s.maildir(box, p.String()))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			out[parseName(name).uid] = true
		}
	}
	return out, nil
}
