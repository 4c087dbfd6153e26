package spoolfix

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mailsrv/codes"
	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/probes/spool"
)

// Checked is the document of mailbox check: one for each file.
type Checked struct {
	File     string         `json:"file"`
	Size     int64          `json:"size"`
	Messages int            `json:"messages"`
	Findings []diag.Finding `json:"findings"`
	Summary  diag.Summary   `json:"summary"`
}

// Mended is one kind of damage that was repaired.
type Mended struct {
	Kind   string `json:"kind"`   // the word behind "mbox." of the finding
	Offset int64  `json:"offset"` // where it was first
	Count  int    `json:"count"`
}

// RepairReport is the document of mailbox repair: one for each file.
type RepairReport struct {
	Checked
	DryRun  bool     `json:"dry_run,omitempty"`
	Action  string   `json:"action"` // repaired, or kept when nothing was (or, with DryRun, would be) changed
	Why     string   `json:"why,omitempty"`
	PID     int      `json:"pid,omitempty"`
	Program string   `json:"program,omitempty"`
	Error   string   `json:"error,omitempty"`
	Mended  []Mended `json:"mended"`
	Before  int      `json:"before"` // messages that could be told apart before
	After   int      `json:"after"`
	Lost    int      `json:"lost"`
	Backup  string   `json:"backup,omitempty"`
}

// Check says what is wrong with the form of a mailbox file.
func Check(ctx context.Context, path string) (Checked, error) {
	f, err := os.Open(path)
	if err != nil {
		return Checked{}, err
	}
	defer f.Close()
	s, err := spool.ReadSource(ctx, f)
	if err != nil {
		return Checked{}, fmt.Errorf("%s: %w", path, err)
	}
	return checked(path, s), nil
}

func checked(path string, s spool.Source) Checked {
	c := Checked{File: path, Size: s.Size, Messages: len(s.Messages), Findings: doctor.JudgeMbox(filepath.Base(path), path, s.Mbox)}
	if len(c.Findings) == 0 {
		c.Findings = []diag.Finding{diag.New("mbox.ok", path, diag.Evidence{"messages": c.Messages})}
	}
	c.Summary = diag.Summarize(c.Findings)
	return c
}

// Localize fills in the texts.
func (c *Checked) Localize(lang codes.Lang) error { return diag.Localize(c.Findings, lang) }

// Repair mends the form of a mailbox file: what stands where a From line should
// be, what stands before the first message, runs of NUL octets, line ends,
// missing empty lines, a Content-Length that hides something. No octet of a
// message is lost by it but the NULs, and the file as it was is kept as a dated
// copy.
func Repair(ctx context.Context, path string, opt Options) (RepairReport, error) {
	opt = opt.withDefaults()
	r := RepairReport{DryRun: opt.DryRun, Action: Kept, Mended: []Mended{}}
	err := opt.disk.repair(ctx, path, opt, &r)
	if err == nil {
		return r, nil
	}
	if ctx.Err() != nil {
		return r, err
	}
	a := Action{}
	a.fail(err)
	r.Action, r.Why, r.PID, r.Program, r.Error = a.Action, a.Why, a.PID, a.Program, a.Error
	if r.File == "" { // it could not even be read
		return r, err
	}
	return r, nil
}

