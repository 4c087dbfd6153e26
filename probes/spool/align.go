package spool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"slices"
	"strings"
)

// Source is a mailbox that was read, and where its octets are.
type Source struct {
	*Mbox
	R    io.ReaderAt
	Size int64
}

// ReadSource reads a mailbox file that stays open.
func ReadSource(ctx context.Context, f *os.File) (Source, error) {
	info, err := f.Stat()
	if err != nil {
		return Source{}, err
	}
	m, err := ReadMbox(ctx, f, info.Size())
	return Source{m, f, info.Size()}, err
}

// Part is what of a mailbox is kept or left out as a whole: a message with what
// looks like a From line inside it, or text that belongs to no message.
type Part struct {
	Offset, Length int64
	// Lead takes the place of the first Skip octets, for a message that does
	// not begin as it must. See MendedFrom.
	Lead     string
	Skip     int64
	Messages int
	Hash     [32]byte // of the part as it should be, without the lines that do not count

	// Twin is the part of the other mailbox that is the same or, with Cut, the
	// one that this one is the beginning of; -1: none.
	Twin int
	Cut  bool
	// Whole: a part of the other mailbox is the beginning of this one.
	Whole bool
}

// End is where the part ends.
func (p Part) End() int64 { return p.Offset + p.Length }

// Open returns the octets of a part of the mailbox as they should be.
func (s Source) Open(p Part) io.Reader { return s.open(p, p.End()) }

func (s Source) open(p Part, end int64) io.Reader {
	from := p.Offset + p.Skip
	return io.MultiReader(strings.NewReader(p.Lead), io.NewSectionReader(s.R, from, max(end-from, 0)))
}

// Parts takes a mailbox apart. Nothing but line ends, NUL octets and a byte
// order mark before the first message is left out.
func (s Source) Parts() []Part {
	var out []Part
	add := func(p Part) {
		p.Twin = -1
		p.Hash = Hash(s.Open(p))
		out = append(out, p)
	}
	if len(s.Messages) > 0 {
		if from, to := s.text(0, s.Messages[0].Offset); from < to {
			add(Part{Offset: from, Length: to - from, Lead: foundHead, Messages: 1})
		}
	}
	for _, m := range s.Messages {
		switch last := len(out) - 1; {
		case m.From == NoBeginning:
			if from, to := s.text(m.Offset, m.End()); from < to {
				add(Part{Offset: from, Length: to - from, Lead: foundHead, Messages: 1})
			}
		case m.Headless && last >= 0 && out[last].End() == m.Offset:
			p := &out[last]
			p.Length += m.Length
			p.Messages++
			p.Hash = Hash(s.Open(*p))
		default:
			lead, skip := MendedFrom(s.R, m)
			p := Part{Offset: m.Offset, Length: m.Length, Lead: lead, Skip: skip, Messages: 1}
			if lead != "" {
				add(p)
				continue
			}
			p.Twin, p.Hash = -1, m.Hash
			out = append(out, p)
		}
	}
	return out
}

// text leaves out what is no text at the beginning of a range.
func (s Source) text(from, to int64) (int64, int64) {
	r := bufio.NewReader(io.NewSectionReader(s.R, from, to-from))
	if bom, _ := r.Peek(3); from == 0 && string(bom) == "\xef\xbb\xbf" {
		_, _ = r.Discard(3)
		from += 3
	}
	for from < to {
		c, err := r.ReadByte()
		if err != nil || c != 0 && c != '\r' && c != '\n' {
			break
		}
		from++
	}
	return from, to
}

// Hash is that of the octets of a message without the lines that mail programs
// write for themselves, line ends at the end, and the difference between LF and
// CRLF.
func Hash(r io.Reader) [32]byte {
	h := sha256.New()
	_, _ = io.Copy(h, normalize(r))
	return [32]byte(h.Sum(nil))
}

