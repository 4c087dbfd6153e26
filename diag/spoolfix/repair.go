package spoolfix

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mailsrv/diag"
	"mailsrv/diag/doctor"
	"mailsrv/probes/spool"
)

// Checked is the document of mailbox check: one for each file.
type Checked struct {
	File     string         `json:"file"`
	Size     int64          `json:"size"`
	Messages int            `json:"messages"`
	Damage   []Mended       `json:"damage,omitempty"` // all of it; findings name the most basic fault
	Findings []diag.Finding `json:"findings"`
	Summary  diag.Summary   `json:"summary"`
}

// Mended is one kind of damage, that was repaired or is there.
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
	c := Checked{File: path, Size: s.Size, Messages: len(s.Messages), Damage: kinds(s.Damage), Findings: doctor.JudgeMbox(filepath.Base(path), path, s.Mbox)}
	if len(c.Findings) == 0 {
		c.Findings = []diag.Finding{diag.New("mbox.ok", path, diag.Evidence{"messages": c.Messages})}
	}
	c.Summary = diag.Summarize(c.Findings)
	return c
}

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
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r.Mended = kinds(s.Damage)
	if s.Damage[spool.NulRun].Count > 0 {
		dir := filepath.Dir(path)
		if opt.DryRun { // which changes nothing there
			if dir, err = os.MkdirTemp("", "mailsrv"); err != nil {
				return err
			}
			defer os.RemoveAll(dir)
		}
		clean, err := d.withoutNuls(ctx, f, info.Size(), filepath.Join(dir, newName(filepath.Base(path)+".clean")))
		if err != nil {
			return err
		}
		defer d.discard(clean.Name())
		defer clean.Close()
		if s, err = spool.ReadSource(ctx, clean); err != nil {
			return err
		}
	}
	m := newMending(s)
	if m.noMailbox() {
		r.Mended = []Mended{}
		return fmt.Errorf("%s: %w", path, errNoMailbox)
	}
	r.After = len(m.pieces)
	if opt.DryRun {
		r.Action = Repaired
		return nil
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
	after, err := spool.ReadSource(ctx, out)
	if err == nil {
		err = m.prove(after, written)
	}
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
// message.
func (m mending) noMailbox() bool {
	return len(m.pieces) == 0 || len(m.pieces) == 1 && m.pieces[0].message.Length == 0
}

func kinds(damage map[string]spool.Damage) []Mended {
	out := []Mended{}
	for _, kind := range doctor.DamageOrder {
		if x := damage[kind]; x.Count > 0 {
			out = append(out, Mended{kind, x.Offset, x.Count})
		}
	}
	return out
}

// withoutNuls copies a mailbox to path without its runs of NUL octets, and makes
// sure that the copy has everything else.
func (d *disk) withoutNuls(ctx context.Context, f *os.File, size int64, path string) (*os.File, error) {
	whole := func() io.Reader { return io.NewSectionReader(f, 0, size) }
	out, err := d.writeNew(path, nil, 0o600, func(w io.Writer) error {
		_, err := io.Copy(w, untilDone(ctx, withoutNulRuns(whole())))
		return err
	})
	if err != nil {
		return nil, err
	}
	before, err := octetHash(whole())
	after, aerr := octetHash(io.NewSectionReader(out, 0, 1<<62))
	if err = errors.Join(err, aerr); err == nil && before != after {
		err = errProof
	}
	if err != nil {
		out.Close()
		d.discard(path)
		return nil, err
	}
	return out, nil
}

func (m mending) write(ctx context.Context, w io.Writer) ([]begun, error) {
	out := newMboxWriter(ctx, w)
	for _, p := range m.pieces {
		hash, err := contentHash(m.src.Open(p.Part), len(p.Lead))
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
	ends := func(r io.Reader) io.Reader {
		if m.crlf {
			return withoutCR(r)
		}
		return r
	}
	r := ends(m.src.Open(p.Part))
	x := p.message
	switch {
	case x.Length == 0 || x.ContentLength < 0:
		return r, nil
	case !x.Measured:
		return withoutLength(r, -1), nil
	}
	// The body may get shorter; what looks like a From line in it stays
	// covered.
	n, err := io.Copy(io.Discard, ends(io.NewSectionReader(m.src.R, x.Body, x.ContentLength)))
	if err != nil {
		return nil, err
	}
	if n == x.ContentLength {
		return r, nil
	}
	return withoutLength(r, n), nil
}

// prove looks at the written mailbox as every mail program would and makes sure
// that each message begins where it was written and has all its octets, and
// that nothing is wrong with the form any more.
func (m mending) prove(s spool.Source, written []begun) error {
	if len(s.Messages) != len(written) || len(s.Damage) > 0 {
		return errProof
	}
	for i, x := range s.Messages {
		hash, err := contentHash(s.Open(spool.Part{Offset: x.Offset, Length: x.Length}), len(m.pieces[i].Lead))
		if err != nil {
			return err
		}
		if x.Offset != written[i].offset || hash != written[i].hash {
			return fmt.Errorf("message at octet %d: %w", x.Offset, errProof)
		}
	}
	return nil
}

// contentHash is the hash of a message behind its lead, without the
// Content-Length field.
func contentHash(r io.Reader, lead int) ([32]byte, error) {
	if _, err := io.CopyN(io.Discard, r, int64(lead)); err != nil {
		return [32]byte{}, err
	}
	return octetHash(withoutLength(r, -1))
}

// octetHash is the hash of all octets but line ends and NULs: of what no repair
// may change.
func octetHash(r io.Reader) ([32]byte, error) {
	h := sha256.New()
	in, out := bufio.NewReaderSize(r, 64<<10), bufio.NewWriter(h)
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
