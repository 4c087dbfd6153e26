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

// Part is what of a mailbox is kept or left out as a whole: a message, or text
// that belongs to none.
type Part struct {
	Offset, Length int64
	// Headless: most likely a piece of the part before it, in which a line looks
	// like a From line.
	Headless bool
	// Lead takes the place of the first Skip octets, for a message that does
	// not begin as it must. See MendedFrom.
	Lead string
	Skip int64
	Hash [32]byte // of the part as it should be, without the lines that do not count

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
			add(Part{Offset: from, Length: to - from, Lead: foundHead})
		}
	}
	for _, m := range s.Messages {
		if m.From == NoBeginning {
			if from, to := s.text(m.Offset, m.End()); from < to {
				add(Part{Offset: from, Length: to - from, Lead: foundHead})
			}
			continue
		}
		p := Part{Offset: m.Offset, Length: m.Length, Headless: m.Headless, Hash: m.Hash, Twin: -1}
		if p.Lead, p.Skip = MendedFrom(s.R, m); p.Lead != "" {
			add(p)
			continue
		}
		out = append(out, p)
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
	pairFragments(x, y)
	pairFragments(y, x)
	pairCut(x, y)
	pairCut(y, x)
	return x.parts, y.parts
}

type side struct {
	src     Source
	parts   []Part
	heads   map[int64][]byte // by offset: see head
	insides map[Part][]inside
}

// headOctets is how much of two parts is compared before anything else is. In
// mailboxes that were converted all From lines are the same, and looking closely
// at each with each would take for ever.
const headOctets = 1 << 10

// head returns the first whole lines of part i as they are compared.
func (s *side) head(i int) []byte {
	p := s.parts[i]
	if h, ok := s.heads[p.Offset]; ok {
		return h
	}
	h, _ := io.ReadAll(normalize(s.open(p, headOctets))) // an error means that less is compared
	h = h[:bytes.LastIndexByte(h, '\n')+1]
	if s.heads == nil {
		s.heads = map[int64][]byte{}
	}
	s.heads[p.Offset] = h
	return h
}

// open returns the first octets of a part.
func (s *side) open(p Part, octets int64) io.Reader {
	return s.src.open(p, min(p.End(), p.Offset+p.Skip+octets))
}

// headToCompare is the head of part i, or nil when the beginning of another part
// may end within it: when it may have been cut there, or the next message begins
// there.
func (s *side) headToCompare(i int, y *side) []byte {
	p := s.parts[i]
	for _, e := range s.ends(i, y) {
		if e.at <= p.Offset+p.Skip+headOctets {
			return nil
		}
	}
	raw, err := io.ReadAll(s.open(p, headOctets+16))
	if err != nil || bytes.Contains(raw[min(1, len(raw)):], []byte("From ")) {
		return nil
	}
	return s.head(i)
}

