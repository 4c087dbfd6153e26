package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Damage of an mbox file. The words are those of the findings mbox.*.
const (
	NulRun        = "nul_run"
	LeadingJunk   = "leading_junk"
	DamagedFrom   = "damaged_from"
	ContentLength = "content_length"
	NoBlankLine   = "no_blank_line"
	CRLF          = "crlf"
	TruncatedTail = "truncated_tail"
)

// Mbox is what a file in mbox form holds.
type Mbox struct {
	Messages []Message
	// Damage has the first place of each kind, and how often it occurs.
	Damage map[string]Damage
}

// Message is one message of an mbox file, its From line included.
type Message struct {
	Offset, Length int64
	Hash           [32]byte // without the lines that mail programs write for themselves
	From           From
	// Body is where the body begins; the end of the message when its header
	// does not end.
	Body int64
	// ContentLength is what the header says; -1 when it says nothing. Measured:
	// it is right.
	ContentLength int64
	Measured      bool
	// Headless: a line of text follows the From line at once. Such a "message"
	// is most likely a piece of the one before it.
	Headless bool
}

// End is where the message ends.
func (m Message) End() int64 { return m.Offset + m.Length }

// From is what the beginning of a message is worth.
type From int

// Beginnings of a message.
const (
	FromGood    From = iota // a From line that every reader takes
	FromDamaged             // a line that was one: escaped, cut, without a date
	FromMissing             // no From line: it begins with its header
	NoBeginning             // neither: text that belongs to nothing
)

// Damage is a fault of the file's form.
type Damage struct {
	Offset int64  // of its first occurrence
	Line   string // the line there, 100 octets at most
	Count  int
}

// lazily compiles a pattern when it is first used: most runs of the program
// never look at a spool.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// nulRun is how many NUL octets in a row are no accident of one message.
const nulRun = 4

// fromLine is a From line as every mbox reader takes it: an address (or
// nothing), then a date in the form of asctime, with or without seconds and
// zones.
var fromLine = lazily(`^From .{0,400}?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} +\d{1,2}:\d\d(?::\d\d)?(?: +[A-Za-z][A-Za-z0-9+:-]*){0,2}(?: +[+-]\d{4})? +\d{4}(?: +\S.{0,100})?$`)

// escapedFrom is a From line that somebody put a mark before, or cut the first
// letters of.
var escapedFrom = lazily(`^(?:>+From|From:?|rom|om|m) \S+ .*\d{1,2}:\d\d`)

// headerField is a line of a message header.
var headerField = lazily(`^[!-9;-~]{1,76}:(?: |\t|$)`)

// ReadMbox reads a file in mbox form. Content-Length is believed where it is
// right: after that many octets comes a From line, or the end.
func ReadMbox(ctx context.Context, r io.ReaderAt, size int64) (*Mbox, error) {
	p := &parser{src: r, size: size, box: &Mbox{Damage: map[string]Damage{}}}
	p.seek(0)
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return p.box, nil
}

type parser struct {
	src  io.ReaderAt
	size int64
	r    *bufio.Reader
	at   int64 // offset of the next line
	box  *Mbox

	start     int64 // of the message at hand; -1: none yet
	from      From  // of it
	body      int64 // of it; -1: still in the header
	measured  bool  // its Content-Length was right
	headless  bool
	second    bool // the next line is the second one of it
	inHeader  bool
	length    int64 // Content-Length of the header at hand; -1: none
	untilThis int64 // where a Content-Length that hides something would end
	text      bool  // there is text before the first message
	blank     bool  // the line before was empty
	crlf, lf  int
	nuls      int
	tail      bool // the last line had its end

	bare   bare
	opened []byte // the line that began a message without a From line
}

// line is one line, or for a very long one the part that fitted.
type line struct {
	offset int64
	text   []byte // without line end
	whole  bool   // it had a line end
	first  bool   // it is not the continuation of a long line
}

func (p *parser) seek(to int64) {
	p.at = to
	rest := io.NewSectionReader(p.src, to, p.size-to)
	if p.r == nil {
		p.r = bufio.NewReaderSize(rest, 64<<10)
		return
	}
	p.r.Reset(rest)
}

func (p *parser) damage(kind string, offset int64, text []byte) {
	d := p.box.Damage[kind]
	if d.Count == 0 {
		d.Offset, d.Line = offset, string(text[:min(len(text), 100)])
	}
	d.Count++
	p.box.Damage[kind] = d
}

func (p *parser) run(ctx context.Context) error {
	p.start, p.length, p.untilThis, p.tail = -1, -1, -1, true
	first := true
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		l, err := p.next(first)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if p.afterNuls(&l) || l.first {
			p.line(l)
		}
		p.blank = l.first && l.whole && len(l.text) == 0
		p.tail = l.whole
		first = l.whole
	}
	p.finish()
	return nil
}

