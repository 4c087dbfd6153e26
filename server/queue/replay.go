package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"time"

	"mailsrv/server/store"
	"mailsrv/server/store/journal"
)

// Restore implements journal.Owner.
func (k *Keeper) Restore(data []byte, placed bool) (journal.Item, error) {
	if len(data) < markLen {
		return nil, errRecord
	}
	if err := k.folder.fs.MkdirAll(k.folder.path, 0o700); err != nil {
		return nil, store.DiskError(err)
	}
	switch data[1] {
	case recordMessage:
		return k.restoreMessage(data, placed)
	case recordEnvelope:
		return k.restoreEnvelope(data[markLen:], placed)
	case recordDone:
		ids := strings.Split(string(data[markLen:]), "\n")
		for _, id := range ids {
			if !validID(id) {
				return nil, errRecord
			}
			if err := errors.Join(k.folder.remove(k.folder.envelope(id)), k.folder.remove(k.folder.text(id))); err != nil {
				return nil, store.DiskError(err)
			}
			k.mu.Lock()
			k.done[id] = true
			k.mu.Unlock()
		}
		return &note{ids: ids, done: true}, nil
	}
	return nil, errRecord
}

// restoreMessage puts a message back into the folder.
func (k *Keeper) restoreMessage(data []byte, placed bool) (journal.Item, error) {
	text, env, err := parseMessage(data)
	if err != nil {
		return nil, err
	}
	e, err := decode(env)
	if err != nil {
		return k.restoreDamaged(text, env)
	}
	l := &letter{id: e.ID, k: k, state: filed}
	if placed || k.isDone(e.ID) {
		return l, nil
	}
	f := k.folder
	err = func() error {
		have, err := os.ReadFile(f.text(e.ID))
		if err != nil || !bytes.Equal(have, text) {
			// Its octets may not have got there before its name, or its size.
			if err := f.write(f.text(e.ID), text, os.O_TRUNC, false); err != nil {
				return err
			}
		}
		return k.restoreFile(e, false)
	}()
	k.mu.Lock()
	if err == nil {
		delete(k.unborn, e.ID)
	} else {
		k.unborn[e.ID] = true
	}
	k.mu.Unlock()
	if err != nil {
		return nil, store.DiskError(err)
	}
	if q := k.queue.Load(); q != nil {
		q.found(e.ID) // late: the disk was full when the server started
	}
	return l, nil
}

// restoreDamaged puts a message into the folder whose envelope says nothing,
// which the queue then sets aside: it must not keep the journal from going on.
func (k *Keeper) restoreDamaged(text, env []byte) (journal.Item, error) {
	id := fmt.Sprintf("JOURNAL%08X", crc32.ChecksumIEEE(env))
	err := k.folder.write(k.folder.text(id), text, os.O_TRUNC, false)
	if err == nil {
		err = k.folder.save(id, env, false)
	}
	if err != nil {
		return nil, store.DiskError(err)
	}
	if q := k.queue.Load(); q != nil {
		q.found(id)
	}
	return &letter{id: id, k: k, state: filed}, nil
}

func (k *Keeper) isDone(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.done[id]
}

// restoreFile puts an envelope in its place unless a later one is there.
func (k *Keeper) restoreFile(e *Envelope, synced bool) error {
	if have, err := k.folder.load(e.ID); err == nil && have.Saved >= e.Saved {
		return nil
	}
	return k.folder.save(e.ID, e.encode(), synced)
}

func (k *Keeper) restoreEnvelope(data []byte, placed bool) (journal.Item, error) {
	e, err := decode(data)
	if err != nil {
		return &note{done: true}, nil // the earlier one stays
	}
	n := &note{ids: []string{e.ID}}
	k.mu.Lock()
	unborn := k.unborn[e.ID]
	k.mu.Unlock()
	if unborn {
		return nil, store.ErrFull // first the message itself
	}
	if placed || k.isDone(e.ID) {
		return n, nil
	}
	// Without its text the message is done: that goes last.
	if _, err := os.Stat(k.folder.text(e.ID)); errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	// Synced: after kill -9 the record may be in the page cache alone, and must
	// not take a good file along when the power goes, too.
	if err := k.restoreFile(e, true); err != nil {
		return nil, store.DiskError(err)
	}
	return n, nil
}

// found takes a message into the schedule that lies in the folder.
func (q *Queue) found(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items[id] == nil {
		it := &item{id: id}
		q.items[id] = it
		q.chore(it)
	}
}

// Settle implements journal.Owner: what is still in the journal alone gets its
// files now.
func (k *Keeper) Settle(items []journal.Item) error {
	for _, i := range items {
		if l, ok := i.(*letter); ok {
			if err := k.file(l); err != nil {
				return err
			}
		}
	}
	if ok, err := k.folder.fs.SyncFS([]string{k.folder.path}); ok {
		return err
	}
	for _, i := range items {
		var ids []string
		switch i := i.(type) {
		case *letter:
			ids = []string{i.id}
		case *note:
			if !i.done {
				ids = i.ids
			}
		}
		for _, id := range ids {
			if err := errors.Join(k.folder.sync(k.folder.text(id)), k.folder.sync(k.folder.envelope(id))); err != nil {
				return err
			}
		}
	}
	return k.folder.fs.SyncDir(k.folder.path)
}

// Repair implements journal.Owner.
func (k *Keeper) Repair(i journal.Item, data []byte) error {
	f := k.folder
	var id string
	switch i := i.(type) {
	case *letter:
		id = i.id
		if err := k.file(i); err != nil {
			return err
		}
	case *note:
		if i.done {
			return f.fs.SyncDir(f.path)
		}
		id = i.ids[0]
	}
	k.repairing.Lock()
	defer k.repairing.Unlock()
	have, err := os.ReadFile(f.envelope(id))
	if errors.Is(err, fs.ErrNotExist) {
		return f.fs.SyncDir(f.path) // done
	}
	if err != nil {
		return err
	}
	if text, _, err := parseMessage(data); err == nil {
		next := f.text(id) + ".new"
		if err := f.write(next, text, os.O_TRUNC, true); err != nil {
			return err
		}
		if err := f.fs.Rename(next, f.text(id)); err != nil {
			return err
		}
	}
	return f.save(id, have, true)
}

// fileAfter, up to twice that, is how long a message may lie in the journal
// alone, while somebody may ask what is in the queue.
const fileAfter = 250 * time.Millisecond