// agree tells whether two heads are the same as far as both go.
func agree(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

// free tells whether part i has found nothing in the other mailbox yet.
func (s *side) free(i int) bool { return s.parts[i].Twin < 0 && !s.parts[i].Whole }

// pairEqual pairs the free parts that are the same, in order. Pieces of messages
// are the same only where the messages are: two messages may quote the same.
func pairEqual(x, y *side) {
	at := map[[32]byte][]int{}
	for i := range y.parts {
		if y.free(i) && !y.parts[i].Headless {
			at[y.parts[i].Hash] = append(at[y.parts[i].Hash], i)
		}
	}
	for i := range x.parts {
		h := x.parts[i].Hash
		if x.parts[i].Headless {
			if i > 0 && x.free(i) && x.parts[i-1].Twin >= 0 && !x.parts[i-1].Cut {
				k := x.parts[i-1].Twin + 1
				if k < len(y.parts) && y.free(k) && y.parts[k].Headless && y.parts[k].Hash == h {
					x.parts[i].Twin, y.parts[k].Twin = k, i
				}
			}
			continue
		}
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
// like a From line inside a message may have made several parts of it; and a
// program that found a message cut inside a line may have added the next one
// right there.
func pairCut(x, y *side) {
	y.dropFragment(x)
	whole := y.byFirstLine()
	if len(whole) == 0 {
		return
	}
	for i := 0; i < len(x.parts); i++ {
		if !x.free(i) {
			continue
		}
		head := x.headToCompare(i, y)
		for _, u := range whole[x.firstLine(i)] {
			if !y.free(u) || head != nil && !agree(head, y.head(u)) {
				continue
			}
			j := i // the first that does not belong to it
			for j < len(x.parts) && x.free(j) && x.begins(i, j, x.ends(j, y), y, u) {
				j++
			}
			if j < len(x.parts) && x.free(j) && x.splitGlued(i, j, y, u) {
				j++
			}
			if j > i {
				x.cut(i, j, y, u)
				i = j - 1
				break
			}
		}
	}
}

// pairFragments finds the parts of x that are one of y, but for the beginning of
// the next From line behind it.
func pairFragments(x, y *side) {
	var whole map[string][]int
	for i := range x.parts {
		if !x.free(i) {
			continue
		}
		ends := x.ends(i, y)
		if len(ends) < 2 {
			continue
		}
		if whole == nil {
			whole = y.byFirstLine()
		}
		for _, u := range whole[x.firstLine(i)] {
			if y.free(u) && x.begins(i, i, ends[1:], y, u) {
				x.cut(i, i+1, y, u)
				break
			}
		}
	}
}

// cut notes that the parts from i up to j are the beginning of part u of y.
func (s *side) cut(i, j int, y *side, u int) {
	y.parts[u].Whole = true
	for k := i; k < j; k++ {
		s.parts[k].Twin, s.parts[k].Cut = u, true
	}
}

// ending is where a message may have been cut.
type ending struct {
	at     int64
	inLine bool // maybe inside a line
}

// begins tells whether the parts i to j, up to one of the endings, are the
// beginning of part u of y.
func (s *side) begins(i, j int, ends []ending, y *side, u int) bool {
	return slices.ContainsFunc(ends, func(e ending) bool {
		return e.at > s.parts[i].Offset+s.parts[i].Skip && begins(normalize(y.src.Open(y.parts[u])), normalize(s.src.open(s.parts[i], e.at)), e.inLine)
	})
}

// ends is where part i may have been cut.
func (s *side) ends(i int, y *side) []ending {
	p := s.parts[i]
	buf := make([]byte, min(p.Length, 64<<10))
	if _, err := s.src.R.ReadAt(buf, p.End()-int64(len(buf))); err != nil && err != io.EOF {
		return nil
	}
	bare := bytes.TrimRight(buf, "\x00\r\n")
	if bytes.Count(buf[len(bare):], []byte{0}) >= nulRun {
		// The file system never wrote what belongs there.
		end := p.End() - int64(len(buf)-len(bare))
		out := []ending{{end, true}}
		if n := fragment(bare, y); n > 0 {
			out = append(out, ending{end - int64(len(bare)-n), false})
		}
		return out
	}
	out := []ending{{p.End(), false}}
	switch {
	case !bytes.HasSuffix(buf, []byte("\n")):
		out[0].inLine = true
	case !bytes.HasSuffix(buf, []byte("\n\n")) && !bytes.HasSuffix(buf, []byte("\n\r\n")):
		// Every message ends with an empty line: this line end was added by a
		// program that found none.
		out[0].inLine = i < len(s.parts)-1
	}
	if n := fragment(bytes.TrimRight(buf, "\r\n"), y); n > 0 {
		out = append(out, ending{p.End() - int64(len(buf)-n), false})
	}
	return out
}

// fragment returns where the last line of text begins, if that is the beginning
// of a From line of y which was cut; else 0.
func fragment(text []byte, y *side) int {
	at := bytes.LastIndexByte(text, '\n') + 1
	last := text[at:]
	before := bytes.ReplaceAll(text[max(0, at-4):at], []byte("\r"), nil)
	if len(last) == 0 || len(last) > 500 || !bytes.HasSuffix(before, []byte("\n\n")) || !y.beginsWith(last) {
		return 0
	}
	return at
}

// beginsWith tells whether a message of the mailbox begins with text, which is
// a part of a From line.
func (s *side) beginsWith(text []byte) bool {
	if !bytes.HasPrefix(text, []byte("From ")) && !strings.HasPrefix("From ", string(text)) {
		return false
	}
	return slices.ContainsFunc(s.parts, func(p Part) bool {
		head := make([]byte, len(text))
		n, _ := io.ReadFull(s.src.Open(p), head)
		return bytes.Equal(head[:n], text)
	})
}

// dropFragment deals with a mailbox x that begins with nothing but the beginning
// of a From line.
func (s *side) dropFragment(x *side) {
	if len(x.parts) == 0 || !x.free(0) || x.parts[0].Lead == "" || x.parts[0].Length > 64<<10 {
		return
	}
	p := x.parts[0]
	text := make([]byte, p.Length)
	if _, err := x.src.R.ReadAt(text, p.Offset); err != nil && err != io.EOF {
		return
	}
	if text = bytes.TrimRight(text, "\x00\r\n"); !s.beginsWith(text) {
		return
	}
	for u := range s.parts {
		if s.free(u) {
			x.cut(0, 1, s, u)
			return
		}
	}
	x.parts = x.parts[1:] // all messages are here, this one too
	for u := range s.parts {
		if t := &s.parts[u]; t.Twin >= 0 {
			t.Twin--
		}
	}
}

// splitGlued takes part j apart where a From line begins inside a line, if what
// stands before it is, together with the parts from i on, the beginning of part
// u of y. Part j is then the head, and the rest follows it.
func (s *side) splitGlued(i, j int, y *side, u int) bool {
	p := s.parts[j]
	for _, in := range s.fromInside(j) {
		at := in.at
		if !in.local && s.begins(i, j, []ending{{in.end, false}}, y, u) {
			continue // it stands in the other one, too
		}
		buf := make([]byte, min(at-p.Offset, 600))
		if _, err := s.src.R.ReadAt(buf, at-int64(len(buf))); err != nil && err != io.EOF {
			return false
		}
		ends := []ending{{at, true}}
		if n := fragment(buf, y); n > 0 {
			ends = append(ends, ending{at - int64(len(buf)-n), false})
		}
		if !s.begins(i, j, ends, y, u) {
			continue
		}
		rest := Part{Offset: at, Length: p.End() - at, Twin: -1}
		rest.Hash = Hash(s.src.Open(rest))
		s.parts = slices.Insert(s.parts, j+1, rest)
		s.parts[j].Length = at - p.Offset
		for k := range y.parts { // its twins have moved
			if y.parts[k].Twin > j {
				y.parts[k].Twin++
			}
		}
		pairEqual(s, y)
		return true
	}
	return false
}

// inside is a From line inside a message. With local the line in which it begins
// is one that does not count.
type inside struct {
	at, end int64
	local   bool
}

// fromInside lists the From lines inside part i, also those that begin in the
// middle of a line.
func (s *side) fromInside(i int) []inside {
	p := s.parts[i]
	p.Twin, p.Cut, p.Whole = 0, false, false // what is in it does not change with these
	if in, ok := s.insides[p]; ok {
		return in
	}
	if s.insides == nil {
		s.insides = map[Part][]inside{}
	}
	s.insides[p] = s.findInside(p)
	return s.insides[p]
}

// findInside is fromInside for a part that was not asked for yet.
func (s *side) findInside(p Part) []inside {
	r := bufio.NewReaderSize(io.NewSectionReader(s.src.R, p.Offset, p.Length), 64<<10)
	var out []inside
	var before []byte // the end of what is already read of a long line
	const most = 100
	for at, first := p.Offset, true; len(out) < most; {
		raw, err := r.ReadSlice('\n')
		if len(raw) == 0 {
			break
		}
		end := at + int64(len(raw))
		text := append(before, raw...)
		if err == bufio.ErrBufferFull {
			before, at = bytes.Clone(text[len(text)-1000:]), end
			continue
		}
		start := end - int64(len(text))
		text = bytes.TrimRight(text, "\r\n")
		if k := bytes.LastIndex(text, []byte("From ")); k >= 0 && !first && fromLine().Match(text[k:]) {
			inLine := len(bytes.TrimLeft(text[:k], ">")) > 0
			next, _ := r.Peek(100) // an error means that less is left
			next, _, _ = bytes.Cut(next, []byte("\n"))
			if inLine || headerField().Match(next) {
				out = append(out, inside{start + int64(k), end, isLocal(text)})
			}
		}
		before, first, at = nil, false, end
		if err == io.EOF {
			break
		}
	}
	return out
}
