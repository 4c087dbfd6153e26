package spoolfix

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mailsrv/probes/spool"
)

func source(t testing.TB, text []byte) spool.Source {
	t.Helper()
	m, err := spool.ReadMbox(context.Background(), bytes.NewReader(text), int64(len(text)))
	must(t, err)
	return spool.Source{Mbox: m, R: bytes.NewReader(text), Size: int64(len(text))}
}

// mergedText is what a merge writes.
func mergedText(t testing.TB, pop, sp []byte) (plan, []byte) {
	t.Helper()
	p := newPlan(source(t, pop), source(t, sp))
	for _, lengths := range []bool{true, false} {
		var out bytes.Buffer
		written, err := p.write(context.Background(), &out, lengths)
		must(t, err)
		parts, err := prove(source(t, out.Bytes()), written)
		if errors.Is(err, errProof) && lengths {
			continue
		}
		if err == nil {
			err = p.complete(parts)
		}
		if err != nil {
			t.Fatalf("%v:\n%q\n%q\nmerged:\n%q", err, pop, sp, out.Bytes())
		}
		return p, out.Bytes()
	}
	panic("not reached")
}

// Whatever the files hold: the merged mailbox passes the proof, and a second
// merge after a crash finds everything in it.
func FuzzMerge(f *testing.F) {
	g := gen{rand.New(rand.NewPCG(1, 2))}
	a, b := g.message("a"), g.message("b")
	f.Add([]byte(a+b), []byte(b))
	f.Add([]byte(a + b)[:len(a)+30], []byte(a+b))
	f.Add([]byte(">"+a), []byte("\n\n"+b))
	f.Add([]byte("text\n\nFrom here\n"), []byte("Received: x\nFrom: y\n\nbody\n\nReceived: z\nFrom: y\nTo: x\n\n"))
	f.Add([]byte(a[:40]+b), []byte(a))
	f.Add([]byte("\x00\x00\x00\x00"+a), []byte(strings.ReplaceAll(a, "\n", "\r\n")+"From t"))
	f.Fuzz(func(t *testing.T, pop, sp []byte) {
		_, out := mergedText(t, pop, sp)
		again := newPlan(source(t, pop), source(t, out))
		if !again.keepSpool {
			t.Errorf("a second merge would change it:\n%q\n%q\nmerged:\n%q", pop, sp, out)
		}
	})
}

// Whatever the file holds: a repair refuses it or passes the proof, and leaves
// nothing to repair.
func FuzzRepair(f *testing.F) {
	g := gen{rand.New(rand.NewPCG(3, 4))}
	a, b := g.message("a"), g.message("b")
	f.Add([]byte(">" + a + b))
	f.Add([]byte("\xef\xbb\xbf\r\n" + strings.ReplaceAll(a+b, "\n", "\r\n")))
	f.Add([]byte(a + "\x00\x00\x00\x00\x00" + b))
	f.Add([]byte("Received: x\nFrom: y\n\nbody\n\nReceived: z\nFrom: y\nTo: x\n\n" + a[:50]))
	f.Add([]byte("From a@example.com Mon Jan  1 00:00:00 2024\nContent-Length: 30\n\nx\n\n" + b))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := source(t, text)
		if len(s.Damage) == 0 {
			return
		}
		if s.Damage[spool.NulRun].Count > 0 {
			clean, err := io.ReadAll(withoutNulRuns(bytes.NewReader(text)))
			must(t, err)
			s = source(t, clean)
		}
		m := newMending(s)
		if m.noMailbox() {
			return
		}
		var out bytes.Buffer
		written, err := m.write(context.Background(), &out)
		must(t, err)
		if err := m.prove(source(t, out.Bytes()), written); err != nil {
			t.Errorf("%v:\n%q\nrepaired:\n%q", err, text, out.Bytes())
		}
	})
}
