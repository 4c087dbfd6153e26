package spool

import (
	"bufio"
	"bytes"
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
	var spool Source
	if b.Spool == nil {
		b.Messages = 0
	} else if m, f, err := openMbox(ctx, b.Spool.Path); err == nil {
		defer f.Close()
		spool = m
		b.Messages = len(m.Messages)
	}
	for i := range b.Locks {
		l := &b.Locks[i]
		if l.Kind != Qpopper || l.Type != "file" {
			continue
		}
		pop, f, err := openMbox(ctx, l.Path)
		if err != nil {
			l.Err = err
			continue
		}
		l.Messages = len(pop.Messages)
		switch {
		case b.Spool == nil || b.Spool.Size == 0:
			l.Compared = Relation{Known: true, OnlyHere: l.Messages}
		case spool.Mbox != nil:
			l.Compared = relate(pop, spool)
		}
		f.Close()
	}
}

// relate compares two mailboxes message by message.
func relate(pop, spool Source) Relation {
	a, b := Align(pop, spool)
	r := Relation{Known: true, OnlyHere: onlyIn(a), Newer: onlyIn(b)}
	switch {
	case len(pop.Messages) == 0 || len(spool.Messages) == 0:
	case r.OnlyHere == 0:
		r.Part = PartPop
	case r.Newer == 0:
		r.Part = PartSpool
	}
	return r
}

// onlyIn counts the messages that the other mailbox has not, or not whole.
func onlyIn(parts []Part) int {
	n := 0
	for _, p := range parts {
		if p.Twin < 0 {
			n++
		}
	}
	return n
}

// begins tells whether whole begins with the octets of part. With inLine, or
// when both have the same Message-ID, part may end inside a line; else whole
// must have the end of that line, too. An unfinished line that may have become
// one that does not count is left out of account.
func begins(whole, part io.Reader, inLine bool) bool {
	w, p := bufio.NewReader(whole), bufio.NewReader(part)
	header := true
	for {
		line, err := p.ReadSlice('\n')
		atEnd := err == io.EOF
		for _, c := range line {
			d, werr := w.ReadByte()
			if werr != nil || d != c {
				return atEnd && inLine && header && mayBeLocal(line)
			}
		}
		if atEnd {
			next, werr := w.ReadByte()
			return inLine || werr != nil || next == '\n'
		}
		if err != nil && err != bufio.ErrBufferFull {
			return false
		}
		header = header && string(line) != "\n"
		if _, ok := field(line, "Message-ID:"); ok && header && bytes.HasSuffix(line, []byte(">\n")) {
			inLine = true
		}
	}
}

// mayBeLocal tells whether an unfinished line could have become one of the
// lines that do not count.
func mayBeLocal(line []byte) bool {
	for _, name := range localHeaders {
		if n := min(len(line), len(name)); n > 0 && equalFold(line[:n], name[:n]) {
			return true
		}
	}
	return false
}

// openMbox opens a mailbox and reads it; the caller closes the file.
func openMbox(ctx context.Context, path string) (Source, *os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, nil, err
	}
	s, err := ReadSource(ctx, f)
	if err != nil {
		f.Close()
		return Source{}, nil, err
	}
	return s, f, nil
}