func (p *parser) next(first bool) (line, error) {
	raw, err := p.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	if len(raw) == 0 {
		if err == nil {
			err = io.EOF
		}
		return line{}, err
	}
	if err != nil && err != io.EOF {
		return line{}, err
	}
	l := line{offset: p.at, first: first}
	p.at += int64(len(raw))
	p.countNuls(l.offset, raw)
	if raw[len(raw)-1] == '\n' {
		l.whole = true
		raw = raw[:len(raw)-1]
		if n := len(raw); n > 0 && raw[n-1] == '\r' {
			raw = raw[:n-1]
			p.crlf++
		} else {
			p.lf++
		}
	}
	l.text = raw
	return l, nil
}

func (p *parser) countNuls(offset int64, raw []byte) {
	if p.nuls == 0 && bytes.IndexByte(raw, 0) < 0 {
		return
	}
	for i, c := range raw {
		if c != 0 {
			p.nuls = 0
			continue
		}
		if p.nuls++; p.nuls == nulRun {
			p.damage(NulRun, offset+int64(i)-nulRun+1, nil)
		}
	}
}

// line takes one line into account.
func (p *parser) line(l line) {
	if p.start < 0 {
		p.beforeFirst(l)
		return
	}
	if from, ok := p.beginsMessage(l); ok {
		if p.untilThis > l.offset {
			p.damage(ContentLength, p.start, nil)
		}
		p.begin(l.offset, from)
		if from == FromMissing {
			p.contentLength(p.opened)
		}
		return
	}
	if p.second {
		p.second = false
		p.headless = len(l.text) > 0 && !headerField().Match(l.text)
	}
	p.bare.see(l.text, p.inHeader)
	if !p.inHeader {
		return
	}
	if len(l.text) == 0 {
		p.inHeader, p.body = false, p.at
		p.skipBody()
		return
	}
	p.contentLength(l.text)
}

func (p *parser) contentLength(text []byte) {
	if v, ok := field(text, "Content-Length:"); ok {
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= 0 {
			p.length = n
		}
	}
}

// beforeFirst looks at what stands at the beginning of the file.
func (p *parser) beforeFirst(l line) {
	if p.text { // which belongs to nothing
		if fromLine().Match(l.text) {
			p.begin(l.offset, FromGood)
		} else if from, ok := p.beginsMessage(l); ok {
			p.begin(l.offset, from)
		}
		return
	}
	bare := l.text
	if l.offset == 0 {
		bare = bytes.TrimPrefix(bare, []byte("\xef\xbb\xbf"))
	}
	bare = bytes.TrimLeft(bare, "\x00\r")
	if len(bare) == 0 {
		return
	}
	at := l.offset + int64(len(l.text)-len(bare))
	bare = bytes.Clone(bare)
	if at > 0 && p.box.Damage[NulRun].Count == 0 {
		p.damage(LeadingJunk, 0, nil)
	}
	switch {
	case fromLine().Match(bare):
		p.begin(at, FromGood)
	case escapedFrom().Match(bare), bytes.HasPrefix(bare, mmdfLine), bytes.HasPrefix(bare, []byte("From ")):
		p.damage(DamagedFrom, at, bare)
		p.bare.escaped = bare[0] == '>'
		p.begin(at, FromDamaged)
	case headerField().Match(bare):
		p.damage(DamagedFrom, at, bare)
		p.begin(at, FromMissing)
		p.bare.start(bare)
		p.contentLength(bare)
	default:
		p.text = true
		if p.box.Damage[LeadingJunk].Count == 0 && p.box.Damage[NulRun].Count == 0 {
			p.damage(LeadingJunk, 0, nil)
		}
	}
}

// mmdfLine stands before and after each message in the mailboxes of MMDF.
var mmdfLine = []byte("\x01\x01\x01\x01")

// beginsMessage tells whether a line inside a message begins the next one.
func (p *parser) beginsMessage(l line) (From, bool) {
	const longest = 1000 // octets of a From line, by far
	switch {
	case len(l.text) > longest:
		return 0, false
	case bytes.HasPrefix(l.text, []byte("From ")), bytes.HasPrefix(l.text, mmdfLine):
	case p.bare.escaped && p.blank && bytes.HasPrefix(l.text, []byte(">")):
		// Somebody escaped the From lines of the whole file.
		text := bytes.Clone(l.text)
		if !fromLine().Match(bytes.TrimLeft(text, ">")) || !l.whole || !p.headerFollows() {
			return 0, false
		}
		p.damage(DamagedFrom, l.offset, text)
		return FromDamaged, true
	case p.bare.field != nil && p.blank && p.bare.opens(l.text):
		text := bytes.Clone(l.text)
		if !p.wholeHeaderFollows() {
			return 0, false
		}
		p.opened = text
		p.damage(DamagedFrom, l.offset, text)
		return FromMissing, true
	default:
		return 0, false
	}
	text := bytes.Clone(l.text) // looking ahead moves what the reader holds
	valid := fromLine().Match(text)
	if valid {
		p.bare = bare{}
	}
	if valid && p.blank {
		return FromGood, true
	}
	// Without a blank line before it, or with a date that nobody reads, it is
	// one only when a header follows at once.
	if !l.whole || !p.headerFollows() {
		return 0, false
	}
	switch {
	case valid:
		p.damage(NoBlankLine, l.offset, text)
		return FromGood, true
	case text[0] == mmdfLine[0], p.blank && p.damagedFrom(text):
		p.damage(DamagedFrom, l.offset, text)
		return FromDamaged, true
	}
	return 0, false
}

