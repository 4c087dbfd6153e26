// Package quota knows how full mailboxes are. It asks the store how large they
// are, and counts on from there: a mailbox is read again after a while, and
// before anybody is told that it is full.
package quota

import (
	"sync"
	"time"

	"mailsrv/server/account"
	"mailsrv/server/store"
)

const (
	recount    = 5 * time.Minute // other programs may add and delete
	atOnce     = time.Second     // between two counts of a mailbox that is full
	warnEvery  = 24 * time.Hour
	warnTenths = 9 // the owner is told when nine tenths are used
)

// Meter measures the mailboxes of one data directory.
type Meter struct {
	dataDir string
	usual   int64 // of accounts without a quota of their own; 0: no limit

	mu    sync.Mutex
	boxes map[store.Box]*reading
}

type reading struct {
	octets  int64
	counted time.Time
	warned  time.Time
}

// New returns the meter of a data directory. usual is the quota of accounts
// that have none of their own, in octets; 0 is no limit.
func New(dataDir string, usual int64) *Meter {
	return &Meter{dataDir: dataDir, usual: usual, boxes: map[store.Box]*reading{}}
}

// Limit is an account's quota in octets; 0 is no limit.
func (m *Meter) Limit(a account.Account) int64 { return a.Limit(m.usual) }

func boxOf(a account.Account) store.Box { return store.Box{Name: a.Name, Domain: a.Domain} }

// Room is how many octets an account's mailbox can still take, below 0 when it
// is over its quota already; limited is false when it has none.
func (m *Meter) Room(a account.Account) (room int64, limited bool, err error) {
	limit := m.Limit(a)
	if limit == 0 {
		return 0, false, nil
	}
	used, err := m.used(boxOf(a), recount)
	if err == nil && used >= limit {
		used, err = m.used(boxOf(a), atOnce) // its owner may have made room just now
	}
	return limit - used, true, err
}

// Fits tells whether a mailbox can take a message. One that is not full may be
// overfilled by one message where that is better than refusing it.
func (m *Meter) Fits(a account.Account, octets int64) (bool, error) {
	room, limited, err := m.Room(a)
	if err != nil || !limited || octets <= room {
		return true, err
	}
	_, err = m.used(boxOf(a), atOnce)
	if err != nil {
		return true, err
	}
	room, _, err = m.Room(a)
	return octets <= room, err
}

// Added counts a message that has been delivered. warn tells that with it the
// mailbox has become nine tenths full, and its owner is to be told.
func (m *Meter) Added(a account.Account, octets int64) (warn bool, used, limit int64) {
	if limit = m.Limit(a); limit == 0 {
		return false, 0, 0
	}
	box := boxOf(a)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.boxes[box]
	if r != nil && time.Since(r.counted) < recount {
		r.octets += octets
	} else {
		n, err := store.Octets(m.dataDir, box) // the message is in there
		if err != nil {
			return false, 0, limit
		}
		if r == nil {
			r = &reading{}
			m.boxes[box] = r
		}
		r.octets, r.counted = n, time.Now()
	}
	line := limit / 10 * warnTenths
	if r.octets < line || r.octets-octets >= line || time.Since(r.warned) < warnEvery {
		return false, r.octets, limit
	}
	r.warned = time.Now()
	return true, r.octets, limit
}

// used is how large a mailbox is, by a count not older than age.
func (m *Meter) used(box store.Box, age time.Duration) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.boxes[box]
	if r != nil && time.Since(r.counted) < age {
		return r.octets, nil
	}
	n, err := store.Octets(m.dataDir, box)
	if err != nil {
		return 0, err
	}
	if r == nil {
		r = &reading{}
		m.boxes[box] = r
	}
	r.octets, r.counted = n, time.Now()
	return n, nil
}
