package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// On disk, all numbers little-endian.
//
// Segment header, in the file's first 512 octets, which a disk writes whole or
// not at all:
//
//	 0  magic "mailsrvJ"
//	 8  version, 4 octets
//	12  state, 4 octets
//	16  salt, 8 octets
//	24  sequence number of the last record known when it was written, 8 octets
//	32  CRC-32C of the above
//
// Records follow, each at a multiple of 8:
//
//	 0  magic "mjR1"
//	 4  CRC-32C of octets 8 to 40
//	 8  the segment's salt, 8 octets
//	16  sequence number, 8 octets
//	24  synced: everything before this offset was durable when the record was
//	    written, 8 octets
//	32  length of the data, 4 octets
//	36  CRC-32C of the data
//	40  data
const (
	segmentMagic  = "mailsrvJ"
	recordMagic   = "mjR1"
	version       = 1
	segmentHeader = 512
	recordHeader  = 40

	stateFree    = 0
	stateUsed    = 1
	stateSuspect = 2 // used, and see segment.suspect
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func padded(n int) int64 { return (int64(n) + 7) &^ 7 }

// sumData fills in what depends on the data alone, so that the one writer
// does not have to.
func sumData(record []byte) {
	data := record[recordHeader:]
	binary.LittleEndian.PutUint32(record[32:], uint32(len(data)))
	binary.LittleEndian.PutUint32(record[36:], crc32.Checksum(data, castagnoli))
}

func completeHeader(record []byte, salt, seq uint64, synced int64) {
	copy(record, recordMagic)
	binary.LittleEndian.PutUint64(record[8:], salt)
	binary.LittleEndian.PutUint64(record[16:], seq)
	binary.LittleEndian.PutUint64(record[24:], uint64(synced))
	binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(record[8:recordHeader], castagnoli))
}

// header is a segment's.
type header struct {
	state uint32
	salt  uint64
	seq   uint64
}

func (h header) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], h.state)
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	binary.LittleEndian.PutUint64(b[24:], h.seq)
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	return b
}

func parseHeader(b []byte) (header, bool) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) ||
		binary.LittleEndian.Uint32(b[8:]) != version {
		return header{}, false
	}
	h := header{binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])}
	return h, h.state <= stateSuspect
}

func (s *segment) writeHeader(state uint32, seq uint64) error {
	_, err := s.f.WriteAt(header{state, s.salt, seq}.encode(), 0)
	return err
}

// found is a record as read from a segment.
type found struct {
	off    int64
	seq    uint64
	synced int64
	data   []byte
}

// damage is a stretch of a segment that was durable once and cannot be read
// any more.
type damage struct{ from, to int64 }

// read finds the records with salt in a segment's octets. Where a record is
// not whole, the later ones decide: is there one that was written when the bad
// place was durable, then that is damage, else a write that a crash cut short,
// and which nobody was told had succeeded. end is where the last good one ends.
func read(b []byte, salt uint64) (records []found, end int64, bad []damage) {
	end = segmentHeader
	var gaps []damage // not judged yet
	synced := int64(0)
	for off := int64(segmentHeader); off+recordHeader <= int64(len(b)); {
		r, ok := parseRecord(b[off:], salt)
		if !ok || r.synced > off || len(records) > 0 && r.seq <= records[len(records)-1].seq {
			off += 8
			continue
		}
		if off > end {
			gaps = append(gaps, damage{end, off})
		}
		r.off = off
		records = append(records, r)
		synced = max(synced, r.synced)
		off += padded(recordHeader + len(r.data))
		end = off
	}
	for _, g := range gaps {
		if g.from < synced {
			bad = append(bad, g)
		}
	}
	return records, end, bad
}

func parseRecord(b []byte, salt uint64) (found, bool) {
	if string(b[:4]) != recordMagic || binary.LittleEndian.Uint64(b[8:]) != salt ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:recordHeader], castagnoli) {
		return found{}, false
	}
	n := int64(binary.LittleEndian.Uint32(b[32:]))
	if recordHeader+n > int64(len(b)) {
		return found{}, false
	}
	data := b[recordHeader : recordHeader+n]
	if binary.LittleEndian.Uint32(b[36:]) != crc32.Checksum(data, castagnoli) {
		return found{}, false
	}
	synced := binary.LittleEndian.Uint64(b[24:])
	if synced > uint64(1)<<40 {
		return found{}, false
	}
	return found{seq: binary.LittleEndian.Uint64(b[16:]), synced: int64(synced), data: data}, true
}

// firstSalt is the salt of a segment whose header cannot be read.
func firstSalt(b []byte) (uint64, bool) {
	for off := segmentHeader; off+recordHeader <= len(b); off += 8 {
		if string(b[off:off+4]) == recordMagic {
			salt := binary.LittleEndian.Uint64(b[off+8:])
			if r, ok := parseRecord(b[off:], salt); ok && r.synced <= int64(off) { // as read sees it
				return salt, true
			}
		}
	}
	return 0, false
}
