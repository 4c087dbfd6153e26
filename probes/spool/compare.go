package spool

import (
	"bufio"
	"context"
	"io"
	"os"
)

// Which file holds only a part of the other's mail.
const (
	PartPop   = "pop"   // .user.pop: copying the spool away broke off
	PartSpool = "spool" // the spool: writing the mail back broke off
)

// Relation says how a .user.pop and its spool share their messages. Messages
// are the same when they are equal without the lines that Qpopper and Dovecot
// write into them.
type Relation struct {
	Known    bool
	Newer    int    // messages that only the spool has
	OnlyHere int    // messages that only the .user.pop has
	Part     string // PartPop or PartSpool: that file has nothing which the other has not; empty: neither
}

// compare reads the spool, if a lock makes it worth it, and relates .user.pop
// to it.
func (b *Mailbox) compare(ctx context.Context) {
	if len(b.Locks) == 0 {
		return
	}
	var spool *mboxFile
	if b.Spool == nil {
		b.Messages = 0
	} else if m, err := openMbox(ctx, b.Spool.Path); err == nil {
		defer m.Close()
		spool = m
		b.Messages = len(m.Messages)
	}
	for i := range b.Locks {
		l := &b.Locks[i]
		if l.Kind != Qpopper || l.Type != "file" {
			continue
		}
		pop, err := openMbox(ctx, l.Path)
		if err != nil {
			l.Err = err
			continue
		}
		l.Messages = len(pop.Messages)
		switch {
		case b.Spool == nil || b.Spool.Size == 0:
			l.Compared = Relation{Known: true, OnlyHere: l.Messages}
		case spool != nil:
			l.Compared = relate(pop, spool)
		}
		pop.Close()
	}
}

// relate compares two mailboxes message by message.
func relate(pop, spool *mboxFile) Relation {
	r := Relation{Known: true, OnlyHere: onlyIn(pop, spool), Newer: onlyIn(spool, pop)}
	switch {
	case len(pop.Messages) == 0 || len(spool.Messages) == 0:
	case r.OnlyHere == 0:
		r.Part = PartPop
	case r.Newer == 0:
		r.Part = PartSpool
	}
	return r
}

// onlyIn counts the messages of a that b has not. The last message of a counts
// as present when it is the beginning of one of b's: copying stopped there.
func onlyIn(a, b *mboxFile) int {
	have := map[[32]byte]int{}
	for _, m := range b.Messages {
		have[m.Hash]++
	}
	n := 0
	for i, m := range a.Messages {
		if have[m.Hash] > 0 {
			have[m.Hash]--
			continue
		}
		if i == len(a.Messages)-1 && b.hasBeginning(a, m, have) {
			continue
		}
		n++
	}
	return n
}

// hasBeginning tells whether a message of b, of those that are left, begins
// with all that m has.
func (f *mboxFile) hasBeginning(a *mboxFile, m Message, left map[[32]byte]int) bool {
	for _, whole := range f.Messages {
		if left[whole.Hash] > 0 && whole.Length > m.Length/2 && begins(f.normalized(whole), a.normalized(m)) {
			return true
		}
	}
	return false
}

// begins tells whether whole begins with the octets of part, an unfinished last
// line of part left out of account when it is a header line that would not
// count.
func begins(whole, part io.Reader) bool {
	w, p := bufio.NewReader(whole), bufio.NewReader(part)
	for {
		line, err := p.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return true
		}
		atEnd := err == io.EOF
		for _, c := range line {
			d, werr := w.ReadByte()
			if werr != nil || d != c {
				return atEnd && mayBeLocal(line)
			}
		}
		if atEnd {
			return true
		}
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
	}
}

// mayBeLocal tells whether an unfinished line could have become one of the
// lines that do not count.
func mayBeLocal(line []byte) bool {
	for _, name := range localHeaders {
		if n := min(len(line), len(name)); equalFold(line[:n], name[:n]) {
			return true
		}
	}
	return false
}

// mboxFile is an open mailbox that was read.
type mboxFile struct {
	*Mbox
	*os.File
}

func openMbox(ctx context.Context, path string) (*mboxFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var m *Mbox
		if m, err = ReadMbox(ctx, f, info.Size()); err == nil {
			return &mboxFile{m, f}, nil
		}
	}
	f.Close()
	return nil, err
}

// normalized returns the message without the lines that do not count.
func (f *mboxFile) normalized(m Message) io.Reader {
	return normalize(io.NewSectionReader(f.File, m.Offset, m.Length))
}
