package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// age makes the folders of a mailbox look as if they had not changed for long,
// so that an index may speak for them.
func age(t testing.TB, s *Maildirs, box Box) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	for p := range parts {
		if err := os.Chtimes(s.maildir(box, p.String()), then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// plant writes a file as other programs do.
func plant(t testing.TB, s *Maildirs, box Box, name, text string) {
	t.Helper()
	if err := s.make(box); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.maildir(box, "cur"), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sizes opens a mailbox and returns what it says of its messages.
func sizes(t testing.TB, s *Maildirs, box Box) []int64 {
	t.Helper()
	m, err := s.Open(box, popper)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := []int64{}
	for _, msg := range m.Messages() {
		out = append(out, msg.Size)
	}
	return out
}

func TestIndexSparesListing(t *testing.T) {
	s := New(t.TempDir())
	for i := range indexFrom {
		plant(t, s, taro, fmt.Sprintf("%d.M1P1.host,S=6,W=%d", 1000+i, 7+i), "a\nb\nc\n")
	}
	age(t, s, taro)
	first := sizes(t, s, taro)
	if len(first) != indexFrom || first[3] != 10 {
		t.Fatalf("%d messages: %v", len(first), first[:4])
	}
	// A file that comes while the folder keeps its time is not seen: so the
	// index was used. Real file systems do not do that.
	plant(t, s, taro, "1.M1P1.host,S=1,W=1", "x")
	age(t, s, taro)
	idx := readIndex((&mailbox{s: s, box: taro}).indexFile())
	stamp := time.Unix(0, int64(idx.stamps[inCur]))
	if err := os.Chtimes(s.maildir(taro, "cur"), stamp, stamp); err != nil {
		t.Fatal(err)
	}
	if got := sizes(t, s, taro); len(got) != indexFrom {
		t.Errorf("%d messages with an index for that time", len(got))
	}
	// A change shows at once.
	plant(t, s, taro, "2.M1P1.host,S=2,W=2", "xx")
	if got := sizes(t, s, taro); !cmp.Equal(got[:3], []int64{1, 2, 7}) || len(got) != indexFrom+2 {
		t.Errorf("after a change: %d messages %v", len(got), got[:3])
	}
	// An index made while the folder was changing speaks for nothing.
	plant(t, s, taro, "3.M1P1.host,S=3,W=3", "xxx")
	now := time.Now()
	if err := os.Chtimes(s.maildir(taro, "cur"), now, now); err != nil {
		t.Fatal(err)
	}
	sizes(t, s, taro)
	plant(t, s, taro, "4.M1P1.host,S=4,W=4", "xxxx")
	if err := os.Chtimes(s.maildir(taro, "cur"), now, now); err != nil {
		t.Fatal(err)
	}
	if got := sizes(t, s, taro); !cmp.Equal(got[:4], []int64{1, 2, 3, 4}) {
		t.Errorf("two changes in one tick: %v", got[:4])
	}
}

// A folder that has changed is joined with what the index says of the other.
func TestIndexOfOneFolder(t *testing.T) {
	s := New(t.TempDir())
	for i := range indexFrom {
		plant(t, s, taro, fmt.Sprintf("%d.M1P1.host,S=6,W=%d:2,S", 1000+2*i, 7+i), "a\nb\nc\n")
	}
	age(t, s, taro)
	sizes(t, s, taro)
	add := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.maildir(taro, "new"), name), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	add("1.M1P1.host,S=2,W=3")
	add("1001.M1P1.host,S=2,W=3")
	add("1002.M1P1.host,S=6,W=8") // seen twice while it is moved
	add("9999.M1P1.host,S=2,W=3")
	m, err := s.Open(taro, popper)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var got []string
	for _, msg := range m.Messages() {
		got = append(got, fmt.Sprint(msg.UID, " ", msg.Size))
	}
	want := []string{"1.M1P1.host 3", "1000.M1P1.host 7", "1001.M1P1.host 3", "1002.M1P1.host 8", "1004.M1P1.host 9"}
	if len(got) != indexFrom+3 || !cmp.Equal(got[:5], want) || got[len(got)-1] != "9999.M1P1.host 3" {
		t.Errorf("%d messages: %q ... %q", len(got), got[:5], got[len(got)-1])
	}
}

// Sizes that the names do not tell are counted once, also when other messages
// come and go.
func TestIndexRemembersSizes(t *testing.T) {
	s := New(t.TempDir())
	plant(t, s, taro, "1000.foreign", "a\nb\n")
	plant(t, s, taro, "1001.foreign:2,S", "c\n")
	if got := sizes(t, s, taro); !cmp.Equal(got, []int64{6, 3}) {
		t.Fatal(got)
	}
	// Other content under the same name: what is said now is remembered.
	plant(t, s, taro, "1000.foreign", "changed and longer\n")
	put(t, s, "A", "new\r\n", taro)
	if got := sizes(t, s, taro); !cmp.Equal(got, []int64{6, 3, 5}) {
		t.Errorf("after new mail: %v", got)
	}
	// Reading it notices, and the next session knows.
	if texts, _ := read1(t, s, taro, 0); texts != "changed and longer\r\n" {
		t.Errorf("read %q", texts)
	}
	if got := sizes(t, s, taro); !cmp.Equal(got, []int64{20, 3, 5}) {
		t.Errorf("after reading: %v", got)
	}
	// With other flags it is the same message.
	if err := os.Rename(filepath.Join(s.maildir(taro, "cur"), "1000.foreign"), filepath.Join(s.maildir(taro, "cur"), "1000.foreign:2,RS")); err == nil {
		if got := sizes(t, s, taro); !cmp.Equal(got, []int64{20, 3, 5}) {
			t.Errorf("with other flags: %v", got)
		}
	}
}

func read1(t *testing.T, s *Maildirs, box Box, i int) (string, error) {
	t.Helper()
	m, err := s.Open(box, popper)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return read(t, m, i), nil
}

// A damaged index is none.
func TestDamagedIndex(t *testing.T) {
	s := New(t.TempDir())
	for i := range indexFrom {
		plant(t, s, taro, fmt.Sprintf("%d.M1P1.host,S=6,W=%d", 1000+i, 7+i), "a\nb\nc\n")
	}
	age(t, s, taro)
	want := sizes(t, s, taro)
	path := (&mailbox{s: s, box: taro}).indexFile()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += len(whole)/60 + 1 {
		for _, damaged := range [][]byte{whole[:at], append(append([]byte{}, whole[:at]...), append([]byte{whole[at] ^ 0x55}, whole[at+1:]...)...)} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := sizes(t, s, taro); !cmp.Equal(got, want) {
				t.Fatalf("index damaged at %d: %d messages", at, len(got))
			}
		}
	}
}

func FuzzIndex(f *testing.F) {
	x := index{listed: time.Unix(1700000000, 5), stamps: [parts]stamp{1, 2}, entries: []entry{
		{file{part: inCur, name: "1.M1P1.h,S=4,W=5:2,S", measured: -1}, parsed{uid: "1.M1P1.h", size: 5}},
		{file{part: inNew, name: "2.x", measured: 3}, parsed{uid: "2.x", size: 4}},
		{file{part: inNew, name: "3.\xff", crlf: true, measured: -1}, parsed{uid: uidOf("3.\xff"), size: 4}},
	}}
	f.Add(x.encode())
	f.Add([]byte(indexMagic + strings.Repeat("\x00", 28)))
	f.Fuzz(func(t *testing.T, s []byte) {
		// The checksum would keep nearly all tries out.
		if len(s) > indexHead+4 {
			s = withSum(slices.Clone(s[:len(s)-4]))
		}
		got, ok := decodeIndex(s)
		if !ok {
			return
		}
		for _, e := range got.entries {
			if e.name == "" || e.uid == "" || e.part >= parts || e.size < 0 || !filepath.IsLocal(e.name) || strings.ContainsRune(e.name, '/') {
				t.Errorf("%q: %+v", s, e)
			}
		}
		again, ok := decodeIndex(got.encode())
		if diff := cmp.Diff(got, again, cmp.AllowUnexported(index{}, entry{}, file{}, parsed{})); diff != "" || !ok {
			t.Errorf("%q: %v %s", s, ok, diff)
		}
	})
}

func FuzzWireSize(f *testing.F) {
	f.Add("a\nb\r\n\nno end", 3)
	f.Add("\n", 1)
	f.Add("x\r", 1)
	f.Fuzz(func(t *testing.T, text string, step int) {
		var want int64
		r := newCRLF(strings.NewReader(text))
		for buf := make([]byte, 4096); ; {
			n, err := r.Read(buf)
			if want += int64(n); err != nil {
				break
			}
		}
		got, raw, err := wireSize(&steps{text, max(1, step%9)})
		if got != want || raw != int64(len(text)) || err != nil {
			t.Errorf("%q: %d octets of %d, %v; want %d", text, got, raw, err, want)
		}
	})
}

// steps reads a few octets at a time.
type steps struct {
	s string
	n int
}

func (s *steps) Read(p []byte) (int, error) {
	n := copy(p, s.s[:min(s.n, len(s.s))])
	if s.s = s.s[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func BenchmarkOpen(b *testing.B) {
	s := New(b.TempDir())
	for i := range 100_000 {
		plant(b, s, taro, fmt.Sprintf("%d.M%06dP4711I2QK7XW9PZD.mail,S=4321,W=4400", 1700000000+i, i), "")
	}
	path := (&mailbox{s: s, box: taro}).indexFile()
	for _, name := range []string{"first", "again"} {
		b.Run(name, func(b *testing.B) {
			age(b, s, taro)
			sizes(b, s, taro)
			for b.Loop() {
				if name == "first" {
					os.Remove(path)
				}
				m, err := s.Open(taro, popper)
				if err != nil || len(m.Messages()) != 100_000 {
					b.Fatal(err)
				}
				m.Close()
			}
		})
	}
}