func (d *disk) repair(ctx context.Context, path string, opt Options, r *RepairReport) error {
	var h *hold
	if !opt.DryRun {
		// What needs no repair needs no lock either.
		c, err := Check(ctx, path)
		if err != nil {
			return err
		}
		if r.Checked = c; c.Findings[0].ID == "mbox.ok" {
			r.Before, r.After = c.Messages, c.Messages
			return nil
		}
		if h, err = d.lock(ctx, path); err != nil {
			return err
		}
		defer h.release()
	}
	f, err := open(path)
	if err != nil {
		return err
	}
	if h == nil {
		defer f.Close()
	} else if err := h.kernel(ctx, f); err != nil {
		return err
	}
	s, err := spool.ReadSource(ctx, f)
	if err != nil {
		return err
	}
	r.Checked = checked(path, s)
	r.Before, r.After = len(s.Messages), len(s.Messages)
	if len(s.Damage) == 0 {
		return nil
	}
	m := newMending(s)
	if len(m.pieces) == 0 && s.Size > 0 || m.noMailbox() {
		return fmt.Errorf("%s: %w", path, errNoMailbox)
	}
	r.Mended, r.After = m.kinds(), len(m.pieces)
	if opt.DryRun {
		r.Action = Repaired
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	dir := opt.Backup
	if dir == "" {
		dir = filepath.Dir(path)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), newName(filepath.Base(path)))
	var written []begun
	out, err := d.writeNew(tmp, info, info.Mode().Perm(), func(w io.Writer) (err error) {
		written, err = m.write(ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	after, err := m.prove(ctx, out, written)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		r.Backup, err = d.keep(f, dir, opt.Now)
	}
	if err == nil {
		err = d.put(ctx, h, tmp, path, f)
	}
	if err != nil {
		d.discard(tmp)
		if r.Backup != "" {
			d.discard(r.Backup)
			r.Backup = ""
		}
		return err
	}
	r.Checked = checked(path, after)
	r.Action = Repaired
	return nil
}

// errNoMailbox: it looks like another kind of file.
var errNoMailbox = fmt.Errorf("holds no message: there is neither a From line nor a header in it")

// mending is the repair of one mailbox.
type mending struct {
	src    spool.Source
	crlf   bool
	pieces []mendedPiece
}

// mendedPiece is a message that is written anew.
type mendedPiece struct {
	spool.Part
	message spool.Message // zero for text that belonged to none
}

func newMending(s spool.Source) mending {
	m := mending{src: s, crlf: s.Damage[spool.CRLF].Count > 0}
	i := 0
	for _, p := range s.Parts() {
		for i < len(s.Messages) && s.Messages[i].Offset < p.Offset {
			i++
		}
		if i == len(s.Messages) || s.Messages[i].Offset >= p.End() || s.Messages[i].From == spool.NoBeginning {
			m.pieces = append(m.pieces, mendedPiece{Part: p})
			continue
		}
		for ; i < len(s.Messages) && s.Messages[i].End() <= p.End(); i++ {
			x := s.Messages[i]
			one := spool.Part{Offset: x.Offset, Length: x.Length}
			one.Lead, one.Skip = spool.MendedFrom(s.R, x)
			m.pieces = append(m.pieces, mendedPiece{one, x})
		}
	}
	return m
}

// noMailbox tells whether the file is none: nothing in it begins like a
// message, and no damage of the disk explains that.
func (m mending) noMailbox() bool {
	return len(m.pieces) == 1 && m.pieces[0].message.Length == 0 && m.src.Damage[spool.NulRun].Count == 0
}

func (m mending) kinds() []Mended {
	out := []Mended{}
	for _, kind := range doctor.DamageOrder {
		if x := m.src.Damage[kind]; x.Count > 0 {
			out = append(out, Mended{kind, x.Offset, x.Count})
		}
	}
	return out
}

func (m mending) write(ctx context.Context, w io.Writer) ([]begun, error) {
	out := newMboxWriter(ctx, w)
	for _, p := range m.pieces {
		hash, err := contentHash(m.src.Open(p.Part), p.Lead)
		if err != nil {
			return nil, err
		}
		r, err := m.open(p)
		if err != nil {
			return nil, err
		}
		if err := out.message(hash, r); err != nil {
			return nil, err
		}
	}
	return out.begun, out.w.Flush()
}

// open returns the octets of a message as they should be.
func (m mending) open(p mendedPiece) (io.Reader, error) {
	r := newCleaner(m.src.Open(p.Part), m.crlf)
	x := p.message
	switch {
	case x.Length == 0 || x.ContentLength < 0:
		return r, nil
	case !x.Measured:
		return withoutLength(r, -1), nil
	}
	// The body may get shorter; what looks like a From line in it stays
	// covered.
	n, err := io.Copy(io.Discard, newCleaner(io.NewSectionReader(m.src.R, x.Body, x.ContentLength), m.crlf))
	if err != nil {
		return nil, err
	}
	if n == x.ContentLength {
		return r, nil
	}
	return withoutLength(r, n), nil
}

// prove reads the written mailbox as every mail program would and makes sure
// that each message begins where it was written and has all its octets, and
// that nothing is wrong with the form any more.
func (m mending) prove(ctx context.Context, f *os.File, written []begun) (spool.Source, error) {
	s, err := spool.ReadSource(ctx, f)
	if err != nil {
		return s, err
	}
	if len(s.Messages) != len(written) || len(s.Damage) > 0 {
		return s, errProof
	}
	for i, x := range s.Messages {
		lead := m.pieces[i].Lead
		hash, err := contentHash(s.Open(spool.Part{Offset: x.Offset, Length: x.Length}), lead)
		if err != nil {
			return s, err
		}
		if x.Offset != written[i].offset || hash != written[i].hash {
			return s, fmt.Errorf("message at octet %d: %w", x.Offset, errProof)
		}
	}
	return s, nil
}

// contentHash is the hash of all octets of a message behind its lead but line
// ends, NULs and the Content-Length field: what no repair may change.
func contentHash(r io.Reader, lead string) ([32]byte, error) {
	h := sha256.New()
	if _, err := io.CopyN(io.Discard, r, int64(len(lead))); err != nil {
		return [32]byte{}, err
	}
	in := bufio.NewReaderSize(withoutLength(r, -1), 64<<10)
	out := bufio.NewWriter(h)
	for {
		c, err := in.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return [32]byte{}, err
		}
		if c != 0 && c != '\r' && c != '\n' {
			_ = out.WriteByte(c) // a hash takes everything
		}
	}
	_ = out.Flush()
	return [32]byte(h.Sum(nil)), nil
}

// cleaner takes out runs of NUL octets and, with crlf, makes LF of CRLF.
type cleaner struct {
	r    *bufio.Reader
	crlf bool
	nuls int // held back
	cr   bool
	out  []byte
	err  error
}

func newCleaner(r io.Reader, crlf bool) *cleaner {
	return &cleaner{r: bufio.NewReaderSize(r, 64<<10), crlf: crlf}
}

func (c *cleaner) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill()
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// nulRun is how many NUL octets in a row were never written by a mail program.
const nulRun = 4

func (c *cleaner) fill() {
	c.out = c.out[:0]
	for len(c.out) < 32<<10 {
		b, err := c.r.ReadByte()
		if err == nil && b == 0 {
			c.nuls++
			continue
		}
		if c.nuls > 0 && c.nuls < nulRun {
			c.flushCR()
			c.out = append(c.out, make([]byte, c.nuls)...)
		}
		c.nuls = 0
		if err != nil {
			c.flushCR()
			c.err = err
			return
		}
		if c.crlf && b == '\r' {
			c.flushCR()
			c.cr = true
			continue
		}
		if b != '\n' {
			c.flushCR()
		}
		c.cr = false
		c.out = append(c.out, b)
	}
}

func (c *cleaner) flushCR() {
	if c.cr {
		c.out = append(c.out, '\r')
		c.cr = false
	}
}