// addressAndMore is a From line that lost its date, or has one of another form.
var addressAndMore = lazily(`^From (?:\S+@\S+|-|MAILER-DAEMON|\S+ .*\d{1,2}:\d\d.*)(?: |$)`)

// opening is a field that mail systems put first.
var opening = lazily(`^(?i:Received|Return-Path|Delivered-To|X-Original-To|Envelope-To|Message-ID|Date): `)

// damagedFrom tells a From line without a valid date from text, when a header
// line follows: "From what I see" is none.
func (p *parser) damagedFrom(text []byte) bool {
	if addressAndMore().Match(text) {
		return true
	}
	next, _ := p.r.Peek(100) // an error means that less is left
	return len(bytes.Fields(text)) == 2 && opening().Match(next)
}

// headerFollows looks whether the next line is one of a header.
func (p *parser) headerFollows() bool {
	b, _ := p.r.Peek(100) // an error means that less is left
	text, _, _ := bytes.Cut(b, []byte("\n"))
	return headerField().Match(bytes.TrimRight(text, "\r"))
}

func (p *parser) begin(offset int64, from From) {
	p.end(offset)
	p.start, p.from, p.body, p.measured, p.headless, p.second = offset, from, -1, false, false, from != FromMissing
	p.inHeader, p.length, p.untilThis = true, -1, -1
}

func (p *parser) end(offset int64) {
	if p.start < 0 {
		return
	}
	m := Message{
		Offset: p.start, Length: offset - p.start, Hash: hash(p.src, p.start, offset-p.start),
		From: p.from, Body: p.body, ContentLength: p.length, Measured: p.measured, Headless: p.headless,
	}
	if m.Body < 0 || m.Body > offset {
		m.Body = offset
	}
	p.box.Messages = append(p.box.Messages, m)
}

// skipBody jumps to the end of the body when Content-Length is right. The next
// line then counts as one after a blank line.
func (p *parser) skipBody() {
	if p.length < 0 {
		return
	}
	end := p.at + p.length
	if end < p.at {
		return
	}
	if end <= p.size && p.endsHere(end) {
		p.checkNuls(p.at, end)
		p.seek(end)
		p.measured = true
		return
	}
	p.untilThis = end
}

// endsHere tells whether a message may end at offset: after it comes the end of
// the file, or a blank line and a From line.
func (p *parser) endsHere(offset int64) bool {
	buf := make([]byte, 600)
	n, err := p.src.ReadAt(buf[:min(int64(len(buf)), p.size-offset)], offset)
	if err != nil && err != io.EOF {
		return false
	}
	rest, last := buf[:n], n < len(buf) || offset+int64(n) == p.size
	trimmed := bytes.TrimLeft(rest, "\r\n")
	if len(trimmed) == 0 && last {
		return true
	}
	text, _, whole := bytes.Cut(trimmed, []byte("\n"))
	if len(trimmed) == len(rest) {
		return false
	}
	if last && !whole { // writing broke off inside the next From line
		return bytes.HasPrefix(text, []byte("From ")) || strings.HasPrefix("From ", string(text))
	}
	return fromLine().Match(bytes.TrimRight(text, "\r"))
}

// checkNuls looks for NUL octets in what is skipped.
func (p *parser) checkNuls(from, to int64) {
	buf := make([]byte, 64<<10)
	p.nuls = 0
	for from < to {
		n, err := p.src.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		p.countNuls(from, buf[:n])
		from += int64(n)
		if err != nil || n == 0 {
			return
		}
	}
}

// finish ends the last message and judges the file as a whole.
func (p *parser) finish() {
	if p.start < 0 && p.size > 0 {
		// Not one From line: all of it is one message, so that nothing of it
		// is taken for nothing.
		if len(p.box.Damage) == 0 {
			p.damage(LeadingJunk, 0, nil)
		}
		p.start, p.from, p.body = 0, NoBeginning, -1
	}
	if p.start >= 0 && p.size > 0 && (p.inHeader || !p.tail) {
		p.damage(TruncatedTail, p.start, nil)
	}
	p.end(p.size)
	if p.crlf > p.lf {
		p.damage(CRLF, 0, nil)
	}
}
