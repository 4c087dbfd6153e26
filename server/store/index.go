package store

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailsrv/server/safeio"
)

// The index of a mailbox is the list of its messages as a session last found
// it: the file "index" beside the Maildir. It is a cache and nothing else: one
// that is missing, damaged or older than the folders costs time, no mail.
//
//	magic | listed, stamp of new, stamp of cur: 8 octets each | entries | CRC-32C
//
// Each entry is its folder and flags, then as varints the size, the length of
// the UID if it is the beginning of the name (0 if not), the octets measured if
// any, the length of the name; and the name.

const (
	indexMagic = "mailsrv index 1\n"
	indexFrom  = 256 // messages from which on the folders take longer to list than the index to read
	indexHead  = len(indexMagic) + 8*(1+int(parts))

	flagCRLF     = 1 << 4
	flagMeasured = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// index is an index in memory.
type index struct {
	listed  time.Time // when the listing began
	stamps  [parts]stamp
	entries []entry // in order; without order
}

// stamp is when a folder changed last, in nanoseconds since 1970; 0 for one
// that cannot be looked at.
type stamp int64

func stampOf(dir string) stamp {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	return stamp(info.ModTime().UnixNano())
}

func (s stamp) same(other stamp) bool { return s != 0 && s == other }

// settled tells whether a change after t shows in the stamp. File systems tell
// time in steps: of a clock tick of at most 10 ms, or, some, of 2 s. What changes
// a second time within one step keeps its stamp.
func (s stamp) settled(t time.Time) bool {
	step := 100 * time.Millisecond
	if s%stamp(10*time.Millisecond) == 0 {
		step = 2100 * time.Millisecond
	}
	return t.UnixNano()-int64(s) > int64(step)
}

// fresh tells whether the index still says what is in a folder.
func (x *index) fresh(p part, now stamp) bool {
	return x.stamps[p].same(now) && x.stamps[p].settled(x.listed)
}

func (m *mailbox) indexFile() string { return filepath.Join(Dir(m.s.dataDir, m.box), "index") }

// dropIndex makes the next session list the folders again.
func (m *mailbox) dropIndex() { _ = os.Remove(m.indexFile()) }

// writeIndex writes without syncing: damage is found by the checksum. Without
// an index the next session takes longer, that is all.
func (m *mailbox) writeIndex(x index) { _ = safeio.WriteCache(m.indexFile(), x.encode(), 0o600) }

func (x *index) encode() []byte {
	size := indexHead + 4
	for i := range x.entries {
		size += len(x.entries[i].name) + 12
	}
	b := append(make([]byte, 0, size), indexMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(x.listed.UnixNano()))
	for _, s := range x.stamps {
		b = binary.LittleEndian.AppendUint64(b, uint64(s))
	}
	for i := range x.entries {
		e := &x.entries[i]
		head := byte(e.part)
		if e.crlf {
			head |= flagCRLF
		}
		if e.measured >= 0 {
			head |= flagMeasured
		}
		b = append(b, head)
		b = binary.AppendUvarint(b, uint64(e.size))
		uid := len(e.uid)
		if !strings.HasPrefix(e.name, e.uid) {
			uid = 0
		}
		b = binary.AppendUvarint(b, uint64(uid))
		if e.measured >= 0 {
			b = binary.AppendUvarint(b, uint64(e.measured))
		}
		b = binary.AppendUvarint(b, uint64(len(e.name)))
		b = append(b, e.name...)
	}
	return withSum(b)
}

func withSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readIndex returns an empty index, which is fresh for no folder, when there is
// none that can be used.
func readIndex(path string) *index {
	data, err := os.ReadFile(path)
	if err != nil {
		return &index{}
	}
	x, ok := decodeIndex(data)
	if !ok {
		return &index{}
	}
	return x
}

func decodeIndex(b []byte) (*index, bool) {
	end := len(b) - 4
	if end < indexHead || string(b[:len(indexMagic)]) != indexMagic {
		return nil, false
	}
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, false
	}
	at := len(indexMagic)
	fixed := func() uint64 {
		at += 8
		return binary.LittleEndian.Uint64(b[at-8:])
	}
	x := &index{listed: time.Unix(0, int64(fixed()))}
	for p := range x.stamps {
		x.stamps[p] = stamp(fixed())
	}
	ok := true
	length := func(most int) int64 {
		n, k := binary.Uvarint(b[at:end])
		if k <= 0 || n > uint64(most) {
			ok = false
			return 0
		}
		at += k
		return int64(n)
	}
	const anySize = 1 << 62
	s := string(b) // all names are parts of it
	x.entries = make([]entry, 0, (end-at)/64)
	for at < end && ok {
		head := b[at]
		at++
		e := entry{file: file{part: part(head & 0xf), crlf: head&flagCRLF != 0, measured: -1}}
		e.size = length(anySize)
		uid := length(maxName)
		if head&flagMeasured != 0 {
			e.measured = length(anySize)
		}
		n := int(length(min(maxName, end-at)))
		if !ok || n > end-at || e.part >= parts || uid > int64(n) {
			return nil, false
		}
		e.name = s[at : at+n]
		at += n
		if e.name == "" || e.name[0] == '.' || strings.ContainsAny(e.name, "/\x00"+string(os.PathSeparator)) {
			return nil, false
		}
		if e.uid = e.name[:uid]; uid == 0 {
			e.uid = parseName(e.name).uid
		}
		x.entries = append(x.entries, e)
	}
	return x, ok
}

// maxName is the longest file name that any system takes.
const maxName = 1024