// Align finds out which parts of two mailboxes are the same: equal without the
// lines that mail programs write for themselves; or cut, where writing a copy
// broke off and the other mailbox has more. Each part has one twin at most: a
// message that one mailbox has twice and the other once is the same once.
func Align(a, b Source) (pa, pb []Part) {
	x, y := &side{src: a, parts: a.Parts()}, &side{src: b, parts: b.Parts()}
	pairEqual(x, y)
	splitFragment(x, y)
	splitFragment(y, x)
	pairCut(x, y)
	pairCut(y, x)
	splitGlued(x, y)
	splitGlued(y, x)
	return x.parts, y.parts
}

type side struct {
	src   Source
	parts []Part
}

// free tells whether part i has found nothing in the other mailbox yet.
func (s *side) free(i int) bool { return s.parts[i].Twin < 0 && !s.parts[i].Whole }

// pairEqual pairs the free parts that are the same, in order.
func pairEqual(x, y *side) {
	at := map[[32]byte][]int{}
	for i := range y.parts {
		if y.free(i) {
			at[y.parts[i].Hash] = append(at[y.parts[i].Hash], i)
		}
	}
	for i := range x.parts {
		h := x.parts[i].Hash
		if same := at[h]; x.free(i) && len(same) > 0 {
			x.parts[i].Twin, y.parts[same[0]].Twin = same[0], i
			at[h] = same[1:]
		}
	}
}

// byFirstLine lists the free parts by their From lines.
func (s *side) byFirstLine() map[string][]int {
	out := map[string][]int{}
	for i := range s.parts {
		if s.free(i) {
			key := s.firstLine(i)
			out[key] = append(out[key], i)
		}
	}
	return out
}

func (s *side) firstLine(i int) string {
	buf := make([]byte, 600)
	n, _ := io.ReadFull(s.src.Open(s.parts[i]), buf)
	text, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	return string(bytes.TrimRight(text, "\r"))
}

// pairCut finds the parts of x that are the beginning of one of y. What looked
// like a From line inside a message may have made several parts of it.
func pairCut(x, y *side) {
	whole := y.byFirstLine()
	if len(whole) == 0 {
		return
	}
	for i := 0; i < len(x.parts); i++ {
		if !x.free(i) {
			continue
		}
		for _, u := range whole[x.firstLine(i)] {
			if !y.free(u) {
				continue
			}
			n := 0
			for j := i; j < len(x.parts) && x.free(j) && x.begins(i, j, y, u); j++ {
				n++
			}
			if n > 0 {
				x.cut(i, n, y, u)
				i += n - 1
				break
			}
		}
	}
}

// cut notes that n parts from i on are the beginning of part u of y.
func (s *side) cut(i, n int, y *side, u int) {
	y.parts[u].Whole = true
	for k := i; k < i+n; k++ {
		s.parts[k].Twin, s.parts[k].Cut = u, true
	}
}

// begins tells whether the parts i to j together are the beginning of part u
// of y.
func (s *side) begins(i, j int, y *side, u int) bool {
	end, inLine := s.tail(j)
	return begins(normalize(y.src.Open(y.parts[u])), normalize(s.src.open(s.parts[i], end)), inLine)
}

// tail is where part i ends, without the NUL octets of a file system that never
// wrote what belongs there; inLine tells that it may end inside a line.
func (s *side) tail(i int) (end int64, inLine bool) {
	p := s.parts[i]
	buf := make([]byte, min(p.Length, 64<<10))
	if _, err := s.src.R.ReadAt(buf, p.End()-int64(len(buf))); err != nil && err != io.EOF {
		return p.End(), false
	}
	bare := bytes.TrimRight(buf, "\x00\r\n")
	if bytes.Count(buf[len(bare):], []byte{0}) >= nulRun {
		return p.End() - int64(len(buf)-len(bare)), true
	}
	buf = bytes.ReplaceAll(buf, []byte("\r\n"), []byte("\n"))
	switch {
	case !bytes.HasSuffix(buf, []byte("\n")):
		return p.End(), true
	case !bytes.HasSuffix(buf, []byte("\n\n")):
		// Every message ends with an empty line: what came after this one was
		// added by a program that found it without a line end.
		return p.End(), i < len(s.parts)-1
	}
	return p.End(), false
}

