package journal

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// segmentOf makes the octets of a segment: one batch for each argument, one
// record for each of its strings.
func segmentOf(salt uint64, batches ...[]string) (b []byte, offsets []int) {
	b = header{stateUsed, salt, 0}.encode()
	seq := uint64(0)
	for _, batch := range batches {
		synced := int64(len(b))
		for _, data := range batch {
			seq++
			r := append(make([]byte, recordHeader), data...)
			sumData(r)
			completeHeader(r, salt, seq, synced)
			offsets = append(offsets, len(b))
			b = append(b, r...)
			b = append(b, make([]byte, padded(len(r))-int64(len(r)))...)
		}
	}
	return append(b, make([]byte, 1024)...), offsets
}

func texts(records []found) (out []string) {
	for _, r := range records {
		out = append(out, string(r.data))
	}
	return out
}

func TestRead(t *testing.T) {
	batches := [][]string{{"one"}, {"two", "three"}, {"four"}, {"five", "six"}}
	whole, at := segmentOf(7, batches...)
	for _, tt := range []struct {
		name string
		harm func(b []byte)
		want []string
		bad  []damage
	}{
		{"whole", func([]byte) {}, []string{"one", "two", "three", "four", "five", "six"}, nil},
		{"torn end", func(b []byte) { clear(b[at[5]+recordHeader:]) }, []string{"one", "two", "three", "four", "five"}, nil},
		{"last batch with its first record missing: written in the wrong order", func(b []byte) { clear(b[at[4]:at[5]]) }, []string{"one", "two", "three", "four", "six"}, nil},
		{"header of a record in the middle", func(b []byte) { b[at[1]+20] ^= 1 }, []string{"one", "three", "four", "five", "six"}, []damage{{int64(at[1]), int64(at[2])}}},
		{"data in the middle", func(b []byte) { b[at[3]+recordHeader] ^= 0x80 }, []string{"one", "two", "three", "five", "six"}, []damage{{int64(at[3]), int64(at[4])}}},
		{"length in the middle", func(b []byte) { binary.LittleEndian.PutUint32(b[at[0]+32:], 1<<31) }, []string{"two", "three", "four", "five", "six"}, []damage{{int64(at[0]), int64(at[1])}}},
		{"two places", func(b []byte) { b[at[0]] = 0; b[at[3]] = 0 }, []string{"two", "three", "five", "six"}, []damage{{int64(at[0]), int64(at[1])}, {int64(at[3]), int64(at[4])}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			tt.harm(b)
			records, _, bad := read(b, 7)
			if diff := cmp.Diff(tt.want, texts(records)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.bad, bad, cmp.AllowUnexported(damage{})); diff != "" {
				t.Errorf("damage (-want +got):\n%s", diff)
			}
		})
	}
}

// Records of the segment's earlier life, and such as somebody has put into a
// message, are not taken for its own.
func TestReadOnlyItsOwn(t *testing.T) {
	old, _ := segmentOf(7, []string{"old one"}, []string{"old two"})
	now, _ := segmentOf(8, []string{string(old)})
	copy(old, now[:segmentHeader])
	if records, _, _ := read(old, 8); len(records) != 0 {
		t.Errorf("records of an earlier life: %q", texts(records))
	}
	records, end, bad := read(now, 8)
	if len(records) != 1 || !bytes.Equal(records[0].data, old[:0]) && len(records[0].data) != len(old) || len(bad) != 0 || end > int64(len(now)) {
		t.Errorf("%d records, %v", len(records), bad)
	}
	now[segmentHeader+4] ^= 1 // its header is gone: what was in its data stays data
	if records, _, _ := read(now, 8); len(records) != 0 {
		t.Errorf("records out of a message: %q", texts(records))
	}
}

func TestHeader(t *testing.T) {
	for _, h := range []header{{stateFree, 1, 2}, {stateUsed, 1 << 63, 9}, {stateSuspect, 3, 4}} {
		b := h.encode()
		if got, ok := parseHeader(b); got != h || !ok {
			t.Errorf("parseHeader(%+v.encode()) = %+v, %v", h, got, ok)
		}
		for i := range 36 {
			b[i] ^= 4
			if got, ok := parseHeader(b); ok {
				t.Errorf("octet %d changed: %+v", i, got)
			}
			b[i] ^= 4
		}
	}
	if _, ok := parseHeader(make([]byte, segmentHeader)); ok {
		t.Error("zeros are a header")
	}
}

func FuzzRead(f *testing.F) {
	whole, at := segmentOf(7, []string{"one"}, []string{"two", "three"}, []string{"four"})
	f.Add(whole, uint64(7))
	f.Add(whole[:len(whole)-1030], uint64(7))
	harmed := bytes.Clone(whole)
	harmed[at[1]+recordHeader] ^= 1
	f.Add(harmed, uint64(7))
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, salt uint64) {
		records, end, bad := read(b, salt)
		last := int64(segmentHeader)
		for _, r := range records {
			if r.off < last || r.off%8 != 0 || r.off+recordHeader+int64(len(r.data)) > int64(len(b)) {
				t.Fatalf("record at %d with %d octets in %d", r.off, len(r.data), len(b))
			}
			last = r.off + recordHeader + int64(len(r.data))
		}
		if end < last {
			t.Errorf("end %d before the last record's, %d", end, last)
		}
		for _, d := range bad {
			if d.from < segmentHeader || d.to <= d.from {
				t.Errorf("damage %+v", d)
			}
		}
		if first, ok := firstSalt(b); ok {
			if records, _, _ := read(b, first); len(records) == 0 {
				t.Error("firstSalt found a record that read does not")
			}
		}
		_, _ = parseHeader(b)
	})
}
