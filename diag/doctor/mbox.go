package doctor

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"mailsrv/diag"
	"mailsrv/probes/spool"
)

func init() {
	register(Check{Name: "mbox", Stage: Local, Limit: 60 * time.Second, After: []string{"locks"}, Run: mbox})
}

// mbox reads each spool and says what is wrong with its form.
func mbox(ctx context.Context, c *Case) []diag.Finding {
	boxes, out := c.spools(ctx)
	if c.runs("locks") && len(out) > 0 {
		out = []diag.Finding{nothing} // said there
	}
	for _, b := range boxes {
		// What Qpopper left behind explains a strange spool, and is cleared first.
		if b.Spool == nil || slices.ContainsFunc(b.Locks, func(l spool.Lock) bool { return l.Kind == spool.Qpopper }) {
			continue
		}
		out = append(out, judgeSpool(ctx, b)...)
	}
	return out
}

// DamageOrder is from the most basic fault of a file on: only the first is
// reported.
var DamageOrder = []string{
	spool.NulRun, spool.LeadingJunk, spool.DamagedFrom, spool.ContentLength, spool.NoBlankLine, spool.CRLF, spool.TruncatedTail,
}

func judgeSpool(ctx context.Context, b spool.Mailbox) []diag.Finding {
	path := b.Spool.Path
	if want := OwnerID(spool.Mailbox{User: b.User}); want >= 0 && b.Spool.UID >= 0 && (b.Spool.UID != want || b.Spool.Mode.Perm()&0o600 != 0o600) {
		return []diag.Finding{diag.New("mbox.owner", path, diag.Evidence{"user": b.User, "path": path, "owner": b.Spool.Owner, "mode": b.Spool.Mode.Perm().String()}).With("q_path", shellWord(path))}
	}
	f, err := os.Open(path)
	if err != nil {
		return []diag.Finding{diag.New("env.admin_missing", path, diag.Evidence{"what": "spool", "path": path, "reason": reason(err)})}
	}
	defer f.Close()
	m, err := spool.ReadMbox(ctx, f, b.Spool.Size)
	if err != nil {
		return nil // the check's own limit says so
	}
	return JudgeMbox(b.User, path, m)
}

// JudgeMbox says what is wrong with the form of a mailbox file: what `mailbox
// check` and the mbox check report.
func JudgeMbox(user, path string, m *spool.Mbox) []diag.Finding {
	for _, kind := range DamageOrder {
		d := m.Damage[kind]
		if d.Count == 0 {
			continue
		}
		ev := diag.Evidence{"user": user, "path": path, "offset": d.Offset, "count": d.Count, "messages": len(m.Messages)}
		if line := printable(d.Line); line != "" {
			ev["line"] = line
		}
		return []diag.Finding{diag.New("mbox."+kind, path, ev).With("q_path", shellWord(path))}
	}
	return nil
}

// printable makes foreign bytes safe to show.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}