// splitFragment takes the beginning of a From line at the end of a mailbox off
// the message before it, where the other mailbox has both.
func splitFragment(x, y *side) {
	i := len(x.parts) - 1
	if i < 0 || !x.free(i) {
		return
	}
	p := x.parts[i]
	buf := make([]byte, min(p.Length, 600))
	if _, err := x.src.R.ReadAt(buf, p.End()-int64(len(buf))); err != nil && err != io.EOF {
		return
	}
	before, last := buf[:0], buf
	if at := bytes.LastIndexByte(buf, '\n'); at >= 0 {
		before, last = buf[:at+1], buf[at+1:]
	}
	if len(last) == 0 || !bytes.HasPrefix(last, []byte("From ")) && !strings.HasPrefix("From ", string(last)) {
		return
	}
	known := slices.ContainsFunc(y.parts, func(u Part) bool {
		head := make([]byte, len(last))
		n, _ := io.ReadFull(y.src.Open(u), head)
		return bytes.Equal(head[:n], last)
	})
	if !known {
		return
	}
	if p.Length == int64(len(last)) { // there is nothing else in the file
		for u := range y.parts {
			if y.free(u) {
				x.cut(i, 1, y, u)
				return
			}
		}
		x.parts = x.parts[:i]
		return
	}
	if !bytes.HasSuffix(before, []byte("\n\n")) && !bytes.HasSuffix(before, []byte("\n\r\n")) {
		return
	}
	short := p
	short.Length -= int64(len(last))
	short.Hash = Hash(x.src.Open(short))
	x.parts[i] = short
	if pairEqual(x, y); x.free(i) {
		x.parts[i] = p
	}
}

// splitGlued takes messages apart that a program added right behind one that
// was cut inside a line, where the other mailbox has the cut one whole.
func splitGlued(x, y *side) {
	whole := y.byFirstLine()
	for i := 0; i < len(x.parts); i++ {
		if !x.free(i) {
			continue
		}
		candidates := whole[x.firstLine(i)]
		if len(candidates) == 0 {
			continue
		}
		for _, at := range x.fromInside(i) {
			p := x.parts[i]
			head, rest := p, Part{Offset: at, Length: p.End() - at, Messages: 1, Twin: -1}
			head.Length = at - p.Offset
			trial := &side{src: x.src, parts: []Part{head}}
			k := slices.IndexFunc(candidates, func(u int) bool { return y.free(u) && trial.begins(0, 0, y, u) })
			if k < 0 {
				continue
			}
			rest.Hash = Hash(x.src.Open(rest))
			x.parts = slices.Insert(x.parts, i+1, rest)
			x.parts[i] = head
			for u := range y.parts { // twins have moved
				if t := &y.parts[u]; t.Twin > i {
					t.Twin++
				}
			}
			x.cut(i, 1, y, candidates[k])
			pairEqual(x, y)
			pairCut(x, y)
			pairCut(y, x)
			break
		}
	}
}

// fromInside lists where a From line begins inside a line of part i.
func (s *side) fromInside(i int) []int64 {
	p := s.parts[i]
	r := bufio.NewReaderSize(io.NewSectionReader(s.src.R, p.Offset, p.Length), 64<<10)
	var out []int64
	const most = 100
	for at := p.Offset; len(out) < most; {
		raw, err := r.ReadSlice('\n')
		if len(raw) == 0 {
			break
		}
		text := bytes.TrimRight(raw, "\r\n")
		if k := bytes.LastIndex(text, []byte("From ")); k > 0 && text[k-1] != '>' && fromLine().Match(text[k:]) {
			out = append(out, at+int64(k))
		}
		at += int64(len(raw))
		if err == io.EOF {
			break
		}
	}
	return out
}
