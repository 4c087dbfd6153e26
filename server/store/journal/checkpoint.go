package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// checkpoints is the checkpointer: it settles segments that are full, or whose
// first record has waited long enough, and frees them.
func (j *Journal) checkpoints() {
	for {
		segments, ok := j.due()
		if !ok {
			return
		}
		j.mu.Lock()
		last := j.closed // an attempt that began before is not the last one
		j.mu.Unlock()
		err := j.settle(segments)
		j.mu.Lock()
		j.stuck = err
		j.changed.Broadcast()
		j.mu.Unlock()
		if err == nil {
			continue
		}
		j.opt.Log.Error("journal: checkpoint failed; the messages stay in the journal too", "error", err, "again_in", j.opt.Every)
		if last {
			return
		}
		j.pause(j.opt.Every)
	}
}

// pause waits, or until somebody wants a checkpoint.
func (j *Journal) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-j.nudge:
	}
}

// due waits for full segments of which every record is placed.
func (j *Journal) due() ([]*segment, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if len(j.full) > 0 {
			for _, s := range j.full {
				for s.pending > 0 {
					j.changed.Wait()
				}
			}
			return append([]*segment(nil), j.full...), true
		}
		if j.closed && j.active == nil && !j.writing {
			return nil, false
		}
		wait := time.Hour
		if j.active != nil && len(j.active.entries) > 0 {
			wait = j.opt.Every - time.Since(j.since)
			if wait <= 0 && !j.rotate {
				j.wantRotation()
				continue
			}
			wait = max(wait, time.Second)
		}
		j.mu.Unlock()
		j.pause(wait)
		j.mu.Lock()
	}
}

// settle makes durable what was done for the records of segments, and frees
// them, in order.
func (j *Journal) settle(segments []*segment) error {
	var items []Item
	repair := false
	for _, s := range segments {
		if _, failed, err := j.restore(s, nil); failed > 0 {
			return fmt.Errorf("%d messages cannot be restored: %w", failed, err)
		}
		for _, e := range s.entries {
			items = append(items, e.item)
		}
		repair = repair || s.suspect
	}
	if !repair {
		if err := j.opt.Owner.Settle(items); err != nil {
			j.opt.Log.Error("journal: files cannot be made durable and are written again", "files", len(items), "error", err)
			j.suspect()
			repair = true
		}
	}
	if repair {
		if err := j.repair(segments); err != nil {
			return err
		}
	}
	for _, s := range segments {
		if err := j.recycle(s); err != nil {
			return err
		}
	}
	return nil
}

// suspect marks all segments in use, after an error that may have hit the files
// of any of their records: a later success would mean nothing for them.
func (j *Journal) suspect() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.full {
		s.doubt()
	}
	if s := j.active; s != nil && len(s.entries) > 0 {
		s.doubt()
	}
}

func (j *Journal) repair(segments []*segment) error {
	for _, s := range segments {
		for _, e := range s.entries {
			data, err := j.data(s, e)
			if err == nil {
				err = j.opt.Owner.Repair(e.item, data)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// recycle frees s, which is the first of j.full. One that has failed is
// deleted, one that is damaged kept aside.
func (j *Journal) recycle(s *segment) error {
	var err error
	fsys := j.opt.FS
	if !s.failed && !s.damaged {
		if err = s.writeHeader(stateFree, j.seq.Load()); err == nil {
			err = s.f.SyncData()
		}
		if err != nil {
			s.failed = true
			j.opt.Log.Error("journal segment cannot be freed and is given up", "file", s.path, "error", err)
		}
	}
	gone := s.damaged || s.failed
	if gone {
		_ = s.f.Close() // Windows moves no file that is open
	}
	if s.damaged {
		dir := filepath.Join(j.opt.Dir, DamagedDir)
		if err = fsys.MkdirAll(dir, 0o700); err == nil {
			err = fsys.Rename(s.path, filepath.Join(dir, filepath.Base(s.path)+time.Now().UTC().Format("-20060102T150405")))
		}
		if err == nil {
			err = fsys.SyncDir(dir)
		}
	} else if s.failed {
		err = fsys.Remove(s.path)
	}
	if gone {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // an earlier try got that far
		}
		if err == nil {
			err = fsys.SyncDir(j.opt.Dir)
		}
		if err != nil {
			return fmt.Errorf("journal segment: %w", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range s.entries {
		k := e.item.Key()
		if j.live[k]--; j.live[k] <= 0 {
			delete(j.live, k)
		}
	}
	s.entries, s.suspect = nil, false
	j.full = j.full[1:]
	if gone {
		j.total--
	} else {
		j.free = append(j.free, s)
	}
	j.changed.Broadcast()
	return nil
}
